"""Rows of one group are alike: intervals draw whole groups, and hold the truth as often as they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from trainkit.errors import DataError
from trainkit.evaluation import compare, score
from trainkit.types import Predictions

Make = Callable[..., Predictions]


def _alike(rng: np.random.Generator, num_groups: int, size: int = 10) -> Predictions:
    """Errors of variance 1, nine tenths of it shared by the rows of a group."""
    groups = np.repeat(np.arange(num_groups), size)
    error = np.sqrt(0.9) * rng.normal(size=num_groups)[groups] + np.sqrt(0.1) * rng.normal(size=len(groups))
    return Predictions(np.arange(len(groups)), np.zeros(len(groups)), values=error, groups=groups)


@pytest.mark.parametrize(("num_groups", "least"), [(8, 170), (30, 181)])
def test_it_covers_the_truth_where_rows_alone_do_not(num_groups: int, least: int) -> None:
    """The mean absolute error of a unit normal is √(2/π); of 200 intervals 95 % should hold it."""
    rng, truth, hits, naive = np.random.default_rng(0), np.sqrt(2 / np.pi), 0, 0
    for _ in range(200):
        made = _alike(rng, num_groups)
        estimate, rows = (score(some, resamples=400)["mae"] for some in (made, replace(made, groups=None)))
        hits += estimate.low <= truth <= estimate.high
        naive += rows.low <= truth <= rows.high
    assert least <= hits <= 198
    assert naive < 140


def test_shares_are_drawn_by_groups_and_not_by_wilson() -> None:
    """All rows of a group right or all wrong, in 40 groups: as wide as the interval of 40 rows, not of 400."""
    right = np.repeat(np.arange(40) % 4 > 0, 10)
    made = Predictions(
        np.arange(400), np.zeros(400, np.int64), np.eye(2)[np.where(right, 0, 1)], class_names=("a", "b")
    )
    groups = np.repeat(np.arange(40), 10)
    estimate = score(made, groups=groups)["accuracy"]
    assert (estimate.value, estimate.n, estimate.method) == (0.75, 400, "bootstrap of 40 groups")
    assert estimate.high - estimate.low == pytest.approx(2 * 2.02 * np.sqrt(0.75 * 0.25 / 39), rel=0.15)
    assert score(made)["accuracy"].method == "wilson"


def test_a_perfect_score_counts_groups_for_rows(classes: Make) -> None:
    made = classes(200, lift=200.0)
    estimates = score(made, groups=np.arange(200) // 10)
    assert (estimates["accuracy"].value, estimates["auroc"].value) == (1.0, 1.0)
    assert estimates["accuracy"].low == pytest.approx(1 / (1 + 1.959964**2 / 20))
    assert estimates["accuracy"].method == "wilson of 20 groups"
    assert estimates["auroc"].low < score(made)["auroc"].low < 1
    assert estimates["auroc"].method == "newcombe of 20 groups"


def test_a_group_for_each_row_is_no_narrower_than_rows(numbers: Make) -> None:
    made = numbers(200)
    by_row, by_group = score(made)["rmse"], score(made, groups=np.arange(200))["rmse"]
    assert by_group.value == by_row.value
    assert by_group.high - by_group.low == pytest.approx(by_row.high - by_row.low, rel=0.1)


@pytest.mark.parametrize("metric", ["accuracy", "auroc", "log_loss"])
def test_one_group_has_no_interval(classes: Make, metric: str) -> None:
    one = replace(classes(30), groups=np.zeros(30, np.int64))
    estimate = score(one)[metric]
    assert np.isnan([estimate.low, estimate.high]).all() and not np.isnan(estimate.value)
    assert (estimate.n, estimate.method) == (30, "none: 1 group")
    comparison = compare(one, one, metric)
    assert np.isnan([comparison.difference.low, comparison.difference.high]).all()
    assert str(comparison) == "not distinguishable (+0.000, no interval)"


def test_a_difference_is_paired_on_the_same_groups() -> None:
    """b errs by a tenth more in every row; what groups share cancels out, and the truth is covered."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(100):
        a = _alike(rng, 25)
        assert a.values is not None
        extra = np.sqrt(0.21) * rng.normal(size=25)[a.groups]
        comparison = compare(a, replace(a, values=a.values + extra, groups=None), "rmse", resamples=300)
        hits += comparison.difference.low <= -0.1 <= comparison.difference.high
    assert 88 <= hits <= 100
    assert (comparison.difference.n, comparison.difference.method) == (250, "bootstrap of 25 groups")


def test_shares_are_compared_by_groups() -> None:
    """a alone is right in one whole group of 20 rows: 20 rows to none tell rows apart, and one group tells nothing."""
    groups, names = np.repeat(np.arange(20), 20), ("a", "b")
    wrong = Predictions(np.arange(400), np.zeros(400, np.int64), np.eye(2)[np.full(400, 1)], class_names=names)
    right = replace(wrong, probabilities=np.eye(2)[np.where(groups == 0, 0, 1)])
    assert compare(right, wrong, "accuracy").better == "a"
    assert compare(right, wrong, "accuracy", groups=groups).better == "neither"
    same = compare(wrong, wrong, "accuracy", groups=groups).difference
    assert same.low == -same.high < 0 and same.method == "bonett-price of 20 groups"


def test_names_and_the_order_of_rows_do_not_matter(numbers: Make) -> None:
    made, other = numbers(60), numbers(60, seed=4)
    other = replace(other, target=made.target)
    groups = np.arange(60) // 5
    texts = np.array([f"p{number}" for number in groups], dtype=object)
    assert score(made, groups=groups) == score(replace(made, groups=texts))
    order = np.random.default_rng(0).permutation(60)
    assert made.target is not None and made.values is not None
    mixed = Predictions(made.rows[order], made.target[order], values=made.values[order], groups=texts[order])
    assert compare(mixed, other, "rmse") == compare(made, other, "rmse", groups=groups)


def test_groups_that_do_not_fit_are_refused(numbers: Make) -> None:
    with pytest.raises(DataError, match="groups has 9 rows, but the predictions have 10"):
        score(numbers(10), groups=np.arange(9))
    with pytest.raises(DataError, match="the group of row 1 is missing"):
        score(numbers(10), groups=np.array(["a", None, *"bcdefghi"], dtype=object))
    with pytest.raises(DataError, match=r"the groups have the shape \[10, 1\]"):
        score(numbers(10), groups=np.zeros((10, 1)))
