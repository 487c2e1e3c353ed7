from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from trainkit.types import Predictions

MakeClasses = Callable[..., Predictions]
MakeNumbers = Callable[..., Predictions]


@pytest.fixture
def classes() -> MakeClasses:
    """Predictions of classes, right more often than not; ``decimals`` rounds binary scores, which makes ties."""

    def make(n: int, num_classes: int = 2, seed: int = 0, decimals: int = 12, lift: float = 1.5) -> Predictions:
        rng = np.random.default_rng(seed)
        target = rng.integers(0, num_classes, n)
        logits = rng.normal(size=(n, num_classes))
        logits[np.arange(n), target] += lift
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        if num_classes == 2:
            positive = probabilities[:, 1].round(decimals)
            probabilities = np.stack([1 - positive, positive], axis=1)
        names = tuple(f"class {number}" for number in range(num_classes))
        return Predictions(np.arange(n), target, probabilities=probabilities, class_names=names)

    return make


@pytest.fixture
def numbers() -> MakeNumbers:
    """Predictions of numbers around 50, off by 1 on average."""

    def make(n: int, seed: int = 0) -> Predictions:
        rng = np.random.default_rng(seed)
        target = 50 + 3 * rng.normal(size=n)
        return Predictions(np.arange(n), target, values=target + rng.normal(size=n))

    return make
