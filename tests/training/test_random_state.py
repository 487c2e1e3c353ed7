"""The state of every random generator goes through a file of plain containers."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainkit.training.random_state import get_random_state, set_random_state


def draws() -> list[Any]:
    """An odd number of normal draws, so that a second one of a pair is kept back."""
    return [
        [random.random(), random.gauss(0, 1)],
        np.random.normal(size=3).tolist(),
        np.random.randint(0, 2**31, 3).tolist(),
        torch.randn(3).tolist(),
    ]


def test_the_same_draws_follow(tmp_path: Path) -> None:
    draws()
    torch.save(get_random_state(), tmp_path / "state.pt")
    expected = draws()
    random.seed(9)
    np.random.seed(9)
    torch.manual_seed(9)
    assert draws() != expected
    set_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draws() == expected


def test_reading_the_state_draws_nothing(differences: Callable[[Any, Any], list[str]]) -> None:
    assert differences(get_random_state(), get_random_state()) == []


def test_generators_of_devices_that_are_not_there_are_left_out() -> None:
    state = get_random_state() | {"cuda": [torch.get_rng_state()] * (torch.cuda.device_count() + 1)}
    expected = draws()
    set_random_state(state)
    assert draws() == expected
