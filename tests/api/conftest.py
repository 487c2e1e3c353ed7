"""A working directory of the test's own, and short runs of ``fit``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import trainkit as tk

OVERRIDES = ["logger=none", "evaluation.resamples=20", "trainer.threads=1"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def clouds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module of the user's own, beside his script."""
    shutil.copy(Path(__file__).with_name("clouds.py"), folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "clouds", raising=False)
    import clouds  # type: ignore[import-not-found]

    yield clouds
    del sys.modules["clouds"]


def fit(**given: Any) -> tk.Result:
    settings: dict[str, Any] = {"max_steps": 6, "batch_size": 16, "overrides": OVERRIDES, **given}
    return tk.fit(**settings)


def run_dir(result: tk.Result) -> Path:
    assert result.run_dir is not None
    return result.run_dir


def config(result: tk.Result) -> Any:
    return yaml.safe_load((run_dir(result) / "config.yaml").read_text())
