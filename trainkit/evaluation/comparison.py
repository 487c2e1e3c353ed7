"""Is one set of predictions better than another on the same rows? Called for the baseline, and to compare runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trainkit.errors import ConfigError, DataError, did_you_mean, one_of
from trainkit.evaluation.checked import Checked
from trainkit.evaluation.intervals import bootstrap, centred, check_options, percentile_estimate, z_value
from trainkit.evaluation.metrics import checked, metrics_for
from trainkit.evaluation.several import Several, several_names
from trainkit.types import Estimate, Predictions, decimals_for


@dataclass(frozen=True)
class Comparison:
    """The difference of two models in one metric, with its interval.

    Attributes:
        metric: Name of the metric.
        difference: The metric of a minus that of b; the interval is paired.
        better: The better one by the metric's direction, or ``neither`` while the interval holds 0.
        higher_is_better: The metric's direction.
    """

    metric: str
    difference: Estimate
    better: Literal["a", "b", "neither"]
    higher_is_better: bool

    def __str__(self) -> str:
        """The verdict on a and the difference: ``better (+0.025 [+0.011, +0.040])``."""
        verdict = {"a": "better", "b": "worse", "neither": "not distinguishable"}[self.better]
        numbers = (self.difference.value, self.difference.low, self.difference.high)
        decimals = decimals_for(*numbers)
        value, low, high = (f"{number:+,.{decimals}f}".replace("-", "−") for number in numbers)
        has_interval = np.isfinite(numbers[1:]).all() or not np.isfinite(numbers[0])
        return f"{verdict} ({value} [{low}, {high}])" if has_interval else f"{verdict} ({value}, no interval)"


def compare(
    a: Predictions,
    b: Predictions,
    metric: str,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: npt.ArrayLike | None = None,
) -> Comparison:
    """Compare two models on the same rows.

    Both are scored on the same bootstrap resamples, so that what makes rows easy or hard for both cancels out. A
    difference of proportions has Bonett and Price's interval of paired shares (*Journal of Educational and Behavioral
    Statistics* 37, 2012): a bootstrap is too narrow where few rows are told apart, and a point where none is. Rows in
    groups are drawn by whole groups, shares too, as in ``score``.

    Args:
        a: Predictions of N rows with their target.
        b: Predictions of the same rows, in any order.
        metric: A name of ``metrics_for``.
        resamples: Number of bootstrap resamples, ≥ 1; reduced for many rows as in ``score``.
        confidence: Coverage, in (0, 1).
        seed: Seed of the resamples.
        groups: Group of each row of a, int or text [N]; those of a by default.

    Returns:
        The comparison; ``difference`` is a minus b. Where the metric is undefined, it is nan and neither is better.

    Raises:
        DataError: Rows, targets or classes differ, or the predictions cannot be scored.
        ConfigError: The metric does not apply, or ``resamples`` or ``confidence`` is out of range.
    """
    check_options(resamples, confidence)
    metrics = metrics_for(a)
    if metric not in metrics:
        raise ConfigError(
            f"there is no metric '{metric}' for these predictions",
            where="metric",
            expected=one_of(metrics),
            hint=did_you_mean(metric, metrics),
        )
    chosen = metrics[metric]
    rows_a, rows_b = _paired(a if groups is None else replace(a, groups=np.asarray(groups)), b)
    ids, num_groups = rows_a.group_ids, None if rows_a.group_ids is None else rows_a.num_units
    if chosen.name == "accuracy" and (
        num_groups is None or (num_groups > 1 and (rows_a.correct == rows_b.correct).all())
    ):
        difference = _paired_shares(rows_a, rows_b, confidence)
    else:
        functions = [partial(chosen.function, rows) for rows in (rows_a, rows_b)]
        of_a, of_b = bootstrap(functions, len(rows_a), resamples, seed, ids, max(1, len(several_names(a))))
        value = float(chosen(rows_a)[0] - chosen(rows_b)[0])
        samples = centred(of_a - of_b, value) if chosen.is_mean else of_a - of_b
        difference = percentile_estimate(value, samples, len(rows_a), resamples, confidence, num_groups)
    return Comparison(metric, difference, _better(difference, chosen.higher_is_better), chosen.higher_is_better)


def _better(difference: Estimate, higher_is_better: bool) -> Literal["a", "b", "neither"]:
    if not (difference.low > 0 or difference.high < 0):
        return "neither"
    return "a" if (difference.low > 0) == higher_is_better else "b"


def _paired(a: Predictions, b: Predictions) -> tuple[Checked | Several, Checked | Several]:
    if _outcome(a) != _outcome(b):
        kind = "labels" if a.is_multilabel or b.is_multilabel else "numbers" if a.target_names else "classes"
        names = a.class_names or a.target_names
        expected = f"{one_of(names) if names else 'numbers'} in both"
        raise DataError(f"the two sets of predictions are of different {kind}", expected=expected)
    a, b = _by_row(a), _by_row(b)
    if not np.array_equal(a.rows, b.rows):
        shared = len(np.intersect1d(a.rows, b.rows))
        raise DataError(
            f"the two sets of predictions share {shared} rows of {len(a)} and {len(b)}",
            expected="predictions of the same rows",
            hint="runs are comparable with the same data and the same data.split_seed",
        )
    rows_a, rows_b = checked(a), checked(b)
    same = np.isclose(np.asarray(a.target, float), np.asarray(b.target, float), rtol=0, atol=0, equal_nan=True)
    different = int((~same.reshape(len(a), -1)).any(axis=1).sum())
    if different:
        raise DataError(
            f"the targets of {different} of {len(a)} rows differ between the two sets of predictions",
            expected="predictions of the same target on the same data",
        )
    return rows_a, rows_b


def _outcome(made: Predictions) -> tuple[object, ...]:
    """What predictions are of."""
    return made.probabilities is None, made.class_names, made.is_multilabel, made.target_names


def _by_row(predictions: Predictions) -> Predictions:
    order = np.argsort(predictions.rows, kind="stable")

    def sort(array: np.ndarray | None) -> np.ndarray | None:
        return array if array is None or len(array) != len(order) else array[order]

    fields = ("target", "probabilities", "values", "groups", "quantiles")
    arrays: dict[str, Any] = {name: sort(getattr(predictions, name)) for name in fields}
    return replace(predictions, rows=predictions.rows[order], files=None, **arrays)


def _paired_shares(rows_a: Checked | Several, rows_b: Checked | Several, confidence: float) -> Estimate:
    """Bonett and Price's interval: Wald's, with one more row (or group) counted for either side."""
    correct_a, correct_b, n = rows_a.correct, rows_b.correct, rows_a.num_units
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    share_a, share_b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    centre = share_a - share_b
    half = z_value(confidence) * sqrt((share_a + share_b - centre**2) / (n + 2))
    value = (only_a - only_b) / n
    method = "bonett-price" + ("" if rows_a.group_ids is None else f" of {n} groups")
    return Estimate(value, max(-1.0, centre - half), min(1.0, centre + half), n=len(rows_a), method=method)
