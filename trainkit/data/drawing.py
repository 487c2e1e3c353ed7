"""From the settings of a split and what is known of the rows to the parts of a run; called by ``DataModule.setup``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trainkit.data.splits import Splits, Values, make_folds, make_splits
from trainkit.data.values import Ints
from trainkit.errors import DataError

FAR_FROM_SHARE = 0.03
"""Distance of a grouped part's rows from its share, of all rows, from which the line on the split tells it."""

_SUBSET = 0x5B5E7
"""Told apart from the split's own draws by this number."""


@dataclass(frozen=True)
class SplitSettings:
    """How the parts are drawn.

    Attributes:
        val_share: Share of the rows for validation.
        test_share: Share of the rows for the test; folds have their own.
        seed: Seed of the random parts.
        stratify: Whether the parts have the same class shares.
        folds: Number of folds; None for no folds.
        fold: The fold that is the test part, from 0.
        train_share: Share of the training part that is used.

    Raises:
        DataError: A fold without folds or out of range, or a share of the training part out of range.
    """

    val_share: float = 0.15
    test_share: float = 0.15
    seed: int = 0
    stratify: bool = True
    folds: int | None = None
    fold: int | None = None
    train_share: float = 1.0

    def __post_init__(self) -> None:
        if self.folds is None and self.fold is not None:
            raise DataError(f"fold {self.fold} of no folds", where="data.fold", hint="data.folds=5")
        if self.folds is not None and self.folds < 2:
            raise DataError(f"data.folds is {self.folds}", where="data.folds", expected="at least 2")
        if self.folds is not None and (self.fold is None or not 0 <= self.fold < self.folds):
            what = f"data.fold is {'not given' if self.fold is None else self.fold}"
            raise DataError(what, where="data.fold", expected=f"0 to {self.folds - 1}, for {self.folds} folds")
        if not (math.isfinite(self.train_share) and 0 < self.train_share <= 1):
            what = f"data.train_share is {self.train_share:g}"
            raise DataError(what, where="data.train_share", expected="above 0 and up to 1")


@dataclass(frozen=True)
class RowFacts:
    """What is known of each row of the pool, [N] each.

    Attributes:
        strata: Classes; None for a number.
        groups: Groups that stay together; None for none.
        times: Moments by which rows are ordered; None for none.
    """

    strata: Values | None = None
    groups: Values | None = None
    times: Values | None = None

    def take(self, rows: Ints) -> RowFacts:
        """The facts of some rows."""
        taken = [None if values is None else values[rows] for values in (self.strata, self.groups, self.times)]
        return RowFacts(*taken)


def draw_splits(sizes: Mapping[str, int], facts: RowFacts, settings: SplitSettings) -> Splits:
    """The parts of a pool: those that are given as they are, the others drawn from the training rows.

    Args:
        sizes: Rows of each part that stands in the pool, one after the other: first ``train``, from which parts are
            drawn, then ``val``, ``test`` and each ``val/<name>`` as far as they are given.
        facts: Of every row of the pool.
        settings: How to draw.

    Raises:
        DataError: Parts that cannot be drawn so, or a group in two given parts.
    """
    starts = np.cumsum([0, *sizes.values()])
    given = {name: np.arange(starts[i], starts[i + 1], dtype=np.int64) for i, name in enumerate(sizes)}
    main = given.pop("train")
    drawn = _drawn(len(main), facts.take(main), settings, given)
    kept = thinned(drawn.train, facts, settings) if settings.train_share < 1 else drawn.train
    parts = {"val": drawn.val, "test": drawn.test} | given
    extra = {name: rows for name, rows in parts.items() if name not in ("val", "test")}
    splits = Splits(kept, parts["val"], parts["test"], extra)
    if facts.groups is not None and given:
        _check_groups_apart(facts.groups, {"train": drawn.train, "val": parts["val"], "test": parts["test"]})
    return splits


def _drawn(num_rows: int, facts: RowFacts, settings: SplitSettings, given: Mapping[str, Ints]) -> Splits:
    fixed = [name for name in ("val", "test") if name in given]
    strata = facts.strata if settings.stratify else None
    if settings.folds is not None and settings.fold is not None:
        if fixed:
            what = f"data.folds and a {fixed[0]} part of its own exclude each other"
            raise DataError(what, where="data.folds", hint=f"leave out data.folds, or the {fixed[0]} part")
        folds = make_folds(
            num_rows,
            settings.folds,
            settings.seed,
            strata,
            val_share=settings.val_share,
            groups=facts.groups,
            times=facts.times,
        )
        return folds[settings.fold]
    return make_splits(
        num_rows,
        val_share=0.0 if "val" in given else settings.val_share,
        test_share=0.0 if "test" in given else settings.test_share,
        seed=settings.seed,
        strata=strata,
        groups=facts.groups,
        times=facts.times,
    )


def _check_groups_apart(groups: Values, parts: Mapping[str, Ints]) -> None:
    """Raises for a group in two of the parts; further validation sets tell theirs in a note."""
    seen: dict[object, str] = {}
    for part, rows in parts.items():
        for group in pd.unique(groups[rows]):
            if group in seen:
                what = f"group '{group}' is in the {seen[group]} part and in the {part} part"
                raise DataError(what, where="data.group", expected="each group in one part")
            seen[group] = part


def thinned(train: Ints, facts: RowFacts, settings: SplitSettings) -> Ints:
    """A share of the training rows; a smaller share is a subset of a larger one.

    Classes keep their shares where parts are stratified, groups stay whole, and in the order of time the latest rows
    are kept.

    Args:
        train: int64, the training rows.
        facts: Of every row of the pool.
        settings: ``train_share`` and how parts are drawn.

    Raises:
        DataError: No row of a class would be left.
    """
    mine = facts.take(train)
    generator = np.random.default_rng((settings.seed, _SUBSET))
    if mine.times is not None:
        moments = np.unique(mine.times, return_inverse=True)[1].reshape(-1)
        blocks = moments.max() - moments
    elif mine.groups is not None:
        ids = pd.factorize(mine.groups)[0]
        strata = None if mine.strata is None or not settings.stratify else _typical(mine.strata, ids)
        blocks = _ranks(strata, generator.permutation(ids.max() + 1))[ids]
    else:
        blocks = _ranks(mine.strata if settings.stratify else None, generator.permutation(len(train)))
    ends = np.cumsum(np.bincount(blocks))
    last = int(np.argmin(np.abs(ends - settings.train_share * len(train))))
    kept = np.flatnonzero(blocks <= last)
    if mine.strata is not None:
        lost = np.setdiff1d(mine.strata, mine.strata[kept])
        if len(lost):
            raise DataError(
                f"{settings.train_share:g} of {len(train):,} training rows leaves no row of {len(lost)} of the classes",
                where="data.train_share",
                expected="a row of each class",
            )
    return train[kept]


def _typical(strata: Values, ids: Ints) -> Ints:
    """The class of each group: that of which it has the largest share, int64 [groups]."""
    codes = pd.factorize(strata)[0]
    counts = np.zeros((ids.max() + 1, codes.max() + 1))
    np.add.at(counts, (ids, codes), 1.0)
    return np.asarray((counts / counts.sum(axis=0)).argmax(axis=1))


def _ranks(strata: Values | None, shuffled: Ints) -> Ints:
    """A number from 0 for each row or group: random, or such that any first so many have the classes' shares."""
    order = shuffled
    if strata is not None:
        codes = pd.factorize(strata[shuffled])[0]
        counts = np.bincount(codes)
        place = pd.Series(codes).groupby(codes).cumcount().to_numpy()
        order = shuffled[np.argsort(place / counts[codes], kind="stable")]
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def describe(
    splits: Splits, settings: SplitSettings, facts: RowFacts, names: Mapping[str, str | None], sizes: Mapping[str, int]
) -> str:
    """How the parts were drawn, for people: ``grouped by patient (28/6/6 groups), stratified, split seed 0``.

    Args:
        splits: The parts.
        settings: How they were drawn.
        facts: Of every row.
        names: The columns of ``group`` and ``time``.
        sizes: Rows of each part that was given by itself, ``train`` among them; empty where only one pool was.
    """
    shares = {"val": settings.val_share, "test": settings.test_share if settings.folds is None else 1 / settings.folds}
    drawn = {part: share for part, share in shares.items() if share > 0 and part not in sizes}
    given = [part for part in shares if part in sizes]
    words = [] if drawn and not given else [f"{' and '.join(given) if drawn else 'parts'} as given"]
    is_random = facts.times is None and bool(drawn or settings.train_share < 1)
    if facts.times is not None:
        until = f"train until {moment_text(facts.times[splits.train].max())}"
        words.append(f"by time ({names['time']}): {until}" if drawn else f"{until} ({names['time']})")
    elif facts.groups is not None:
        counts = "/".join(f"{len(pd.unique(facts.groups[rows])):,}" for rows in splits.parts().values() if len(rows))
        words.append(f"grouped by {names['group']} ({counts} groups)")
        words += _missed(splits, drawn, sizes.get("train", len(facts.groups)))
    if settings.stratify and facts.strata is not None and is_random:
        words.append("stratified")
    if settings.folds is not None:
        words.append(f"fold {settings.fold} of {settings.folds}")
    if settings.train_share < 1:
        words.append(f"{100 * settings.train_share:g} % of train")
    if is_random:
        words.append(f"split seed {settings.seed}")
    return ", ".join(words)


def _missed(splits: Splits, drawn: Mapping[str, float], num_rows: int) -> list[str]:
    """The shares that came out, where whole groups are far from those asked for."""
    came = {part: len(splits.parts()[part]) / num_rows for part in drawn}
    if all(abs(came[part] - share) <= FAR_FROM_SHARE for part, share in drawn.items()):
        return []
    return [f"{part} {100 * came[part]:.0f} % (asked {100 * share:.3g} %)" for part, share in drawn.items()]


def moment_text(moment: np.datetime64 | float) -> str:
    """A moment as people write it: a date, with the time of day where it has one, or a number."""
    if not isinstance(moment, np.datetime64):
        return f"{moment:.12g}"
    return str(moment.astype("datetime64[D]" if moment == moment.astype("datetime64[D]") else "datetime64[s]"))
