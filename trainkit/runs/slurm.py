"""Slurm: a job that is told to stop is put back into the queue, and goes on with its run when it starts again."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig

from trainkit.rundir import RunDirectory, atomic_path

FOLDER = ".slurm"
INTERACTIVE = ("bash", "sh", "zsh", "interactive", "sys/dashboard")
"""Names of jobs in which a user sits."""

_counter = itertools.count()


def job_id(environ: Mapping[str, str] = os.environ) -> str | None:
    """Name of this batch job as ``scontrol`` takes it; None outside of one."""
    number = environ.get("SLURM_JOB_ID")
    if not number or environ.get("SLURM_JOB_NAME", "") in INTERACTIVE:
        return None
    if environ.get("SLURM_ARRAY_JOB_ID") and environ.get("SLURM_ARRAY_TASK_ID"):
        return f"{environ['SLURM_ARRAY_JOB_ID']}_{environ['SLURM_ARRAY_TASK_ID']}"
    return number


class SlurmRun:
    """A run of a batch job, by its place among those that the job's process makes.

    Args:
        config: Of the run.
    """

    def __init__(self, config: DictConfig) -> None:
        self.job = job_id()
        number = next(_counter) if self.job else 0
        self.pointer = Path(config.run.root) / FOLDER / f"{self.job}-{number}"

    def earlier(self) -> Path | None:
        """Directory of the run that this job made before it was put back into the queue; None for none."""
        if self.job is None or os.environ.get("SLURM_RESTART_COUNT", "0") == "0" or not self.pointer.is_file():
            return None
        found = Path(self.pointer.read_text(encoding="utf-8"))
        return found if RunDirectory(found).exists() else None

    def remember(self, run: RunDirectory) -> None:
        """Notes the directory for the job's next start."""
        if self.job is not None:
            self.pointer.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(self.pointer) as temporary:
                temporary.write_text(str(run.path.absolute()), encoding="utf-8")


def requeue() -> str | None:
    """Puts this job back into the queue; what came of it, for people. None outside of a batch job."""
    job = job_id()
    if job is None:
        return None
    program = shutil.which("scontrol")
    if program is None:
        return f"job {job} is not put back into the queue: there is no scontrol here"
    done = subprocess.run([program, "requeue", job], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        why = (done.stderr or done.stdout).strip() or f"scontrol ended with {done.returncode}"
        return f"job {job} is not put back into the queue: {why.splitlines()[-1]}"
    return f"job {job} is back in the queue, and goes on from there"
