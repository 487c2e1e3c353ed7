"""The mean of losses given as sums and weights, and the names of what is logged."""

from __future__ import annotations

import math

import pytest
import torch

from trainkit.tasks import Classification, MeanLoss, Regression, Task


def test_mean_loss_is_the_sum_over_the_weight() -> None:
    mean = MeanLoss()
    mean.update(torch.tensor(6.0), 4.0)
    mean.update(torch.tensor(1.0), torch.tensor(0.5))
    assert mean.compute().item() == 7 / 4.5


def test_mean_loss_adds_up_in_float64() -> None:
    """In float32, a million and a sixteenth is where a tenth of a sixteenth is lost."""
    mean = MeanLoss()
    mean.update(torch.tensor(2.0**24), 1)
    for _ in range(100):
        mean.update(torch.tensor(0.25, dtype=torch.bfloat16), 1)
    assert mean.compute().dtype == torch.float64
    assert mean.compute().item() == (2.0**24 + 25) / 101


def test_mean_loss_keeps_no_graph() -> None:
    mean = MeanLoss()
    mean.update(torch.ones((), requires_grad=True) * 2, 1)
    assert not mean.compute().requires_grad


def test_mean_loss_starts_afresh() -> None:
    mean = MeanLoss()
    mean.update(torch.tensor(6.0), 4.0)
    mean.reset()
    mean.update(torch.tensor(1.0), 2.0)
    assert mean.compute().item() == 0.5


def test_mean_loss_of_nothing_is_not_a_number() -> None:
    mean = MeanLoss()
    mean.update(torch.tensor(0.0), 0.0)
    assert math.isnan(mean.compute())


@pytest.mark.parametrize(
    ("task", "train", "val"),
    [
        (Classification(2), ["loss", "accuracy"], ["loss", "auroc", "accuracy"]),
        (Classification(3), ["loss", "accuracy"], ["loss", "accuracy"]),
        (Regression(), ["loss", "rmse"], ["loss", "mae", "r2", "rmse"]),
    ],
)
def test_metric_names(task: Task, train: list[str], val: list[str]) -> None:
    names = task.metric_names()
    assert sorted(names) == sorted([f"train/{name}" for name in train] + [f"val/{name}" for name in val])
    assert f"val/{task.monitor}" in names


@pytest.mark.parametrize("task", [Classification(2), Classification(3), Regression()])
def test_metrics_are_fresh_each_time(task: Task) -> None:
    assert task.metrics() is not task.metrics()
    assert task.train_metrics() is not task.train_metrics()
