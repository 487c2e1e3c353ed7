"""A copy of a user's own ``LightningModule`` learns one batch by heart, under Lightning's loop."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.core.optimizer import _init_optimizers_and_lr_schedulers
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves, tree_map

from trainkit.data.replay import AtStart
from trainkit.data.sources import seeded
from trainkit.errors import first_line
from trainkit.runs.devices import Devices
from trainkit.runs.inspection.eval_facts import has_dropout, layer_facts, silence_dropout
from trainkit.runs.inspection.own_schedule import own_preview
from trainkit.runs.inspection.plan_facts import Preview
from trainkit.runs.inspection.trial import (
    FEWEST_STEPS,
    LEARNED,
    MOST_STEPS,
    RAMP,
    Trial,
    heaviest_decay,
    inputs_of,
)
from trainkit.runs.own_module import UNRECORDED, run_on, train_loaders, trainer_options
from trainkit.runs.own_trial import silent
from trainkit.runs.parts import ModuleParts

SECONDS = 1.2
"""For learning one batch by heart."""

NEVER = 10**9
"""Steps or epochs between two steps of a schedule."""

NORMALISING = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.Embedding)
"""First layers that take inputs of any scale."""


@dataclass(frozen=True)
class OwnTrial:
    """What one batch showed of a module.

    Attributes:
        trial: Of the loss; None where it was not seen.
        preview: The learning rate; None where there is no schedule that can be stepped through.
        compute: Samples a second of a training step; None where fewer than two were made.
        unseen: What was not looked at, and why.
    """

    trial: Trial | None
    preview: Preview | None
    compute: float | None
    unseen: tuple[str, ...] = ()


def try_own_batch(parts: ModuleParts, devices: Devices, seconds: float = SECONDS) -> OwnTrial:
    """Learns one batch by heart on a copy; the module and random generators stay as they are.

    Args:
        parts: The module and its data; one batch has been tried before.
        devices: Where to learn.
        seconds: After which it ends, once the fewest steps were made.
    """
    try:
        module = copy.deepcopy(parts.module)
    except Exception as error:
        return OwnTrial(None, None, None, (f"learning and learning rate (no copy: {type(error).__name__})",))
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))), seeded(parts.config.seed), silent():
        watch = _Watch(parts, seconds)
        batch = first_batch(parts)
        if batch is None:
            return OwnTrial(None, None, None, ("learning and learning rate (no batch of the stream is left)",))
        trainer = L.Trainer(**_options(parts, devices, watch))
        failed = ""
        try:
            run_on(trainer.fit, module, parts, {"train": _Repeated(batch, parts.data.steps_per_epoch(), watch)})
        except Exception as error:
            failed = f"{type(error).__name__} at step {len(watch.times) + 1}: {first_line(error)}"
    return watch.outcome(failed)


def first_batch(parts: ModuleParts) -> Any:
    """The first batch of training as the run gives it; None where a stream has none left after it was tried."""
    loaders = train_loaders(parts, AtStart())
    first = next(iter(loaders), None)
    return first[0] if first is not None and hasattr(loaders, "flattened") else first


def batch_size_of(batch: Any) -> int:
    """Samples of a batch: the length of its first tensor; 1 where it has none."""
    return next((len(leaf) for leaf in tree_leaves(batch) if isinstance(leaf, Tensor) and leaf.ndim), 1)


def _options(parts: ModuleParts, devices: Devices, watch: L.Callback) -> dict[str, Any]:
    trainer = parts.config.trainer
    limits = {"max_epochs": trainer.max_epochs or -1, "max_steps": trainer.max_steps or -1}
    return trainer_options(parts, devices) | UNRECORDED | limits | {"callbacks": [watch]}


class _Repeated:
    """One batch again and again, in epochs as long as the run's."""

    def __init__(self, batch: Any, length: int, watch: _Watch) -> None:
        self.batch, self.length, self.watch = batch, length, watch

    def __len__(self) -> int:
        if self.length < 0:
            raise TypeError("the run's loader has no length")
        return self.length

    def __iter__(self) -> Iterator[Any]:
        count = 0
        while count != self.length and not self.watch.is_over():
            yield tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, self.batch)
            count += 1


class _Watch(L.Callback):
    """Sees each step, sets the learning rate, and ends the trial."""

    def __init__(self, parts: ModuleParts, seconds: float) -> None:
        self.parts, self.seconds, self.deadline = parts, seconds, math.inf
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.times: list[float] = []
        self.names: list[str] = []
        self.peaks: dict[int, list[float]] = {}
        self.preview: Preview | None = None
        self.trial = Trial(math.nan, math.nan, None, is_own=True)
        self.unseen: list[str] = []
        self.size, self.handles = 1, list[Any]()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Steps the schedules of fresh optimizers through the run, and lets the trial be as long as it needs."""
        is_automatic = pl_module.automatic_optimization
        self.is_steady = is_automatic and len(trainer.optimizers) == 1
        if is_automatic:
            optimizers, schedules = _init_optimizers_and_lr_schedulers(pl_module)
            self.preview, peaks = own_preview(self.parts, optimizers, schedules)
            self.peaks = {id(opt): peak for opt, peak in zip(trainer.optimizers, peaks, strict=True)}
            for schedule in trainer.lr_scheduler_configs:
                schedule.frequency = NEVER  # the trial sets the rate, and may be longer than the schedule
        else:
            self.unseen.append("the learning rate (optimized by hand)")
        self.trial = replace(
            self.trial,
            peak=self._peak(trainer.optimizers[0]),
            has_dropout=has_dropout(pl_module),
            weight_decay=heaviest_decay(trainer.optimizers[0]),
            **layer_facts(pl_module),
        )
        silence_dropout(pl_module)
        self._watch_inputs(pl_module)
        trainer.fit_loop.max_epochs = 10**6
        trainer.fit_loop.epoch_loop.max_steps = -1
        self.deadline = time.perf_counter() + self.seconds

    def _peak(self, optimizer: Optimizer) -> float:
        return self.peaks[id(optimizer)][0] if self.peaks else float(optimizer.param_groups[0]["lr"])

    def _watch_inputs(self, module: nn.Module) -> None:
        def see(layer: nn.Module, args: tuple[Any, ...]) -> None:
            for handle in self.handles:
                handle.remove()
            self.handles.clear()
            if args and isinstance(args[0], Tensor) and not isinstance(layer, NORMALISING):
                self.trial = inputs_of(self.trial, args[0])

        layers = [m for m in module.modules() if next(m.parameters(recurse=False), None) is not None]
        self.handles = [layer.register_forward_pre_hook(see) for layer in layers]

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The same noise at every step, so that it can be learned too."""
        torch.manual_seed(self.parts.config.seed)
        self.size = batch_size_of(batch)
        self.started = time.perf_counter()

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Sees the gradient, and raises the rate to its peak as a run with warm-up does."""
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.norms.append(float(nn.utils.get_total_norm(grads)) if grads else 0.0)
        for group, peak in zip(optimizer.param_groups, self.peaks.get(id(optimizer), ()), strict=False):
            group["lr"] = peak * min(1.0, (len(self.losses) + 1) / RAMP)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Takes the loss: what the step gives, or what it logs under a name with 'loss'."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if not isinstance(loss, Tensor):
            loss = self._logged(trainer)
        if loss is not None:
            self.losses.append(float(loss))
        self.times.append(time.perf_counter() - self.started)
        trainer.should_stop = trainer.should_stop or self.is_over()

    def _logged(self, trainer: L.Trainer) -> Tensor | None:
        values = trainer.callback_metrics
        self.names = self.names or [name for name in values if "loss" in name.lower() and not name.endswith("_epoch")]
        found = [values[name].detach().abs().sum() for name in self.names if name in values]
        return torch.stack(found).sum() if found else None

    def is_over(self) -> bool:
        """Whether it is learned, worthless, or takes too long."""
        if self.losses and not math.isfinite(self.losses[-1]):
            return True
        is_learned = len(self.losses) >= FEWEST_STEPS and 0 < self.losses[0] * LEARNED > self.losses[-1]
        is_late = len(self.times) >= FEWEST_STEPS and time.perf_counter() > self.deadline
        return is_learned or is_late or len(self.times) >= MOST_STEPS

    def outcome(self, failed: str) -> OwnTrial:
        """All that was seen."""
        trial: Trial | None = None
        if self.losses:
            trial = replace(
                self.trial,
                first_loss=self.losses[0],
                last_loss=self.losses[-1],
                highest_loss=float(np.max(self.losses)),
                num_samples=self.size,
                num_steps=len(self.losses) - 1,
                norms=np.asarray(self.norms),
                is_steady=self.is_steady and self.losses[0] > 0,
                failure=failed,
            )
        else:
            self.unseen.append(f"the loss ({failed or 'nothing with loss in its name is logged'})")
        typical = float(np.median(self.times[1:])) if len(self.times) > 1 else None
        return OwnTrial(
            trial, self.preview, None if typical is None else self.size / max(typical, 1e-9), tuple(self.unseen)
        )
