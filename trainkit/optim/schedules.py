"""Learning-rate schedules per optimizer step: what a user hands over in Python or YAML, and how one is built."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from trainkit.errors import ConfigError
from trainkit.optim.shapes import (
    ExponentialSchedule,
    OneCycleSchedule,
    PolynomialSchedule,
    Span,
    StableSchedule,
    StepSchedule,
    WarmupSchedule,
)

SchedulerFactory = Callable[..., LRScheduler]
"""Takes an optimizer, and ``total_steps`` where its signature has it; gives a scheduler stepped per optimizer step."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _factory(function: _Function) -> _Function:
    """Without an optimizer, the function gives a factory that waits for it."""

    @functools.wraps(function)
    def build(optimizer: Optimizer | None = None, total_steps: int | None = None, **settings: Any) -> Any:
        if optimizer is None:
            bound = inspect.signature(function).bind_partial(**settings)  # a misspelt setting is told here
            bound.apply_defaults()
            return functools.partial(build, **bound.kwargs)
        return function(optimizer, total_steps, **settings)

    return cast(_Function, build)


@_factory
def constant(optimizer: Any = None, total_steps: int | None = None, *, warmup: Span = 0.0) -> Any:
    """Warm-up, then the peak learning rate to the end.

    Args:
        optimizer: Left out in Python and YAML, where the result is a factory; given when the schedule is built.
        total_steps: Optimizer steps of the whole run; likewise.
        warmup: Steps (int) or share of the run (float below 1).

    Returns:
        A scheduler, or without ``optimizer`` a factory of one.
    """
    return WarmupSchedule(optimizer, total_steps or 1, warmup=warmup, shape="constant")


@_factory
def cosine(optimizer: Any = None, total_steps: int | None = None, *, warmup: Span = 0.05, final: float = 0.0) -> Any:
    """Warm-up, then half a cosine down to ``final`` of the peak (Loshchilov & Hutter, 2017, https://arxiv.org/abs/1608.03983).

    Args:
        optimizer: Left out in Python and YAML, where the result is a factory; given when the schedule is built.
        total_steps: Optimizer steps of the whole run; likewise.
        warmup: Steps (int) or share of the run (float below 1).
        final: Learning rate at the end, as a share of the peak.

    Returns:
        A scheduler, or without ``optimizer`` a factory of one.
    """
    return WarmupSchedule(optimizer, total_steps or 1, warmup=warmup, final=final)


@_factory
def polynomial(
    optimizer: Any = None,
    total_steps: int | None = None,
    *,
    warmup: Span = 0.05,
    final: float = 0.0,
    power: float = 1.0,
) -> Any:
    """Warm-up, then ``(1 - progress) ** power`` down to ``final`` of the peak; a straight line with power 1.

    Args:
        optimizer: Left out in Python and YAML, where the result is a factory; given when the schedule is built.
        total_steps: Optimizer steps of the whole run; likewise.
        warmup: Steps (int) or share of the run (float below 1).
        final: Learning rate at the end, as a share of the peak.
        power: Above 0.

    Returns:
        A scheduler, or without ``optimizer`` a factory of one.
    """
    return PolynomialSchedule(optimizer, total_steps or 1, warmup=warmup, final=final, power=power)


@_factory
def exponential(
    optimizer: Any = None, total_steps: int | None = None, *, warmup: Span = 0.05, final: float = 0.01
) -> Any:
    """Warm-up, then the same factor at each step, down to ``final`` of the peak at the end.

    Args:
        optimizer: Left out in Python and YAML, where the result is a factory; given when the schedule is built.
        total_steps: Optimizer steps of the whole run; likewise.
        warmup: Steps (int) or share of the run (float below 1).
        final: Learning rate at the end, as a share of the peak, above 0.

    Returns:
        A scheduler, or without ``optimizer`` a factory of one.
    """
    return ExponentialSchedule(optimizer, total_steps or 1, warmup=warmup, final=final)


@_factory
def step(
    optimizer: Any = None, total_steps: int | None = None, *, warmup: Span = 0.0, every: Span = 0.3, gamma: float = 0.1
) -> Any:
    """Warm-up, and a factor ``gamma`` each time ``every`` steps have gone by.

    Args:
        optimizer: Left out in Python and YAML, where the result is a factory; given when the schedule is built.
        total_steps: Optimizer steps of the whole run; likewise.
        warmup: Steps (int) or share of the run (float below 1).
        every: Steps (int) or share of the run (float below 1), counted from the start of the run.
        gamma: Factor, above 0 and up to 1.

    Returns:
        A scheduler, or without ``optimizer`` a factory of one.
    """
    return StepSchedule(optimizer, total_steps or 1, warmup=warmup, milestones=every, gamma=gamma)


@_factory
def multistep(
    optimizer: Any = None,
    total_steps: int | None = None,
    *,
    warmup: Span = 0.0,
    milestones: Sequence[Span] = (0.5, 0.75),
    gamma: float = 0.1,
) -> Any:
    """Warm-up, and a factor ``gamma`` at each milestone.

    Args:
        optimizer: Left out in Python and YAML, where the result is a factory; given when the schedule is built.
        total_steps: Optimizer steps of the whole run; likewise.
        warmup: Steps (int) or share of the run (float below 1).
        milestones: Steps (int) or shares of the run (floats below 1), counted from the start of the run.
        gamma: Factor, above 0 and up to 1.

    Returns:
        A scheduler, or without ``optimizer`` a factory of one.
    """
    return StepSchedule(optimizer, total_steps or 1, warmup=warmup, milestones=list(milestones), gamma=gamma)


@_factory
def warmup_stable_decay(
    optimizer: Any = None,
    total_steps: int | None = None,
    *,
    warmup: Span = 0.05,
    decay: Span = 0.2,
    final: float = 0.0,
    decay_shape: str = "linear",
) -> Any:
    """Warm-up, the peak for most of the run, and a decay at its end (WSD; Hu et al., 2024, https://arxiv.org/abs/2404.06395).

    Args:
        optimizer: Left out in Python and YAML, where the result is a factory; given when the schedule is built.
        total_steps: Optimizer steps of the whole run; likewise.
        warmup: Steps (int) or share of the run (float below 1).
        decay: The decay, in steps (int) or as a share of the run (float below 1).
        final: Learning rate at the end, as a share of the peak.
        decay_shape: ``linear``, ``cosine`` or ``sqrt`` (Hägele et al., 2024, https://arxiv.org/abs/2405.18392).

    Returns:
        A scheduler, or without ``optimizer`` a factory of one.
    """
    return StableSchedule(optimizer, total_steps or 1, warmup=warmup, decay=decay, final=final, decay_shape=decay_shape)


@_factory
def one_cycle(
    optimizer: Any = None,
    total_steps: int | None = None,
    *,
    warmup: Span = 0.3,
    initial: float = 0.04,
    final: float = 4e-6,
    momentum: Sequence[float] | None = (0.85, 0.95),
) -> Any:
    """Half a cosine up to the peak and another down, the momentum the other way (Smith & Topin, 2019, https://arxiv.org/abs/1708.07120).

    Args:
        optimizer: Left out in Python and YAML, where the result is a factory; given when the schedule is built.
        total_steps: Optimizer steps of the whole run; likewise.
        warmup: The way up, in steps (int) or as a share of the run (float below 1).
        initial: Learning rate of the first step, as a share of the peak.
        final: Learning rate at the end, as a share of the peak.
        momentum: Momentum (first beta) at the peak rate and at the ends; None leaves the optimizer's own.

    Returns:
        A scheduler, or without ``optimizer`` a factory of one.
    """
    return OneCycleSchedule(optimizer, total_steps or 1, warmup=warmup, initial=initial, final=final, momentum=momentum)


def build_scheduler(
    factory: SchedulerFactory | None, optimizer: Optimizer, total_steps: int | None, mode: str = "min"
) -> LRScheduler | None:
    """Builds the schedule of a run.

    Args:
        factory: A factory, or None for no schedule.
        optimizer: Whose learning rate it drives.
        total_steps: Optimizer steps of the whole run, passed if the factory takes ``total_steps``; None if not known.
        mode: ``min`` or ``max``, the better direction of the monitored value, for ``ReduceLROnPlateau``.

    Returns:
        The scheduler, or None. It is to be stepped once per optimizer step, ``ReduceLROnPlateau`` with the monitored
        value after each validation.

    Raises:
        ConfigError: The factory gives something else than a scheduler, or takes a total that is not known.
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
    settings: dict[str, Any] = {"total_steps": total_steps} if takes_total else {}
    if target is ReduceLROnPlateau and "mode" not in given:
        settings["mode"] = mode
    scheduler = factory(optimizer, **settings)
    if not isinstance(scheduler, LRScheduler):
        found = type(scheduler).__name__
        raise ConfigError(f"the schedule is a {found}", where="scheduler", expected="a torch LRScheduler")
    return scheduler
