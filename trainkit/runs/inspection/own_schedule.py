"""The learning rate of a user's own ``LightningModule`` over its run, from its ``configure_optimizers``."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from torch.optim import Optimizer

from trainkit.runs.inspection.plan_facts import PREVIEW_SECONDS, Preview
from trainkit.runs.own_module import total_steps
from trainkit.runs.parts import ModuleParts


def own_preview(
    parts: ModuleParts, optimizers: list[Optimizer], schedules: list[Any], seconds: float = PREVIEW_SECONDS
) -> tuple[Preview | None, list[list[float]]]:
    """Steps schedules through the run, by optimizer step or by epoch as each asks.

    Args:
        parts: The module and its data.
        optimizers: Fresh ones, which are spent.
        schedules: Their ``LRSchedulerConfig``s; one that waits for a plateau is left as it is.
        seconds: After which it stops.

    Returns:
        The rate of the first schedule's optimizer (None where nothing is scheduled, or the length of the run is not
        known), and the largest rate of each parameter group of each optimizer.
    """
    total, per_epoch = _optimizer_steps(parts)
    steps = [schedule for schedule in schedules if not schedule.reduce_on_plateau]
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    base, rates = [float(group["lr"]) for group in groups], list[list[float]]()
    deadline = time.perf_counter() + seconds
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a schedule that is stepped without its optimizer
        for step in range(1, max(total, 1) + 1):
            rates.append([float(group["lr"]) for group in groups])
            if step < total:
                for schedule in steps:
                    _advance(schedule, step, per_epoch)
            if step % 256 == 0 and time.perf_counter() > deadline:
                break
    table = np.asarray(rates)
    peaks, start = list[list[float]](), 0
    for optimizer in optimizers:
        stop = start + len(optimizer.param_groups)
        peaks.append(table[:, start:stop].max(axis=0).tolist())
        start = stop
    if not steps or not total:
        return None, peaks
    first = next(i for i, group in enumerate(groups) if group is steps[0].scheduler.optimizer.param_groups[0])
    name = type(steps[0].scheduler).__name__
    given = float(groups[first].get("initial_lr", base[first]))
    return Preview(table[:, first], given, name, False, total, tuple(peaks[0]), is_own=True), peaks


def _optimizer_steps(parts: ModuleParts) -> tuple[int, int]:
    """Optimizer steps of the run and of an epoch; 0 where they are not known."""
    accumulate, batches, per_epoch = parts.config.trainer.accumulate, total_steps(parts), parts.data.steps_per_epoch()
    if per_epoch < 1:
        return -(-batches // accumulate), 0
    steps = -(-per_epoch // accumulate)
    epochs, rest = divmod(batches, per_epoch)
    return epochs * steps + -(-rest // accumulate), steps


def _advance(schedule: Any, step: int, per_epoch: int) -> None:
    every = max(int(schedule.frequency), 1)
    if schedule.interval == "epoch":
        if not per_epoch or step % (per_epoch * every):
            return
    elif step % every:
        return
    schedule.scheduler.step()
