"""The classes of schedules: closed forms of the step number, so that a resumed or longer run needs no history."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from trainkit.errors import ConfigError, did_you_mean, one_of

Span: TypeAlias = int | float
"""Optimizer steps (an int), or a share of the run (a float below 1)."""

_DECAYS: Mapping[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1 - progress,
    "sqrt": lambda progress: 1 - math.sqrt(progress),
}
"""From 1 to 0 as the progress goes from 0 to 1; a constant stays."""

SHAPES = tuple(_DECAYS)


class WarmupSchedule(LRScheduler):
    """Linear warm-up to the optimizer's learning rate, then a shape over the steps that are left.

    A subclass overrides ``after_warmup``.

    Args:
        optimizer: Its groups' ``lr`` is the peak.
        total_steps: Optimizer steps of the whole run.
        warmup: Warm-up in steps, or as a share of the run.
        final: Learning rate at the end, as a share of the peak.
        shape: ``constant``, ``cosine`` (Loshchilov & Hutter, 2017, https://arxiv.org/abs/1608.03983), ``linear``, or
            ``sqrt``, one minus the square root of the progress (Hägele et al., 2024, https://arxiv.org/abs/2405.18392).

    Attributes:
        shape: The name of the shape, for people.

    Raises:
        ConfigError: ``warmup`` or ``final`` is out of range, or there is no such ``shape``.
    """

    def __init__(
        self, optimizer: Optimizer, total_steps: int, warmup: Span = 0.0, final: float = 0.0, shape: str = "cosine"
    ) -> None:
        _check_shape(shape, "shape")
        self._begin(total_steps, warmup, final, shape)
        super().__init__(optimizer)

    def _begin(self, total_steps: int, warmup: Span, final: float, shape: str) -> None:
        """Takes what every shape has; before ``LRScheduler.__init__``, which asks for the first rate."""
        if warmup < 0 or (isinstance(warmup, float) and warmup >= 1):
            expected = "steps as an integer ≥ 0, or a share of the run in [0, 1)"
            raise ConfigError(f"warm-up {warmup} is out of range", where="scheduler.warmup", expected=expected)
        if not 0 <= final <= 1:
            raise ConfigError(f"final share {final} is out of range", where="scheduler.final", expected="0 to 1")
        self.total_steps, self.final, self.shape = total_steps, final, shape
        self.warmup_steps = min(_steps(warmup, total_steps), total_steps)

    def factor(self, step: int) -> float:
        """Share of the peak learning rate used by optimizer step ``step`` (0 is the first)."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        return self.after_warmup(step)

    def after_warmup(self, step: int) -> float:
        """The factor of a step that is past the warm-up."""
        if self.shape == "constant":
            return 1.0
        return self._decayed(self.shape, step, self.warmup_steps)

    def _decayed(self, shape: str, step: int, start: int) -> float:
        """A decay to ``final`` from step ``start`` to the end of the run."""
        progress = min(1.0, (step - start) / max(1, self.total_steps - start))
        return self.final + (1 - self.final) * _DECAYS[shape](progress)

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


class PolynomialSchedule(WarmupSchedule):
    """Warm-up, then ``(1 - progress) ** power`` down to ``final``; see ``polynomial``."""

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup: Span, final: float, power: float) -> None:
        if not power > 0:
            raise ConfigError(f"power is {power}", where="scheduler.power", expected="above 0")
        self._begin(total_steps, warmup, final, "linear" if power == 1 else "polynomial")
        self.power = power
        super(WarmupSchedule, self).__init__(optimizer)

    def after_warmup(self, step: int) -> float:
        """The factor of a step that is past the warm-up."""
        left = max(1, self.total_steps - self.warmup_steps)
        rest = max(0.0, 1 - (step - self.warmup_steps) / left)
        return float(self.final + (1 - self.final) * rest**self.power)


class ExponentialSchedule(WarmupSchedule):
    """Warm-up, then the same factor at each step down to ``final``; see ``exponential``."""

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup: Span, final: float) -> None:
        self._begin(total_steps, warmup, final, "exponential")
        if not final > 0:
            raise ConfigError(
                f"final share {final} is never reached", where="scheduler.final", expected="above 0, to 1"
            )
        super(WarmupSchedule, self).__init__(optimizer)

    def after_warmup(self, step: int) -> float:
        """The factor of a step that is past the warm-up."""
        left = max(1, self.total_steps - self.warmup_steps)
        return float(self.final ** min(1.0, (step - self.warmup_steps) / left))


class StepSchedule(WarmupSchedule):
    """Warm-up, then a factor ``gamma`` at each milestone, or every so many steps; see ``step`` and ``multistep``."""

    def __init__(
        self, optimizer: Optimizer, total_steps: int, warmup: Span, milestones: Span | Sequence[Span], gamma: float
    ) -> None:
        is_periodic = not isinstance(milestones, Sequence)
        self._begin(total_steps, warmup, 0.0, "step" if is_periodic else "multistep")
        if not 0 < gamma <= 1:
            raise ConfigError(f"gamma is {gamma}", where="scheduler.gamma", expected="above 0, to 1")
        self.gamma, self.every, self.milestones = gamma, 0, list[int]()
        if isinstance(milestones, Sequence):
            for milestone in milestones:
                _check_span(milestone, "milestones")
            self.milestones = [_steps(milestone, total_steps) for milestone in milestones]
        else:
            _check_span(milestones, "every")
            self.every = max(1, _steps(milestones, total_steps))
        super(WarmupSchedule, self).__init__(optimizer)

    def after_warmup(self, step: int) -> float:
        """The factor of a step that is past the warm-up."""
        passed = step // self.every if self.every else sum(step >= milestone for milestone in self.milestones)
        return float(self.gamma**passed)


class StableSchedule(WarmupSchedule):
    """Warm-up, the peak, and a decay at the end; see ``warmup_stable_decay``."""

    def __init__(
        self, optimizer: Optimizer, total_steps: int, warmup: Span, decay: Span, final: float, decay_shape: str
    ) -> None:
        _check_shape(decay_shape, "decay_shape", tuple(name for name in SHAPES if name != "constant"))
        _check_span(decay, "decay")
        self._begin(total_steps, warmup, final, "warmup_stable_decay")
        self.decay_shape, self.decay_start = decay_shape, max(0, total_steps - _steps(decay, total_steps))
        super(WarmupSchedule, self).__init__(optimizer)

    def after_warmup(self, step: int) -> float:
        """The factor of a step that is past the warm-up."""
        start = max(self.warmup_steps, self.decay_start)
        return 1.0 if step < start else self._decayed(self.decay_shape, step, start)


class OneCycleSchedule(WarmupSchedule):
    """One swing of the rate up and down, and of the momentum the other way; see ``one_cycle``."""

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: int,
        warmup: Span,
        initial: float,
        final: float,
        momentum: Sequence[float] | None,
    ) -> None:
        self._begin(total_steps, warmup, final, "one_cycle")
        if not 0 <= initial <= 1:
            raise ConfigError(f"initial share {initial} is out of range", where="scheduler.initial", expected="0 to 1")
        self.initial, self.momentum = initial, None if momentum is None else _momenta(momentum, optimizer)
        super(WarmupSchedule, self).__init__(optimizer)

    def factor(self, step: int) -> float:
        """Share of the peak learning rate used by optimizer step ``step``."""
        return self._swing(step, self.initial, 1.0, self.final)

    def _swing(self, step: int, first: float, middle: float, last: float) -> float:
        """Half a cosine from ``first`` to ``middle`` over the warm-up, and another to ``last``."""
        turn = self.warmup_steps
        if step < turn:
            return middle + (first - middle) * _DECAYS["cosine"](step / turn)
        progress = min(1.0, (step - turn) / max(1, self.total_steps - 1 - turn))
        return last + (middle - last) * _DECAYS["cosine"](progress)

    def get_lr(self) -> list[float | Tensor]:
        """Learning rates of the groups for the step that comes next, whose momentum is set too."""
        if self.momentum is not None:
            low, high = self.momentum
            value = self._swing(self.last_epoch, high, low, high)
            for group in self.optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = (value, *group["betas"][1:])
                else:
                    group["momentum"] = value
        return super().get_lr()


def _steps(span: Span, total_steps: int) -> int:
    return round(span * total_steps) if isinstance(span, float) else span


def _check_span(span: Span, key: str) -> None:
    is_number = isinstance(span, (int, float)) and not isinstance(span, bool)
    if not is_number or span <= 0 or (isinstance(span, float) and span >= 1):
        expected = "steps as an integer ≥ 1, or a share of the run between 0 and 1"
        raise ConfigError(f"{key} is {span}", where=f"scheduler.{key}", expected=expected)


def _check_shape(shape: str, key: str, shapes: Sequence[str] = SHAPES) -> None:
    if shape not in shapes:
        what, hint = f"there is no shape '{shape}'", did_you_mean(str(shape), shapes)
        raise ConfigError(what, where=f"scheduler.{key}", expected=one_of(shapes), hint=hint)


def _momenta(momentum: Sequence[float], optimizer: Optimizer) -> tuple[float, float]:
    """The lowest and highest momentum; the optimizer must have one."""
    if len(momentum) != 2 or not 0 <= momentum[0] <= momentum[1] < 1:
        what, expected = f"momentum is {list(momentum)}", "the lowest and the highest, in [0, 1)"
        raise ConfigError(what, where="scheduler.momentum", expected=expected)
    if not all(group.get("momentum") or "betas" in group for group in optimizer.param_groups):
        what, name = "the momentum cannot swing", type(optimizer).__name__
        raise ConfigError(f"{what}: {name} has none", where="scheduler.momentum", expected="null")
    return momentum[0], momentum[1]
