"""What a run that goes on from another one's checkpoint changes in it: the epoch, the callbacks and the schedule."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from trainkit.optim import WarmupSchedule, build_optimizer, build_scheduler
from trainkit.runs.check import monitored
from trainkit.runs.parts import Parts
from trainkit.runs.schedule import run_schedule
from trainkit.runs.trainers import train_module
from trainkit.training import CheckpointWriter

SEEN_BY_PLATEAU = {"best", "num_bad_epochs", "cooldown_counter", "last_epoch", "_last_lr"}
"""Of the state of ``ReduceLROnPlateau``: what it has seen, in contrast to its settings."""


def put_epoch(state: dict[str, Any]) -> None:
    """Counts epochs as they stood after the last step: a run that ended there has closed its epoch, even a part of one.

    Otherwise Lightning would call the rest of that epoch the next one.
    """
    epoch, position, _ = state["callbacks"][CheckpointWriter.__qualname__]["position"]
    begun = epoch + (position > 0)
    loop = state["loops"]["fit_loop"]
    loop["epoch_loop.batch_progress"]["is_last_batch"] = position == 0
    for counts in loop["epoch_progress"].values():
        counts |= {"ready": begun, "started": begun, "processed": begun - 1, "completed": begun - 1}
    state["epoch"] = begun - 1


def put_callbacks(
    state: dict[str, Any], callbacks: Sequence[L.Callback], writer_kind: type[CheckpointWriter], has_best: bool
) -> None:
    """Leaves the state of callbacks that are gone, and takes the settings of those that stay from the new config."""
    states = state["callbacks"]
    writer = states[writer_kind.__qualname__] | {"stopped": False}
    if not has_best:
        writer["best"] = None
    kept = {c.state_key: dict(states[c.state_key]) for c in callbacks if c.state_key in states}
    for callback in callbacks:
        if isinstance(callback, EarlyStopping) and callback.state_key in kept:
            kept[callback.state_key]["patience"] = callback.patience
    state["callbacks"] = kept | {writer_kind.__qualname__: writer}


def put_schedule(state: dict[str, Any], parts: Parts, step: int) -> None:
    """Puts the new run's schedule in place of the parent's, at the step reached.

    What a plateau schedule has seen, and the rates that it came to, are kept.
    """
    schedule = run_schedule(parts)
    optimizer = build_optimizer(parts.optimizer, train_module(parts, schedule))  # type: ignore[arg-type]
    scheduler = build_scheduler(parts.scheduler, optimizer, schedule.total_steps, monitored(parts)[1])
    was: dict[str, Any] = next(iter(state["lr_schedulers"]), {})
    state["lr_schedulers"] = []
    kept = {"params"}
    if isinstance(scheduler, ReduceLROnPlateau):
        seen = {name: was[name] for name in SEEN_BY_PLATEAU if was.keys() >= SEEN_BY_PLATEAU}
        kept |= {"lr"} if seen else set()
        state["lr_schedulers"] = [scheduler.state_dict() | seen]
    elif scheduler is not None:
        advance(scheduler, step)
        state["lr_schedulers"] = [scheduler.state_dict()]
    for saved, group in zip(state["optimizer_states"][0]["param_groups"], optimizer.param_groups, strict=True):
        saved.update({key: value for key, value in group.items() if key not in kept})


def advance(scheduler: LRScheduler, step: int) -> None:
    """Steps a fresh schedule to where it stands after ``step`` optimizer steps."""
    if isinstance(scheduler, WarmupSchedule):
        scheduler.load_state_dict(scheduler.state_dict() | {"last_epoch": step, "_step_count": step + 1})
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step\\(\\)` before")
        for _ in range(step):
            scheduler.step()
