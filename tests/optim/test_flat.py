"""Flat parameters: the same steps as the optimizer's own, in and out of ordinary states, and where they do not suit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from trainkit.optim import parameter_groups
from trainkit.optim.flat import FlatParameters, can_flatten

Factory = Callable[[Any], Optimizer]
FACTORIES: dict[str, Factory] = {
    "adamw": lambda groups: AdamW(groups, lr=0.01, weight_decay=0.1, fused=True),
    "adam": lambda groups: Adam(groups, lr=0.01, weight_decay=0.1, fused=True),
    "maximize": lambda groups: AdamW(groups, lr=0.01, maximize=True, fused=True),
    "sgd": lambda groups: SGD(groups, lr=0.1, fused=True),
    "momentum": lambda groups: SGD(groups, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01, fused=True),
    "nesterov": lambda groups: SGD(groups, lr=0.1, momentum=0.9, nesterov=True, fused=True),
}


def net() -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(1, 5, 3, bias=False),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(180, 13),
        nn.ReLU(),
        nn.Linear(13, 3),
    )
    return made.to(memory_format=torch.channels_last)


def batch(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 1, 8, 8, generator=generator), torch.randint(0, 3, (16,), generator=generator)


def backward(module: nn.Module, seed: int) -> None:
    inputs, target = batch(seed)
    torch.autograd.backward(functional.cross_entropy(module(inputs), target))


def ordinary(module: nn.Module, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        backward(module, step)
        optimizer.step()


def flat(module: nn.Module, optimizer: Optimizer, steps: range) -> FlatParameters:
    made = FlatParameters(optimizer)
    made.attach()
    for step in steps:
        if made.looks_at(step):
            made.begin_look()
        backward(module, step)
        if made.looks_at(step):
            assert made.end_look()
        made.step()
        made.zero_grad()
    return made


def assert_near(one: nn.Module, other: nn.Module) -> None:
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FACTORIES)
def test_it_steps_as_the_optimizer_itself(name: str) -> None:
    one, other = net(), net()
    first, second = (FACTORIES[name](parameter_groups(module)) for module in (one, other))
    assert can_flatten(second)
    ordinary(one, first, range(30))
    made = flat(other, second, range(30))
    assert_near(one, other)
    assert all(group["lr"] == first.param_groups[0]["lr"] for group in second.param_groups)
    made.release()
    assert_near(one, other)
    for p in other.parameters():
        assert p.grad is None and p.untyped_storage().nbytes() == 4 * p.numel()
        assert p.is_contiguous() or p.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", FACTORIES)
def test_states_go_in_and_out(name: str) -> None:
    """Ordinary, then flat, then ordinary again, by state dicts: as one that was ordinary throughout."""
    whole, parts = net(), net()
    optimizer = FACTORIES[name](parameter_groups(whole))
    ordinary(whole, optimizer, range(24))
    first = FACTORIES[name](parameter_groups(parts))
    ordinary(parts, first, range(8))
    second = FACTORIES[name](parameter_groups(parts))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    made = flat(parts, second, range(8, 16))
    state = copy.deepcopy(second.state_dict())
    made.release()
    steps = [entry["step"] for entry in state["state"].values() if "step" in entry]
    assert [float(step) for step in steps] == [16.0] * len(steps)
    assert len({step.data_ptr() for step in steps}) == len(steps)  # an optimizer counts each by itself
    third = FACTORIES[name](parameter_groups(parts))
    third.load_state_dict(state)
    ordinary(parts, third, range(16, 24))
    assert_near(whole, parts)


@pytest.mark.parametrize("name", FACTORIES)
def test_released_before_its_first_step_it_leaves_no_trace(name: str) -> None:
    one, other = net(), net()
    first, second = (FACTORIES[name](parameter_groups(module)) for module in (one, other))
    FlatParameters(second).release()
    ordinary(one, first, range(4))
    ordinary(other, second, range(4))
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_learning_rates_are_read_at_each_step() -> None:
    one, other = net(), net()
    first, second = (FACTORIES["adamw"](parameter_groups(module)) for module in (one, other))
    made = FlatParameters(second)
    made.attach()
    for step in range(6):
        for optimizer in (first, second):
            for place, group in enumerate(optimizer.param_groups):
                group["lr"] = 0.01 / (1 + step + place)
        ordinary(one, first, range(step, step + 1))
        backward(other, step)
        made.step()
        made.zero_grad()
    assert_near(one, other)


def test_frozen_parameters_wait_and_join_later() -> None:
    one, other = net(), net()
    first, second = (FACTORIES["adamw"](parameter_groups(module)) for module in (one, other))
    for module in (one, other):
        module[0].requires_grad_(False)  # type: ignore[index]
    ordinary(one, first, range(5))
    made = flat(other, second, range(5))
    assert_near(one, other)
    assert made.is_current()
    for module in (one, other):
        module[0].requires_grad_(True)  # type: ignore[index]
    assert not made.is_current()
    made.release()
    ordinary(one, first, range(5, 10))
    made = flat(other, second, range(5, 10))
    assert len(made.buckets) == 3  # with decay after five steps and after ten, without decay
    assert_near(one, other)


def test_a_parameter_without_a_gradient_is_found() -> None:
    module = net()
    module.register_parameter("unused", nn.Parameter(torch.ones(4)))
    made = FlatParameters(FACTORIES["adamw"](parameter_groups(module)))
    made.begin_look()
    backward(module, 0)
    assert not made.end_look()
    embedding = nn.Embedding(5, 3, sparse=True)
    made = FlatParameters(SGD(embedding.parameters(), lr=0.1, fused=True))
    made.begin_look()
    torch.autograd.backward(embedding(torch.tensor([1, 2])).sum())
    assert not made.end_look()


def test_gradients_are_looked_for_at_powers_of_two() -> None:
    assert [step for step in range(70) if FlatParameters.looks_at(step)] == [0, 1, 2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize(
    "factory",
    [
        lambda p: AdamW(p, amsgrad=True, fused=True),
        lambda p: AdamW(p, foreach=True),
        lambda p: AdamW(p),
        lambda p: AdamW(p, lr=torch.tensor(0.1), fused=True),
        RMSprop,
    ],
)
def test_other_optimizers_step_themselves(factory: Factory) -> None:
    assert not can_flatten(factory(net().parameters()))


def test_hooks_and_gaps_in_memory_leave_it_to_the_optimizer() -> None:
    optimizer = FACTORIES["adamw"](list(net().parameters()))
    optimizer.register_step_post_hook(lambda *_: None)
    assert not can_flatten(optimizer)
    gaps = nn.Parameter(torch.randn(4, 4)[:, :2])
    assert not can_flatten(FACTORIES["adamw"]([gaps]))


def test_bf16_weights_have_buffers_of_their_own() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2).to(torch.bfloat16))
    optimizer = FACTORIES["adamw"](parameter_groups(module))
    made = FlatParameters(optimizer)
    assert sorted(str(weights.dtype) for weights in made.weights) == ["torch.bfloat16", "torch.float32"]
    made.release()
    assert module[1].weight.dtype == torch.bfloat16
