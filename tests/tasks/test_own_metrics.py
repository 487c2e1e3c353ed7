"""Metrics of the user's own: what they take, which way is better, and mistakes found before training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import (
    BinaryAveragePrecision,
    BinaryF1Score,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)
from torchmetrics.regression import MeanAbsolutePercentageError, PearsonCorrCoef

import trainkit as tk
from trainkit.errors import ConfigError
from trainkit.tasks import Classification, Regression


class Hits(Metric):
    """Does not say whether higher is better, and takes probabilities of all classes."""

    hits: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("hits", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.hits += (preds.argmax(dim=1) == target).sum()

    def compute(self) -> Tensor:
        return self.hits


def batch(num_classes: int, size: int = 64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(size, num_classes, generator=generator)
    return outputs, torch.randint(0, num_classes, (size,), generator=generator)


def values(task: tk.Task, outputs: Tensor, target: Tensor) -> dict[str, float]:
    metrics = task.metrics()
    for start in range(0, len(target), 16):
        part = slice(start, start + 16)
        metrics.update(task.predictions(outputs[part]), target[part])
    return {name: float(value) for name, value in metrics.compute().items()}


def test_they_stand_beside_the_tasks_own() -> None:
    outputs, target = batch(3)
    task = Classification(3, metrics={"f1": MulticlassF1Score(3, average="macro")})
    expected = float(MulticlassF1Score(3, average="macro")(outputs, target))
    found = values(task, outputs, target)
    assert found.pop("f1") == pytest.approx(expected)
    assert found == values(Classification(3), outputs, target)
    assert "val/f1" in task.metric_names() and "train/f1" not in task.metric_names()


@pytest.mark.parametrize("single", [True, False])
def test_binary_metrics_get_the_second_class(single: bool) -> None:
    outputs, target = batch(2)
    own = {"ap": BinaryAveragePrecision(), "f1": BinaryF1Score(), "both": MulticlassF1Score(2), "hits": Hits()}
    task = Classification(2, metrics=own)
    scores = outputs.softmax(dim=1)
    given = outputs[:, 1] - outputs[:, 0] if single else outputs
    found = values(task, given, target)
    assert found["ap"] == pytest.approx(float(BinaryAveragePrecision()(scores[:, 1], target)))
    assert found["f1"] == pytest.approx(float(BinaryF1Score()(scores[:, 1], target)))
    assert found["both"] == pytest.approx(float(MulticlassF1Score(2)(scores, target)))
    assert found["hits"] == float((scores.argmax(dim=1) == target).sum())


def test_numbers_are_in_their_own_unit_and_float64() -> None:
    outputs = torch.linspace(-1, 1, 64)
    target = 1000 + 10 * outputs.double() + 1
    task = Regression(1000.0, 10.0, metrics={"mape": MeanAbsolutePercentageError(), "r": PearsonCorrCoef()})
    found = values(task, outputs, target)
    assert found["mape"] == pytest.approx(float((1 / target).mean()), rel=1e-9)
    assert found["r"] == pytest.approx(1.0)
    assert {name: found[name] for name in ("rmse", "mae")} == {"rmse": pytest.approx(1), "mae": pytest.approx(1)}


def test_metrics_whose_states_agree_at_first_stay_apart() -> None:
    """torchmetrics would let them share one state for good."""
    task = Classification(2, metrics={"low": BinaryF1Score(threshold=0.3), "high": BinaryF1Score(threshold=0.7)})
    outputs = torch.tensor([3.0, -3.0, 0.0, 0.0])
    target = torch.tensor([1, 0, 1, 1])
    metrics = task.metrics()
    for part in (slice(0, 2), slice(2, 4)):
        metrics.update(task.predictions(outputs[part]), target[part])
    found = metrics.compute()
    assert (float(found["low"]), float(found["high"])) == (1.0, 0.5)


def test_each_call_gives_fresh_ones() -> None:
    own = Hits()
    task = Classification(3, metrics={"hits": own})
    outputs, target = batch(3)
    assert values(task, outputs, target) == values(task, outputs, target)
    assert own.update_count == 0


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("f1", "max"),
        ("val/f1", "max"),
        ("mape", "min"),
        ("accuracy", "max"),
        ("val/loss", "min"),
        ("train/loss", "min"),
    ],
)
def test_which_way_is_better(name: str, mode: str) -> None:
    own = {"f1": MulticlassF1Score(3), "mape": MeanAbsolutePercentageError()}
    assert Classification(3, metrics=own).mode_of(name) == mode


def test_a_metric_that_does_not_say_which_way_is_better() -> None:
    with pytest.raises(ConfigError) as error:
        Classification(3, metrics={"hits": Hits()}).mode_of("val/hits")
    assert str(error.value) == (
        "Hits does not say whether higher is better\n  where    task.metrics.hits\n"
        "  hint     trainer.mode=max or min; for a callback, its mode"
    )


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (
            {"accuracy": Hits()},
            "'accuracy' is what the task itself logs\n  where    task.metrics.accuracy\n"
            "  expected another name\n  hint     task.metrics.my_accuracy",
        ),
        (
            {"loss": Hits()},
            "'loss' is what the task itself logs\n  where    task.metrics.loss\n"
            "  expected another name\n  hint     task.metrics.my_loss",
        ),
        (
            {"a/b": Hits()},
            "'a/b' is no name for a metric\n  where    task.metrics\n  expected letters, digits and _",
        ),
        (
            {"f1": BinaryF1Score},
            "the metric f1 is the class BinaryF1Score\n  where    task.metrics.f1\n  expected a torchmetrics.Metric",
        ),
        ({"f1": 3}, "the metric f1 is a int\n  where    task.metrics.f1\n  expected a torchmetrics.Metric"),
        (
            [Hits()],
            "task.metrics is a list\n  where    task.metrics\n  expected a mapping of names to torchmetrics metrics",
        ),
    ],
)
def test_metrics_that_cannot_be(metrics: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Classification(3, metrics=metrics)
    assert str(error.value) == message


def test_rmse_is_taken_in_regression_only() -> None:
    assert "rmse" in Classification(2, metrics={"rmse": Hits()}).own_metrics
    with pytest.raises(ConfigError, match="'rmse' is what the task itself logs"):
        Regression(metrics={"rmse": Hits()})


class Words(Hits):
    def compute(self) -> Any:
        return "good"


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (MulticlassConfusionMatrix(3), "MulticlassConfusionMatrix gives a tensor of shape [3, 3]\n"),
        (Words(), "Words gives a str\n"),
        (MulticlassF1Score(4, average="none"), "MulticlassF1Score does not take a batch: "),
        (BinaryF1Score(), "BinaryF1Score does not take a batch: RuntimeError: "),
    ],
)
def test_mistakes_are_found_by_the_check(metric: Metric, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        Classification(3, metrics={"own": metric}).check(*batch(3))
    assert str(error.value).startswith(text)
    assert error.value.where == "task.metrics.own"
