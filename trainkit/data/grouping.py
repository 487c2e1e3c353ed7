"""Splits that keep rows together: a group in one part, time in order; called by ``splits``."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trainkit.data.values import Floats, Ints
from trainkit.errors import DataError

MOST_STEPS = 100
"""Moves and exchanges by which an assignment of groups is improved, at most."""

MOST_ORDERS = 20
"""Random orders that are tried, at most."""

NEAR_ENOUGH = 0.005
"""Distance of the parts' sizes from their shares, of all rows, at which no further order is tried."""

MOST_EXCHANGED = 200
"""Groups up to which pairs are exchanged too; with more of them, moves suffice."""

_SIZES_FIRST = 100.0


def assign_groups(groups: np.ndarray, codes: Ints, shares: Floats, generator: np.random.Generator) -> Ints:
    """The part of each row, int64 [N], such that no group is in two.

    Groups are handed out in random order, each to the part that lacks most of its rows and classes; moves and exchanges
    of groups then bring the sizes, and after them the classes, as near to the shares as they can; of several orders the
    first that comes within half a percent is taken, or else the nearest. Every part gets a group.

    Args:
        groups: Group of each row [N].
        codes: int64 [N], class of each row; all 0 to regard the sizes only.
        shares: Share of the rows for each part, 0 for no such part.
        generator: Of the order.

    Raises:
        DataError: There are fewer groups than parts.
    """
    ids = pd.factorize(groups)[0]
    num_groups, used = int(ids.max()) + 1, np.flatnonzero(shares > 0)
    if num_groups < len(used):
        found = "1 group" if num_groups == 1 else f"{num_groups} groups"
        expected = f"at least {len(used)}, so that each part has one"
        raise DataError(f"{found} for {len(used)} parts", where="data.group", expected=expected)
    counts = np.zeros((num_groups, int(codes.max()) + 1))
    np.add.at(counts, (ids, codes), 1.0)
    tried = []
    for _ in range(MOST_ORDERS):
        parts = _Assignment(counts, shares[used] / shares[used].sum())
        parts.fill(generator.permutation(num_groups))
        parts.improve()
        tried.append(parts)
        if parts.distance <= NEAR_ENOUGH:
            break
    best = min(tried, key=lambda parts: parts.distance)
    return np.asarray(used[best.part_of][ids], np.int64)


class _Assignment:
    """Groups in parts, judged by the squared distance of each part's rows, in all and by class, from what it wants."""

    def __init__(self, counts: Floats, shares: Floats) -> None:
        self.counts = np.column_stack([counts, counts.sum(axis=1)])
        self.excess = -shares[:, None] * self.counts.sum(axis=0)
        self.num_groups = np.zeros(len(shares), np.int64)
        self.part_of = np.full(len(counts), -1)
        self.weights = np.ones(self.counts.shape[1])

    @property
    def distance(self) -> float:
        """2-norm of what the parts have too many rows, or too few, as a share of all rows."""
        return float(np.linalg.norm(self.excess[:, -1]) / self.counts[:, -1].sum())

    def _cost(self, part: int | slice, change: Floats) -> Floats:
        """What a change of rows [..., columns] adds to the cost of a part (or of all of them)."""
        return np.asarray(((2 * self.excess[part] + change) * change) @ self.weights)

    def _put(self, group: int, part: int) -> None:
        before = self.part_of[group]
        if before >= 0:
            self.excess[before] -= self.counts[group]
            self.num_groups[before] -= 1
        self.excess[part] += self.counts[group]
        self.num_groups[part] += 1
        self.part_of[group] = part

    def fill(self, order: Ints) -> None:
        """Hands out every group; the last ones go to parts that have none yet."""
        for place, group in enumerate(order):
            cost, empty = self._cost(slice(None), self.counts[group]), self.num_groups == 0
            if len(order) - place <= empty.sum():
                cost[~empty] = np.inf
            self._put(group, int(np.argmin(cost)))

    def improve(self) -> None:
        """Moves or exchanges groups while that brings the sizes, or at equal sizes the classes, nearer."""
        self.weights[-1] = _SIZES_FIRST * len(self.weights)
        for _ in range(MOST_STEPS):
            if not (self._move_one() or (len(self.counts) <= MOST_EXCHANGED and self._exchange_two())):
                return

    def _move_one(self) -> bool:
        leaving = np.empty(len(self.counts))
        for part in range(len(self.excess)):
            own = self.part_of == part
            leaving[own] = self._cost(part, -self.counts[own]) if self.num_groups[part] > 1 else np.inf
        cost = np.stack([self._cost(part, self.counts) for part in range(len(self.excess))], axis=1) + leaving[:, None]
        cost[np.arange(len(cost)), self.part_of] = np.inf
        group, target = divmod(int(np.argmin(cost)), cost.shape[1])
        if not cost[group, target] < -1e-6:
            return False
        self._put(group, target)
        return True

    def _exchange_two(self) -> bool:
        best, pair = -1e-6, None
        for group, part in enumerate(self.part_of):
            for other in range(part):
                theirs = np.flatnonzero(self.part_of == other)
                change = self.counts[theirs] - self.counts[group]
                cost = self._cost(part, change) + self._cost(other, -change)
                if len(cost) and cost.min() < best:
                    best, pair = float(cost.min()), (group, int(theirs[np.argmin(cost)]))
        if pair is None:
            return False
        first, second = self.part_of[pair[0]], self.part_of[pair[1]]
        self._put(pair[0], second)
        self._put(pair[1], first)
        return True


def assign_times(times: np.ndarray, shares: Floats) -> Ints:
    """The part of each row, int64 [N], in the order of time; the rows of one moment stay together.

    Args:
        times: Moment of each row [N], numbers or datetime64, none missing.
        shares: Share of the rows for each part, earliest first; 0 for no such part.

    Raises:
        DataError: There are fewer distinct moments than parts.
    """
    moments, ids, counts = np.unique(times, return_inverse=True, return_counts=True)
    used = np.flatnonzero(shares > 0)
    if len(moments) < len(used):
        found = "1 distinct moment" if len(moments) == 1 else f"{len(moments)} distinct moments"
        raise DataError(f"{found} for {len(used)} parts", where="data.time", expected=f"at least {len(used)}")
    ends, before = np.cumsum(counts), 0
    part_of = np.empty(len(moments), np.int64)
    for place, part in enumerate(used):
        wanted = shares[used[: place + 1]].sum() / shares.sum() * len(times)
        left = len(used) - 1 - place
        candidates = np.arange(before + 1, len(moments) - left + 1)
        stop = int(candidates[np.argmin(np.abs(ends[candidates - 1] - wanted))]) if left else len(moments)
        part_of[before:stop], before = part, stop
    return np.asarray(part_of[ids.reshape(-1)])
