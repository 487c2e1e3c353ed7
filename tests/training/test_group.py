"""Gradients put together by one all-reduce, in a group of one; ``tests/test_two_processes.py`` has two."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import distributed, nn
from torch._C._distributed_c10d import HashStore
from torch.optim import AdamW

from trainkit.optim.flat import FlatParameters
from trainkit.training.group import lacks_anywhere, reduce_flat, reduce_own


@pytest.fixture(scope="module", autouse=True)
def _group() -> Iterator[None]:
    distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def params() -> list[nn.Parameter]:
    made = [nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(1))]
    made[0].grad, made[1].grad = torch.full((2, 3), 6.0), torch.full((4,), 3.0)
    return made


@pytest.mark.parametrize("weights", [[2.0, 1.0], [torch.tensor(2.0), torch.tensor(1.0)]])
def test_sums_become_means_over_the_weight(weights: list[torch.Tensor | float]) -> None:
    own = params()
    reduce_own(own, weights, nominal=6.0)
    assert own[0].grad is not None
    assert torch.equal(own[0].grad, torch.full((2, 3), 12.0))
    assert own[1].grad is not None
    assert torch.equal(own[1].grad, torch.full((4,), 6.0))
    assert own[2].grad is None  # an optimizer leaves it alone
    own[2].grad = torch.ones(1)
    flat = FlatParameters(AdamW(own, fused=True))
    flat.begin_look()
    for p in own:
        p.grad = torch.ones_like(p)
    assert flat.end_look()
    reduce_flat(flat, weights, nominal=6.0)
    assert all(p.grad is not None and torch.equal(p.grad, torch.full_like(p, 2.0)) for p in own)


def test_samples_that_weigh_nothing_give_no_gradient_and_no_nan() -> None:
    own = params()
    reduce_own(own, [0.0], nominal=2.0)
    assert own[0].grad is not None
    assert torch.equal(own[0].grad, torch.full((2, 3), 12.0))


def test_weights_of_a_narrow_type_are_counted_exactly() -> None:
    p = nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    flat = FlatParameters(AdamW([p], fused=True))
    flat.begin_look()
    p.grad = torch.ones_like(p)
    assert flat.end_look()
    reduce_flat(flat, [37.7], nominal=32.0)
    assert torch.equal(p.grad, torch.full_like(p, 32 / 37.7))


def test_double_gradients_stay_so() -> None:
    p = nn.Parameter(torch.ones(1, dtype=torch.float64))
    p.grad = torch.tensor([1 / 3], dtype=torch.float64)
    reduce_own([p], [1.0], nominal=1.0)
    assert float(p.grad) == 1 / 3


def test_whether_somebody_lacks_something() -> None:
    assert lacks_anywhere(True, "cpu")
    assert not lacks_anywhere(False, "cpu")
