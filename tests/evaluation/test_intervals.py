from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import NormalDist

import numpy as np
import pytest

from trainkit.errors import ConfigError, DataError
from trainkit.evaluation import intervals
from trainkit.evaluation.checked import Checked
from trainkit.evaluation.intervals import bootstrap, newcombe, percentile_estimate, score, wilson
from trainkit.evaluation.metrics import metrics_for
from trainkit.types import Predictions

Make = Callable[..., Predictions]


def _covered(low: float, truth: float, high: float) -> bool:
    return low <= truth <= high


@pytest.mark.parametrize(
    ("hits", "n", "ends"),
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_wilson_against_published_values(hits: int, n: int, ends: tuple[float, float]) -> None:
    """The examples of Newcombe, *Statistics in Medicine* 17 (1998), 857-872, table I."""
    assert wilson(hits / n, n) == pytest.approx(ends, abs=5e-5)


def test_wilson_of_a_perfect_score_reaches_one() -> None:
    low, high = wilson(1.0, 50)
    assert low == pytest.approx(1 - wilson(0.0, 50)[1]) and high == 1.0
    assert wilson(0.0, 50)[0] == 0.0


def test_newcombe_solves_its_equation() -> None:
    squared = NormalDist().inv_cdf(0.975) ** 2
    assert newcombe(1, 1) == pytest.approx(1 / (1 + squared))
    low = newcombe(40, 25)
    variance = low * (1 - low) * (1 + 31.5 * ((1 - low) / (2 - low) + low / (1 + low))) / (40 * 25)
    assert (1 - low) ** 2 == pytest.approx(squared * variance)
    assert newcombe(40, 25, confidence=0.99) < low < newcombe(400, 250)


def test_auroc_interval_covers_the_truth() -> None:
    """Two unit normals 1.2 apart have an AUROC of 0.802; of 200 intervals, 95 % should hold it."""
    truth, rng, hits = NormalDist().cdf(1.2 / np.sqrt(2)), np.random.default_rng(0), 0
    for _ in range(200):
        target = (np.arange(150) < 60).astype(np.int64)
        positive = 1 / (1 + np.exp(-rng.normal(size=150) - 1.2 * target))
        probabilities = np.stack([1 - positive, positive], axis=1)
        estimate = score(
            Predictions(np.arange(150), target, probabilities=probabilities, class_names=("a", "b")), resamples=300
        )["auroc"]
        hits += _covered(estimate.low, truth, estimate.high)
    assert 181 <= hits <= 198


def test_rmse_interval_covers_the_truth() -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        target = rng.normal(size=200)
        estimate = score(Predictions(np.arange(200), target, values=target + rng.normal(size=200)), resamples=300)
        hits += _covered(estimate["rmse"].low, 1.0, estimate["rmse"].high)
    assert 181 <= hits <= 198


def test_bootstrap_spread_is_the_standard_error(numbers: Make) -> None:
    """The bootstrap's standard deviation of a mean is known: that of the rows over the square root of N."""
    predictions = numbers(400)
    rows = Checked(predictions)
    samples = bootstrap([partial(metrics_for(predictions)["mae"].function, rows)], 400, 4000, seed=0)[0]
    assert samples.std() == pytest.approx(np.abs(rows.error).std() / 20, rel=0.05)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_score_estimates(classes: Make, num_classes: int) -> None:
    predictions = classes(300, num_classes)
    estimates = score(predictions)
    assert list(estimates) == list(metrics_for(predictions))
    for name, estimate in estimates.items():
        assert estimate.value == metrics_for(predictions)[name](predictions)[0]
        assert estimate.low < estimate.value < estimate.high
        assert estimate.n == 300
        assert estimate.method == ("wilson" if name == "accuracy" else "bootstrap")


def test_score_depends_on_seed_and_confidence_only(numbers: Make) -> None:
    predictions = numbers(100)
    first = score(predictions, resamples=500)
    assert first == score(predictions, resamples=500)
    assert first["mae"].low != score(predictions, resamples=500, seed=1)["mae"].low
    narrow = score(predictions, resamples=500, confidence=0.5)["mae"]
    assert first["mae"].low < narrow.low < narrow.high < first["mae"].high


def test_blocks_do_not_matter(classes: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = classes(50)
    whole = score(predictions, resamples=101)
    monkeypatch.setattr(intervals, "_BLOCK", 500)
    for name, estimate in score(predictions, resamples=101).items():
        assert (estimate.low, estimate.high) == pytest.approx((whole[name].low, whole[name].high), rel=1e-12)


def test_large_data_gets_fewer_resamples(numbers: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "_MAX_DRAWS", 30_000)
    assert score(numbers(100), resamples=1000)["mae"].method == "bootstrap, 300 resamples"
    assert score(numbers(1000), resamples=1000)["mae"].method == "bootstrap, 200 resamples"
    assert score(numbers(1000), resamples=150)["mae"].method == "bootstrap"


def test_memory_stays_bounded_for_a_million_rows(classes: Make) -> None:
    predictions = classes(1_000_000)
    tracemalloc.start()
    score(predictions, resamples=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20


@pytest.mark.parametrize(("n", "num_classes", "limit_seconds"), [(1057, 2, 1.0), (10_000, 10, 3.0)])
def test_score_is_fast(classes: Make, n: int, num_classes: int, limit_seconds: float) -> None:
    """Time of this process, which other processes of the machine do not lengthen."""
    predictions = classes(n, num_classes)
    start = time.process_time()
    score(predictions, resamples=2000)
    assert time.process_time() - start < limit_seconds


def test_perfect_classes_have_honest_intervals(classes: Make) -> None:
    target = np.arange(60) % 2
    perfect = replace(classes(60), target=target, probabilities=np.eye(2)[target])
    estimates = score(perfect, resamples=200)
    assert str(estimates["accuracy"]) == "1.000 [0.940, 1.000]"
    assert estimates["auroc"].method == "newcombe"
    assert estimates["auroc"].low == newcombe(30, 30) < estimates["auroc"].high == 1.0
    assert estimates["f1"].method == "bootstrap, all resamples alike"
    worst = score(replace(perfect, probabilities=np.eye(2)[1 - target]), resamples=200)["auroc"]
    assert worst.value == worst.low == 0.0 and worst.high == pytest.approx(1 - newcombe(30, 30))


def test_undefined_resamples_are_left_out_and_counted(classes: Make) -> None:
    target = np.array([1, 0, 0, 0, 0, 0])
    positive = np.array([0.6, 0.7, 0.2, 0.3, 0.1, 0.4])
    few = replace(classes(6), target=target, probabilities=np.stack([1 - positive, positive], axis=1))
    estimate = score(few, resamples=2000)["auroc"]
    left, undefined, of, resamples, word = estimate.method.split()
    assert (left, of, resamples, word) == ("bootstrap,", "of", "2,000", "undefined")
    assert int(undefined) == pytest.approx(2000 * (5 / 6) ** 6, rel=0.1)
    assert 0 <= estimate.low < estimate.value == 0.8 < estimate.high == 1


@pytest.mark.parametrize("n", [1, 7])
def test_one_class_in_test(classes: Make, n: int) -> None:
    single = replace(classes(n), target=np.zeros(n, dtype=np.int64))
    estimates = score(single, resamples=100)
    auroc = estimates["auroc"]
    assert np.isnan([auroc.value, auroc.low, auroc.high]).all()
    assert auroc.method == "bootstrap, 100 of 100 undefined"
    assert np.isfinite([estimates["log_loss"].low, estimates["accuracy"].low]).all()


def test_one_number(numbers: Make) -> None:
    estimates = score(numbers(1), resamples=100)
    assert estimates["rmse"].low == estimates["rmse"].value == estimates["rmse"].high
    assert estimates["rmse"].method == "bootstrap, all resamples alike"
    assert np.isnan(estimates["r2"].value)


def test_percentile_estimate_leaves_nan_out() -> None:
    samples = np.concatenate([np.arange(101.0), [np.nan] * 9])
    estimate = percentile_estimate(50.0, samples, n=10, asked=110, confidence=0.9)
    assert (estimate.low, estimate.high) == pytest.approx((5.0, 95.0))
    assert estimate.method == "bootstrap, 9 of 110 undefined"


def test_bad_input(classes: Make) -> None:
    with pytest.raises(DataError, match="no predictions"):
        score(Predictions(np.arange(0), np.zeros(0), values=np.zeros(0)))
    with pytest.raises(DataError, match="no target"):
        score(replace(classes(3), target=None))
    with pytest.raises(ConfigError, match="0 resamples"):
        score(classes(3), resamples=0)
    with pytest.raises(ConfigError, match=r"confidence is 95"):
        score(classes(3), confidence=95)
