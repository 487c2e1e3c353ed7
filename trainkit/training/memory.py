"""Out of memory: the micro-batch is halved and accumulated, so that batch and schedule stay what they are."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Self, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainkit.data.loader import Step

Made = TypeVar("Made")

SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""In messages of torch's that are of no class of their own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory of a device, or of this machine, was not enough."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


class MemoryGuard:
    """Cuts micro-batches in two as often as memory has run out.

    Args:
        tell: Told of each time.
        can_cut: Whether steps may be cut; processes that share one would have to agree.

    Attributes:
        halvings: Times that it ran out in the run, those before a resume included.
    """

    def __init__(self, tell: Callable[[str], None], can_cut: bool = True) -> None:
        self.tell, self.can_cut, self.halvings = tell, can_cut, 0

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: a copy of a module, as averages make it, is of the same run."""
        return self

    def cut(self, step: Step) -> Step:
        """A step with its micro-batches cut, none smaller than a sample."""
        if not self.halvings:
            return step
        pieces = []
        for start, stop in step.micro_batches:
            parts = min(2**self.halvings, stop - start)
            edges = [start + (stop - start) * part // parts for part in range(parts + 1)]
            pieces += list(itertools.pairwise(edges))
        return replace(step, micro_batches=tuple(pieces))

    def within(
        self, work: Callable[[Step], Made], step: Step, number: int, model: nn.Module, clean: Callable[[], None]
    ) -> Made:
        """Carries out the arithmetic of a step, in smaller pieces if memory runs out.

        Args:
            work: Takes the step as it is cut.
            step: As the loader cut it.
            number: Of the step, from 1.
            model: Looked through for BatchNorm.
            clean: Drops what was left half done.
        """
        while True:
            given = self.cut(step)
            try:
                return work(given)
            except (RuntimeError, MemoryError) as error:
                largest = max(stop - start for start, stop in given.micro_batches)
                if not is_out_of_memory(error) or not self.can_cut or largest < 2:
                    raise
            # Outside of the except block: the error holds the tensors of the pass that failed.
            self.halvings += 1
            clean()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._say(self.cut(step), number, largest, model)

    def _say(self, step: Step, number: int, before: int, model: nn.Module) -> None:
        size, count = max(stop - start for start, stop in step.micro_batches), len(step.micro_batches)
        text = f"out of memory at step {number:,}: {count} micro-batches of {size} from here, not {before}"
        text += "; batch, schedule and number of steps stay as they are"
        if any(isinstance(module, _BatchNorm) for module in model.modules()):
            text += f", but BatchNorm now sees {size} samples at a time"
        self.tell(f"{text} (trainer.accumulate={count} begins so)")
