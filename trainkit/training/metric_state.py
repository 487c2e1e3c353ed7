"""What metrics have accumulated, in plain containers: for checkpoints in the middle of a window or an epoch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torchmetrics import Metric

Saved = dict[str, list[Any]]
"""Updates and state of metrics, by name."""


def save_metrics(named: Iterable[tuple[str, Metric]]) -> Saved:
    """What metrics have accumulated so far."""
    return {
        name: [metric.update_count, {key: _copied(value) for key, value in metric.metric_state.items()}]
        for name, metric in named
    }


def load_metrics(named: Iterable[tuple[str, Metric]], saved: Saved) -> None:
    """Goes on where ``save_metrics`` left off; metrics it did not know stay as they are."""
    for name, metric in named:
        if name in saved:
            metric._update_count, values = saved[name]
            for key, value in values.items():
                setattr(metric, key, _copied(value, metric.device))


def metrics_in(module: torch.nn.Module) -> list[tuple[str, Metric]]:
    """The torchmetrics metrics among a module's parts, by name."""
    return [(name, part) for name, part in module.named_modules() if isinstance(part, Metric)]


def _copied(state: Tensor | list[Tensor], device: torch.device | None = None) -> Tensor | list[Tensor]:
    """A metric's state as it is now: metrics add to their tensors and lists in place."""
    if isinstance(state, list):
        return [value.to(device or value.device) for value in state]
    return state.to(device or state.device, copy=True)


class EpochMeans:
    """What ``self.log(…, on_epoch=True)`` of a user's module has accumulated in the epoch under way.

    Lightning keeps it in no checkpoint: an epoch's mean would be that of its batches since the last resume.
    """

    def __init__(self) -> None:
        self._pending: dict[str, dict[str, Tensor]] = {}

    def state(self, trainer: L.Trainer) -> dict[str, dict[str, Tensor]]:
        """Sums (or maxima, minima) and weights by the name of Lightning's accumulator."""
        results = trainer.fit_loop.epoch_loop._results
        return {
            key: {
                name: getattr(result, name).cpu() for name in ("value", "cumulated_batch_size") if name in vars(result)
            }
            for key, result in results.items()
            if result.is_tensor and result.meta.on_epoch and not result.has_reset
        }

    def load(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Remembers a state until its accumulators are there again."""
        self._pending = dict(state)

    def add(self, trainer: L.Trainer) -> None:
        """Adds what was remembered to accumulators that the batch just ended has made."""
        if not self._pending:
            return
        for key, result in trainer.fit_loop.epoch_loop._results.items():
            for name, before in self._pending.pop(key, {}).items():
                now = getattr(result, name)
                is_extreme = result.meta.is_max_reduction or result.meta.is_min_reduction
                before = before.to(now.device)
                setattr(result, name, result.meta.reduce_fx(before, now) if is_extreme else before + now)
