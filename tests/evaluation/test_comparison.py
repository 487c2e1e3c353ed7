from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from trainkit.errors import ConfigError, DataError
from trainkit.evaluation.comparison import Comparison, compare
from trainkit.evaluation.intervals import score
from trainkit.types import Estimate, Predictions

Make = Callable[..., Predictions]


def _shifted(predictions: Predictions, scale: float, seed: int = 9) -> Predictions:
    """The same predictions, each number off by a little more: strongly correlated."""
    assert predictions.values is not None
    noise = scale * np.random.default_rng(seed).normal(size=len(predictions))
    return replace(predictions, values=predictions.values + noise)


def _right_on(num_right: int, n: int) -> Predictions:
    target = np.zeros(n, dtype=np.int64)
    probabilities = np.eye(3)[np.where(np.arange(n) < num_right, 0, 1)]
    return Predictions(np.arange(n), target, probabilities=probabilities, class_names=("a", "b", "c"))


def test_paired_interval_is_narrower_than_unpaired(numbers: Make) -> None:
    a = numbers(300)
    b = _shifted(a, 0.2)
    difference = compare(a, b, "rmse").difference
    of_a, of_b = score(a)["rmse"], score(b)["rmse"]
    unpaired = np.hypot(of_a.high - of_a.low, of_b.high - of_b.low)
    assert difference.high - difference.low < 0.4 * unpaired
    assert difference.value == pytest.approx(of_a.value - of_b.value)
    assert (difference.n, difference.method) == (300, "bootstrap")


def test_paired_interval_covers_the_truth() -> None:
    """Errors of variance 1 and 1.21 that share most of their noise: MSE's root differs by 0.1."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        target, shared = rng.normal(size=200), rng.normal(size=200)
        a = Predictions(np.arange(200), target, values=target + shared)
        b = Predictions(np.arange(200), target, values=target + shared + np.sqrt(0.21) * rng.normal(size=200))
        difference = compare(a, b, "rmse", resamples=300).difference
        hits += difference.low <= -0.1 <= difference.high
    assert 181 <= hits <= 198


def test_paired_shares_cover_the_truth() -> None:
    """a alone is right on 4 % of rows, b alone on 1 %; in 200 rows, so few that a bootstrap would cover less."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        which = rng.choice(4, p=[0.04, 0.01, 0.85, 0.10], size=200)
        a, b = (_right_on(0, 200), _right_on(0, 200))
        a = replace(a, probabilities=np.eye(3)[np.where(np.isin(which, [0, 2]), 0, 1)])
        b = replace(b, probabilities=np.eye(3)[np.where(np.isin(which, [1, 2]), 0, 1)])
        difference = compare(a, b, "accuracy").difference
        hits += difference.low <= 0.03 <= difference.high
    assert 370 <= hits <= 396


def test_direction_decides_which_is_better(numbers: Make, classes: Make) -> None:
    a = numbers(300)
    b = _shifted(a, 1.0)
    rmse, r2 = compare(a, b, "rmse"), compare(a, b, "r2")
    assert (rmse.better, rmse.higher_is_better, rmse.difference.high < 0) == ("a", False, True)
    assert (r2.better, r2.higher_is_better, r2.difference.low > 0) == ("a", True, True)
    assert compare(b, a, "rmse").better == "b"
    strong, weak = classes(400, lift=2.0, seed=1), classes(400, lift=0.5, seed=1)
    assert compare(strong, weak, "auroc").better == "a"
    assert compare(weak, strong, "log_loss").better == "b"


@pytest.mark.parametrize("metric", ["auroc", "accuracy", "log_loss"])
def test_a_model_is_not_better_than_itself(classes: Make, metric: str) -> None:
    comparison = compare(classes(100), classes(100), metric)
    assert comparison.better == "neither"
    assert comparison.difference.low <= comparison.difference.value == 0 <= comparison.difference.high


def test_a_handful_of_rows_told_apart_proves_nothing() -> None:
    """Five rows to none of 1,000: McNemar's exact test gives p = 0.0625, where a bootstrap would call it better."""
    comparison = compare(_right_on(995, 1000), _right_on(990, 1000), "accuracy")
    assert comparison.difference.value == 0.005
    assert (comparison.difference.low, comparison.difference.high) == pytest.approx((-0.00017, 0.01015), abs=2e-5)
    assert comparison.difference.method == "bonett-price"
    assert comparison.better == "neither"
    assert compare(_right_on(1000, 1000), _right_on(990, 1000), "accuracy").better == "a"


def test_two_perfect_scores_leave_room(classes: Make) -> None:
    difference = compare(_right_on(20, 20), _right_on(20, 20), "accuracy").difference
    assert difference.low == -difference.high < 0 == difference.value


def test_rows_may_come_in_any_order(classes: Make) -> None:
    a, b = classes(80, seed=1), classes(80, seed=1, lift=1.0)
    assert b.target is not None and b.probabilities is not None
    order = np.random.default_rng(0).permutation(80)
    mixed = replace(b, rows=b.rows[order], target=b.target[order], probabilities=b.probabilities[order])
    assert compare(a, mixed, "auroc") == compare(a, b, "auroc")


@pytest.mark.parametrize(
    ("comparison", "text"),
    [
        (("auroc", (0.003, -0.008, 0.013), "neither", True), "not distinguishable (+0.003 [−0.008, +0.013])"),
        (("auroc", (0.025, 0.011, 0.04), "a", True), "better (+0.025 [+0.011, +0.040])"),
        (("rmse", (-12.5, -20.0, -5.0), "a", False), "better (−12.50 [−20.00, −5.00])"),
        (("rmse", (0.2, 0.1, 0.3), "b", False), "worse (+0.200 [+0.100, +0.300])"),
        (("mae", (2e-6, 1e-6, 31e-6), "b", False), "worse (+0.000002 [+0.000001, +0.000031])"),
        (("mae", (0.0, 0.0, 0.0), "neither", False), "not distinguishable (+0.000 [+0.000, +0.000])"),
        (("auroc", (np.nan, np.nan, np.nan), "neither", True), "not distinguishable (+nan [+nan, +nan])"),
    ],
)
def test_text(comparison: tuple[str, tuple[float, float, float], str, bool], text: str) -> None:
    metric, numbers, better, higher_is_better = comparison
    assert str(Comparison(metric, Estimate(*numbers, n=9), better, higher_is_better)) == text  # type: ignore[arg-type]


def test_undefined_is_neither(classes: Make) -> None:
    single = replace(classes(9), target=np.zeros(9, dtype=np.int64))
    comparison = compare(single, single, "auroc", resamples=50)
    assert comparison.better == "neither" and np.isnan(comparison.difference.value)


def test_other_rows_or_targets_are_refused(classes: Make, numbers: Make) -> None:
    a = classes(10)
    assert a.target is not None
    with pytest.raises(DataError, match="share 8 rows of 10 and 10"):
        compare(a, replace(a, rows=np.arange(2, 12)), "auroc")
    with pytest.raises(DataError, match="share 9 rows of 10 and 9"):
        compare(a, classes(9), "auroc")
    with pytest.raises(DataError, match="the targets of 10 of 10 rows differ"):
        compare(a, replace(a, target=1 - a.target), "auroc")
    with pytest.raises(DataError, match="of different classes"):
        compare(a, numbers(10), "auroc")
    with pytest.raises(DataError, match="of different classes"):
        compare(a, replace(a, class_names=("b", "a")), "auroc")
    with pytest.raises(DataError, match="no target"):
        compare(replace(a, target=None), a, "auroc")


def test_unknown_metric_names_the_nearest(classes: Make) -> None:
    with pytest.raises(ConfigError, match="there is no metric 'acuracy'") as raised:
        compare(classes(10), classes(10), "acuracy")
    assert "did you mean 'accuracy'?" in str(raised.value)
    assert "one of auroc, accuracy" in str(raised.value)
    with pytest.raises(ConfigError, match="0 resamples"):
        compare(classes(10), classes(10), "auroc", resamples=0)
