"""``resume_from`` for a ``LightningModule`` of the user's own, whose schedules go on as it wrote them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from trainkit.rundir import RunDirectory
from trainkit.runs.handover import put_callbacks
from trainkit.runs.own_module import total_steps
from trainkit.runs.own_training import log_interval, own_callbacks
from trainkit.runs.own_trial import Look
from trainkit.runs.parts import ModuleParts
from trainkit.runs.resume import Parent
from trainkit.training import ModuleCheckpointWriter

WRITER = ModuleCheckpointWriter.__qualname__


def take_over(parent: Parent, parts: ModuleParts) -> None:
    """Records in the new run's parts where it comes from.

    Raises:
        ConfigError: It asks for no more batches than the parent has done.
    """
    parent.record(parts, total_steps(parts))
    parent.keep_interval(parts, log_interval(replace(parts, config=parent.own_config())))


def hand_over(parent: Parent, seen: Look, run: RunDirectory, parts: ModuleParts) -> None:
    """Puts the checkpoint, the best one and the curves into the new run's directory, which then goes on by itself.

    Args:
        parent: The run to go on from.
        seen: What a trial of one batch showed.
        run: The new run's directory.
        parts: The module and its data.
    """
    state = torch.load(parent.checkpoint, map_location="cpu", weights_only=True)
    if parent.directory.status() == "completed":
        _close_epoch(state)
    put_callbacks(state, own_callbacks(parts, seen), ModuleCheckpointWriter, has_best=parent.best is not None)
    parent.write(run, state)


def _close_epoch(state: dict[str, Any]) -> None:
    """Goes on with the next epoch where a run ended amid one, by ``max_steps``: it had closed that one."""
    writer = state["callbacks"][WRITER]
    epoch, position, step = writer["position"]
    epoch += position > 0
    writer["position"] = [epoch, 0, step]
    loop = state["loops"]["fit_loop"]
    for counts in loop["epoch_progress"].values():
        counts |= dict.fromkeys(("ready", "started", "processed", "completed"), epoch)
