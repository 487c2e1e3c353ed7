"""Predictions found fit for scoring, and what several metrics derive from them, once; called by the metrics."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainkit.errors import DataError
from trainkit.types import Predictions

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Ranking(NamedTuple):
    """Rows from the highest to the lowest score of the positive class.

    Attributes:
        order: int64 [N], row of each rank.
        is_positive: bool [N], whether the row of each rank is of the positive class.
        starts: int64 [G], first rank of each group of equal scores; None where no two scores are equal.
    """

    order: Ints
    is_positive: Bools
    starts: Ints | None


class Scored:
    """What intervals need to know of predictions that are scored.

    Attributes:
        group_ids: int64 [N], number of the row's group, from 0; None where rows are independent.
        num_units: Groups, or rows where these are independent.
    """

    def __init__(self, num_rows: int, group_ids: Ints | None) -> None:
        if group_ids is not None:
            group_ids = np.unique(group_ids, return_inverse=True)[1].reshape(-1).astype(np.int64, copy=False)
        self._num_rows, self.group_ids = num_rows, group_ids
        self.num_units = num_rows if group_ids is None else int(group_ids.max()) + 1

    def __len__(self) -> int:
        return self._num_rows


class Checked(Scored):
    """Predictions with a known target, finite and of matching shapes.

    Args:
        predictions: N ≥ 1 rows of class probabilities or of numbers.
        groups: Group of each row, int or text [N]; those of the predictions by default.

    Attributes:
        quantiles: float64 [N, Q]; only of predictions that have some.
        levels: float64 [Q], theirs.

    Raises:
        DataError: No rows, no target, shapes that differ, labels out of range, numbers that are not finite,
            probabilities outside [0, 1], or a row without a group.
    """

    quantiles: Floats
    levels: Floats

    def __init__(self, predictions: Predictions, groups: npt.ArrayLike | None = None):
        target, num_rows = predictions.target, len(predictions)
        if num_rows == 0:
            raise DataError("there are no predictions to score", expected="at least one row")
        if target is None:
            raise DataError("the predictions have no target to be scored against", expected="a target for every row")
        if (predictions.probabilities is None) == (predictions.values is None):
            raise DataError("predictions must hold either class probabilities or numbers")
        _same_length(num_rows, target=target, probabilities=predictions.probabilities, values=predictions.values)
        if predictions.probabilities is None:
            self.target: npt.NDArray[np.float64 | np.int64] = _finite("target", target)
            self._values = _finite("predictions", predictions.values)
            if predictions.quantiles is not None:
                self.quantiles = _finite("quantiles", predictions.quantiles)
                self.levels = np.asarray(predictions.levels, dtype=np.float64)
        else:
            self._probabilities = _probabilities(predictions)
            self.target = _labels(target, self.num_classes)
        groups = predictions.groups if groups is None else groups
        super().__init__(num_rows, None if groups is None else group_numbers(np.asarray(groups), num_rows))

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return int(self._probabilities.shape[1])

    @property
    def positive(self) -> Floats:
        """Probability of the positive class, which is the last one, float64 [N]."""
        return self._probabilities[:, -1]

    @property
    def is_positive(self) -> Bools:
        """Whether the row is of the positive class, bool [N]."""
        positive: Bools = self.target == self.num_classes - 1
        return positive

    @cached_property
    def predicted(self) -> Ints:
        """The most probable class, the first of several, int64 [N]."""
        predicted: Ints = self._probabilities.argmax(axis=1)
        return predicted

    @cached_property
    def correct(self) -> Bools:
        """Whether the most probable class is the true one, bool [N]."""
        correct: Bools = self.predicted == self.target
        return correct

    @cached_property
    def surprise(self) -> Floats:
        """Minus the logarithm of the true class's probability, which is held above 2.2e-16, float64 [N]."""
        of_truth = self._probabilities[np.arange(len(self)), self.target.astype(np.int64, copy=False)]
        surprise: Floats = -np.log(np.clip(of_truth, np.finfo(np.float64).eps, 1.0)) + 0.0
        return surprise

    @cached_property
    def error(self) -> Floats:
        """Predicted number minus the true one, float64 [N]."""
        error: Floats = self._values - self.target
        return error

    @cached_property
    def ranking(self) -> Ranking:
        """Rows by falling score, sorted once for all resamples."""
        order = np.argsort(-self.positive, kind="stable")
        scores = self.positive[order]
        starts = np.concatenate([[0], np.flatnonzero(np.diff(scores)) + 1])
        return Ranking(order, self.is_positive[order], starts if len(starts) < len(order) else None)


def _same_length(num_rows: int, **arrays: np.ndarray | None) -> None:
    for name, array in arrays.items():
        if array is not None and len(array) != num_rows:
            raise DataError(f"{name} has {len(array)} rows, but the predictions have {num_rows}")


def group_numbers(groups: np.ndarray, num_rows: int) -> Ints:
    """A number from 0 for the group of each row, int64 [N].

    Raises:
        DataError: Another number of rows, or a row without a group.
    """
    _same_length(num_rows, groups=groups)
    if groups.ndim != 1:
        raise DataError(f"the groups have the shape {list(groups.shape)}", expected="[N], a group for each row")
    ids = pd.factorize(groups)[0].astype(np.int64, copy=False)
    if (ids < 0).any():
        what = f"the group of row {int(np.argmax(ids < 0))} is missing"
        raise DataError(what, expected="a group for each row", hint="rows are counted from 0")
    return ids


def _finite(name: str, array: np.ndarray | None) -> Floats:
    numbers = np.asarray(array, dtype=np.float64)
    bad = numbers.size - int(np.isfinite(numbers).sum())
    if bad:
        raise DataError(f"{bad} of {numbers.size} numbers in the {name} are NaN or infinite", expected="finite numbers")
    return numbers


def _probabilities(predictions: Predictions) -> Floats:
    probabilities = _finite("predictions", predictions.probabilities)
    if probabilities.ndim != 2 or probabilities.shape[1] != len(predictions.class_names) or probabilities.shape[1] < 2:
        raise DataError(
            f"probabilities of shape {list(probabilities.shape)} do not fit {len(predictions.class_names)} class names",
            expected="[rows, classes] with at least two classes",
        )
    if probabilities.min() < 0 or probabilities.max() > 1 + 1e-6:
        raise DataError("probabilities lie outside [0, 1]", hint="apply softmax or sigmoid to the outputs first")
    return probabilities


def _labels(target: np.ndarray, num_classes: int) -> Ints:
    labels = np.asarray(target)
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"the target of classes holds {labels.dtype}", expected="int64 class indices")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(
            f"labels reach from {labels.min()} to {labels.max()}", expected=f"0 to {num_classes - 1} for the classes"
        )
    return labels.astype(np.int64, copy=False)
