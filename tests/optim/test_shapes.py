"""Shapes of schedules: numbers worked out by hand, torch's own as the reference, and settings out of range."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adagrad, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, OneCycleLR, PolynomialLR, StepLR

from trainkit.errors import ConfigError
from trainkit.optim import (
    build_scheduler,
    exponential,
    multistep,
    one_cycle,
    polynomial,
    step,
    warmup_stable_decay,
)

SPAN = "steps as an integer ≥ 1, or a share of the run between 0 and 1"


def sgd(lr: float = 1.0, momentum: float = 0.9) -> SGD:
    return SGD([nn.Parameter(torch.zeros(1))], lr=lr, momentum=momentum)


def built(factory: Callable[..., LRScheduler], total: int, optimizer: Optimizer | None = None) -> LRScheduler:
    scheduler = build_scheduler(factory, optimizer or sgd(), total)
    assert scheduler is not None
    return scheduler


def seen(scheduler: LRScheduler, count: int, key: str = "lr") -> list[Any]:
    """Values of the first group at each optimizer step."""
    values = []
    for _ in range(count):
        values.append(scheduler.optimizer.param_groups[0][key])
        scheduler.optimizer.step()
        scheduler.step()
    return values


@pytest.mark.parametrize(
    ("factory", "total", "expected"),
    [
        (polynomial(warmup=0), 4, [1.0, 0.75, 0.5, 0.25]),
        (polynomial(warmup=1, final=0.2), 5, [0.5, 1.0, 0.8, 0.6, 0.4]),
        (polynomial(warmup=0, power=2), 4, [1.0, 0.5625, 0.25, 0.0625]),
        (exponential(warmup=0, final=0.0625), 4, [1.0, 0.5, 0.25, 0.125]),
        (exponential(warmup=2, final=0.25), 4, [1 / 3, 2 / 3, 1.0, 0.5]),
        (step(every=2), 5, [1.0, 1.0, 0.1, 0.1, 0.01]),
        (step(every=0.25, gamma=0.5), 8, [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]),
        (step(every=0.01, gamma=0.5), 3, [1.0, 0.5, 0.25]),
        (multistep(milestones=[0.5, 3], gamma=0.5), 4, [1.0, 1.0, 0.5, 0.25]),
        (multistep(milestones=[]), 3, [1.0] * 3),
        (warmup_stable_decay(warmup=1, decay=4), 8, [0.5, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]),
        (warmup_stable_decay(warmup=0, decay=0.5, final=0.2, decay_shape="linear"), 4, [1.0, 1.0, 1.0, 0.6]),
        (warmup_stable_decay(warmup=0, decay=4, decay_shape="sqrt"), 4, [1.0, 0.5, 1 - 0.5**0.5, 1 - 0.75**0.5]),
        (warmup_stable_decay(warmup=3, decay=9), 4, [0.25, 0.5, 0.75, 1.0]),
    ],
)
def test_factors(factory: Callable[..., LRScheduler], total: int, expected: list[float]) -> None:
    assert seen(built(factory, total), total) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (polynomial(warmup=0, power=1.5), lambda optimizer: PolynomialLR(optimizer, total_iters=40, power=1.5)),
        (step(every=7), lambda optimizer: StepLR(optimizer, step_size=7)),
        (multistep(milestones=[5, 11]), lambda optimizer: MultiStepLR(optimizer, [5, 11])),
    ],
)
def test_as_torch_does(ours: Callable[..., LRScheduler], theirs: Callable[[Optimizer], LRScheduler]) -> None:
    assert seen(built(ours, 40), 40) == pytest.approx(seen(theirs(sgd()), 40))


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_one_cycle_as_torch_does(kind: Any) -> None:
    # torch's way up has one step fewer: its peak is step pct_start * total - 1, ours the first after the warm-up
    ours, theirs = (
        kind([nn.Parameter(torch.zeros(1))], lr=0.5, **({} if kind is AdamW else {"momentum": 0.9})) for _ in range(2)
    )
    mine = built(one_cycle(warmup=9, initial=1 / 25, final=1 / 25e4), 31, ours)
    reference = OneCycleLR(theirs, max_lr=0.5, total_steps=31, pct_start=10 / 31)
    key = "betas" if kind is AdamW else "momentum"
    for _ in range(31):
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"])
        assert ours.param_groups[0][key] == pytest.approx(theirs.param_groups[0][key])
        for optimizer in (ours, theirs):
            optimizer.step()
        mine.step()
        if reference.last_epoch < 30:
            reference.step()


def test_the_momentum_of_one_cycle_is_left_if_asked_and_goes_on_after_a_resume() -> None:
    assert seen(built(one_cycle(momentum=None), 10), 10, "momentum") == [0.9] * 10
    whole = seen(built(one_cycle(), 10), 10, "momentum")
    first, second = built(one_cycle(), 10), built(one_cycle(), 10)
    seen(first, 4)
    second.load_state_dict(first.state_dict())
    assert seen(second, 6, "momentum") == whole[4:]
    assert min(whole) == pytest.approx(0.85) and whole[0] == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        (polynomial(power=0), "power is 0 | scheduler.power | above 0"),
        (exponential(final=0.0), "final share 0.0 is never reached | scheduler.final | above 0, to 1"),
        (step(gamma=1.5), "gamma is 1.5 | scheduler.gamma | above 0, to 1"),
        (
            step(every=0),
            "every is 0 | scheduler.every | steps as an integer ≥ 1, or a share of the run between 0 and 1",
        ),
        (
            multistep(milestones=[5, 1.5]),
            "milestones is 1.5 | scheduler.milestones | steps as an integer ≥ 1, or a share of the run between 0 and 1",
        ),
        (
            warmup_stable_decay(decay=1.0),
            "decay is 1.0 | scheduler.decay | steps as an integer ≥ 1, or a share of the run between 0 and 1",
        ),
        (
            warmup_stable_decay(decay_shape="cosin"),
            "there is no shape 'cosin' | scheduler.decay_shape | one of cosine, linear, sqrt",
        ),
        (one_cycle(initial=2.0), "initial share 2.0 is out of range | scheduler.initial | 0 to 1"),
        (
            one_cycle(momentum=[0.95, 0.85]),
            "momentum is [0.95, 0.85] | scheduler.momentum | the lowest and the highest, in [0, 1)",
        ),
    ],
)
def test_settings_out_of_range(factory: Callable[..., LRScheduler], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        built(factory, 10)
    assert f"{error.value.what} | {error.value.where} | {error.value.expected}" == told


def test_a_momentum_that_is_not_there_cannot_swing() -> None:
    for optimizer in (sgd(momentum=0.0), Adagrad([nn.Parameter(torch.zeros(1))])):
        with pytest.raises(ConfigError) as error:
            built(one_cycle(), 10, optimizer)
        assert error.value.what == f"the momentum cannot swing: {type(optimizer).__name__} has none"


def test_a_misspelt_setting_is_told_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="warm_up"):
        step(warm_up=3)  # type: ignore[call-arg]
