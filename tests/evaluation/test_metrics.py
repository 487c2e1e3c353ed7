from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk

from trainkit.errors import DataError
from trainkit.evaluation.checked import Checked
from trainkit.evaluation.metrics import metrics_for
from trainkit.types import Predictions

Make = Callable[..., Predictions]
Array = np.ndarray


def _f1(target: Array, probabilities: Array, weights: Array) -> float:
    return float(sk.f1_score(target, probabilities.argmax(1), sample_weight=weights))


def _accuracy(target: Array, probabilities: Array, weights: Array) -> float:
    return float(sk.accuracy_score(target, probabilities.argmax(1), sample_weight=weights))


def _log_loss(target: Array, probabilities: Array, weights: Array) -> float:
    return float(sk.log_loss(target, probabilities, sample_weight=weights, labels=range(probabilities.shape[1])))


BINARY: dict[str, Callable[[Array, Array, Array], float]] = {
    "auroc": lambda target, p, w: float(sk.roc_auc_score(target, p[:, 1], sample_weight=w)),
    "accuracy": _accuracy,
    "average_precision": lambda target, p, w: float(sk.average_precision_score(target, p[:, 1], sample_weight=w)),
    "f1": _f1,
    "log_loss": _log_loss,
    "brier": lambda target, p, w: float(sk.brier_score_loss(target, p[:, 1], sample_weight=w)),
}
CLASSES: dict[str, Callable[[Array, Array, Array], float]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": lambda target, p, w: float(
        sk.recall_score(target, p.argmax(1), labels=np.unique(target), average="macro", sample_weight=w)
    ),
    "f1_macro": lambda target, p, w: float(sk.f1_score(target, p.argmax(1), average="macro", sample_weight=w)),
    "log_loss": _log_loss,
}
NUMBERS: dict[str, Callable[[Array, Array, Array], float]] = {
    "rmse": lambda target, values, w: float(sk.root_mean_squared_error(target, values, sample_weight=w)),
    "mae": lambda target, values, w: float(sk.mean_absolute_error(target, values, sample_weight=w)),
    "r2": lambda target, values, w: float(sk.r2_score(target, values, sample_weight=w)),
}


@pytest.mark.parametrize(("num_classes", "expected"), [(2, BINARY), (7, CLASSES)])
@pytest.mark.parametrize("decimals", [12, 1])
def test_classes_agree_with_scikit_learn(
    classes: Make, num_classes: int, expected: dict[str, Callable[..., float]], decimals: int
) -> None:
    predictions = classes(200, num_classes, decimals=decimals)
    weights = np.random.default_rng(1).uniform(0.1, 3, size=(4, 200))
    metrics, target, probabilities = metrics_for(predictions), predictions.target, predictions.probabilities
    assert target is not None and probabilities is not None
    assert list(metrics) == list(expected)
    for name, reference in expected.items():
        wanted = [reference(target, probabilities, row) for row in weights]
        np.testing.assert_allclose(metrics[name](predictions, weights), wanted, rtol=1e-10, err_msg=name)


def test_numbers_agree_with_scikit_learn(numbers: Make) -> None:
    predictions = numbers(200)
    weights = np.random.default_rng(1).uniform(0.1, 3, size=(4, 200))
    metrics, target, values = metrics_for(predictions), predictions.target, predictions.values
    assert target is not None and values is not None and list(metrics) == list(NUMBERS)
    for name, reference in NUMBERS.items():
        wanted = [reference(target, values, row) for row in weights]
        np.testing.assert_allclose(metrics[name](predictions, weights), wanted, rtol=1e-10, err_msg=name)


@pytest.mark.parametrize(("num_classes", "expected"), [(2, BINARY), (7, CLASSES)])
def test_counts_are_repeated_rows(classes: Make, num_classes: int, expected: dict[str, Callable[..., float]]) -> None:
    """Twelve rows of seven classes: in most resamples some class has no true row, no predicted row, or neither."""
    predictions = classes(12, num_classes, decimals=1)
    assert predictions.target is not None and predictions.probabilities is not None
    counts = np.random.default_rng(2).multinomial(12, np.full(12, 1 / 12), size=20)
    for name, metric in metrics_for(predictions).items():
        repeated = [
            (np.repeat(predictions.target, row), np.repeat(predictions.probabilities, row, 0)) for row in counts
        ]
        wanted = [expected[name](target, probabilities, np.ones(12)) for target, probabilities in repeated]
        np.testing.assert_allclose(metric(predictions, counts), wanted, rtol=1e-10, err_msg=name)


def test_weights_default_to_ones_and_are_left_alone(classes: Make) -> None:
    predictions, weights = classes(40, decimals=1), np.full((2, 40), 0.5)
    for metric in metrics_for(predictions).values():
        np.testing.assert_allclose(metric(predictions, weights), metric(predictions).repeat(2), rtol=1e-12)
    assert (weights == 0.5).all()


def test_every_score_equal_is_chance() -> None:
    target = np.array([0, 1, 1, 0, 1])
    flat = Predictions(np.arange(5), target, probabilities=np.full((5, 2), 0.5), class_names=("a", "b"))
    metrics = metrics_for(flat)
    assert metrics["auroc"](flat)[0] == 0.5
    assert metrics["average_precision"](flat)[0] == pytest.approx(0.6)


def test_perfect_predictions(numbers: Make) -> None:
    target = np.array([0, 1, 2, 1])
    perfect = Predictions(np.arange(4), target, probabilities=np.eye(3)[target], class_names=("a", "b", "c"))
    assert {name: metric(perfect)[0] for name, metric in metrics_for(perfect).items()} == {
        "accuracy": 1, "balanced_accuracy": 1, "f1_macro": 1, "log_loss": 0,
    }  # fmt: skip
    values = numbers(9).target
    exact = Predictions(np.arange(9), values, values=values)
    assert {name: metric(exact)[0] for name, metric in metrics_for(exact).items()} == {"rmse": 0, "mae": 0, "r2": 1}


@pytest.mark.parametrize(("label", "undefined"), [(0, {"auroc", "average_precision"}), (1, {"auroc"})])
def test_one_class_leaves_rankings_undefined(label: int, undefined: set[str]) -> None:
    probabilities = np.array([[0.7, 0.3], [0.1, 0.9]])
    single = Predictions(np.arange(2), np.full(2, label), probabilities=probabilities, class_names=("a", "b"))
    values = {name: metric(single)[0] for name, metric in metrics_for(single).items()}
    assert {name for name, value in values.items() if np.isnan(value)} == undefined


def test_f1_without_any_positive_is_undefined() -> None:
    negative = Predictions(np.arange(1), np.array([0]), probabilities=np.array([[0.9, 0.1]]), class_names=("a", "b"))
    assert np.isnan(metrics_for(negative)["f1"](negative)[0])


def test_r2_of_one_value_is_undefined_exactly() -> None:
    """0.1 has no exact square: a variance by subtraction would leave a rounding error to divide by."""
    target = np.array([7.0, 0.1, 0.1, 0.1, 0.3])
    predictions = Predictions(np.arange(5), target, values=target + 1)
    counts = np.array([[0, 3, 1, 1, 0], [0, 0, 0, 0, 5], [0, 1, 1, 1, 2]])
    assert np.isnan(metrics_for(predictions)["r2"](predictions, counts)).tolist() == [True, True, False]


def test_r2_keeps_its_digits_far_from_zero() -> None:
    rng = np.random.default_rng(0)
    target = 1e8 + rng.normal(size=100)
    predictions = Predictions(np.arange(100), target, values=target + 0.5 * rng.normal(size=100))
    counts = rng.multinomial(100, np.full(100, 0.01), size=3)
    wanted = [sk.r2_score(target, predictions.values, sample_weight=row) for row in counts]
    np.testing.assert_allclose(metrics_for(predictions)["r2"](predictions, counts), wanted, rtol=1e-9)


def test_directions_and_proportions(classes: Make, numbers: Make) -> None:
    for predictions in (classes(5), classes(5, 3), numbers(5)):
        for name, metric in metrics_for(predictions).items():
            assert metric.name == name
            assert metric.higher_is_better == (name not in {"log_loss", "brier", "rmse", "mae"})
            assert metric.is_proportion == (name == "accuracy")


def test_weights_of_the_wrong_shape_are_refused(classes: Make) -> None:
    predictions = classes(5)
    metric = metrics_for(predictions)["auroc"]
    for weights in (np.ones(5), np.ones((5, 2))):
        with pytest.raises(DataError, match="do not fit 5 rows"):
            metric(Checked(predictions), weights)
