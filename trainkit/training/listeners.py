"""Who listens to an optimizer step: whether Lightning's wrappers about it would do anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

WRAPPED = ("on_before_backward", "on_after_backward")
"""Hooks of callbacks that Lightning's backward calls."""

OVERRIDDEN = (
    *("manual_backward", "backward", "optimizer_step", "optimizer_zero_grad", "configure_gradient_clipping"),
    *(*WRAPPED, "on_before_optimizer_step", "on_before_zero_grad"),
)
"""Methods of a LightningModule that its own steps would not call."""

OURS = ("trainkit", "lightning")


def can_be_lean(module: Any, base: type) -> bool:
    """Whether Lightning's wrappers about backward and step would do nothing that is not done here.

    Args:
        module: A TrainModule, whose training begins.
        base: TrainModule itself; a subclass may have methods that those wrappers call.
    """
    trainer: Any = module.trainer
    plugin = trainer.precision_plugin
    is_plain = type(plugin) is Precision or (type(plugin) is MixedPrecision and plugin.scaler is None)
    is_group = type(trainer.strategy) is DDPStrategy and module.device.type == "cpu"  # on GPUs its overlap pays
    is_alone = type(trainer.strategy) is SingleDeviceStrategy
    if not (is_alone or is_group) or not is_plain or len(trainer.optimizers) != 1:
        return False
    if any(getattr(type(module), name) is not getattr(base, name) for name in OVERRIDDEN):
        return False
    return not any(overrides(callback, WRAPPED) for callback in trainer.callbacks)


def overrides(callback: L.Callback, hooks: Sequence[str]) -> bool:
    """Whether a callback's class has one of the hooks."""
    return any(getattr(type(callback), hook) is not getattr(L.Callback, hook) for hook in hooks)


def moves_weights(callback: L.Callback) -> bool:
    """Whether a callback may put other tensors in place of the weights: Lightning's averages, and any of a stranger."""
    if isinstance(callback, WeightAveraging):
        return True
    is_ours = type(callback).__module__.partition(".")[0] in OURS
    hooks = ("on_train_batch_start", "on_train_batch_end", "on_before_optimizer_step", "on_before_zero_grad")
    return not is_ours and overrides(callback, hooks)
