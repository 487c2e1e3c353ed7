"""Digits as a user's own Datasets, and short measurements."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from trainkit.runs.inspection import data_facts, speed

PIXELS, LABELS = load_digits(return_X_y=True)
ORDER = torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(0))
IMAGES: Tensor = (torch.tensor(PIXELS, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16)[ORDER][:600]
DIGITS: Tensor = torch.tensor(LABELS)[ORDER][:600]
BOUNDS = {"train": (0, 400), "val": (400, 500), "test": (500, 600)}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a second for each measurement."""
    monkeypatch.setattr(speed, "SECONDS", 0.05)
    monkeypatch.setattr(data_facts, "COMPARE_SECONDS", 1.0)


def generators() -> bytes:
    """The state of all random generators."""
    return pickle.dumps((torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()))


def parts(images: Tensor = IMAGES, labels: Tensor = DIGITS, **bounds: tuple[int, int]) -> dict[str, Any]:
    """Datasets for ``train``, ``val`` and ``test``: rows from and to by part."""
    return {name: TensorDataset(images[a:b], labels[a:b]) for name, (a, b) in (BOUNDS | bounds).items()}


def net(*last: nn.Module) -> nn.Sequential:
    """A small net, with modules after its last layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), *last)
