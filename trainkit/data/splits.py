"""Splits rows into training, validation and test, and into folds; called by ``drawing`` and by studies.

Splits are drawn from their own seed (``data.split_seed``), never from the training seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from trainkit.data.array_reading import BROKEN_FILE
from trainkit.data.grouping import assign_groups, assign_times
from trainkit.data.values import Floats, Ints
from trainkit.errors import DataError

PARTS = ("train", "val", "test")
EXTRA = "val/"
"""What stands before the name of a further validation set."""


Values: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


@dataclass(frozen=True, eq=False)
class Splits:
    """Row numbers of the parts, each int64, strictly rising, and without a row in common.

    Attributes:
        train: Training rows.
        val: Validation rows; may be empty.
        test: Test rows; may be empty.
        extra: Rows of further validation sets by their names, ``val/<name>``.

    Raises:
        DataError: A part is not of that form.
    """

    train: Ints
    val: Ints
    test: Ints
    extra: Mapping[str, Ints] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, rows in self.parts().items():
            if rows.dtype != np.int64 or rows.ndim != 1 or (rows < 0).any() or (np.diff(rows) <= 0).any():
                raise DataError(f"the {name} rows are not rising row numbers", expected="int64 [rows] from 0, rising")
        joined = np.sort(np.concatenate(list(self.parts().values())))
        shared = joined[1:][np.diff(joined) == 0]
        if len(shared):
            raise DataError(f"row {shared[0]} is in two parts of the split", expected="train, val and test apart")

    def parts(self) -> dict[str, Ints]:
        """All parts by name: ``train``, ``val``, ``test``, and each ``val/<name>``."""
        return {"train": self.train, "val": self.val, "test": self.test, **self.extra}

    @property
    def num_rows(self) -> int:
        """Rows in all parts together."""
        return sum(map(len, self.parts().values()))

    def save(self, path: str | Path) -> None:
        """Write the arrays to an ``.npz`` file; equal splits give equal bytes."""
        with Path(path).open("wb") as file:
            np.savez_compressed(file, **self.parts())  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | Path) -> Splits:
        """Read what ``save`` wrote.

        Raises:
            DataError: The file is missing, damaged, or holds something else.
        """
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                extra = {name: arrays[name] for name in arrays.files if name.startswith(EXTRA)}
                return cls(**{name: arrays[name] for name in PARTS}, extra=extra)
        except FileNotFoundError as error:
            raise DataError(f"there is no file {path}") from error
        except (*BROKEN_FILE, LookupError, TypeError, NotImplementedError) as error:
            raise DataError(f"{path} is not a file of splits, or is damaged", where=str(path)) from error


def make_splits(
    num_rows: int,
    *,
    val_share: float = 0.15,
    test_share: float = 0.15,
    seed: int = 0,
    strata: Values | None = None,
    groups: Values | None = None,
    times: Values | None = None,
) -> Splits:
    """Draw a split, the same for the same arguments: at random, by whole groups, or in the order of time.

    Sizes are rounded by largest remainder, ties in favour of test, then validation. With strata the same is done within
    each class, rounding errors being carried from class to class, and then each class with at least as many rows as
    there are parts gets a row in each, and each smaller class one in training.

    Args:
        num_rows: Rows to split.
        val_share: Share of all rows for validation, 0 for no such part.
        test_share: Share of all rows for the test, 0 for no such part.
        seed: The split seed.
        strata: Class of each row [num_rows]; None to draw without regard to classes, as for numbers.
        groups: Group of each row [num_rows]; a group is then in one part only.
        times: Moment of each row [num_rows]; training then has the earliest rows, the test the latest.

    Raises:
        DataError: A share or seed out of range, or a part that would be empty.
    """
    shares = _checked_shares(val_share, test_share)
    generator = _generator(seed)
    codes = _stratum_codes(num_rows, strata)
    whole = _allocate(np.array([num_rows]), shares)[0]
    _check_sizes(whole, shares, num_rows)
    rows = _Rows(codes, strata is not None, groups, times)
    parts = rows.assign(np.arange(num_rows), shares, generator, first=True)
    _check_sizes(np.bincount(parts, minlength=3), shares, num_rows)
    return _splits_of(parts)


def make_folds(
    num_rows: int,
    num_folds: int,
    seed: int = 0,
    strata: Values | None = None,
    *,
    val_share: float = 0.0,
    groups: Values | None = None,
    times: Values | None = None,
) -> tuple[Splits, ...]:
    """Draw folds for cross-validation; each row is in the test part of exactly one split.

    In the order of time, the rows are cut into one block more than there are folds: each fold's test is a block later
    than the first, its training and validation are all earlier blocks, and later rows are in no part of it.

    Args:
        num_rows: Rows to split.
        num_folds: Number of folds, at least 2.
        seed: The split seed.
        strata: Class of each row [num_rows], spread evenly over folds; None to draw without regard to classes.
        val_share: Share of all rows taken for validation from the rows outside the fold.
        groups: Group of each row [num_rows]; a group is then in one part only.
        times: Moment of each row [num_rows]; the folds then follow each other in time.

    Returns:
        One split per fold; the fold is its test part.

    Raises:
        DataError: More folds than rows, groups or moments, a share or seed out of range, or an empty part.
    """
    counts = {"rows": num_rows}
    counts |= {} if groups is None else {"groups": len(pd.unique(groups))}
    counts |= {} if times is None else {"distinct moments": len(pd.unique(times))}
    for kind, count in counts.items():
        most = count - (kind == "distinct moments")  # the earliest are in no test
        if not 2 <= num_folds <= most:
            what = f"{num_folds} folds of {count:,} {kind}"
            raise DataError(what, where="data.folds", expected=f"2 to {most}")
    shares = _checked_shares(val_share, 1 / num_folds)
    generator = _generator(seed)
    codes = _stratum_codes(num_rows, strata)
    rows = _Rows(codes, strata is not None, groups, times)
    is_chain = times is not None  # the first block is trained on only
    blocks = np.full(num_folds + is_chain, 1 / (num_folds + is_chain))
    folds = rows.assign(np.arange(num_rows), blocks, generator, first=False) - is_chain
    inner = np.array([shares[0], shares[1], 0.0]) / (shares[0] + shares[1])
    splits = []
    for fold in range(num_folds):
        rest = np.flatnonzero(folds < fold if is_chain else folds != fold)
        parts = np.where(folds == fold, 2, 3)
        _check_units(rest, rows, inner, f"fold {fold} of {num_folds}")
        parts[rest] = rows.assign(rest, inner, generator, first=True)
        _check_sizes(np.bincount(parts)[:3], shares, num_rows)
        splits.append(_splits_of(parts))
    return tuple(splits)


def _check_units(rest: Ints, rows: _Rows, shares: Floats, fold: str) -> None:
    """Raises where what a fold leaves has fewer groups or moments than parts to be made of it."""
    values = rows.groups if rows.times is None else rows.times
    count = len(rest) if values is None else len(pd.unique(values[rest]))
    if values is not None and count < np.count_nonzero(shares):
        kind = "group" if rows.times is None else "distinct moment"
        what, expected = f"{fold} leaves {count} {kind} for train and val", "fewer folds, or data.val_share=0"
        raise DataError(what, where="data.folds", expected=expected)


@dataclass(frozen=True)
class _Rows:
    """What decides which rows go together: classes, and groups or moments."""

    codes: Ints
    stratified: bool
    groups: Values | None
    times: Values | None

    def assign(self, rows: Ints, shares: Floats, generator: np.random.Generator, *, first: bool) -> Ints:
        """The part of each of some rows."""
        if self.times is not None:
            return assign_times(self.times[rows], shares)
        if self.groups is not None:
            return assign_groups(self.groups[rows], self.codes[rows], shares, generator)
        return _assign(self.codes[rows], shares, generator, reserve=self.stratified, first=first)


def _checked_shares(val_share: float, test_share: float) -> Floats:
    """Shares of train, val and test, which sum to 1."""
    for key, share in (("data.val_share", val_share), ("data.test_share", test_share)):
        if not (math.isfinite(share) and 0 <= share < 1):
            raise DataError(f"{key} is {share:g}", where=key, expected="a share from 0 up to, not including, 1")
    if val_share + test_share >= 1:
        raise DataError(
            f"val_share {val_share:g} + test_share {test_share:g} leave nothing for training",
            where="data.val_share, data.test_share",
            expected="a sum below 1",
        )
    return np.array([1 - val_share - test_share, val_share, test_share])


def _generator(seed: int) -> np.random.Generator:
    if seed < 0:
        raise DataError(f"data.split_seed is {seed}", where="data.split_seed", expected="a whole number from 0")
    return np.random.default_rng(seed)


def _stratum_codes(num_rows: int, strata: Values | None) -> Ints:
    if strata is None:
        return np.zeros(num_rows, np.int64)
    if strata.shape != (num_rows,):
        raise DataError(f"strata of shape {strata.shape} for {num_rows:,} rows", expected="one class per row")
    codes = pd.factorize(strata, sort=True)[0].astype(np.int64)
    if (codes < 0).any():
        raise DataError(f"the class of row {int(np.argmax(codes < 0))} is missing", expected="a class for each row")
    return codes


def _check_sizes(sizes: Ints, shares: Floats, num_rows: int) -> None:
    for name, size, share in zip(PARTS, sizes, shares, strict=True):
        if share > 0 and size == 0:
            raise DataError(
                f"the {name} part is empty: {share:.3g} of {num_rows:,} rows",
                where="the split",
                expected="a row in each part; " + " · ".join(f"{p} {n}" for p, n in zip(PARTS, sizes, strict=True)),
                hint="more rows, or other data.val_share and data.test_share",
            )


def _assign(codes: Ints, shares: Floats, generator: np.random.Generator, *, reserve: bool, first: bool) -> Ints:
    """The part of each row: per class in random order, as many as ``_allocate`` says."""
    shuffled = generator.permutation(len(codes))
    grouped = shuffled[np.argsort(codes[shuffled], kind="stable")]
    sizes = _allocate(np.bincount(codes), shares)
    if reserve:
        _reserve(sizes, shares, first)
    parts = np.empty(len(codes), np.int64)
    parts[grouped] = np.repeat(np.tile(np.arange(len(shares)), len(sizes)), sizes.ravel())
    return parts


def _allocate(counts: Ints, shares: Floats) -> Ints:
    """Rows of each class for each part [classes, parts] by largest remainder, later parts winning ties.

    What a class lacks or has too much by rounding is carried to the next, at most half a row per part.
    """
    sizes = np.zeros((len(counts), len(shares)), np.int64)
    carried = np.zeros(len(shares))
    for row, count in enumerate(counts):
        wanted = np.where(shares > 0, np.maximum(count * shares + carried, 0), 0)
        wanted *= count / max(wanted.sum(), 1e-12)
        whole = np.floor(wanted + 1e-9).astype(np.int64)
        order = np.lexsort((-np.arange(len(shares)), -np.round(wanted - whole, 9)))
        whole[order[: count - whole.sum()]] += 1
        sizes[row] = whole
        carried = np.clip(carried + count * shares - whole, -0.5, 0.5)
    return sizes


def _reserve(sizes: Ints, shares: Floats, first: bool) -> None:
    """Give each class a row in each part where it has enough of them, else (``first``) one in the first part."""
    used = np.flatnonzero(shares > 0)
    for row in np.flatnonzero((sizes[:, used] == 0).any(axis=1)):
        enough = sizes[row].sum() >= len(used)
        for part in used if enough else used[: int(first)]:
            if sizes[row, part] == 0 and sizes[row].sum() > 0:
                sizes[row, np.argmax(sizes[row])] -= 1
                sizes[row, part] += 1


def _splits_of(parts: Ints) -> Splits:
    train, val, test = (np.flatnonzero(parts == part).astype(np.int64) for part in range(3))
    return Splits(train, val, test)
