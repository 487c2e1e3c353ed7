"""Decides from the training rows which columns of a table are features, and of which kind; called by ``encoding``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from trainkit.data.dates import DateLayout, find_layout, parse_dates
from trainkit.data.values import Column, Distinct, Floats, distinct_texts, holds_nested, parse_numbers
from trainkit.errors import DataError, did_you_mean, one_of

NEARLY_UNIQUE_SHARE = 0.95
NEARLY_UNIQUE_ROWS = 100
COUNTER_ROWS = 20


@dataclass(frozen=True)
class ColumnKind:
    """What a column is used as.

    Attributes:
        kind: ``number``, ``category``, ``date`` or ``ignored``.
        reason: Why it is ignored, in a few words; empty otherwise.
        layout: How a date is written.
    """

    kind: Literal["number", "category", "date", "ignored"]
    reason: str = ""
    layout: DateLayout = "iso"


def select_columns(
    frame: pd.DataFrame, targets: Sequence[str], features: Sequence[str] | None = None, ignore: Iterable[str] = ()
) -> list[str]:
    """Names of the columns that may become features, in the table's order.

    Args:
        frame: The table.
        targets: Names of the target columns.
        features: The columns to use; None for all but the targets.
        ignore: Columns not to use.

    Raises:
        DataError: A name is not a column, is given twice, is the target, or is both asked for and ignored.
    """
    names = [str(name) for name in frame.columns]
    candidates = [name for name in names if name not in targets]
    ignored = list(ignore)
    for key, listed in (("data.features", features or []), ("data.ignore", ignored)):
        for name in listed:
            if name in targets:
                raise DataError(f"{key} names the target '{name}'", where=key, expected="feature columns only")
            if name not in candidates:
                raise DataError(
                    f"{key} names '{name}', which is not a column of the table",
                    where=key,
                    expected=one_of(candidates),
                    hint=did_you_mean(name, candidates),
                )
        twice = [name for name in dict.fromkeys(listed) if list(listed).count(name) > 1]
        if twice:
            raise DataError(f"{key} names '{twice[0]}' twice", where=key)
    both = [name for name in features or [] if name in ignored]
    if both:
        raise DataError(f"column '{both[0]}' is in both data.features and data.ignore", where="data.ignore")
    return [name for name in candidates if name not in ignored and (features is None or name in features)]


def column_kind(column: Column, *, named: bool = False, min_count: int = 1, all_dates: bool = False) -> ColumnKind:
    """The kind of one column, judged from its training rows.

    In this order: a column without two different states (a missing value is a state) is ignored. Datetime dtypes and
    texts that are all dates in one layout are dates. Booleans, categorical dtypes, and columns of one or two different
    whole numbers are categories; all other columns whose present values all read as numbers are numbers, the rest are
    categories.

    Args:
        column: The column in the training rows.
        named: Whether the user asked for it by name; it is then not ignored for looking like an identifier.
        min_count: Rows a category needs for a code of its own.
        all_dates: Whether dates may be written otherwise than in ISO 8601.
    """
    if holds_nested(column):
        return ColumnKind("ignored", "holds lists")
    if dtypes.is_datetime64_any_dtype(column.dtype):
        return _date_kind(column)
    if not isinstance(column.dtype, pd.CategoricalDtype) and not dtypes.is_bool_dtype(column.dtype):
        numbers = parse_numbers(column)
        if not len(numbers.bad):
            return _number_kind(numbers.values, numbers.integer, named)
        layout = find_layout(column)
        if layout == "iso" or (layout is not None and all_dates):
            return _date_kind(column, layout)
    return _category_kind(distinct_texts(column), named, min_count)


def _date_kind(column: Column, layout: DateLayout = "iso") -> ColumnKind:
    stamps = parse_dates(column, layout).values
    present = stamps[~np.isnat(stamps)]
    return _few_states(len(np.unique(present)), len(present), len(stamps)) or ColumnKind("date", layout=layout)


def _number_kind(values: Floats, integer: bool, named: bool) -> ColumnKind:
    present = values[~np.isnan(values)]
    distinct = pd.unique(present)
    few = _few_states(len(distinct), len(present), len(values))
    if few:
        return few
    if len(distinct) <= 2 and all(value.is_integer() for value in distinct.tolist()):
        return ColumnKind("category")
    with np.errstate(over="ignore"):
        single = np.unique(present.astype(np.float32))
    if len(single) == 1 and len(present) == len(values) and np.isfinite(single[0]):
        return ColumnKind("ignored", "constant in float32")
    if integer and not named and len(present) == len(values) and is_row_counter(values):
        return ColumnKind("ignored", "row counter")
    return ColumnKind("number")


def _category_kind(distinct: Distinct, named: bool, min_count: int) -> ColumnKind:
    counts = np.bincount(distinct.codes[distinct.codes >= 0], minlength=len(distinct.texts))
    num_present = int(counts.sum())
    few = _few_states(len(counts), num_present, len(distinct.codes))
    if few:
        return few
    if not named and len(counts) > 2:
        if len(counts) == num_present:
            return ColumnKind("ignored", "unique")
        if num_present >= NEARLY_UNIQUE_ROWS and len(counts) > NEARLY_UNIQUE_SHARE * num_present:
            return ColumnKind("ignored", "nearly unique")
    if not named and num_present == len(distinct.codes) and counts.max() < min_count:
        return ColumnKind("ignored", f"no value seen {min_count} times")
    return ColumnKind("category")


def _few_states(num_distinct: int, num_present: int, num_rows: int) -> ColumnKind | None:
    """The reason for which a column tells nothing, or None."""
    if num_distinct == 0:
        return ColumnKind("ignored", "all missing")
    if num_distinct == 1 and num_present == num_rows:
        return ColumnKind("ignored", "constant")
    return None


def is_row_counter(values: Floats) -> bool:
    """Whether whole numbers look like counted rows, or a part of them, rather than a measurement.

    They must all differ. With s the greatest common divisor of their differences, and the density the share of
    ``min, min + s, … max`` that occurs: a density of 0.5 suffices from 20 rows on, in any order; in strictly rising or
    falling order 0.1 does. Below 20 rows both the order and a density of 0.5 are asked for.

    Args:
        values: float64 [N], finite whole numbers in the order of the rows.
    """
    steps = np.diff(np.sort(values))
    if len(values) < 3 or not np.isfinite(steps).all() or (steps == 0).any() or steps.max() > 2.0**53:
        return False
    span = (values.max() - values.min()) / np.gcd.reduce(steps.astype(np.int64)) + 1
    density = len(values) / span
    ordered = bool((np.diff(values) > 0).all() or (np.diff(values) < 0).all())
    if len(values) < COUNTER_ROWS:
        return bool(ordered and density >= 0.5)
    return bool(density >= 0.5 or (ordered and density >= 0.1))
