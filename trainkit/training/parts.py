"""The micro-batches of an optimizer step, augmented where that is wanted; called by ``TrainModule``."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from trainkit.data.augment import Augment, samples_of
from trainkit.data.loader import Execution, Step
from trainkit.data.sources import batch_of, is_batch, slice_batch
from trainkit.errors import ConfigError

_PLACES = 40
"""Bits of a sample's number below what tells apart its repetitions, batches or processes."""


def micro_batches(
    batch: Any, step: Step, augment: Augment | None, num_classes: int | None, trainer: L.Trainer
) -> list[Any]:
    """What the loss gets of a step, one part after the other.

    A whole step is augmented at once, before it is cut, so that neither micro-batches nor the number of steps per
    execution make a difference.

    Args:
        batch: An execution, or a batch of the user's own DataLoader, on the device.
        step: One of its steps.
        augment: What is done to the samples; None for nothing.
        num_classes: Of the task; None where it has none.
        trainer: Knows the epoch, and the number of a user's own batch.

    Raises:
        ConfigError: A batch of the user's own is to be augmented, and is not (inputs, target).
    """
    if augment is None:
        if isinstance(batch, Execution):
            return list(batch.batches(step))
        return [batch] if len(step.micro_batches) == 1 else _cut(batch, step, 0)
    if isinstance(batch, Execution):
        start, stop = step.micro_batches[0][0], step.micro_batches[-1][1]
        whole = slice_batch(batch_of(batch.inputs, batch.target, batch.weight), start, stop)
        return _cut(_augmented(augment, whole, _numbers(batch)[start:stop], batch.epoch, num_classes), step, start)
    if not is_batch(batch) or not isinstance(batch[0], Tensor):
        raise ConfigError("only batches of (inputs, target) can be augmented", where="augment")
    numbers = (
        torch.arange(len(batch[1])) + (trainer.fit_loop.batch_idx << _PLACES // 2) + (trainer.global_rank << _PLACES)
    )
    return _cut(_augmented(augment, batch, numbers, trainer.current_epoch, num_classes), step, 0)


def _augmented(augment: Augment, batch: Any, numbers: Tensor, epoch: int, num_classes: int | None) -> Any:
    done = augment(samples_of(batch), numbers, epoch, num_classes)
    return batch_of(done.inputs, done.target, done.weight)


def _numbers(execution: Execution) -> Tensor:
    """Numbers that tell samples apart; of one that comes again in an epoch too."""
    rows = execution.rows
    return rows if execution.times is None else rows + (execution.times << _PLACES)


def _cut(batch: Any, step: Step, start: int) -> list[Any]:
    return [slice_batch(batch, first - start, last - start) for first, last in step.micro_batches]
