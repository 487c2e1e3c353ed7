"""Schedules as closed forms: numbers worked out by hand, warm-up in steps and shares, and resuming."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from trainkit.errors import ConfigError
from trainkit.optim import WarmupSchedule, build_scheduler, constant, cosine


def optimizer(*rates: float) -> SGD:
    return SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in rates or (1.0,)], lr=1.0)


def rates(scheduler: LRScheduler, count: int) -> list[float]:
    """Learning rates of the first group, one per optimizer step."""
    seen = []
    for _ in range(count):
        seen.append(float(scheduler.optimizer.param_groups[0]["lr"]))
        scheduler.optimizer.step()
        scheduler.step()
    return seen


HALF_WAY = [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
"""Half a cosine over four steps: cos of 0, 45, 90 and 135 degrees."""


@pytest.mark.parametrize(
    ("factory", "total", "expected"),
    [
        (cosine(warmup=0), 4, HALF_WAY),
        (cosine(warmup=3), 7, [0.25, 0.5, 0.75, *HALF_WAY]),
        (cosine(warmup=0.2), 5, [0.5, *HALF_WAY]),
        (cosine(warmup=0, final=0.2), 4, [0.2 + 0.8 * factor for factor in HALF_WAY]),
        (cosine(warmup=0, final=1.0), 4, [1.0] * 4),
        (cosine(), 10, None),
        (constant(), 4, [1.0] * 4),
        (constant(warmup=1), 4, [0.5, 1.0, 1.0, 1.0]),
        (constant(warmup=0.5), 4, [1 / 3, 2 / 3, 1.0, 1.0]),
        (cosine(warmup=9), 3, [0.25, 0.5, 0.75]),
        (cosine(warmup=0), 1, [1.0]),
    ],
)
def test_factors(factory: Callable[..., LRScheduler], total: int, expected: list[float] | None) -> None:
    scheduler = build_scheduler(factory, optimizer(), total)
    assert scheduler is not None
    by_default = [0.5 * (1 + math.cos(math.pi * step / 10)) for step in range(10)]  # 5 % of ten steps are none
    assert rates(scheduler, total) == pytest.approx(by_default if expected is None else expected)


def test_beyond_the_end_it_stays_at_the_final_rate() -> None:
    scheduler = build_scheduler(cosine(warmup=0, final=0.1), optimizer(), 4)
    assert scheduler is not None
    assert rates(scheduler, 7)[4:] == pytest.approx([0.1] * 3)


def test_each_group_keeps_its_own_peak() -> None:
    groups = optimizer(1.0, 0.1)
    scheduler = build_scheduler(cosine(warmup=1), groups, 5)
    assert scheduler is not None
    assert [group["lr"] for group in groups.param_groups] == pytest.approx([0.5, 0.05])
    rates(scheduler, 2)
    assert [group["lr"] for group in groups.param_groups] == pytest.approx([HALF_WAY[1], 0.1 * HALF_WAY[1]])


@pytest.mark.parametrize("stop", [0, 1, 3, 9])
def test_resumes_from_its_state(stop: int) -> None:
    whole = build_scheduler(cosine(warmup=3), optimizer(0.3), 10)
    first = build_scheduler(cosine(warmup=3), optimizer(0.3), 10)
    second = build_scheduler(cosine(warmup=3), optimizer(0.9), 10)
    assert whole is not None and first is not None and second is not None
    expected, begun = rates(whole, 10), rates(first, stop)
    second.load_state_dict(first.state_dict())
    assert begun + rates(second, 10 - stop) == expected
    assert second.get_last_lr() == whole.get_last_lr()


def test_state_is_plain_and_the_total_is_the_new_runs_own() -> None:
    scheduler = build_scheduler(cosine(warmup=0), optimizer(), 4)
    longer = build_scheduler(cosine(warmup=0), optimizer(), 8)
    assert scheduler is not None and longer is not None
    rates(scheduler, 2)
    state = scheduler.state_dict()
    assert state == {"last_epoch": 2, "base_lrs": [1.0], "_step_count": 3}
    longer.load_state_dict(state)
    assert rates(longer, 1) == pytest.approx([HALF_WAY[1]])  # two of eight: 45 degrees


@pytest.mark.parametrize("warmup", [-1, -0.1, 1.0, 1.5, 20.0])
def test_warmup_out_of_range(warmup: float) -> None:
    with pytest.raises(ConfigError) as error:
        build_scheduler(cosine(warmup=warmup), optimizer(), 4)
    assert str(error.value) == (
        f"warm-up {warmup} is out of range\n"
        "  where    scheduler.warmup\n"
        "  expected steps as an integer ≥ 0, or a share of the run in [0, 1)"
    )


@pytest.mark.parametrize("final", [-0.1, 1.1])
def test_final_out_of_range(final: float) -> None:
    with pytest.raises(ConfigError) as error:
        build_scheduler(cosine(final=final), optimizer(), 4)
    assert str(error.value) == f"final share {final} is out of range\n  where    scheduler.final\n  expected 0 to 1"


def test_an_unknown_shape_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        WarmupSchedule(optimizer(), 4, shape="cosin")
    assert str(error.value) == (
        "there is no shape 'cosin'\n"
        "  where    scheduler.shape\n"
        "  expected one of constant, cosine, linear, sqrt\n"
        "  hint     did you mean 'cosine'?"
    )


def test_torch_schedulers_are_given_the_total() -> None:
    scheduler = build_scheduler(functools.partial(OneCycleLR, max_lr=0.7, pct_start=0.5), optimizer(), 12)
    assert isinstance(scheduler, OneCycleLR)
    assert scheduler.total_steps == 12
    seen = rates(scheduler, 11)
    assert seen.index(max(seen)) == 5
    assert max(seen) == pytest.approx(0.7)


def test_a_total_of_the_users_own_stays() -> None:
    scheduler = build_scheduler(functools.partial(OneCycleLR, max_lr=0.7, total_steps=5), optimizer(), 11)
    assert isinstance(scheduler, OneCycleLR)
    assert scheduler.total_steps == 5


@pytest.mark.parametrize(
    "factory",
    [
        functools.partial(StepLR, step_size=2),
        functools.partial(CosineAnnealingLR, T_max=7),
        lambda given: SequentialLR(given, [LinearLR(given), StepLR(given, 3)], milestones=[2]),
    ],
)
def test_torch_schedulers_without_a_total(factory: Callable[[Optimizer], LRScheduler]) -> None:
    driven, by_hand = optimizer(), optimizer()
    mine, plain = build_scheduler(factory, driven, 10), factory(by_hand)
    assert mine is not None
    assert rates(mine, 6) == rates(plain, 6)


def test_no_schedule() -> None:
    assert build_scheduler(None, optimizer(), 10) is None


def test_something_else_than_a_scheduler() -> None:
    with pytest.raises(ConfigError) as error:
        build_scheduler(lambda given: given, optimizer(), 10)
    assert str(error.value) == "the schedule is a SGD\n  where    scheduler\n  expected a torch LRScheduler"


def test_a_plateau_schedule_gets_the_direction_unless_it_has_one() -> None:
    for factory, mode, expected in (
        (functools.partial(ReduceLROnPlateau, patience=2), "max", "max"),
        (functools.partial(ReduceLROnPlateau, mode="min"), "max", "min"),
    ):
        scheduler = build_scheduler(factory, optimizer(), 10, mode)
        assert isinstance(scheduler, ReduceLROnPlateau)
        assert scheduler.mode == expected


def test_a_schedule_of_the_whole_run_needs_its_length() -> None:
    assert isinstance(build_scheduler(functools.partial(StepLR, step_size=2), optimizer(), None), StepLR)
    with pytest.raises(ConfigError) as error:
        build_scheduler(cosine(), optimizer(), None)
    assert str(error.value) == (
        "the number of steps of the run is not known\n"
        "  where    scheduler\n"
        "  expected Trainer(max_steps=…), or data with a length\n"
        "  hint     a schedule without total_steps needs none"
    )
