"""Losses that jump and parameters without a gradient are told, a few times at most."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from trainkit.training.health import DEAD_LOOKS, TOLD, Health

if TYPE_CHECKING:
    from tests.training.conftest import Job


def losses(*values: float) -> list[str]:
    told: list[str] = []
    health = Health(told.append)
    for step, value in enumerate(values, 1):
        health.see_loss(10 * step, value)
    return told


def test_a_jump_of_the_loss_is_told() -> None:
    usual = [1.0, 0.9, 0.95, 0.8, 0.85, 0.7]
    assert losses(*usual, 5.0) == ["the loss jumped to 5 at step 70, after 0.875 before"]
    assert len(losses(*usual, *[9.0, *usual] * 2, 9.0, 9.0, 9.0)) == TOLD


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01],
        [1.0, 4.0, 0.9, 3.5, 1.2, 4.2, 0.8, 4.1, 1.0, 4.4],
        [0.1, 9.0, 0.1],
        [-5.0, -5.1, -5.2, -5.0, -5.1, -4.0],
    ],
    ids=["falls", "wavers", "begins", "below 0"],
)
def test_what_is_no_jump(values: list[float]) -> None:
    assert losses(*values) == []


class HalfDead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.alive, self.dead = nn.Linear(6, 3), nn.Linear(6, 3)
        nn.init.constant_(self.dead.bias, -1e4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = self.alive(inputs) + torch.relu(self.dead(inputs))
        return values


@pytest.mark.parametrize("steps_by", ["lightning", "own", "flat"])
def test_a_dead_layer_is_told_once(job: Callable[..., Job], steps_by: str) -> None:
    told: list[str] = []
    made = job(model=HalfDead, steps_by=steps_by, log_every=2, max_steps=30, health=told.append)
    assert made.fit().error is None
    step = 2 * DEAD_LOOKS
    assert told == [
        f"dead.weight and 1 more got a gradient of 0 at each of {DEAD_LOOKS} looks up to step {step}: dead?"
    ]
