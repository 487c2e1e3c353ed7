"""What saving every 50 steps costs the training of a net of 10 million parameters under AdamW, 120 MB a file.

Stretches of 50 steps that begin with a save and such that do not come in turn, in one run: of two runs one may well be
slower by more than a save costs.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import nn

import trainkit as tk
from benchmarks.measuring import OURS, Row, rows_of

EVERY, PAIRS, BATCH_SIZE = 50, 3, 128
WITHOUT = "trainkit without"


def net() -> nn.Module:
    """Layers of 1024, 2048, 2048, 1792 and 10 units."""
    layers: list[nn.Module] = []
    for size, following in itertools.pairwise((1024, 2048, 2048, 1792)):
        layers += [nn.Linear(size, following), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(1792, 10))


class Stopwatch(L.Callback):
    """Notes the time after each stretch of steps, before what is saved there."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Called before the save."""
        if trainer.global_step % EVERY == 0:
            self.times.append(time.perf_counter())


def stretches(threads: int) -> tuple[list[float], list[float]]:
    """Milliseconds of a step in stretches that begin with a save, and in those after them."""
    watch, generator = Stopwatch(), torch.Generator().manual_seed(0)
    data = torch.randn(BATCH_SIZE * EVERY, 1024, generator=generator), torch.randint(0, 10, (BATCH_SIZE * EVERY,))
    torch.manual_seed(0)
    steps = 2 * EVERY * (PAIRS + 1)
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "printed", "w", encoding="utf-8") as printed:
        settings = [f"run.dir={folder}/run", f"data.batch_size={BATCH_SIZE}", f"trainer.max_steps={steps}"]
        settings += ["trainer.max_epochs=null", "data.val_share=0", "data.test_share=0", "evaluation.baseline=false"]
        settings += ["checkpoint.every_n_epochs=null", f"checkpoint.every_n_steps={2 * EVERY}"]
        settings += [f"trainer.threads={threads}"]
        with redirect_stdout(printed):
            tk.fit(model=net(), train=data, callbacks=[watch], overrides=settings)
    milliseconds = [(end - start) / EVERY * 1000 for start, end in itertools.pairwise(watch.times)][1:]
    return milliseconds[0::2], milliseconds[1::2]


def run(repeats: int) -> list[Row]:
    """Measures with one thread of two cores, and with both taken by the training."""
    rows = []
    for threads in (1, 2):
        case = f"10 M parameters, batch {BATCH_SIZE}, a save every {EVERY} steps, threads: {threads}"
        values: dict[str, list[float]] = {WITHOUT: [], OURS: []}
        for _ in range(repeats):
            with_saves, without = stretches(threads)
            values[OURS] += with_saves
            values[WITHOUT] += without
        rows += rows_of(case, "a step", "ms", values, WITHOUT)
        shares = [1 - without / saved for saved, without in zip(values[OURS], values[WITHOUT], strict=True)]
        ends = min(shares), max(shares)
        rows.append(Row(case, OURS, "share of the training time", statistics.median(shares), "", spread=ends))
    return rows
