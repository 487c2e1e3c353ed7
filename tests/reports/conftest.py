"""A finished classification run and a finished regression run, as the run directory describes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainkit.types import Predictions


def entry(value: float, low: float, high: float, n: int = 60) -> dict[str, float]:
    return {"value": value, "low": low, "high": high, "n": n}


@pytest.fixture
def result() -> dict[str, Any]:
    return {
        "format_version": 1,
        "status": "completed",
        "metrics": {
            "test": {"accuracy": entry(0.9, 0.8, 0.967), "log_loss": entry(0.31, 0.2, 0.45)},
            "validation": {"accuracy": entry(0.917, 0.833, 0.983)},
        },
        "objective": {"name": "val/accuracy", "mode": "max", "value": 0.9166},
        "steps": 1400,
        "epochs": 20,
        "seconds": {"total": 75.0, "train": 61.25},
        "samples_per_second": 51234.4,
        "peak_memory_bytes": 2 * 2**30,
        "seed": 0,
        "split_seed": 3,
        "data_fingerprint": "5d0c2a",
        "exact_resume": True,
        "best_checkpoint": "checkpoints/step-40.ckpt",
        "baseline": {
            "name": "logistic",
            "metrics": {"accuracy": entry(0.85, 0.75, 0.933)},
            "comparison": {"metric": "accuracy", "value": 0.05, "low": 0.01, "high": 0.09, "better": "a"},
        },
    }


@pytest.fixture
def config() -> dict[str, Any]:
    return {
        "seed": 0,
        "data": {"_target_": "trainkit.data.BundledData", "name": "shapes"},
        "model": {"_target_": "trainkit.models.MLP", "hidden": [8]},
        "task": {"_target_": "trainkit.tasks.Classification"},
        "evaluation": {"confidence": 0.9},
        "run": {"name": None},
    }


@pytest.fixture
def history() -> list[tuple[int, int, str, str, float]]:
    rows = [(step, step // 20, "train", "loss", 1 / step) for step in range(5, 65, 5)]
    for step in (20, 40, 60):
        rows += [(step, step // 20, "val", "loss", 2 / step), (step, step // 20, "val", "accuracy", 1 - 1 / step)]
    return rows


@pytest.fixture
def predictions() -> dict[str, Predictions]:
    """60 test rows of the classes a (40), b (15), c (5); six of class a are called b."""
    target = np.repeat([0, 1, 2], [40, 15, 5])
    probabilities = np.eye(3)[target]
    probabilities[:6] = [0.2, 0.7, 0.1]
    return {"test": Predictions(np.arange(60), target, probabilities=probabilities, class_names=("a", "b", "c"))}
