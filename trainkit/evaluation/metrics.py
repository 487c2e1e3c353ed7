"""Weighted metrics, vectorised over resamples; called by intervals and comparison, and by whoever needs one number.

A metric takes weights [R, N], one row per resample (bootstrap counts, or any numbers ≥ 0), and gives [R] values. Where
it is not defined (AUROC of one class, R² of one value) the value is nan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainkit.errors import DataError
from trainkit.evaluation.checked import Checked, Floats, Scored
from trainkit.evaluation.several import Several, f1_micro, mean_of_columns, of_column, several_names, subset_accuracy
from trainkit.types import Predictions, of_each

MetricFunction = Callable[[Any, Floats], Floats]
"""From what ``checked`` gives and weights [R, N] to [R]."""

_MATRIX = 2**20
"""Rows times classes up to which class sums are one product of matrices; beyond, they are counted."""

MOST_EACH = 20
"""Targets up to which each of several has metrics of its own."""


@dataclass(frozen=True)
class Metric:
    """A metric by name.

    Attributes:
        name: Key in results, for example ``auroc``.
        higher_is_better: Direction of improvement.
        function: From checked predictions and float64 weights [R, N] to float64 [R].
        is_proportion: Whether it is a share of independent rows, which has an interval in closed form.
        column: Place of the target, of a metric of one of several; None of others.
        is_mean: Whether it is a mean over several targets, whose resamples are to be centred.
    """

    name: str
    higher_is_better: bool
    function: MetricFunction
    is_proportion: bool = False
    column: int | None = None
    is_mean: bool = False

    def __call__(self, predictions: Predictions | Scored, weights: npt.ArrayLike | None = None) -> Floats:
        """The metric for each row of weights.

        Args:
            predictions: N rows.
            weights: [R, N], numbers ≥ 0; None is one row of ones.

        Returns:
            float64 [R], nan where the metric is not defined.

        Raises:
            DataError: The predictions cannot be scored, or the weights are not [R, N].
        """
        rows = predictions if isinstance(predictions, Scored) else checked(predictions)
        filled = np.ones((1, len(rows))) if weights is None else np.asarray(weights, dtype=np.float64)
        if filled.ndim != 2 or filled.shape[1] != len(rows):
            raise DataError(f"weights of shape {list(filled.shape)} do not fit {len(rows)} rows", expected="[R, N]")
        return self.function(rows, filled)


def checked(predictions: Predictions, groups: npt.ArrayLike | None = None) -> Checked | Several:
    """Predictions as the metrics take them; of one target, or of several.

    Args:
        predictions: N rows.
        groups: Group of each row, int or text [N]; those of the predictions by default.

    Raises:
        DataError: They cannot be scored.
    """
    return Several(predictions, groups) if several_names(predictions) else Checked(predictions, groups)


def metrics_for(predictions: Predictions) -> dict[str, Metric]:
    """The metrics that apply, by name, the headline metric first.

    Args:
        predictions: Two classes (headline ``auroc``; the positive class is the last), more classes (``accuracy``) or
            numbers (``rmse``), quantiles of them (``pinball``), labels (``auroc_macro``, the mean over labels) or
            several numbers (``r2_macro``). The target is not looked at.

    Returns:
        Metrics in the order in which they are reported.
    """
    if names := several_names(predictions):
        each = _of_labels(names) if predictions.is_multilabel else _of_numbers(names)
        return {metric.name: metric for metric in each}
    if predictions.quantiles is not None:
        return {metric.name: metric for metric in _QUANTILES}
    if predictions.probabilities is None:
        return {metric.name: metric for metric in _NUMBERS}
    return {metric.name: metric for metric in (_BINARY if predictions.probabilities.shape[1] == 2 else _CLASSES)}


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def _mean(per_row: np.ndarray, weights: Floats) -> Floats:
    return _divide(weights @ per_row.astype(np.float64, copy=False), weights.sum(axis=1))


def _accuracy(rows: Checked, weights: Floats) -> Floats:
    return _mean(rows.correct, weights)


def _log_loss(rows: Checked, weights: Floats) -> Floats:
    return _mean(rows.surprise, weights)


def _class_sums(rows: Checked, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Weight per class of the rows hit, of the true rows and of the predicted rows, each [R, K].

    Weights are counts, so that sums are exact in any order.
    """
    if len(rows) * rows.num_classes <= _MATRIX:
        classes = np.arange(rows.num_classes)
        is_true, is_predicted = (labels[:, None] == classes for labels in (rows.target, rows.predicted))
        sums = weights @ np.concatenate([is_true & is_predicted, is_true, is_predicted], axis=1, dtype=np.float64)
        return sums[:, : len(classes)], sums[:, len(classes) : 2 * len(classes)], sums[:, 2 * len(classes) :]
    hits, true, predicted = np.empty((3, len(weights), rows.num_classes))
    for resample, counts in enumerate(weights):
        hits[resample] = np.bincount(rows.target, counts * rows.correct, rows.num_classes)
        true[resample] = np.bincount(rows.target, counts, rows.num_classes)
        predicted[resample] = np.bincount(rows.predicted, counts, rows.num_classes)
    return hits, true, predicted


def _mean_of_classes(numerator: Floats, denominator: Floats) -> Floats:
    """Mean of the ratios over the classes that occur, [R, K] to [R]."""
    occurs = denominator > 0
    ratios = np.divide(numerator, denominator, out=np.zeros_like(numerator), where=occurs)
    return _divide(ratios.sum(axis=1), occurs.sum(axis=1).astype(np.float64))


def _balanced_accuracy(rows: Checked, weights: Floats) -> Floats:
    hits, true, _ = _class_sums(rows, weights)
    return _mean_of_classes(hits, true)


def _f1_macro(rows: Checked, weights: Floats) -> Floats:
    hits, true, predicted = _class_sums(rows, weights)
    return _mean_of_classes(2 * hits, true + predicted)


def _f1(rows: Checked, weights: Floats) -> Floats:
    positive, called = rows.is_positive, rows.predicted == 1
    hits = weights @ (positive & called).astype(np.float64)
    return _divide(2 * hits, weights @ np.add(positive, called, dtype=np.float64))


def _brier(rows: Checked, weights: Floats) -> Floats:
    return _mean(np.square(rows.positive - rows.is_positive), weights)


def _ranked_weights(rows: Checked, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of all and of the positive rows per group of equal scores, [R, G] each, highest score first."""
    ranking = rows.ranking
    everyone = weights[:, ranking.order]
    positive = everyone * ranking.is_positive
    if ranking.starts is None:
        return everyone, positive
    return np.add.reduceat(everyone, ranking.starts, axis=1), np.add.reduceat(positive, ranking.starts, axis=1)


def _dot(left: Floats, right: Floats) -> Floats:
    products: Floats = np.einsum("rn,rn->r", left, right)
    return products


def _auroc(rows: Checked, weights: Floats) -> Floats:
    """Share of pairs of a positive and a negative row that are in order, a tie counting half."""
    negative, positive = _ranked_weights(rows, weights)
    negative -= positive
    tied, num_positive, num_negative = _dot(negative, positive), positive.sum(axis=1), negative.sum(axis=1)
    above = np.cumsum(positive, axis=1, out=positive)
    return _divide(_dot(negative, above) - tied / 2, num_positive * num_negative)


def _average_precision(rows: Checked, weights: Floats) -> Floats:
    """Precision at each threshold, weighted by the recall gained there; 0 / 0 precision gains no recall."""
    everyone, positive = _ranked_weights(rows, weights)
    called = np.cumsum(everyone, axis=1, out=everyone)
    precision = np.cumsum(positive, axis=1)
    np.divide(precision, called, out=precision, where=called > 0)
    return _divide(_dot(precision, positive), positive.sum(axis=1))


def _rmse(rows: Checked, weights: Floats) -> Floats:
    return np.sqrt(_mean(np.square(rows.error), weights))


def _mae(rows: Checked, weights: Floats) -> Floats:
    return _mean(np.abs(rows.error), weights)


def _r2(rows: Checked, weights: Floats) -> Floats:
    """Share of variance explained; nan where the resample holds one value of the target only.

    Deviations are taken from the resample's first row before they are averaged, so that one value gives exactly 0.
    """
    deviation = rows.target - rows.target[np.argmax(weights > 0, axis=1)][:, None]
    deviation -= _divide(_dot(weights, deviation), weights.sum(axis=1))[:, None]
    np.square(deviation, out=deviation)
    return 1 - _divide(weights @ np.square(rows.error), _dot(weights, deviation))


def _pinball(rows: Checked, weights: Floats) -> Floats:
    """Mean over levels q of q for each unit that a quantile lies below the truth, and 1 - q above it."""
    short = rows.target[:, None] - rows.quantiles
    return _mean(np.maximum(rows.levels * short, (rows.levels - 1) * short).mean(axis=1), weights)


def _coverage(rows: Checked, weights: Floats) -> Floats:
    """Share of rows whose truth lies within the outermost quantiles."""
    return _mean((rows.quantiles[:, 0] <= rows.target) & (rows.target <= rows.quantiles[:, -1]), weights)


def _width(rows: Checked, weights: Floats) -> Floats:
    return _mean(rows.quantiles[:, -1] - rows.quantiles[:, 0], weights)


_ACCURACY = Metric("accuracy", True, _accuracy, is_proportion=True)
_LOG_LOSS = Metric("log_loss", False, _log_loss)
_BINARY = (
    Metric("auroc", True, _auroc),
    _ACCURACY,
    Metric("average_precision", True, _average_precision),
    Metric("f1", True, _f1),
    _LOG_LOSS,
    Metric("brier", False, _brier),
)
_CLASSES = (
    _ACCURACY,
    Metric("balanced_accuracy", True, _balanced_accuracy),
    Metric("f1_macro", True, _f1_macro),
    _LOG_LOSS,
)
_QUANTILES = (
    Metric("pinball", False, _pinball),
    Metric("coverage", True, _coverage, is_proportion=True),
    Metric("width", False, _width),
    Metric("mae", False, _mae),
)
_NUMBERS = (Metric("rmse", False, _rmse), Metric("mae", False, _mae), Metric("r2", True, _r2))
_LABELS = (
    Metric("auroc_macro", True, mean_of_columns(_auroc), is_mean=True),
    Metric("average_precision_macro", True, mean_of_columns(_average_precision), is_mean=True),
    Metric("f1_macro", True, mean_of_columns(_f1), is_mean=True),
    Metric("f1_micro", True, f1_micro),
    Metric("subset_accuracy", True, subset_accuracy, is_proportion=True),
    Metric("log_loss", False, mean_of_columns(_log_loss), is_mean=True),
)


def _of_labels(names: Sequence[str]) -> list[Metric]:
    return [*_LABELS, *_each(Metric("auroc", True, _auroc), names)]


def _of_numbers(names: Sequence[str]) -> list[Metric]:
    each = [metric for of_one in _NUMBERS for metric in _each(of_one, names)]
    return [Metric("r2_macro", True, mean_of_columns(_r2), is_mean=True), *each]


def _each(metric: Metric, names: Sequence[str]) -> list[Metric]:
    """A metric of each of the first targets."""
    named = enumerate(of_each(metric.name, names)[:MOST_EACH])
    return [
        Metric(name, metric.higher_is_better, of_column(metric.function, place), column=place) for place, name in named
    ]
