"""Classification: cross-entropy as a sum and a weight, metrics as scikit-learn has them, messages to the letter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, roc_auc_score
from torch import Tensor
from torch.nn import functional

from trainkit.errors import ConfigError
from trainkit.tasks import Classification

WEIGHTS = [1.0, 2.0, 0.25]


def batch(num_classes: int, size: int = 64, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, num_classes, (size,), generator=generator)
    return torch.randn(size, num_classes, generator=generator) + functional.one_hot(target, num_classes), target


@pytest.mark.parametrize("num_classes", [2, 3, 7])
def test_loss_is_torchs_mean(num_classes: int) -> None:
    outputs, target = batch(num_classes)
    total, weight = Classification(num_classes).loss(outputs, target)
    assert weight == 64.0
    torch.testing.assert_close(total / weight, functional.cross_entropy(outputs, target))


def test_class_weights_make_torchs_weighted_mean() -> None:
    outputs, target = batch(3)
    total, weight = Classification(3, class_weights=WEIGHTS).loss(outputs, target)
    assert float(weight) == sum(WEIGHTS[label] for label in target.tolist())
    torch.testing.assert_close(total / weight, functional.cross_entropy(outputs, target, torch.tensor(WEIGHTS)))


def test_loss_is_a_sum_over_samples() -> None:
    outputs, target = batch(3)
    task = Classification(3, class_weights=WEIGHTS)
    whole, parts = (
        task.loss(outputs, target),
        [task.loss(outputs[i : i + 7], target[i : i + 7]) for i in range(0, 64, 7)],
    )
    torch.testing.assert_close(sum(part[0] for part in parts), whole[0])
    torch.testing.assert_close(sum(part[1] for part in parts), whole[1])


def test_balanced_weights_by_hand() -> None:
    task = Classification(3, class_weights="balanced", class_counts=[60, 30, 10])
    assert task.class_weights is not None
    torch.testing.assert_close(task.class_weights, torch.tensor([100 / 180, 100 / 90, 100 / 30]))
    counts = torch.tensor([60.0, 30, 10])
    assert float((task.class_weights * counts).sum() / counts.sum()) == pytest.approx(1)


def test_balanced_weights_of_an_empty_class_are_finite() -> None:
    weights = Classification(3, class_weights="balanced", class_counts=[5, 0, 5]).class_weights
    assert weights is not None
    assert bool(weights.isfinite().all())
    assert weights[0] == weights[2] < weights[1]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"class_weights": [0.5, 2.0]},
        {"label_smoothing": 0.2},
        {"class_weights": [0.5, 2.0], "label_smoothing": 0.2},
    ],
)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("column", [True, False])
def test_a_single_logit_equals_two(settings: dict[str, Any], training: bool, column: bool) -> None:
    outputs, target = batch(2)
    single = (outputs[:, 1] - outputs[:, 0]).unsqueeze(1) if column else outputs[:, 1] - outputs[:, 0]
    task = Classification(2, **settings).train(training)
    for one, two in zip(task.loss(single, target), task.loss(outputs, target), strict=True):
        assert float(one) == pytest.approx(float(two), rel=1e-6)
    torch.testing.assert_close(task.predictions(single), task.predictions(outputs), rtol=0, atol=1e-7)


def test_predictions_are_probabilities_in_float64() -> None:
    outputs, _ = batch(4)
    probabilities = Classification(4).predictions(outputs.bfloat16())
    assert probabilities.dtype == torch.float64
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(64, dtype=torch.float64))
    torch.testing.assert_close(probabilities, outputs.bfloat16().double().softmax(dim=1))


@pytest.mark.parametrize("single", [True, False])
def test_labels_are_smoothed_in_training_only(single: bool) -> None:
    outputs, target = batch(2)
    logits = outputs[:, 1] if single else outputs
    smooth, plain = Classification(2, label_smoothing=0.3), Classification(2)
    assert float(smooth.eval().loss(logits, target)[0]) == float(plain.loss(logits, target)[0])
    two = torch.stack([torch.zeros(64), outputs[:, 1]], dim=1) if single else outputs
    expected = functional.cross_entropy(two, target, label_smoothing=0.3, reduction="sum")
    torch.testing.assert_close(smooth.train().loss(logits, target)[0], expected)


def test_binary_metrics_equal_scikit_learns() -> None:
    metrics, task = Classification(2).metrics(), Classification(2)
    outputs, target = batch(2, 200)
    for start in range(0, 200, 64):
        metrics.update(task.predictions(outputs[start : start + 64]), target[start : start + 64])
    values = {name: float(value) for name, value in metrics.compute().items()}
    scores = outputs.softmax(dim=1)[:, 1].numpy()
    assert values == {
        "auroc": pytest.approx(roc_auc_score(target.numpy(), scores)),
        "accuracy": pytest.approx(accuracy_score(target.numpy(), scores > 0.5)),
    }


def test_multiclass_accuracy_equals_scikit_learns() -> None:
    """Over samples, not averaged over classes."""
    task = Classification(5)
    outputs, target = batch(5, 200)
    target[target == 4] = 0
    metrics = task.metrics()
    metrics.update(task.predictions(outputs), target)
    expected = accuracy_score(target.numpy(), np.argmax(outputs.numpy(), axis=1))
    assert {name: float(value) for name, value in metrics.compute().items()} == {"accuracy": pytest.approx(expected)}


@pytest.mark.parametrize("num_classes", [2, 3])
def test_train_metrics_are_accuracy(num_classes: int) -> None:
    task = Classification(num_classes)
    outputs, target = batch(num_classes)
    metrics = task.train_metrics()
    metrics.update(task.predictions(outputs), target)
    expected = float((outputs.argmax(dim=1) == target).float().mean())
    assert {name: float(value) for name, value in metrics.compute().items()} == {"accuracy": pytest.approx(expected)}


@pytest.mark.parametrize("num_classes", [2, 10])
def test_chance_is_the_loss_of_equal_logits(num_classes: int) -> None:
    task = Classification(num_classes)
    total, weight = task.loss(torch.zeros(6, num_classes), torch.arange(6) % num_classes)
    assert task.chance() == pytest.approx(float(total / weight)) == pytest.approx(math.log(num_classes))


def test_monitor() -> None:
    assert (Classification(2).monitor, Classification(3).monitor, Classification(3).mode) == (
        "auroc",
        "accuracy",
        "max",
    )


def test_weights_are_saved_with_the_model() -> None:
    assert list(Classification(3, class_weights=WEIGHTS).state_dict()) == ["class_weights"]
    assert list(Classification(3).state_dict()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 1}, "classification of 1 class\n  where    task.num_classes\n  expected at least 2"),
        (
            {"num_classes": 3, "class_weights": [1, 2]},
            "class weights [1, 2] do not fit\n  where    task.class_weights\n  expected 3 numbers ≥ 0, not all 0",
        ),
        (
            {"num_classes": 2, "class_weights": [1, -2]},
            "class weights [1, -2] do not fit\n  where    task.class_weights\n  expected 2 numbers ≥ 0, not all 0",
        ),
        (
            {"num_classes": 2, "class_weights": [0, 0]},
            "class weights [0, 0] do not fit\n  where    task.class_weights\n  expected 2 numbers ≥ 0, not all 0",
        ),
        (
            {"num_classes": 2, "class_weights": [1, math.nan]},
            "class weights [1, nan] do not fit\n  where    task.class_weights\n  expected 2 numbers ≥ 0, not all 0",
        ),
        (
            {"num_classes": 2, "class_weights": [1, math.inf]},
            "class weights [1, inf] do not fit\n  where    task.class_weights\n  expected 2 numbers ≥ 0, not all 0",
        ),
        (
            {"num_classes": 2, "class_weights": "balance"},
            "class weights 'balance'\n  where    task.class_weights\n  expected balanced or numbers",
        ),
        (
            {"num_classes": 2, "label_smoothing": 1},
            "label smoothing 1 is out of range\n  where    task.label_smoothing\n  expected 0 to below 1",
        ),
    ],
)
def test_arguments_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Classification(**settings)
    assert str(error.value) == message


@pytest.mark.parametrize(("num_classes", "shape"), [(2, (8,)), (2, (8, 1)), (2, (8, 2)), (3, (8, 3))])
def test_outputs_that_fit(num_classes: int, shape: tuple[int, ...]) -> None:
    Classification(num_classes).check(torch.zeros(shape), torch.zeros(8, dtype=torch.int64))


@pytest.mark.parametrize(
    ("num_classes", "shape", "shown", "expected"),
    [
        (3, (8, 4), "[batch, 4]", "[batch, 3], a logit for each class"),
        (3, (8,), "[batch]", "[batch, 3], a logit for each class"),
        (2, (8, 3), "[batch, 3]", "[batch, 2], a logit for each class, or [batch]"),
        (2, (8, 1, 5, 5), "[batch, 1, 5, 5]", "[batch, 2], a logit for each class, or [batch]"),
        (3, (8, 3, 5, 5), "[batch, 3, 5, 5]", "[batch, 3], a logit for each class"),
        (3, (4, 3), "[4, 3] for a batch of 8", "[batch, 3], a logit for each class"),
        (2, (16,), "[16] for a batch of 8", "[batch, 2], a logit for each class, or [batch]"),
        (2, (), "[] for a batch of 8", "[batch, 2], a logit for each class, or [batch]"),
    ],
)
def test_outputs_that_do_not_fit(num_classes: int, shape: tuple[int, ...], shown: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        Classification(num_classes).check(torch.zeros(shape), torch.zeros(8, dtype=torch.int64))
    assert str(error.value) == f"the model gives outputs of shape {shown}\n  where    model\n  expected {expected}"
