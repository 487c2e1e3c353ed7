"""``conf/README.md``: its optimizer and schedule, pasted, train from the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainkit.cli import COMMANDS
from trainkit.config.compose import compose
from trainkit.config.shipped import groups

README = (Path(__file__).resolve().parents[2] / "conf" / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^trainkit (.*?)(?:  +#.*)?$", re.MULTILINE)


@pytest.fixture
def pasted(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    for name, content in BLOCK.findall(README):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return tmp_path


def test_an_optimizer_and_a_schedule_are_two_files_each() -> None:
    names = [name for name, _ in BLOCK.findall(README)]
    assert names == ["lion.py", "conf/optimizer/lion.yaml", "falling.py", "conf/scheduler/falling.yaml"]


def test_they_train_and_go_on_as_pasted(pasted: Path, cli: Callable[..., Any]) -> None:
    own = ("optimizer=lion", "scheduler=falling", "model=mlp", "logger=none", "evaluation.resamples=50")
    code, out, err = cli("fit", "--config-dir", "conf", *own, "trainer.max_epochs=4", "run.dir=run")
    assert (code, err) == (0, "")
    assert " · lion 0.001 falling · " in out
    rates = [line.split(",")[4] for line in (pasted / "run" / "metrics.csv").read_text().splitlines() if ",lr," in line]
    assert float(rates[0]) <= 1e-3 and float(rates[-1]) < 4e-5
    accuracy = re.search(r"^test   accuracy (0\.\d+)", out, re.MULTILINE)
    assert accuracy is not None and float(accuracy[1]) > 0.7


def test_a_marked_directory_needs_no_option(pasted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pasted)
    (pasted / "conf" / ".trainkit").touch()
    cfg = compose(["optimizer=lion", "scheduler=falling"])
    assert (cfg.optimizer._target_, cfg.scheduler.final) == ("lion.Lion", 0.01)


def test_every_command_of_the_page_composes() -> None:
    commands = [command.split() for command in COMMAND.findall(README)]
    assert len(commands) >= 8 and {words[0] for words in commands} <= COMMANDS.keys()
    checked = 0
    for words in commands:
        overrides = [word for word in words[1:] if not word.startswith("-")]
        if words[0] == "fit" and "-m" not in words and not {"--cfg", "--config-dir"} & set(words):
            compose(overrides)
            checked += 1
    assert checked == 3


def test_every_yaml_says_in_its_first_line_what_it_is() -> None:
    root = Path(__file__).resolve().parents[2] / "conf"
    for group, names in groups().items():
        for name in names:
            lines = (root / group / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
            about = next(line for line in lines if not line.startswith("# @package"))
            assert about.startswith("# "), f"{group}/{name}.yaml"
