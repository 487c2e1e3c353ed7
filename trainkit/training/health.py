"""What goes wrong without a word while a net trains: a loss that jumps, and parameters that get no gradient."""

from __future__ import annotations

import math
import statistics
from collections import Counter, deque
from collections.abc import Callable
from typing import Self

import torch
from torch import nn

WINDOWS, FEWEST = 10, 5
"""Logged losses that a new one is compared with."""

SPIKE, BEYOND = 3.0, 0.5
"""A loss has jumped at so many times the median of the last ones, and at so much of their range above the highest."""

DEAD_LOOKS = 5
"""Looks in a row at which a parameter had a gradient of 0."""

TOLD = 3
"""Times that each is told in a run."""


class Health:
    """Looks at each logged loss, and at the gradients of the step before.

    Args:
        tell: Told what is found.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self._losses: deque[float] = deque(maxlen=WINDOWS)
        self._zeros: Counter[str] = Counter()
        self._spikes = 0
        self._told: set[str] = set()

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: a copy of a module, as averages make it, is of the same run."""
        return self

    def see_loss(self, step: int, loss: float) -> None:
        """Takes in the loss of a logged window.

        Args:
            step: Optimizer steps done.
            loss: Mean over the window.
        """
        if len(self._losses) >= FEWEST and self._spikes < TOLD:
            usual = statistics.median(self._losses)
            highest, lowest = max(self._losses), min(self._losses)
            if loss > SPIKE * abs(usual) and loss > highest + BEYOND * (highest - lowest):
                self._spikes += 1
                self.tell(f"the loss jumped to {loss:.3g} at step {step:,}, after {usual:.3g} before")
                return
        if math.isfinite(loss):
            self._losses.append(loss)

    @torch.no_grad()
    def see_gradients(self, step: int, model: nn.Module) -> None:
        """Looks at the gradients of a step, before they are set to 0.

        Args:
            step: Optimizer steps done with it.
            model: What trains.
        """
        named = [(name, p.grad) for name, p in model.named_parameters() if p.requires_grad and p.grad is not None]
        if not named:
            return
        peaks = torch.stack([grad.detach().abs().max() for _, grad in named if grad.numel()]).tolist()
        for (name, _), peak in zip([entry for entry in named if entry[1].numel()], peaks, strict=True):
            self._zeros[name] = self._zeros[name] + 1 if peak == 0 else 0
        dead = [name for name, count in self._zeros.items() if count >= DEAD_LOOKS and name not in self._told]
        if dead and len(self._told) < TOLD:
            self._told.update(dead)
            more = f" and {len(dead) - 1} more" if len(dead) > 1 else ""
            self.tell(f"{dead[0]}{more} got a gradient of 0 at each of {DEAD_LOOKS} looks up to step {step:,}: dead?")
