"""The target column of a table: what kind it is, its classes, and its values as arrays.

``TargetColumn.fit`` on the whole table gives the kind and the strata for the splits; ``TableEncoder.fit`` makes its own
from the training rows, so that a class which training never sees is found out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from trainkit.data.values import (
    Column,
    Floats,
    Ints,
    distinct_texts,
    has_decimal_commas,
    parse_numbers,
    row_list,
    sorted_texts,
    with_boolean_aliases,
)
from trainkit.errors import DataError, did_you_mean, one_of
from trainkit.types import TargetKind

MAX_CLASSES_OF_INTEGERS = 20
ROWS_PER_CLASS_OF_INTEGERS = 5
SLIPS = 0.1
"""Share of the rows up to which texts among numbers are taken for slips."""

MAX_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class TargetColumn:
    """A fitted target.

    Attributes:
        name: Its column.
        kind: ``class`` or ``number``.
        class_names: Names in the order of the class indices, numeric order if all are numbers; empty for a number.
    """

    name: str
    kind: TargetKind
    class_names: tuple[str, ...] = ()

    @classmethod
    def fit(cls, frame: pd.DataFrame, name: str, kind: TargetKind | None = None) -> TargetColumn:
        """Read the target's kind and classes from rows.

        Args:
            frame: The rows.
            name: Column name of the target.
            kind: ``class`` or ``number``; None infers it as ``infer_target_kind`` does.

        Raises:
            DataError: No row, no such column, missing values, a single class or value, a class per row, no number
                where numbers are asked for.
        """
        column = target_column(frame, name)
        if kind not in ("class", "number", None):
            raise DataError(
                f"target kind '{kind}' is unknown", where="data.target_kind", expected="one of class, number"
            )
        if kind is None:
            kind = infer_target_kind(column)
            if kind == "class":
                _refuse_spoilt_numbers(column)
        if kind == "number":
            values = _number_values(column)
            if values.min() == values.max():
                raise DataError(f"target '{name}' is {values[0]:g} in every row", where="data.target")
            return cls(name, "number")
        names = sorted_texts(distinct_texts(column).texts)
        if len(names) < 2:
            raise DataError(
                f"target '{name}' has one class only: '{names[0]}' in all {len(column):,} rows",
                where="data.target",
                expected="at least two classes",
            )
        if len(names) == len(column) > 2:
            raise DataError(
                f"target '{name}' has a different class in each of {len(column):,} rows",
                where="data.target",
                expected="classes that occur more than once, or numbers",
            )
        return cls(name, "class", tuple(names))

    @property
    def names(self) -> tuple[str, ...]:
        """Its column, as several targets name theirs."""
        return (self.name,)

    def encode(self, frame: pd.DataFrame) -> Ints | Floats:
        """The target of rows: int64 [N] class indices, or float64 [N] in its own unit.

        Raises:
            DataError: No such column, missing values, a class that ``fit`` did not see, a value that is no number.
        """
        column = target_column(frame, self.name)
        if self.kind == "number":
            return _number_values(column)
        lookup = with_boolean_aliases({name: code for code, name in enumerate(self.class_names)})
        distinct = distinct_texts(column)
        codes = np.array([lookup.get(text, -1) for text in distinct.texts], np.int64)[distinct.codes]
        unseen = np.flatnonzero(codes < 0)
        if len(unseen):
            label = distinct.texts[distinct.codes[unseen[0]]]
            raise DataError(
                f"target '{self.name}' is '{label}' in row {column.index[unseen[0]]}, a class that training never saw",
                where="data.target",
                expected=one_of(self.class_names),
                hint=did_you_mean(label, self.class_names),
            )
        return codes


def target_column(frame: pd.DataFrame, name: str, may_lack: bool = False) -> Column:
    """The target's column, present, and complete unless it may lack values.

    Raises:
        DataError: No row, no such column, dates, nested or missing values.
    """
    columns = [str(column) for column in frame.columns]
    if name not in columns:
        raise DataError(
            f"the table has no column '{name}'",
            where="data.target",
            expected=one_of(columns),
            hint=did_you_mean(name, columns),
        )
    if not len(frame):
        raise DataError("the table has no rows", where="data.path")
    column: Column = frame.iloc[:, columns.index(name)]
    if dtypes.is_datetime64_any_dtype(column.dtype):
        raise DataError(f"target '{name}' holds dates", where="data.target", expected="classes or numbers")
    missing = np.flatnonzero(distinct_texts(column).codes < 0)
    if len(missing) and not may_lack:
        rows = "1 row" if len(missing) == 1 else f"{len(missing):,} rows"
        raise DataError(
            f"target '{name}' is missing in {rows}: {row_list(column, missing)} (counted from 0)",
            where="data.target",
            expected="a value in every row",
            hint="remove these rows from the table",
        )
    return column


def infer_target_kind(column: Column) -> TargetKind:
    """``class`` or ``number``, from the values alone, so that CSV and Parquet agree.

    ``class``: booleans, categorical dtypes, texts that are not all numbers, any two different values, and whole numbers
    with at most 20 different values that stand for five rows or more on average. ``number``: everything else.

    Args:
        column: A complete column.
    """
    if dtypes.is_bool_dtype(column.dtype) or isinstance(column.dtype, pd.CategoricalDtype):
        return "class"
    numbers = parse_numbers(column)
    distinct = pd.unique(numbers.values)
    if len(numbers.bad) or len(distinct) <= 2:
        return "class"
    few = len(distinct) <= min(MAX_CLASSES_OF_INTEGERS, len(column) / ROWS_PER_CLASS_OF_INTEGERS)
    return "class" if few and all(value.is_integer() for value in distinct.tolist()) else "number"


def _refuse_spoilt_numbers(column: Column) -> None:
    """Raises DataError for classes nearly all of which are numbers, of many values: a number with slips in it."""
    if dtypes.is_bool_dtype(column.dtype) or isinstance(column.dtype, pd.CategoricalDtype):
        return
    hint = "data.target_kind=class, if they are classes"
    texts = distinct_texts(column).texts
    if has_decimal_commas(texts):
        what = f"target '{column.name}' holds numbers with decimal commas, such as '{texts[0]}'"
        raise DataError(what, where="data.target", expected="decimal points", hint=hint)
    numbers = parse_numbers(column)
    distinct = len(pd.unique(numbers.values[np.isfinite(numbers.values)]))
    if 0 < len(numbers.bad) <= len(column) * SLIPS and distinct > MAX_CLASSES_OF_INTEGERS:
        text, row = column.iloc[numbers.bad[0]], column.index[numbers.bad[0]]
        raise DataError(
            f"target '{column.name}' is '{text}' in row {row}, where nearly all are numbers",
            where="data.target",
            expected="a number in every row, or classes",
            hint=hint,
        )


def _number_values(column: Column) -> Floats:
    numbers = parse_numbers(column)
    wrong = numbers.bad if len(numbers.bad) else np.flatnonzero(~(np.abs(numbers.values) <= MAX_FLOAT32))
    if len(wrong):
        value = column.iloc[wrong[0]]
        shown = f"'{value}'" if isinstance(value, str) else f"{value}"
        raise DataError(
            f"target '{column.name}' is {shown} in row {column.index[wrong[0]]}",
            where="data.target",
            expected=f"a finite number{_below(value)} in every row",
        )
    return numbers.values


def _below(value: object) -> str:
    """What to add where a number is finite, but too large."""
    return " below 3.4e+38 in size" if isinstance(value, float) and np.isfinite(value) else ""
