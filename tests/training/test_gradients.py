"""Gradients as those of the one big batch, and unscaled before they are clipped."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainkit.tasks.base import or_one
from trainkit.training.gradients import divide_by_weight, params_with_grad, unscale


def net() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


@pytest.mark.parametrize("fused", [True, False])
def test_a_scaled_gradient_is_unscaled_once_and_before_it_is_clipped(
    fused: bool,
) -> None:
    module, plain = net(), net()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, fused=fused)
    reference = torch.optim.AdamW(plain.parameters(), lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(3):
        scaler.scale(module(torch.ones(2, 3)).sum()).backward()
        if not fused:  # as Lightning does for these
            scaler.unscale_(optimizer)
        unscale(optimizer, scaler)
        norm = nn.utils.clip_grad_norm_(params_with_grad(optimizer), 0.5)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        plain(torch.ones(2, 3)).sum().backward()
        expected = nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        reference.step()
        reference.zero_grad()
        torch.testing.assert_close(norm, expected)
    torch.testing.assert_close(module.weight, plain.weight)


def test_without_a_scaler_nothing_is_done() -> None:
    module = net()
    optimizer = torch.optim.AdamW(module.parameters(), fused=True)
    module(torch.ones(1, 3)).sum().backward()
    unscale(optimizer, None)
    assert torch.equal(params_with_grad(optimizer)[0].grad, torch.ones(1, 3))  # type: ignore[arg-type]


def test_sums_become_means_by_the_weight_that_was_seen() -> None:
    module = net()
    (module(torch.ones(6, 3)).sum() / 4).backward()
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    divide_by_weight(grads, [2.0, torch.tensor(3.0)], nominal=4.0, world_size=1)
    torch.testing.assert_close(module.weight.grad, torch.full((1, 3), 6 / 5))
    divide_by_weight(grads, [2.0, 2.0], nominal=4.0, world_size=1)
    torch.testing.assert_close(module.weight.grad, torch.full((1, 3), 6 / 5))


def test_a_weight_of_nothing_is_one() -> None:
    assert (or_one(0.0), or_one(2.5)) == (1.0, 2.5)
    assert or_one(torch.tensor(0.0)) == 1 and or_one(torch.tensor(0.5)) == 0.5
