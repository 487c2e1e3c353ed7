"""A Slurm job that is told to stop goes back into the queue, and its next start goes on with its run."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainkit.rundir import RunDirectory
from trainkit.runs import slurm

Cli = Callable[..., Any]
WINE = ("data=wine", "model=mlp", "data.batch_size=16", "trainer.max_epochs=4", "trainer.threads=1")
FAST = ("evaluation.resamples=5", "evaluation.baseline=false")


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``job()`` puts this process into a batch job, with a ``scontrol`` that notes what it is asked."""

    def begin(exit_code: int = 0, **environ: str) -> Path:
        program, asked = tmp_path / "bin" / "scontrol", tmp_path / "asked"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {asked}\n[ {exit_code} = 0 ] || echo "slurm: denied" >&2\nexit {exit_code}\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        monkeypatch.setattr(slurm, "_counter", itertools.count())
        for name, value in {"SLURM_JOB_ID": "71", "SLURM_JOB_NAME": "train", **environ}.items():
            monkeypatch.setenv(name, value)
        return asked

    return begin


def test_a_job_that_is_told_to_stop_goes_on_when_it_starts_again(
    cli: Cli, job: Callable[..., Path], stop_at: Callable[..., None], tmp_path: Path, assert_same_run: Any
) -> None:
    assert cli("fit", "run.dir=whole", *WINE, *FAST).code == 0
    asked = job()
    stop_at(11)
    code, out, _ = cli("fit", *WINE, *FAST)
    assert code == 128 + signal.SIGTERM
    assert "slurm  job 71 is back in the queue, and goes on from there" in out
    assert asked.read_text() == "requeue 71\n"
    stop_at(None)
    job(SLURM_RESTART_COUNT="1")
    code, out, _ = cli("fit", *WINE, *FAST)
    assert code == 0 and " continues from step-" in out
    (begun,) = (path for path in (tmp_path / "runs" / "wine").iterdir())
    assert_same_run(RunDirectory(tmp_path / "whole"), RunDirectory(begun))


def test_a_first_start_and_another_job_begin_runs_of_their_own(
    cli: Cli, job: Callable[..., Path], tmp_path: Path
) -> None:
    job()
    short = (*WINE, *FAST, "trainer.max_epochs=1")
    assert cli("fit", *short).code == 0
    job()
    assert cli("fit", *short).code == 0
    job(SLURM_JOB_ID="72", SLURM_RESTART_COUNT="1")
    assert cli("fit", *short).code == 0
    assert len(list((tmp_path / "runs" / "wine").iterdir())) == 3


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"SLURM_JOB_ID": ""}, None),
        ({"SLURM_JOB_NAME": "bash"}, None),
        ({}, "job 71 is back in the queue, and goes on from there"),
        (
            {"SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "1"},
            "job 70_1 is back in the queue, and goes on from there",
        ),
    ],
)
def test_what_is_put_back(environ: dict[str, str], told: str | None, job: Callable[..., Path]) -> None:
    job(**environ)
    assert slurm.requeue() == told


def test_what_slurm_refuses_is_told(job: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    job(exit_code=1)
    assert slurm.requeue() == "job 71 is not put back into the queue: slurm: denied"
    monkeypatch.setenv("PATH", "")
    assert slurm.requeue() == "job 71 is not put back into the queue: there is no scontrol here"
