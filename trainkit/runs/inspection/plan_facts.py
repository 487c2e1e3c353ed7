"""Plain facts about the plan of a run: its learning rate step by step, what is watched, and how batches are cut."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from trainkit.optim import WarmupSchedule, build_optimizer, build_scheduler
from trainkit.runs.check import logged_names, monitored
from trainkit.runs.observers import build_callbacks
from trainkit.runs.parts import Parts
from trainkit.runs.schedule import RunSchedule, run_schedule

SWINGING = ("Cyclic", "Restarts")
"""In the names of schedules that are meant to go up and down."""

PREVIEW_SECONDS = 1.0
"""For stepping the schedule through the run; some 100,000 steps."""


@dataclass(frozen=True)
class Preview:
    """The learning rate of the first parameter group over the run.

    Attributes:
        rates: float64 [steps], the rate that each optimizer step uses.
        base: What the optimizer was given.
        schedule: Name of the schedule; empty for none.
        is_constant: Whether the schedule is meant to stay at its peak.
        num_steps: Optimizer steps of the run; more than ``rates`` where the run is too long to step through.
        peaks: Largest rate of each parameter group.
        is_own: Whether a ``LightningModule`` of the user's own asks for it.
    """

    rates: np.ndarray
    base: float
    schedule: str
    is_constant: bool
    num_steps: int
    peaks: tuple[float, ...] = ()
    is_own: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the end of the run was reached."""
        return len(self.rates) == self.num_steps

    @property
    def peak(self) -> float:
        """Largest rate."""
        return float(self.rates.max())


@dataclass(frozen=True)
class Watcher:
    """Something that looks at a logged value.

    Attributes:
        where: Its config key or class.
        monitor: The value's name.
        mode: ``min`` or ``max``: which way it takes for better.
        better: Which way really is better; empty where that is not known.
        patience: Validations without improvement after which it ends the run; None if it does not.
    """

    where: str
    monitor: str
    mode: str
    better: str = ""
    patience: int | None = None


@dataclass(frozen=True)
class PlanFacts:
    """What the rules on the plan look at.

    Attributes:
        preview: The learning rate.
        watchers: What looks at a logged value, the choice of the best epoch first.
        num_validations: Validations of the run; 0 without a validation part.
        steps_per_epoch: Optimizer steps of an epoch.
        batch_size: Samples of an optimizer step.
        micro_batch: Samples of a forward pass.
        num_train: Training samples.
        majority: Share of the commonest class in training; 0 for a number.
        has_batch_norm: Whether the net normalises over the batch.
        logged: Names of what is logged.
        log_every: Optimizer steps between logged values.
    """

    preview: Preview
    watchers: tuple[Watcher, ...] = ()
    num_validations: int = 0
    steps_per_epoch: int = 1
    batch_size: int = 1
    micro_batch: int = 1
    num_train: int = 1
    majority: float = 0.0
    has_batch_norm: bool = False
    logged: tuple[str, ...] = field(default=())
    log_every: int = 1


def plan_facts(parts: Parts) -> PlanFacts:
    """Works out the plan of a run.

    Args:
        parts: Of a net.
    """
    assert parts.network is not None
    schedule, data, trainer = run_schedule(parts), parts.data, parts.config.trainer
    targets = data.targets("train")
    counts = np.bincount(targets) if data.spec.target_kind == "class" else np.zeros(1)
    return PlanFacts(
        preview=preview(parts, schedule),
        watchers=tuple(_watchers(parts, build_callbacks(parts))),
        num_validations=_num_validations(schedule) if len(data.splits.val) else 0,
        steps_per_epoch=schedule.steps_per_epoch,
        batch_size=data.batch_size,
        micro_batch=data.batch_size // (trainer.devices * trainer.accumulate),
        num_train=len(data.splits.train),
        majority=float(counts.max() / len(targets)),
        has_batch_norm=any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in parts.network.modules()),
        logged=tuple(_logged(parts)),
        log_every=schedule.log_every,
    )


def preview(parts: Parts, schedule: RunSchedule, seconds: float = PREVIEW_SECONDS) -> Preview:
    """Steps the schedule through the run; the net is not touched.

    Args:
        parts: Of a net.
        schedule: Its steps.
        seconds: After which it stops.
    """
    assert parts.network is not None and parts.optimizer is not None
    optimizer = build_optimizer(parts.optimizer, nn.ModuleList([parts.network, parts.task]))
    base = float(optimizer.param_groups[0]["lr"])
    scheduler = build_scheduler(parts.scheduler, optimizer, schedule.total_steps)
    waits = isinstance(scheduler, ReduceLROnPlateau)  # for values that only the training has
    deadline, rates, total = time.perf_counter() + seconds, [], schedule.total_steps
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a schedule that is stepped without its optimizer
        for step in range(total):
            rates.append([float(group["lr"]) for group in optimizer.param_groups])
            if scheduler is not None and not waits and step < total - 1:
                scheduler.step()
            if step % 256 == 255 and time.perf_counter() > deadline:
                break
    table = np.asarray(rates)
    is_flat = isinstance(scheduler, WarmupSchedule) and scheduler.shape == "constant"
    is_constant = scheduler is None or waits or is_flat
    return Preview(table[:, 0], base, _name(parts, scheduler), is_constant, total, tuple(map(float, table.max(axis=0))))


def _name(parts: Parts, scheduler: Any) -> str:
    """The schedule as the user chose it; its class where that says that the rate is meant to swing."""
    if scheduler is None:
        return ""
    if isinstance(scheduler, WarmupSchedule):
        return scheduler.shape
    kind, section = type(scheduler).__name__, parts.config.get("scheduler")
    if parts.live.scheduler is not None or not section or any(word in kind for word in SWINGING):
        return kind
    return str(section["_target_"]).rpartition(".")[2]


def _num_validations(schedule: RunSchedule) -> int:
    plan, total = schedule.plan, schedule.total_steps
    by_epoch = plan.val_every_n_epochs * schedule.steps_per_epoch if plan.val_every_n_epochs else total
    return -(-total // (plan.val_every_n_steps or by_epoch))


def _watchers(parts: Parts, callbacks: list[L.Callback]) -> list[Watcher]:
    better = _better(parts)
    name, mode = monitored(parts)
    found = [Watcher("trainer.mode", name, mode, better.get(name, ""))] if name else []
    for callback in callbacks:
        watched: Any = callback
        value, way = getattr(watched, "monitor", None), getattr(watched, "mode", None)
        if isinstance(value, str) and way in ("min", "max"):
            patience = watched.patience if isinstance(callback, EarlyStopping) else None
            where = f"callbacks, {type(callback).__name__}"
            found.append(Watcher(where, value, way, better.get(value, ""), patience))
    return found


def _better(parts: Parts) -> dict[str, str]:
    """The better direction of each logged value, as its metric states it."""
    known = {"train/loss": "min", "val/loss": "min"}
    for part, metrics in (("train", parts.task.train_metrics()), ("val", parts.task.metrics())):
        for name, metric in metrics.items():
            if metric.higher_is_better is not None:
                known[f"{part}/{name}"] = "max" if metric.higher_is_better else "min"
    return known


def _logged(parts: Parts) -> list[str]:
    has_val = bool(len(parts.data.splits.val))
    names = [name for name in logged_names(parts) if has_val or not name.startswith("val/")]
    return [*names, "lr", "grad_norm"]
