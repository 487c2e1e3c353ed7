"""Single features that give the target away, or that number the rows: neither is there for a new sample."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

GIVEN_AWAY = 0.999
"""AUROC, accuracy or correlation from which a lone feature counts as the target in disguise: real measurements stay
below (0.98 is the best of breast cancer's thirty, 0.96 of iris's four)."""

FEWEST_ROWS = 50
"""Training rows below which a perfect feature may be chance: of 1,000 features of noise, one separates 12 rows."""

FEWEST_OF_CLASS = 20
"""Rows of the rarer of two classes below which several of breast cancer's features reach an AUROC of 1."""

ROWS_PER_CODE = 5
"""Rows per category on average below which a category says which row it is rather than what the row is like."""

_ID_NAME = re.compile(r"(?i:(?:^|[_\W])(?:id|uuid|guid|key|index|idx|no|nr|row)$)|[a-z](?:ID|Id)$")


@dataclass(frozen=True)
class Column:
    """A feature of the training rows.

    Attributes:
        name: As people know it.
        kind: ``number`` or ``code`` (a category).
        values: float64 [N], not all finite, or int64 [N].
    """

    name: str
    kind: Literal["number", "code"]
    values: np.ndarray


@dataclass(frozen=True)
class Leak:
    """A feature that gives the target away.

    Attributes:
        feature: Its name.
        measure: What says so: ``AUROC``, ``accuracy`` or ``correlation``.
        value: How well, up to 1.
    """

    feature: str
    measure: str
    value: float


def find_leaks(columns: list[Column], target: np.ndarray, num_classes: int) -> Iterator[Leak]:
    """Features that alone give the target.

    Args:
        columns: Of the training rows.
        target: int64 classes or float64 numbers [N].
        num_classes: Classes, or 0 for a number.
    """
    if len(target) < FEWEST_ROWS:
        return
    for column in columns:
        measure, value = _strength(column.values, column.kind, target, num_classes)
        if value >= GIVEN_AWAY:
            yield Leak(column.name, measure, value)


def _strength(values: np.ndarray, kind: str, target: np.ndarray, num_classes: int) -> tuple[str, float]:
    if kind == "code":
        return _by_code(values, target, num_classes)
    present = np.isfinite(values)
    values, target = values[present], target[present]
    if len(values) < FEWEST_ROWS or values.min() == values.max():
        return "accuracy", 0.0
    if num_classes == 0:
        return "correlation", max(_correlation(values, target), _correlation(_ranks(values), _ranks(target)))
    if num_classes == 2:
        return "AUROC", _auroc(values, target)
    return "accuracy", _threshold_accuracy(values, target, num_classes)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def _correlation(values: np.ndarray, target: np.ndarray) -> float:
    if target.min() == target.max():
        return 0.0
    return float(abs(np.corrcoef(values, target)[0, 1]))


def _auroc(values: np.ndarray, target: np.ndarray) -> float:
    """Area under the ROC curve of a value for class 1, whichever way it points (Mann & Whitney, 1947)."""
    positive = target == 1
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if min(num_positive, num_negative) < FEWEST_OF_CLASS:
        return 0.0
    ranks = _ranks(values)[positive].sum() - num_positive * (num_positive + 1) / 2
    area = float(ranks / (num_positive * num_negative))
    return max(area, 1 - area)


def _threshold_accuracy(values: np.ndarray, target: np.ndarray, num_classes: int) -> float:
    """Accuracy of a tree that cuts one value into as many ranges as there are classes; 0 if a guess is as good."""
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_leaf_nodes=num_classes, random_state=0).fit(values[:, None], target)
    return _beyond_guessing(float(tree.score(values[:, None], target)), target)


def _by_code(codes: np.ndarray, target: np.ndarray, num_classes: int) -> tuple[str, float]:
    """How well the most frequent class (or the mean) of each category gives the target."""
    counts = np.bincount(codes)
    if (counts > 0).sum() * ROWS_PER_CODE > len(codes):
        return "accuracy", 0.0
    if num_classes:
        table = np.zeros((len(counts), num_classes))
        np.add.at(table, (codes, target), 1)
        return "accuracy", _beyond_guessing(float(table.max(axis=1).sum() / len(codes)), target)
    means = np.bincount(codes, weights=target) / np.maximum(counts, 1)
    return "correlation", _correlation(means[codes], target) if np.ptp(means[codes]) else 0.0


def _beyond_guessing(accuracy: float, target: np.ndarray) -> float:
    """The accuracy, or 0 where it leaves more than a twentieth of the errors of always naming the commonest class."""
    guess = np.bincount(target).max() / len(target)
    return accuracy if 1 - accuracy <= 0.05 * (1 - guess) and guess < 1 else 0.0


def identifiers(columns: list[Column]) -> Iterator[str]:
    """Names of features that number the rows: whole numbers, each once, either in order or named like an identifier."""
    for column in columns:
        values = column.values
        if column.kind != "number" or len(values) < FEWEST_ROWS or not np.isfinite(values).all():
            continue
        is_whole = bool((values == np.floor(values)).all())
        if not is_whole or len(np.unique(values)) < len(values):
            continue
        steps = np.diff(values)
        if (steps > 0).all() or (steps < 0).all() or _ID_NAME.search(column.name):
            yield column.name
