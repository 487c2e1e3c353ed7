"""Splits and folds: disjoint, covering, even over classes, the same for the same seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainkit.data.splits import Splits, make_folds, make_splits
from trainkit.errors import DataError


def sizes(splits: Splits) -> tuple[int, int, int]:
    return len(splits.train), len(splits.val), len(splits.test)


def assert_covers(splits: Splits, num_rows: int) -> None:
    joined = np.concatenate([splits.train, splits.val, splits.test])
    np.testing.assert_array_equal(np.sort(joined), np.arange(num_rows))
    assert splits.num_rows == num_rows


def assert_same(first: Splits, second: Splits) -> None:
    for part in ("train", "val", "test"):
        np.testing.assert_array_equal(getattr(first, part), getattr(second, part))


@pytest.mark.parametrize(
    ("num_rows", "shares", "expected"),
    [
        (7043, (0.15, 0.15), (4930, 1056, 1057)),
        (10, (0.15, 0.15), (7, 1, 2)),
        (5, (0.2, 0.2), (3, 1, 1)),
        (3, (0.3, 0.3), (1, 1, 1)),
        (100, (0.0, 0.3), (70, 0, 30)),
        (100, (0.3, 0.0), (70, 30, 0)),
        (100, (0.0, 0.0), (100, 0, 0)),
    ],
)
def test_sizes(num_rows: int, shares: tuple[float, float], expected: tuple[int, int, int]) -> None:
    splits = make_splits(num_rows, val_share=shares[0], test_share=shares[1], seed=0)
    assert sizes(splits) == expected
    assert_covers(splits, num_rows)


@pytest.mark.parametrize("seed", range(30))
def test_random_tables_are_split_evenly(seed: int) -> None:
    generator = np.random.default_rng(seed)
    num_rows, num_classes = int(generator.integers(60, 3000)), int(generator.integers(2, 40))
    strata = generator.choice(num_classes, num_rows, p=generator.dirichlet(np.full(num_classes, 0.5)))
    val_share, test_share = generator.uniform(0.05, 0.4, 2).tolist()
    splits = make_splits(num_rows, val_share=val_share, test_share=test_share, seed=seed, strata=strata)
    assert_covers(splits, num_rows)
    for label in np.unique(strata):
        count = int((strata == label).sum())
        parts = [int((strata[rows] == label).sum()) for rows in (splits.train, splits.val, splits.test)]
        assert min(parts) >= 1 or count < 3
        assert parts[0] >= 1
        for size, share in zip(parts, (1 - val_share - test_share, val_share, test_share), strict=True):
            assert abs(size - share * count) <= 2
    again = make_splits(num_rows, val_share=val_share, test_share=test_share, seed=seed, strata=strata)
    assert_same(splits, again)


def test_many_equal_classes_do_not_shift_the_sizes() -> None:
    strata = np.repeat(np.arange(100), 11)
    assert sizes(make_splits(1100, val_share=0.15, test_share=0.15, seed=0, strata=strata)) == (770, 165, 165)


def test_seed_and_strata_decide() -> None:
    def draw(seed: int, strata: Any = None) -> tuple[int, ...]:
        return tuple(make_splits(200, val_share=0.2, test_share=0.2, seed=seed, strata=strata).test.tolist())

    assert draw(0) == draw(0)
    assert len({draw(seed) for seed in range(20)}) == 20
    numbers = np.arange(200) % 3
    names = np.array(["a", "b", "c"], dtype=object)[numbers]
    assert draw(0, numbers) == draw(0, names) == draw(0, numbers + 5)
    assert draw(0, numbers) != draw(0)


def test_every_row_is_equally_likely_in_each_part() -> None:
    strata = np.array([0] * 30 + [1] * 10)
    counts = np.zeros(40)
    for seed in range(500):
        counts[make_splits(40, val_share=0.2, test_share=0.2, seed=seed, strata=strata).test] += 1
    assert abs(counts / 500 - 0.2).max() < 5 * np.sqrt(0.2 * 0.8 / 500)


def test_small_classes_go_to_training_first() -> None:
    strata = np.array([0] * 50 + [1, 2, 2, 3, 3, 3])
    for seed in range(20):
        splits = make_splits(56, val_share=0.15, test_share=0.15, seed=seed, strata=strata)
        assert 50 in splits.train
        assert 2 in strata[splits.train]
        assert all(3 in strata[rows] for rows in (splits.train, splits.val, splits.test))


def test_arrays_are_rising_int64() -> None:
    splits = make_splits(100, val_share=0.2, test_share=0.2, seed=1)
    for rows in (splits.train, splits.val, splits.test):
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize("num_folds", [2, 3, 5, 10])
def test_folds_test_each_row_once(num_folds: int, stratified: bool) -> None:
    generator = np.random.default_rng(num_folds)
    strata = generator.choice(4, 213, p=[0.6, 0.3, 0.05, 0.05]) if stratified else None
    folds = make_folds(213, num_folds, 3, strata, val_share=0.1)
    assert len(folds) == num_folds
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(213))
    for fold in folds:
        assert_covers(fold, 213)
        assert abs(len(fold.test) - 213 / num_folds) <= 2
        assert abs(len(fold.val) - 21.3) <= 2
        if strata is not None:
            shares = [np.bincount(strata[rows], minlength=4) / len(rows) for rows in (fold.train, fold.test)]
            np.testing.assert_allclose(shares[0], shares[1], atol=0.06)
    for fold, again in zip(folds, make_folds(213, num_folds, 3, strata, val_share=0.1), strict=True):
        assert_same(fold, again)


def test_each_fold_holds_each_class_that_is_large_enough() -> None:
    strata = np.repeat(np.arange(12), 5)
    for fold in make_folds(60, 5, 0, strata):
        assert sorted(strata[fold.test]) == list(range(12))
        assert sizes(fold) == (48, 0, 12)


def test_save_and_load(tmp_path: Path) -> None:
    splits = make_splits(1000, val_share=0.2, test_share=0.0, seed=0)
    for name in ("splits.npz", "again", "a.b"):
        splits.save(tmp_path / name)
        assert_same(Splits.load(tmp_path / name), splits)
    assert (tmp_path / "splits.npz").read_bytes() == (tmp_path / "again").read_bytes()


def test_files_that_are_no_splits(tmp_path: Path) -> None:
    path = tmp_path / "splits.npz"
    with pytest.raises(DataError, match=r"^there is no file .*splits\.npz$"):
        Splits.load(path)
    make_splits(1000, val_share=0.2, test_share=0.2, seed=0).save(path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="is not a file of splits, or is damaged"):
            Splits.load(path)
    for arrays in ({"train": np.arange(3)}, dict.fromkeys(("train", "val", "test"), np.array([{}], dtype=object))):
        np.savez(path, **arrays)
        with pytest.raises(DataError, match="is not a file of splits, or is damaged"):
            Splits.load(path)


def test_parts_must_be_apart_and_rising() -> None:
    empty = np.empty(0, np.int64)
    with pytest.raises(DataError) as caught:
        Splits(np.array([0, 1]), np.array([1, 2]), empty)
    assert str(caught.value) == "row 1 is in two parts of the split\n  expected train, val and test apart"
    for wrong in (np.array([1, 0]), np.array([0, 0]), np.array([-1]), np.array([0.0]), np.array([[0]])):
        with pytest.raises(DataError) as caught:
            Splits(empty, wrong, empty)
        assert str(caught.value) == "the val rows are not rising row numbers\n  expected int64 [rows] from 0, rising"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"val_share": 1.0},
            "data.val_share is 1\n  where    data.val_share\n  expected a share from 0 up to, not including, 1",
        ),
        (
            {"test_share": -0.1},
            "data.test_share is -0.1\n  where    data.test_share\n  expected a share from 0 up to, not including, 1",
        ),
        (
            {"val_share": float("nan")},
            "data.val_share is nan\n  where    data.val_share\n  expected a share from 0 up to, not including, 1",
        ),
        (
            {"val_share": 0.5, "test_share": 0.5},
            "val_share 0.5 + test_share 0.5 leave nothing for training\n"
            "  where    data.val_share, data.test_share\n  expected a sum below 1",
        ),
        (
            {"seed": -1},
            "data.split_seed is -1\n  where    data.split_seed\n  expected a whole number from 0",
        ),
        (
            {"val_share": 0.001},
            "the val part is empty: 0.001 of 100 rows\n  where    the split\n"
            "  expected a row in each part; train 85 · val 0 · test 15\n"
            "  hint     more rows, or other data.val_share and data.test_share",
        ),
        (
            {"strata": np.arange(100)},
            "the val part is empty: 0.15 of 100 rows\n  where    the split\n"
            "  expected a row in each part; train 100 · val 0 · test 0\n"
            "  hint     more rows, or other data.val_share and data.test_share",
        ),
        (
            {"strata": np.zeros(99)},
            "strata of shape (99,) for 100 rows\n  expected one class per row",
        ),
        (
            {"strata": np.where(np.arange(100) == 7, np.nan, 1.0)},
            "the class of row 7 is missing\n  expected a class for each row",
        ),
    ],
)
def test_splits_that_cannot_be_drawn(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        make_splits(100, **{"val_share": 0.15, "test_share": 0.15, "seed": 0, **arguments})
    assert str(caught.value) == message


@pytest.mark.parametrize("num_folds", [1, 6])
def test_a_wrong_number_of_folds(num_folds: int) -> None:
    with pytest.raises(DataError) as caught:
        make_folds(5, num_folds)
    assert str(caught.value) == f"{num_folds} folds of 5 rows\n  where    data.folds\n  expected 2 to 5"
