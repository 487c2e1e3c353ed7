"""Optimizers built on a module: fused where they can be, and the arithmetic of torch's own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from trainkit.errors import ConfigError
from trainkit.models import MLP
from trainkit.optim import adamw, build_optimizer, sgd


def steps(net: nn.Module, optimizer: Optimizer, count: int = 10) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        inputs = torch.randn(8, 5, generator=generator)
        target = torch.randint(0, 3, (8,), generator=generator)
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), target).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def nets() -> tuple[MLP, MLP]:
    pair = MLP(5, 3, [8], 0.0, 0.0, norm="batch"), MLP(5, 3, [8], 0.0, 0.0, norm="batch")
    pair[1].load_state_dict(pair[0].state_dict())
    return pair


def split(net: nn.Module) -> list[dict[str, Any]]:
    matrices = [p for p in net.parameters() if p.ndim > 1]
    return [{"params": matrices}, {"params": [p for p in net.parameters() if p.ndim < 2], "weight_decay": 0.0}]


def test_adamw_equals_a_hand_made_one() -> None:
    mine, plain = nets()
    steps(mine, build_optimizer(adamw(lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3), mine))
    by_hand = AdamW(split(plain), lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3, fused=True)
    steps(plain, by_hand)
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), plain.parameters(), strict=True))


def test_sgd_equals_a_hand_made_one() -> None:
    mine, plain = nets()
    steps(mine, build_optimizer(sgd(lr=0.05, momentum=0.8, weight_decay=0.1), mine))
    steps(plain, SGD(split(plain), lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.1, fused=True))
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), plain.parameters(), strict=True))


def test_plain_sgd_by_pencil() -> None:
    net = nn.Linear(1, 1)
    nn.init.constant_(net.weight, 2.0)
    nn.init.constant_(net.bias, 2.0)
    optimizer = build_optimizer(sgd(lr=0.1, momentum=0, nesterov=False, weight_decay=0.5), net)
    net(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    assert (net.weight.item(), net.bias.item()) == pytest.approx((2 - 0.1 * (1 + 0.5 * 2), 2 - 0.1 * 1))


@pytest.mark.parametrize(
    ("factory", "fused"),
    [
        (adamw(), True),
        (sgd(), True),
        (Adam, True),
        (functools.partial(Adagrad, lr=0.1), True),
        (functools.partial(AdamW, fused=False), False),
        (functools.partial(AdamW, foreach=True), None),
        (functools.partial(AdamW, differentiable=True), None),
        (RMSprop, "absent"),
        (lambda groups: AdamW(groups, lr=0.1), None),
    ],
)
def test_fused_where_it_can_be(factory: Callable[..., Optimizer], fused: bool | str | None) -> None:
    optimizer = build_optimizer(factory, nn.Linear(3, 2))
    assert optimizer.defaults.get("fused", "absent") == fused


def test_complex_parameters_are_not_fused() -> None:
    optimizer = build_optimizer(adamw(), nn.Linear(3, 2, dtype=torch.complex64))
    assert not optimizer.defaults["fused"]


def test_nothing_to_train() -> None:
    with pytest.raises(ConfigError) as error:
        build_optimizer(adamw(), nn.Linear(3, 2).requires_grad_(False))
    assert str(error.value) == "the model has no trainable parameters\n  where    model"


@pytest.mark.parametrize("bias", [True, False], ids=["two groups", "one group"])
@pytest.mark.parametrize(
    "factory",
    [
        torch.optim.LBFGS,
        functools.partial(torch.optim.LBFGS, lr=0.1),
        lambda groups: torch.optim.LBFGS(groups[0]["params"]),
    ],
    ids=["class", "partial", "function"],
)
def test_lbfgs_is_refused(factory: Callable[..., Optimizer], bias: bool) -> None:
    with pytest.raises(ConfigError) as error:
        build_optimizer(factory, nn.Linear(3, 2, bias=bias))
    assert str(error.value) == "LBFGS needs a closure, which step execution does not give\n  where    optimizer"


def test_something_else_than_an_optimizer() -> None:
    with pytest.raises(ConfigError) as error:
        build_optimizer(lambda groups: groups, nn.Linear(3, 2))
    assert str(error.value) == ("the optimizer is a list\n  where    optimizer\n  expected a torch.optim.Optimizer")
