"""The largest micro-batch that memory takes: found by trying, on a copy of the net with the run's own optimizer."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from trainkit.data.sources import map_inputs, seeded
from trainkit.optim import build_optimizer
from trainkit.runs.inspection.trial import Learner
from trainkit.runs.parts import Parts
from trainkit.runs.train import process_memory
from trainkit.training import is_out_of_memory

SECONDS = 20.0
"""Of one step, from which larger ones are not tried."""

SHARE = 0.8
"""Of this machine's free memory that is used; one that runs out of it ends other processes."""

REFINEMENTS = 3
"""Halvings between the largest that fits and the smallest that does not."""


@dataclass(frozen=True)
class LargestBatch:
    """What fits into memory.

    Attributes:
        size: Samples of the largest micro-batch that fitted; 0 where none did.
        current: Of the run, with its ``data.batch_size`` and ``trainer.accumulate``.
        limit: What ended the search: ``memory``, ``data`` (all training samples fit) or ``time``.
        too_large: Samples of the smallest that did not fit; 0 where all did.
    """

    size: int
    current: int
    limit: str
    too_large: int = 0


def largest_batch(parts: Parts, device: torch.device) -> LargestBatch:
    """Takes optimizer steps with ever more samples; nets, tasks and random generators stay as they are.

    Args:
        parts: Of a net.
        device: Where it trains.
    """
    trainer, data = parts.config.trainer, parts.data
    current = max(1, data.batch_size // (trainer.devices * trainer.accumulate))
    most = len(data.splits.train)
    with seeded(parts.config.seed), torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        search = _Search(parts, device)
        good, size, limit = 0, min(current, most), "data"
        while True:
            if not search.fits(size):
                limit = "memory"
                break
            good = size
            if search.seconds > SECONDS:
                limit = "time"
            if limit == "time" or size == most:
                break
            size = min(2 * size, most)
        bad = size if limit == "memory" else 0
        for _ in range(REFINEMENTS if bad else 0):
            middle = (good + bad) // 2
            if middle in (good, bad):
                break
            good, bad = (middle, bad) if search.fits(middle) else (good, middle)
    return LargestBatch(good, current, limit, bad)


class _Search:
    def __init__(self, parts: Parts, device: torch.device) -> None:
        self.parts, self.device = parts, device
        self.seconds, self._per_sample = 0.0, 0.0
        self._before = process_memory()

    def fits(self, size: int) -> bool:
        """Whether an optimizer step of so many samples does; on a CPU by what smaller ones took, lest it be tried."""
        free = _free()
        if self.device.type == "cpu" and free is not None and size * self._per_sample > SHARE * free:
            return False
        started = time.perf_counter()
        try:
            self._step(size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            fitted = False
        else:
            fitted = True
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.seconds = time.perf_counter() - started
        self._per_sample = max(self._per_sample, (process_memory() - self._before) / size)
        return fitted

    def _step(self, size: int) -> None:
        data = self.parts.data
        learner = Learner(self.parts, self.device, self.parts.config.trainer.precision)
        inputs, target = data.source.fetch(data.rows("train")[:size], 0)[:2]
        modules = nn.ModuleList([learner.network, learner.task])
        optimizer = build_optimizer(self.parts.optimizer, modules)  # type: ignore[arg-type]
        batch = map_inputs(inputs, lambda tensor: tensor.to(self.device)), target.to(self.device)
        learner.backward(batch)
        optimizer.step()


def _free() -> int | None:
    """Memory of this machine that is free, in bytes; None where that is not told."""
    file = Path("/proc/meminfo")
    if not file.is_file():
        return None
    lines = (line.split() for line in file.read_text(encoding="ascii").splitlines())
    return next((1024 * int(words[1]) for words in lines if words[0] == "MemAvailable:"), None)
