"""Groups stay whole, time stays in order, and the sizes come as near to the shares as that allows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from trainkit.data.grouping import assign_groups, assign_times
from trainkit.data.splits import Splits, make_folds, make_splits
from trainkit.errors import DataError


def assign(groups: np.ndarray, shares: Iterable[float], seed: int = 0, codes: np.ndarray | None = None) -> np.ndarray:
    codes = np.zeros(len(groups), np.int64) if codes is None else codes
    return assign_groups(groups, codes, np.array(list(shares)), np.random.default_rng(seed))


def assert_whole(groups: np.ndarray, *parts: np.ndarray) -> None:
    for one, other in itertools.combinations(parts, 2):
        assert not set(groups[one]) & set(groups[other])


def off(sizes: Iterable[float], shares: np.ndarray) -> float:
    rows = np.array(list(sizes))
    return float(((rows - rows.sum() * shares) ** 2).sum())


@pytest.mark.parametrize("seed", range(12))
def test_sizes_are_as_near_as_whole_groups_allow(seed: int) -> None:
    """Against every way to hand out a few groups of uneven sizes."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, 60, 7)
    groups, shares = np.repeat(np.arange(7), counts), np.array([0.6, 0.2, 0.2])
    found = np.bincount(assign(groups, shares, seed), minlength=3)
    ways = [np.bincount(way, counts, 3) for way in itertools.product(range(3), repeat=7) if len(set(way)) == 3]
    best = min(off(way, shares) for way in ways)
    assert np.sqrt(off(found, shares)) <= np.sqrt(best) + 0.01 * counts.sum()


def test_many_groups_give_the_shares_of_rows_and_of_classes() -> None:
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 400, 4_000)
    codes = (generator.random(4_000) < 0.1 + 0.6 * (groups % 4 == 0)).astype(np.int64)
    splits = make_splits(4_000, seed=1, strata=codes, groups=groups)
    assert_whole(groups, *splits.parts().values())
    assert [
        abs(len(rows) - share * 4_000) <= 2
        for rows, share in zip((splits.train, splits.val, splits.test), (0.7, 0.15, 0.15), strict=True)
    ] == [True] * 3
    for rows in (splits.train, splits.val, splits.test):
        assert abs(codes[rows].mean() - codes.mean()) < 0.01


def test_groups_are_drawn_by_the_seed() -> None:
    groups = np.repeat([f"p{number}" for number in range(30)], 5)
    tests = {tuple(make_splits(150, seed=seed, groups=groups).test.tolist()) for seed in range(10)}
    assert len(tests) == 10
    assert tuple(make_splits(150, seed=3, groups=groups).test.tolist()) in tests
    in_test = np.zeros(30)
    for seed in range(200):
        in_test[np.unique(np.flatnonzero(assign(groups, (0.7, 0.15, 0.15), seed) == 2) // 5)] += 1
    assert in_test.min() > 0.05 * 200  # no group is always trained on


def test_every_part_gets_a_group() -> None:
    groups = np.repeat([0, 1, 2], [1_000, 3, 2])
    assert sorted(np.unique(assign(groups, (0.7, 0.15, 0.15)))) == [0, 1, 2]
    assert set(assign(groups[:1_003], (0.7, 0.0, 0.3))) == {0, 2}


@pytest.mark.parametrize(("count", "found"), [(1, "1 group"), (2, "2 groups")])
def test_fewer_groups_than_parts_are_refused(count: int, found: str) -> None:
    with pytest.raises(DataError) as caught:
        make_splits(60, groups=np.arange(60) % count)
    assert str(caught.value) == (
        f"{found} for 3 parts\n  where    data.group\n  expected at least 3, so that each part has one"
    )


def moments(times: np.ndarray, splits: Splits) -> list[tuple[Any, Any]]:
    return [(times[rows].min(), times[rows].max()) for rows in (splits.train, splits.val, splits.test)]


def test_time_goes_from_training_to_test() -> None:
    times = np.random.default_rng(0).permutation(200)
    splits = make_splits(200, times=times, seed=5)
    assert moments(times, splits) == [(0, 139), (140, 169), (170, 199)]
    dates = np.datetime64("2021-01-01") + times.astype("timedelta64[h]")
    assert moments(dates, make_splits(200, times=dates)) == [
        (dates.min() + a, dates.min() + b) for a, b in ((0, 139), (140, 169), (170, 199))
    ]


@pytest.mark.parametrize("seed", range(10))
def test_rows_of_one_moment_stay_together(seed: int) -> None:
    times = np.random.default_rng(seed).integers(0, 12, 300).astype(float)
    parts = assign_times(times, np.array([0.7, 0.15, 0.15]))
    assert all(len(set(parts[times == moment])) == 1 for moment in np.unique(times))
    assert (np.diff(parts[np.argsort(times, kind="stable")]) >= 0).all()
    assert set(parts) == {0, 1, 2}


def test_fewer_moments_than_parts_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        make_splits(60, times=np.zeros(60))
    assert str(caught.value) == "1 distinct moment for 3 parts\n  where    data.time\n  expected at least 3"


@pytest.mark.parametrize("num_folds", [2, 5])
def test_folds_of_groups_test_each_group_once(num_folds: int) -> None:
    groups = np.random.default_rng(0).integers(0, 50, 500)
    folds = make_folds(500, num_folds, 1, groups % 2, val_share=0.1, groups=groups)
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(500))
    for fold in folds:
        assert fold.num_rows == 500
        assert_whole(groups, *fold.parts().values())
        assert abs(len(fold.test) - 500 / num_folds) <= 6


def test_folds_in_time_are_chained_forward() -> None:
    times = np.random.default_rng(0).permutation(600)
    folds = make_folds(600, 5, times=times, val_share=0.1)
    assert [moments(times, fold)[2] for fold in folds] == [(100 * k, 100 * k + 99) for k in range(1, 6)]
    for fold in folds:
        train, val, test = moments(times, fold)
        assert (train[0], train[1] + 1, val[1] + 1) == (0, val[0], test[0])
        assert abs(len(fold.val) - (len(fold.train) + len(fold.val)) / 8) < 1  # 0.1 of the 0.8 outside a fold


@pytest.mark.parametrize(
    ("options", "found", "most"),
    [
        ({"groups": np.arange(60) // 20}, "3 groups", 3),
        ({"times": np.arange(60) // 20}, "3 distinct moments", 2),
        ({}, "60 rows", 60),
    ],
)
def test_more_folds_than_there_are_units_are_refused(options: dict[str, Any], found: str, most: int) -> None:
    with pytest.raises(DataError) as caught:
        make_folds(60, most + 1, **options)
    assert str(caught.value) == f"{most + 1} folds of {found}\n  where    data.folds\n  expected 2 to {most}"
    assert len(make_folds(60, most, **options)) == most
