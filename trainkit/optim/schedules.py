"""Learning-rate schedules per optimizer step, as closed forms of the step number."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from trainkit.errors import ConfigError, did_you_mean, one_of

SchedulerFactory = Callable[..., LRScheduler]
"""Takes an optimizer, and ``total_steps`` where its signature has it; gives a scheduler stepped per optimizer step."""

SHAPES = ("constant", "cosine")


class WarmupSchedule(LRScheduler):
    """Linear warm-up to the optimizer's learning rate, then a shape over the steps that are left.

    Args:
        optimizer: Its groups' ``lr`` is the peak.
        total_steps: Optimizer steps of the whole run.
        warmup: Warm-up in steps (an int), or as a share of the run (a float below 1).
        final: Learning rate at the end, as a share of the peak.
        shape: ``constant`` or ``cosine`` (Loshchilov & Hutter, 2017, https://arxiv.org/abs/1608.03983).

    Raises:
        ConfigError: ``warmup`` or ``final`` is out of range, or there is no such ``shape``.
    """

    def __init__(
        self, optimizer: Optimizer, total_steps: int, warmup: float = 0.0, final: float = 0.0, shape: str = "cosine"
    ) -> None:
        if shape not in SHAPES:
            what, hint = f"there is no shape '{shape}'", did_you_mean(shape, SHAPES)
            raise ConfigError(what, where="scheduler.shape", expected=one_of(SHAPES), hint=hint)
        if warmup < 0 or (isinstance(warmup, float) and warmup >= 1):
            expected = "steps as an integer ≥ 0, or a share of the run in [0, 1)"
            raise ConfigError(f"warm-up {warmup} is out of range", where="scheduler.warmup", expected=expected)
        if not 0 <= final <= 1:
            raise ConfigError(f"final share {final} is out of range", where="scheduler.final", expected="0 to 1")
        self.total_steps, self.final, self.shape = total_steps, final, shape
        self.warmup_steps = round(warmup * total_steps) if isinstance(warmup, float) else min(warmup, total_steps)
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """Share of the peak learning rate used by optimizer step ``step`` (0 is the first)."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        if self.shape == "constant":
            return 1.0
        left = max(1, self.total_steps - self.warmup_steps)
        progress = min(1.0, (step - self.warmup_steps) / left)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))

    def get_lr(self) -> list[float | Tensor]:
        """Learning rates of the groups for the step that comes next."""
        return [base * self.factor(self.last_epoch) for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers only, so that a checkpoint loads without unpickling."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs), "_step_count": self._step_count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on at the saved step; the total stays this run's own."""
        self.__dict__.update(state_dict)
        self._last_lr = self.get_lr()
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr


def cosine(
    optimizer: Optimizer | None = None, total_steps: int | None = None, *, warmup: float = 0.05, final: float = 0.0
) -> Any:
    """Warm-up, then half a cosine down to ``final`` of the peak.

    Args:
        optimizer: Left out in Python and YAML, where the result is a factory; given when the schedule is built.
        total_steps: Optimizer steps of the whole run; likewise.
        warmup: Steps (int) or share of the run (float below 1).
        final: Learning rate at the end, as a share of the peak.

    Returns:
        A scheduler, or without ``optimizer`` a factory of one.
    """
    return _schedule(optimizer, total_steps, warmup=warmup, final=final, shape="cosine")


def constant(optimizer: Optimizer | None = None, total_steps: int | None = None, *, warmup: float = 0.0) -> Any:
    """Warm-up, then the peak learning rate to the end.

    Args:
        optimizer: Left out in Python and YAML, where the result is a factory; given when the schedule is built.
        total_steps: Optimizer steps of the whole run; likewise.
        warmup: Steps (int) or share of the run (float below 1).

    Returns:
        A scheduler, or without ``optimizer`` a factory of one.
    """
    return _schedule(optimizer, total_steps, warmup=warmup, shape="constant")


def _schedule(optimizer: Optimizer | None, total_steps: int | None, **settings: Any) -> Any:
    if optimizer is None:
        name = cosine if settings.pop("shape") == "cosine" else constant
        return functools.partial(name, **settings)
    return WarmupSchedule(optimizer, total_steps or 1, **settings)


def build_scheduler(
    factory: SchedulerFactory | None, optimizer: Optimizer, total_steps: int | None
) -> LRScheduler | None:
    """Builds the schedule of a run.

    Args:
        factory: A factory, or None for no schedule.
        optimizer: Whose learning rate it drives.
        total_steps: Optimizer steps of the whole run, passed if the factory takes ``total_steps``; None if not known.

    Returns:
        The scheduler, to be stepped once per optimizer step, or None.

    Raises:
        ConfigError: The factory gives something else than a scheduler or one that needs a validation (plateau), or
            takes a total that is not known.
    """
    if factory is None:
        return None
    target = factory.func if isinstance(factory, functools.partial) else factory
    given = factory.keywords if isinstance(factory, functools.partial) else {}
    takes_total = "total_steps" in inspect.signature(target).parameters and "total_steps" not in given
    if takes_total and total_steps is None:
        raise ConfigError(
            "the number of steps of the run is not known",
            where="scheduler",
            expected="Trainer(max_steps=…), or data with a length",
            hint="a schedule without total_steps needs none",
        )
    scheduler = factory(optimizer, **({"total_steps": total_steps} if takes_total else {}))
    if not isinstance(scheduler, LRScheduler):
        found = type(scheduler).__name__
        raise ConfigError(f"the schedule is a {found}", where="scheduler", expected="a torch LRScheduler")
    if isinstance(scheduler, ReduceLROnPlateau):
        raise ConfigError(
            "ReduceLROnPlateau waits for a validation, and schedules are stepped at every optimizer step",
            where="scheduler",
            expected="a schedule of the step number, for example cosine",
        )
    return scheduler
