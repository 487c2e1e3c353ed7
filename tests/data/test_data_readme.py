"""The example of the page on adding a data set, run as it stands there."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trainkit.data
from trainkit.rundir import RunDirectory, read_json

README = (Path(trainkit.data.__file__).parent / "README.md").read_text(encoding="utf-8")
FILE = re.compile(r"^`([\w./]+)`[^\n]*\n```\w*\n(.*?)```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^```\n(trainkit .*)\n```$", re.MULTILINE)
QUICK = ("evaluation.resamples=20", "logger=none", "trainer.threads=1")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILE.findall(README):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.delitem(sys.modules, "waves", raising=False)
    return tmp_path


def test_the_example_works_as_pasted(cli: Callable[..., Any], project: Path) -> None:
    assert [str(path.relative_to(project)) for path in sorted(project.rglob("*")) if path.is_file()] == [
        *("conf/.trainkit", "conf/data/waves.yaml", "waves.py"),
    ]
    (command,) = COMMAND.findall(README)
    code, out, err = cli(*command.split()[1:], *QUICK, "run.dir=run")
    assert (code, err) == (0, "")
    assert "data   waves 300 signals 1×64\n" in out
    result = read_json(RunDirectory(project / "run").result)
    assert result["metrics"]["test"]["auroc"]["value"] > 0.6
    code, out, err = cli("evaluate", "run", "--trust", "waves")
    assert (code, err) == (0, "")
    assert "data   the run's own data, unchanged\n" in out


def test_the_other_ways_that_are_named_work(cli: Callable[..., Any], project: Path) -> None:
    (project / "conf" / ".trainkit").unlink()
    words = ("data=waves", "model=mlp", "trainer.max_steps=2", *QUICK)
    assert cli("fit", "--config-dir", "conf", *words, "run.dir=one").code == 0
    refused = cli("fit", *words, "run.dir=two")
    assert refused.code == 2
    import waves  # type: ignore[import-not-found]

    overrides = ["trainer.max_steps=2", "run.dir=three", *QUICK]
    assert trainkit.fit(data=waves.Waves(noise=0.3), model="mlp", overrides=overrides).status == "completed"


def test_what_it_says_of_shapes_is_so() -> None:
    from trainkit.types import DataSpec, InputKind

    rows = re.findall(r"^\| (\[N.*?\]) \| (\w+) \| (.*) \|$", README, re.MULTILINE)
    assert len(rows) == 3
    kinds: dict[str, InputKind] = {"vector": "vector", "signal": "signal", "image": "image"}
    for shape, kind, sizes in rows:
        spec = DataSpec(kinds[kind], (3,) * shape.count(","), "number")
        assert set(re.findall(r"`(\w+)`", sizes)) <= set(spec.sizes())
