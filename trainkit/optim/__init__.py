"""Optimizers and schedules: callables that are built on a module's parameters, and the parameter groups they get."""

from trainkit.optim.groups import parameter_groups
from trainkit.optim.muon import MuonWithAdamW
from trainkit.optim.optimizers import OptimizerFactory, adamw, build_optimizer, sgd
from trainkit.optim.schedules import (
    SchedulerFactory,
    build_scheduler,
    constant,
    cosine,
    exponential,
    multistep,
    one_cycle,
    polynomial,
    step,
    warmup_stable_decay,
)
from trainkit.optim.shapes import WarmupSchedule

__all__ = [
    "MuonWithAdamW",
    "OptimizerFactory",
    "SchedulerFactory",
    "WarmupSchedule",
    "adamw",
    "build_optimizer",
    "build_scheduler",
    "constant",
    "cosine",
    "exponential",
    "multistep",
    "one_cycle",
    "parameter_groups",
    "polynomial",
    "sgd",
    "step",
    "warmup_stable_decay",
]
