"""Runs that are broken in many ways, each trained once; the command line with what it said; the tally at the end."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.faults.harness import Outcome
from trainkit.cli import main
from trainkit.rundir import RunDirectory
from trainkit.training import TrainModule

SHORT = ("data=wine", "model=mlp", "trainer.max_epochs=2", "evaluation.resamples=20", "evaluation.baseline=false")
ONE_THREAD = "trainer.threads=1"
STOPPED_AT = 6


class Said(NamedTuple):
    """What a command came to.

    Attributes:
        code: Its exit code.
        text: What it wrote to both streams.
    """

    code: int | str | None
    text: str


def call(*words: str | os.PathLike[str]) -> Said:
    """Runs the command line in this process; a bug is raised."""
    both = io.StringIO()
    code: int | str | None
    with contextlib.redirect_stdout(both), contextlib.redirect_stderr(both):
        try:
            code = main([os.fspath(word) for word in words])
        except SystemExit as stop:
            code = stop.code
    return Said(code, both.getvalue())


def trained(place: Path, *overrides: str, steps: int | None = None) -> RunDirectory:
    """A run of 8 steps, or one that a signal stopped before."""
    step = TrainModule.training_step

    def stopped(self: TrainModule, batch: Any, batch_idx: int) -> None:
        before = self.trainer.global_step
        step(self, batch, batch_idx)
        if steps is not None and before < steps <= self.trainer.global_step:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainModule, "training_step", stopped)
        said = call("fit", f"run.dir={place}", *SHORT, ONE_THREAD, *overrides)
    assert said.code == (0 if steps is None else 143), said.text
    return RunDirectory(place)


class Runs(NamedTuple):
    """Directories that no test writes into.

    Attributes:
        finished: A run.
        interrupted: The same, stopped at step 6.
        others: Both with another seed.
    """

    finished: RunDirectory
    interrupted: RunDirectory
    others: Sequence[RunDirectory]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("faults")
    many = "trainer.steps_per_execution=1", "checkpoint.every_n_steps=2", "checkpoint.keep=3"
    others = [trained(folder / f"other-{idx}", "seed=1", *many, steps=at) for idx, at in enumerate((None, STOPPED_AT))]
    finished, interrupted = trained(folder / "whole", *many), trained(folder / "cut", *many, steps=STOPPED_AT)
    return Runs(finished, interrupted, others)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command line adds the working directory


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the working directory of the test."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command line adds the working directory
    return folder


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Callable[[Outcome], None]:
    """Counts an outcome; what is recorded with a test's report reaches the summary from other processes too."""

    def count(outcome: Outcome) -> None:
        record_property("bad input", int(outcome.traceback))

    return count


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    properties = [entry for report in reports for entry in report.user_properties]
    counted = [value for name, value in properties if name == "bad input"]
    if counted:
        terminalreporter.write_line(f"bad inputs {len(counted)} · tracebacks {sum(counted)}")
    killed = [value for name, value in properties if name == "kill"]
    if killed:
        terminalreporter.write_line(f"kills {len(killed)} · identical {sum(killed)}")
