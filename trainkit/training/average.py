"""An exponential moving average of weights, as of Polyak & Juditsky (1992, https://doi.org/10.1137/0330046)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trainkit.errors import ConfigError
from trainkit.optim.flat import FlatParameters


class WeightAverage:
    """Averages all floating-point parameters of a module; flat parameters by one operation each optimizer step.

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
        self._averages: dict[str, Tensor] = {}
        self._pairs: list[tuple[Tensor, Tensor]] = []
        self._trained: list[Tensor] = []
        self._saved: dict[str, Tensor] = {}

    def begin(self, module: nn.Module) -> None:
        """Starts from the module's weights, or goes on from a loaded state; on the module's devices."""
        self._params = {name: p for name, p in module.named_parameters() if p.is_floating_point()}
        self._averages = {
            name: self._saved.get(name, p.detach()).to(p.device, _dtype_of(p), copy=True)
            for name, p in self._params.items()
        }
        self.follow(None)

    @torch.no_grad()
    def follow(self, flat: FlatParameters | None) -> None:
        """Lays the averages out as the parameters are, so that one operation updates those of a buffer.

        Args:
            flat: The flat parameters, some of the module's; None where each has memory of its own.
        """
        names = {id(p): name for name, p in self._params.items()}
        apart, self._pairs = dict(self._params), []
        for weights, params in flat.contents() if flat is not None else ():
            if not all(id(p) in names for p in params):
                continue
            averages, start = torch.empty_like(weights, dtype=_dtype_of(weights)), 0
            for p in params:
                place = torch.as_strided(averages, p.size(), p.stride(), start)
                name = names[id(p)]
                self._averages[name] = place.copy_(self._averages[name])
                start += p.numel()
                del apart[name]
            self._pairs.append((averages, weights))
        for name, p in apart.items():
            own = self._averages[name]
            if own.untyped_storage().nbytes() > own.nbytes:  # a part of a buffer that is no longer updated as one
                own = self._averages[name] = own.clone()
            self._pairs.append((own, p))

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights that an optimizer step has made."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        torch._foreach_lerp_(
            [average for average, _ in self._pairs], [p.to(average.dtype) for average, p in self._pairs], 1 - decay
        )

    def swap(self, is_used: bool) -> None:
        """Has the module compute with the average, or with the trained weights again; twice the same is once."""
        if is_used and not self._trained:
            self._trained = [p.data for p in self._params.values()]
            for name, p in self._params.items():
                p.data = self._averages[name].to(p.dtype)
        elif not is_used and self._trained:
            for p, trained in zip(self._params.values(), self._trained, strict=True):
                p.data = trained
            self._trained = []

    def state(self) -> dict[str, Any]:
        """Plain containers and tensors, by the names of the parameters."""
        return {"num_updates": self.num_updates, "weights": dict(self._averages)}

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from ``state`` when training begins."""
        self.num_updates, self._saved = state["num_updates"], state["weights"]


def _dtype_of(weights: Tensor) -> torch.dtype:
    """Of an average of such weights."""
    return torch.promote_types(weights.dtype, torch.float32)
