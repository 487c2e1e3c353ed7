"""The examples of the models' README, as pasted: in a project of the user's own, and inside trainkit."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trainkit.models
from trainkit.config.check import FILLED, SIZES
from trainkit.config.compose import compose
from trainkit.runs.build import build_parts

README = Path(trainkit.models.__file__).with_name("README.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^trainkit (fit .*)$", README, re.MULTILINE)
QUICK = ("trainer.max_steps=4", "evaluation.resamples=20", "evaluation.baseline=false", "logger=none")

Cli = Callable[..., Any]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with nothing but the README's files, from which Python imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    yield tmp_path
    for name in FILES:
        sys.modules.pop(Path(name).stem, None)


def test_the_readme_has_its_examples() -> None:
    assert list(FILES) == ["mynet.py", "conf/model/mynet.yaml", "losses.py", "mytask.py", "everything.py"]
    assert len(COMMANDS) == 6


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_trains(command: str, project: Path, cli: Cli) -> None:
    code, out, err = cli(*shlex.split(command), *QUICK, "run.dir=run")
    assert (code, err) == (0, "")
    assert "test   " in out
    if "trainer.monitor" in command:
        assert "monitor val/f1 ↑" in out


def test_the_script_runs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = FILES["everything.py"].replace('overrides=["', 'overrides=[*QUICK, "')
    exec(compile(script, "everything.py", "exec"), {"QUICK": QUICK, "__name__": "everything"})
    assert re.search(r"^val/f1 0\.\d{3} \[", capsys.readouterr().out, re.MULTILINE)


def test_the_class_and_the_yaml_also_work_inside_trainkit(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainkit.models, "__path__", [*trainkit.models.__path__, str(project)])
    yaml = project / "conf/model/mynet.yaml"
    yaml.write_text(yaml.read_text().replace("mynet.Net", "trainkit.models.mynet.Net"))
    parts = build_parts(compose(["data=wine", "model=mynet"], config_dir=str(project / "conf")))
    assert type(parts.network.net).__module__ == "trainkit.models.mynet"  # type: ignore[union-attr]
    assert (parts.config.model.in_features, parts.config.model.num_outputs) == (13, 3)
    sys.modules.pop("trainkit.models.mynet")
    delattr(trainkit.models, "mynet")


def test_the_table_of_sizes_is_complete() -> None:
    table = README.partition("## Sizes that the data decides")[2].partition("## What a net gets")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == SIZES | (FILLED["model"] - {"spec"})
