"""The README's scripts, run verbatim in an empty folder with the installed wheel."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from trainkit.rundir import RunDirectory

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = ("config", "overrides", "environment", "splits", "last", "best", "weights", "metrics", "predictions", "report")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with nothing but the README's files."""
    for name, content in BLOCK.findall(README):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
    assert {path.name for path in tmp_path.rglob("*.*")} == {"own.py", "train.py", "train.yaml", "bare.py", "gan.py"}
    return tmp_path


def the_run(folder: Path, name: str) -> RunDirectory:
    """The one finished run below ``runs/name``, with every file that a run leaves."""
    (result,) = folder.glob(f"runs/{name}/*/result.json")
    run = RunDirectory(result.parent)
    missing = [file for file in (*FILES, "model_card") if not getattr(run, file).is_file()]
    assert missing == []
    assert list(run.path.glob("events.out.tfevents.*"))
    assert json.loads(result.read_text(encoding="utf-8"))["status"] == "completed"
    return run


def test_own_script(folder: Path, run: Callable[..., str]) -> None:
    out = run(folder / "own.py")
    directory = the_run(folder, "scans")
    assert re.search(r"^0\.\d{3} \[0\.\d{3}, 0\.\d{3}\] runs/scans/", out, re.MULTILINE)
    assert "row prediction       p_0" in out
    assert (
        json.loads(directory.result.read_text(encoding="utf-8"))["metrics"]["test"]["accuracy"]["value"] > 0.8
    )  # its net starts from weights of no seed


def test_hydra_script(folder: Path, run: Callable[..., str]) -> None:
    run(folder / "train.py")
    result = json.loads(the_run(folder, "digits").result.read_text(encoding="utf-8"))
    assert result["epochs"] == 5
    assert result["metrics"]["test"]["accuracy"]["value"] > 0.9


def test_bare_module_script(folder: Path, run: Callable[..., str]) -> None:
    value = re.search(r"tensor\((0\.\d+)", run(folder / "bare.py"))
    assert value is not None
    assert float(value[1]) > 0.95


def test_module_script(folder: Path, run: Callable[..., str]) -> None:
    assert "completed 60\n" in run(folder / "gan.py")
    (directory,) = (folder / "runs" / "tensordataset").iterdir()
    curves = (directory / "metrics.csv").read_text(encoding="utf-8")
    assert "generator_loss" in curves and (directory / "report.html").is_file()
