"""What a run is made of: objects given in Python, and the objects built from a config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig
from torch import nn

from trainkit.data import DataModule
from trainkit.data.augment import Augment
from trainkit.models import Network
from trainkit.optim import OptimizerFactory, SchedulerFactory
from trainkit.tasks import Task

LIVE_SECTIONS = ("model", "module", "data", "task", "optimizer", "scheduler")
"""Sections of a config that an object can stand in for."""


@dataclass
class LiveObjects:
    """Objects that a script handed to ``fit``; each stands in for a section of the config.

    Attributes:
        model: A net.
        module: A LightningModule of the user's own, in place of model, task, optimizer and scheduler.
        data: A data module.
        task: A task.
        optimizer: Takes parameter groups, gives an optimizer.
        scheduler: Takes an optimizer, gives a scheduler.
        callbacks: Lightning callbacks beside those of the config.
        loggers: Lightning loggers beside those of the config.
        named: ``section=target`` of what was given as a class, function or partial and stands in the config.
    """

    model: nn.Module | None = None
    module: L.LightningModule | None = None
    data: DataModule | None = None
    task: Task | None = None
    optimizer: OptimizerFactory | None = None
    scheduler: SchedulerFactory | None = None
    callbacks: Sequence[Callback] = ()
    loggers: Sequence[Logger] = ()
    named: Sequence[str] = ()

    def sections(self) -> set[str]:
        """Names of the config's sections that are replaced."""
        return {name for name in LIVE_SECTIONS if getattr(self, name) is not None}


@dataclass
class RunParts:
    """What every run is built of.

    Attributes:
        config: The config with every size filled in.
        data: Set up.
        live: Objects that a script handed over.
        notes: Lines to tell the user, such as why a model was chosen.
        lineage: The run that this one comes from, as ``environment.json`` records it; None for none.
    """

    config: DictConfig
    data: DataModule
    live: LiveObjects = field(default_factory=LiveObjects, kw_only=True)
    notes: dict[str, str] = field(default_factory=dict, kw_only=True)
    lineage: dict[str, Any] | None = field(default=None, kw_only=True)


@dataclass
class ModuleParts(RunParts):
    """A run of a LightningModule of the user's own.

    Attributes:
        module: Trained as it is.
    """

    module: L.LightningModule


@dataclass
class Parts(RunParts):
    """A run of a net or of a classical model on a task.

    Attributes:
        task: What is learned.
        network: The net behind its preprocessing; None for a classical model.
        estimator: A scikit-learn estimator; None for a net.
        optimizer: Takes parameter groups.
        scheduler: Takes the optimizer; None for none.
        augment: What is done to training samples; None for nothing.
    """

    task: Task
    network: Network | None = None
    estimator: Any = None
    optimizer: OptimizerFactory | None = None
    scheduler: SchedulerFactory | None = None
    augment: Augment | None = None


def trained_net(parts: RunParts) -> nn.Module | None:
    """What is trained and takes weights: the net, or the user's own LightningModule; None for a classical model."""
    if isinstance(parts, ModuleParts):
        return parts.module
    assert isinstance(parts, Parts)
    return None if parts.network is None else parts.network.net
