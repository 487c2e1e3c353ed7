"""Several targets of a row: labels of which it may have any number, or numbers; for tables, arrays and images alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from trainkit.data.targets import target_column
from trainkit.data.values import Column, Floats, Ints, distinct_texts, parse_numbers
from trainkit.errors import DataError
from trainkit.types import TargetKind

if TYPE_CHECKING:
    import pandas as pd

SeveralKind: TypeAlias = Literal["number", "multilabel"]

FEWEST_ROWS = 10
"""Rows of a combination of labels from which it is a stratum of its own."""

_YES_OR_NO = {"0": 0.0, "1": 1.0, "False": 0.0, "True": 1.0, "no": 0.0, "yes": 1.0}
_LABEL_TEXTS = frozenset(text.lower() for text in _YES_OR_NO)

NEARLY = 0.9
"""Share of 0 and 1 in every column from which a few other values are taken for slips, unless numbers are asked for."""


@dataclass(frozen=True)
class SeveralTargets:
    """Several target columns of a table.

    Attributes:
        names: Their names, at least two.
        kind: ``multilabel`` or ``number``.
    """

    names: tuple[str, ...]
    kind: SeveralKind

    @classmethod
    def fit(cls, frame: pd.DataFrame, names: Sequence[str], kind: TargetKind | None = None) -> SeveralTargets:
        """Reads the kind of several targets from rows.

        Args:
            frame: The rows.
            names: Column names of the targets.
            kind: ``multilabel`` or ``number``; None judges by the values: labels are columns of 0 and 1 (or no and yes,
                or booleans) throughout.

        Raises:
            DataError: No such column, a name twice, a value that is neither, a constant column, or classes one-hot.
        """
        check_names(names)
        if kind not in (None, "multilabel", "number"):
            what = f"data.target_kind is {kind}, and data.target names {len(names)} columns"
            raise DataError(what, where="data.target_kind", expected="multilabel or number, or one column")
        columns = [target_column(frame, name, may_lack=True) for name in names]
        labels = [_labels(column) for column in columns]
        bad = next((place for place, values in enumerate(labels) if values is None), None)
        if bad is not None and kind == "multilabel":
            raise _no_label(columns[bad])
        if kind is None and bad is not None and all(_is_nearly_label(column) for column in columns):
            raise _no_label(columns[bad], hint="data.target_kind=number, if they are numbers")
        found: SeveralKind = "multilabel" if kind == "multilabel" or (kind is None and bad is None) else "number"
        fitted = cls(tuple(names), found)
        check_several(fitted.encode(frame), names, found, is_told=kind is not None)
        return fitted

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the labels; empty for numbers."""
        return self.names if self.kind == "multilabel" else ()

    def encode(self, frame: pd.DataFrame) -> Floats:
        """The targets of rows, float64 [N, T] (labels as 0 and 1); NaN where one is missing.

        Raises:
            DataError: No such column, or a value that is no label or no number.
        """
        columns = [target_column(frame, name, may_lack=True) for name in self.names]
        return np.stack([self._values(column) for column in columns], axis=1)

    def _values(self, column: Column) -> Floats:
        if self.kind == "multilabel":
            labels = _labels(column)
            if labels is None:
                raise _no_label(column)
            return labels
        numbers = parse_numbers(column)
        wrong = numbers.bad if len(numbers.bad) else np.flatnonzero(np.isinf(numbers.values))
        if len(wrong):
            what = f"target '{column.name}' is '{column.iloc[wrong[0]]}' in row {column.index[wrong[0]]}"
            hint = "several targets are numbers, or labels as 0 and 1"
            raise DataError(
                what, where="data.target", expected="a finite number, or nothing where it is missing", hint=hint
            )
        return numbers.values


def _labels(column: Column) -> Floats | None:
    """0 and 1 [N], NaN where missing; None where a value is neither."""
    distinct = distinct_texts(column)
    values = [_YES_OR_NO.get(text, _YES_OR_NO.get(text.lower())) for text in distinct.texts]
    if any(value is None for value in values):
        return None
    return np.array([*values, np.nan], np.float64)[distinct.codes]


def _is_nearly_label(column: Column) -> bool:
    """Whether nearly all of a column is 0 and 1, so that what is not may be a slip."""
    distinct = distinct_texts(column)
    known = distinct.codes[distinct.codes >= 0]
    is_label = np.array([text.lower() in _LABEL_TEXTS for text in distinct.texts] + [False])
    return bool(is_label[known].mean() >= NEARLY) if len(known) else True


def _no_label(column: Column, hint: str | None = None) -> DataError:
    distinct = distinct_texts(column)
    wrong = [place for place, text in enumerate(distinct.texts) if text.lower() not in _LABEL_TEXTS]
    row = int(np.flatnonzero(distinct.codes == wrong[0])[0])
    what = f"label '{column.name}' is '{column.iloc[row]}' in row {column.index[row]}"
    expected = "0 or 1, no or yes, or nothing where it is not known"
    return DataError(what, where="data.target", expected=expected, hint=hint)


def check_names(names: Sequence[str]) -> None:
    """Raises DataError for names of several targets that are fewer than two, or one that comes twice."""
    if len(names) < 2:
        found = f"the list has '{names[0]}' only" if names else "the list is empty"
        raise DataError(found, where="data.target", expected="at least two columns, or one without a list")
    twice = [name for name in dict.fromkeys(names) if list(names).count(name) > 1]
    if twice:
        raise DataError(f"data.target names '{twice[0]}' twice", where="data.target")


def check_several(values: np.ndarray, names: Sequence[str], kind: SeveralKind, is_told: bool) -> None:
    """Raises DataError for targets of which nothing can be learned, and for classes written as labels.

    Args:
        values: float [N, T], NaN where one is missing.
        names: Of the T targets.
        kind: What they are.
        is_told: Whether the user said so; exactly one label in every row is then taken as it is.
    """
    word = "label" if kind == "multilabel" else "target"
    for name, column in zip(names, values.T, strict=True):
        known = column[~np.isnan(column)]
        if not len(known) or known.min() == known.max():
            found = f"{known[0]:g} in every row" if len(known) else "missing in every row"
            raise DataError(f"{word} '{name}' is {found}", where="data.target", expected="values that differ")
    if kind == "multilabel" and not is_told and (np.nansum(values, axis=1) == 1).all():
        raise DataError(
            f"every row has exactly one of the {len(names)} labels, as of classes that exclude each other",
            where="data.target",
            expected="one target of classes: of one-hot arrays y.argmax(1), of columns one that names the class",
            hint="data.target_kind=multilabel, if they are labels",
        )


def label_strata(values: np.ndarray) -> Ints:
    """A stratum for each row, int64 [N], so that parts have each label about equally often.

    Combinations of labels are strata where they are frequent; a row of a rare one belongs to the rarest label that it
    has, and where that is rare too, to a common rest. Iterative stratification (Sechidis et al., 2011,
    https://doi.org/10.1007/978-3-642-23808-6_10) has the same aim; strata also serve folds, groups and learning curves.

    Args:
        values: float [N, K] of 0 and 1; a label that is not known counts as 0.
    """
    labels = np.nan_to_num(values) > 0
    _, combination = np.unique(labels, axis=0, return_inverse=True)
    combination = combination.reshape(-1).astype(np.int64)
    is_rare = np.bincount(combination)[combination] < FEWEST_ROWS
    frequency = np.where(labels, labels.sum(axis=0), len(labels) + 1)
    rarest = combination.max() + 1 + frequency.argmin(axis=1)
    strata = np.where(is_rare, rarest, combination)
    return np.where(np.bincount(strata)[strata] < FEWEST_ROWS, -1, strata)


def as_several(target: np.ndarray, kind: TargetKind | None, names: Sequence[str] | None = None) -> SeveralKind:
    """What an array of several targets holds.

    Args:
        target: [N, T], T > 1, of numbers or booleans.
        kind: As the user says; None judges by the values: labels are 0 and 1 throughout.
        names: Of the targets, for errors; their places by default.

    Raises:
        DataError: Classes are asked for, numbers are not labels though these are asked for, or nothing can be learned.
    """
    if kind == "class":
        found = f"the targets have the shape {list(target.shape)}, and data.target_kind is class"
        raise DataError(found, where="data.target_kind", expected="[N], or multilabel or number", hint="y.argmax(1)")
    values = target.astype(np.float64)
    is_label = bool(np.isin(values[~np.isnan(values)], (0, 1)).all())
    if kind == "multilabel" and not is_label:
        row, place = np.argwhere(~np.isin(values, (0, 1)) & ~np.isnan(values))[0]
        what = f"label {place} is {values[row, place]:g} in row {row}"
        raise DataError(what, where="data.target", expected="0 or 1, or NaN where it is not known")
    shares = np.isin(values, (0, 1)).sum(axis=0) / np.maximum((~np.isnan(values)).sum(axis=0), 1)
    if kind is None and not is_label and (target.dtype.kind in "iu" or (shares >= NEARLY).all()):
        number = "integers" if target.dtype.kind in "iu" else "nearly all 0 or 1,"
        found = f"the targets are {number} [N, {target.shape[1]}], and not all 0 or 1"
        expected = "one class a row [N]; labels of 0 and 1; or floats"
        raise DataError(found, where="data.target", expected=expected, hint="data.target_kind=number")
    found_kind: SeveralKind = "multilabel" if is_label and kind != "number" else "number"
    several_names = names or [str(place) for place in range(target.shape[1])]
    check_several(values, several_names, found_kind, is_told=kind is not None)
    return found_kind
