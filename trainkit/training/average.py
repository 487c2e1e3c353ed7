"""An exponential moving average of weights, as of Polyak & Juditsky (1992, https://doi.org/10.1137/0330046)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trainkit.errors import ConfigError


class WeightAverage:
    """Averages all floating-point parameters of a module, one operation for each optimizer step.

    The decay grows from 2/11 to ``decay``, as ``(1 + t) / (10 + t)`` of the update t, so that the first weights do not
    weigh on a short run. Buffers are not averaged: statistics of BatchNorm are those of the trained weights' last step.
    Averages are float32 at least.

    Args:
        decay: Share of the average that an optimizer step keeps, between 0 and 1.

    Raises:
        ConfigError: ``decay`` is out of range.
    """

    def __init__(self, decay: float) -> None:
        if not 0 < decay < 1:
            raise ConfigError(
                f"ema is {decay}", where="trainer.ema", expected="a number between 0 and 1, such as 0.999"
            )
        self.decay, self.num_updates = decay, 0
        self._params: dict[str, nn.Parameter] = {}
        self._weights, self._averages = list[Tensor](), list[Tensor]()
        self._is_narrow = False
        self._trained: list[Tensor] = []
        self._saved: dict[str, Tensor] = {}

    def begin(self, module: nn.Module) -> None:
        """Starts from the module's weights, or goes on from a loaded state; on the module's devices."""
        self._params = {name: p for name, p in module.named_parameters() if p.is_floating_point()}
        self._averages = [
            self._saved.get(name, p.detach()).to(p.device, torch.promote_types(p.dtype, torch.float32), copy=True)
            for name, p in self._params.items()
        ]
        self._weights = list(self._params.values())
        self._is_narrow = [p.dtype for p in self._weights] != [average.dtype for average in self._averages]

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights that an optimizer step has made."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        weights = self._weights
        if self._is_narrow:
            weights = [p.to(average.dtype) for p, average in zip(weights, self._averages, strict=True)]
        torch._foreach_lerp_(self._averages, weights, 1 - decay)

    def swap(self, is_used: bool) -> None:
        """Has the module compute with the average, or with the trained weights again; twice the same is once."""
        if is_used and not self._trained:
            self._trained = [p.data for p in self._params.values()]
            for p, average in zip(self._params.values(), self._averages, strict=True):
                p.data = average.to(p.dtype)
        elif not is_used and self._trained:
            for p, trained in zip(self._params.values(), self._trained, strict=True):
                p.data = trained
            self._trained = []

    def state(self) -> dict[str, Any]:
        """Plain containers and tensors, by the names of the parameters."""
        return {"num_updates": self.num_updates, "weights": dict(zip(self._params, self._averages, strict=True))}

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from ``state`` when training begins."""
        self.num_updates, self._saved = state["num_updates"], state["weights"]
