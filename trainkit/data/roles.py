"""Columns that say something of a row and are no features: its group, its moment, its weight; called by ``module``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from trainkit.data.dates import find_layout, parse_dates
from trainkit.data.splits import Splits, Values
from trainkit.data.values import Column, Floats, Ints, distinct_texts, parse_numbers
from trainkit.errors import DataError

Role: TypeAlias = str
"""What such a column is for: ``group``, ``time`` or ``weight``."""

WEIGHTS = (1e-20, 1e20)
"""Least and greatest weight above 0: what float32 can add up and divide by without losing it."""

WEIGHT_RANGE = "0, or a number from 1e-20 to 1e20"


def role_words(roles: Mapping[Role, str | None]) -> list[str]:
    """What the line on the data says of such columns: ``ordered by when``, ``weighted by w``."""
    said = {"time": "ordered by", "weight": "weighted by"}
    return [f"{words} {roles[role]}" for role, words in said.items() if roles[role] is not None]


def no_columns(data: str, role: Role, name: str) -> DataError:
    """The error of data that has no columns of which one could be asked for."""
    what, expected = f"{data} has no columns", "a table, a file of arrays or a dict of them"
    hint = f"tk.fit(train={{'x': x, 'y': y, '{name}': …}}), or data=arrays data.path=FILE.npz"
    return DataError(what, where=f"data.{role}", expected=expected, hint=hint)


def as_groups(column: Column) -> Values:
    """The group of each row as text, object [N].

    Raises:
        DataError: A row without a group.
    """
    distinct = distinct_texts(column)
    _refuse(column, "group", np.flatnonzero(distinct.codes < 0), "a group in every row")
    return np.array(distinct.texts, dtype=object)[distinct.codes]


def as_times(column: Column) -> Values:
    """The moment of each row: float64 [N] where all are numbers, else datetime64[us] [N].

    Raises:
        DataError: A row without a moment, or one that is neither a number nor a date.
    """
    expected = "a date such as 2024-01-31 or 2024-01-31T08:30:00, or a number, in every row"
    stamps = parse_dates(column, find_layout(column) or "iso")
    numbers = parse_numbers(column) if len(stamps.bad) else None
    if numbers is not None and len(numbers.bad) < len(stamps.bad):
        _refuse(column, "time", np.union1d(numbers.bad, np.flatnonzero(~np.isfinite(numbers.values))), expected)
        return numbers.values
    _refuse(column, "time", np.union1d(stamps.bad, np.flatnonzero(np.isnat(stamps.values))), expected)
    return stamps.values


def weights_of(column: Column, splits: Splits) -> Tensor:
    """The weight of each row, float32 [N].

    Raises:
        DataError: A weight that is no number, negative, NaN or infinite, or a part that is learned from or validated
            with whose weights are all 0.
    """
    numbers = parse_numbers(column)
    values: Floats = numbers.values
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    _refuse(column, "weight", np.union1d(numbers.bad, bad), "a number ≥ 0 in every row")
    least, most = WEIGHTS
    _refuse(column, "weight", np.flatnonzero((values > most) | ((values > 0) & (values < least))), WEIGHT_RANGE)
    for part, rows in splits.parts().items():
        if len(rows) and part != "test" and not values[rows].any():
            what = f"every weight of the {part} part is 0"
            raise DataError(what, where="data.weight", expected="some above 0")
    return torch.tensor(values, dtype=torch.float32)


def _refuse(column: Column, role: str, positions: Ints, expected: str) -> None:
    """Raises DataError for the first of some rows."""
    if not len(positions):
        return
    value, row = column.iloc[positions[0]], column.index[positions[0]]
    is_missing = distinct_texts(column.iloc[positions[:1]]).codes[0] < 0
    found = "missing" if is_missing else f"'{value}'" if isinstance(value, str) else f"{value}"
    more = f" (and {len(positions) - 1:,} more)" if len(positions) > 1 else ""
    hint = "rows are counted from 0"
    what = f"the {role} '{column.name}' is {found} in row {row}{more}"
    raise DataError(what, where=f"data.{role}", expected=expected, hint=hint)
