"""Predictions of several targets found fit for scoring, and metrics made of those of one target, called by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainkit.errors import DataError
from trainkit.evaluation.checked import Bools, Checked, Floats, Ints, Scored, group_numbers
from trainkit.types import Predictions

OneTarget = Callable[[Checked, Floats], Floats]
"""A metric of one target, from weights [R, N] to [R]."""


class Column(NamedTuple):
    """One of several targets.

    Attributes:
        rows: int64 [M], places of the rows whose target is known.
        checked: Its predictions in these rows.
    """

    rows: Ints
    checked: Checked


class Several(Scored):
    """Predictions of several targets; a target that is missing counts for nothing, nor does a row without any.

    Args:
        predictions: N ≥ 1 rows of labels or of several numbers.
        groups: Group of each row, int or text [N]; those of the predictions by default.

    Attributes:
        columns: The targets one by one; None for one that no row has.
        correct: bool [N], whether all labels that are known are right.
        positive: bool [N, K], whether a row has a label.
        called: bool [N, K], whether a known label is predicted, that is has a probability above one half.

    Raises:
        DataError: No rows, no target, shapes that differ, or numbers that are infinite.
    """

    def __init__(self, predictions: Predictions, groups: npt.ArrayLike | None = None):
        names = predictions.class_names if predictions.is_multilabel else predictions.target_names
        made = predictions.probabilities if predictions.is_multilabel else predictions.values
        if predictions.target is None:
            raise DataError("the predictions have no target to be scored against", expected="a target for every row")
        target, shape = np.asarray(predictions.target, dtype=np.float64), (len(predictions), len(names))
        if made is None or made.shape != shape or target.shape != shape:
            found = (
                f"predictions of shape {None if made is None else list(made.shape)}, targets of {list(target.shape)}"
            )
            raise DataError(f"{found} for {len(names)} targets", expected=f"{list(shape)} each")
        known = ~np.isnan(target)
        kept = np.flatnonzero(known.any(axis=1))
        if not len(kept):
            raise DataError("there are no predictions to score", expected="at least one row with a target")
        groups = predictions.groups if groups is None else groups
        super().__init__(len(kept), None if groups is None else group_numbers(np.asarray(groups), len(known))[kept])
        target, known, made = target[kept], known[kept], np.asarray(made, dtype=np.float64)[kept]
        columns = zip(target.T, made.T, known.T, strict=True)
        self.columns = [_column(*column, predictions.is_multilabel, self.group_ids) for column in columns]
        if predictions.is_multilabel:
            self.positive: Bools = target == 1
            self.called: Bools = (made > 0.5) & known
            self.correct: Bools = (self.positive == self.called).all(axis=1)


def _column(target: Floats, made: Floats, known: Bools, is_label: bool, group_ids: Ints | None) -> Column | None:
    rows = np.flatnonzero(known)
    if not len(rows):
        return None
    groups = None if group_ids is None else group_ids[rows]
    of_one = Predictions(rows, target[rows], values=made[rows], groups=groups)
    if is_label:
        if not np.isin(target[rows], (0, 1)).all():
            raise DataError("the target of labels holds other numbers than 0 and 1", expected="0, 1 or NaN")
        both = np.stack([1 - made[rows], made[rows]], axis=1)
        of_one = replace(of_one, target=target[rows].astype(np.int64), values=None, probabilities=both)
        of_one = replace(of_one, class_names=("without", "with"))
    return Column(rows, Checked(of_one))


def of_column(function: OneTarget, place: int) -> Callable[[Several, Floats], Floats]:
    """A metric of one of several targets."""
    return partial(_of_column, function, place)


def _of_column(function: OneTarget, place: int, rows: Several, weights: Floats) -> Floats:
    column = rows.columns[place]
    if column is None:
        return np.full(len(weights), np.nan)
    return function(column.checked, weights[:, column.rows] if len(column.rows) < len(rows) else weights)


def mean_of_columns(function: OneTarget) -> Callable[[Several, Floats], Floats]:
    """The mean of a metric over the targets for which it is defined on all rows.

    Under weights for which it is not, as where a resample has no row with a rare label, a target keeps its value on all
    rows: a mean over fewer targets would be of something else.
    """
    return partial(_mean_of_columns, function)


def _mean_of_columns(function: OneTarget, rows: Several, weights: Floats) -> Floats:
    values = np.stack([_of_column(function, place, rows, weights) for place in range(len(rows.columns))])
    for place in np.flatnonzero(np.isnan(values).any(axis=1)):
        whole = _of_column(function, int(place), rows, np.ones((1, len(rows))))
        values[place] = np.where(np.isnan(values[place]), whole, values[place])
    defined = values[~np.isnan(values).any(axis=1)]
    return np.asarray(defined.mean(axis=0)) if len(defined) else np.full(len(weights), np.nan)


def f1_micro(rows: Several, weights: Floats) -> Floats:
    """F1 of all labels together."""
    hits = weights @ (rows.positive & rows.called).sum(axis=1).astype(np.float64)
    named = weights @ (rows.positive.sum(axis=1) + rows.called.sum(axis=1)).astype(np.float64)
    return _ratio(2 * hits, named)


def subset_accuracy(rows: Several, weights: Floats) -> Floats:
    """Share of rows of which every known label is right."""
    total = weights.sum(axis=1)
    right = weights @ rows.correct.astype(np.float64)
    return _ratio(right, total)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    ratio: Floats = np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
    return ratio


def several_names(predictions: Predictions) -> Sequence[str]:
    """Names of the labels, or of the several numbers; none of a single target."""
    return predictions.class_names if predictions.is_multilabel else predictions.target_names
