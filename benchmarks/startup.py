"""Seconds until something happens: the help, a config without torch, the first optimizer step of a process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import OURS, Row, in_turn, rows_of

IMPORTS = "import torch, lightning"
ROOT = Path(__file__).resolve().parent.parent

FIRST_STEP = """
import sys, time
import lightning as L

class FirstStep(L.Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 0:
            print(f"first step {time.time()}", file=sys.stderr)
"""


def seconds(*command: str, folder: str) -> float:
    """Wall time of a command."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=folder, check=True, capture_output=True, env=_environment(folder))
    return time.perf_counter() - started


def first_step(folder: str) -> float:
    """From the start of ``trainkit fit`` to its first optimizer step."""
    Path(folder, "first_step.py").write_text(FIRST_STEP, encoding="utf-8")
    command = ["-m", "trainkit.cli", "fit", "trainer.max_epochs=1", "+callbacks.first._target_=first_step.FirstStep"]
    started = time.time()
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, check=True, capture_output=True, text=True, env=_environment(folder)
    )
    stamp = next(line for line in done.stderr.splitlines() if line.startswith("first step"))
    return float(stamp.split()[-1]) - started


def imports_torch(*arguments: str, folder: str) -> bool:
    """Whether a command imports torch."""
    command = [sys.executable, "-X", "importtime", "-m", "trainkit.cli", *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=_environment(folder))
    return any(line.rpartition("|")[2].strip() == "torch" for line in done.stderr.splitlines())


def _environment(folder: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), folder])}


def run(repeats: int) -> list[Row]:
    """Measures the commands in turn."""
    with tempfile.TemporaryDirectory() as folder:
        config = ("fit", "--cfg", "job")
        values = in_turn(
            {
                IMPORTS: lambda: seconds("-c", IMPORTS, folder=folder),
                OURS: lambda: first_step(folder),
                "trainkit --help": lambda: seconds("-m", "trainkit.cli", "--help", folder=folder),
                "trainkit fit --cfg job": lambda: seconds("-m", "trainkit.cli", *config, folder=folder),
            },
            repeats,
        )
        asked: dict[str, tuple[str, ...]] = {"trainkit --help": ("--help",), "trainkit fit --cfg job": config}
        imported = {who: imports_torch(*arguments, folder=folder) for who, arguments in asked.items()}
    first = {who: values[who] for who in (IMPORTS, OURS)}
    rows = rows_of("start", "process start to first step", "s", first, IMPORTS)
    for who in asked:
        rows += rows_of("start", "whole command", "s", {who: values[who]})
    rows += [Row("start", who, "imports of torch", float(is_so), "") for who, is_so in imported.items()]
    return rows
