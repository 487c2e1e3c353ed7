"""The inputs that table columns become: what is learned of each from the training rows, and how it is read again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np

from trainkit.data.dates import EXAMPLES, DateLayout, date_parts, parse_dates
from trainkit.data.values import (
    Column,
    Floats,
    Ints,
    distinct_texts,
    parse_numbers,
    sorted_texts,
    with_boolean_aliases,
)
from trainkit.errors import DataError

Singles: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"

VALUE = "value"


@dataclass(frozen=True)
class NumberFeature:
    """One numeric input: a number column, or one part of a date column.

    Attributes:
        column: The source column.
        part: ``value``, or the part of a date: ``days, year, month, weekday, hour, year_sin, year_cos``.
        mean: Mean over the training rows.
        scale: Population standard deviation over the training rows; 1 where that is 0.
        has_missing: Whether a training row lacks it.
        layout: How a date is written.
    """

    column: str
    part: str
    mean: float
    scale: float
    has_missing: bool
    layout: DateLayout = "iso"

    @property
    def name(self) -> str:
        """The column, with the part of a date after a dot."""
        return self.column if self.part == VALUE else f"{self.column}.{self.part}"


@dataclass(frozen=True)
class CategoryFeature:
    """One categorical input; code 0 is unknown or rare, then ``values`` in order, then missing if training has it.

    Attributes:
        column: The source column.
        values: Categories with a code of their own, as canonical texts.
        rare: Categories seen in training, but too seldom for a code of their own.
        has_missing: Whether missing is a category.
    """

    column: str
    values: tuple[str, ...]
    rare: tuple[str, ...] = ()
    has_missing: bool = False

    @property
    def cardinality(self) -> int:
        """Number of codes, the unknown bucket included."""
        return 1 + len(self.values) + self.has_missing


@dataclass(frozen=True, eq=False)
class Codes:
    """A categorical column as codes.

    Attributes:
        values: int64 [N].
        num_unseen: Rows with a value that training never saw.
        num_missing: Rows without a value.
    """

    values: Ints
    num_unseen: int
    num_missing: int


def fit_category(column: Column, min_count: int) -> CategoryFeature:
    """Learn the vocabulary of a column; categories in fewer than ``min_count`` rows share the unknown bucket."""
    distinct = distinct_texts(column)
    counts = np.bincount(distinct.codes[distinct.codes >= 0], minlength=len(distinct.texts))
    often = [text for text, count in zip(distinct.texts, counts, strict=True) if count >= min_count]
    rare = [text for text, count in zip(distinct.texts, counts, strict=True) if count < min_count]
    has_missing = bool((distinct.codes < 0).any())
    return CategoryFeature(str(column.name), tuple(sorted_texts(often)), tuple(sorted_texts(rare)), has_missing)


def read_codes(column: Column, feature: CategoryFeature) -> Codes:
    """Code the values of a column; what the vocabulary lacks gets code 0 and is counted."""
    lookup = {text: code for code, text in enumerate(feature.values, 1)} | dict.fromkeys(feature.rare, 0)
    lookup = with_boolean_aliases(lookup)
    distinct = distinct_texts(column)
    of_missing = len(feature.values) + 1 if feature.has_missing else 0
    of_texts = np.array([*(lookup.get(text, -1) for text in distinct.texts), of_missing], np.int64)
    codes = of_texts[distinct.codes]
    return Codes(np.maximum(codes, 0), int((codes < 0).sum()), int((distinct.codes < 0).sum()))


def fit_numbers(
    column: Column, *, is_date: bool, layout: DateLayout = "iso"
) -> tuple[list[NumberFeature], dict[str, str]]:
    """Learn the statistics of a number column, or of the parts of a date column.

    Args:
        column: The training rows.
        is_date: Whether the column holds dates. Its hour is used if a time of day occurs.
        layout: How the dates are written.

    Returns:
        The inputs, and the parts of a date that tell nothing with the reason.

    Raises:
        DataError: A value cannot be read, is infinite, or is too large for float32.
    """
    features: list[NumberFeature] = []
    ignored: dict[str, str] = {}
    for part, singles in read_numbers(column, is_date=is_date, layout=layout).items():
        present = singles[~np.isnan(singles)].astype(np.float64)
        constant = bool(present.min() == present.max())
        mean, scale = float(present.mean()), 1.0 if constant else float(present.std())
        feature = NumberFeature(str(column.name), part, mean, scale, len(present) < len(singles), layout)
        if part == "hour" and not present.any():
            continue
        if constant and part not in (VALUE, "days"):
            ignored[feature.name] = "constant"
        else:
            features.append(feature)
    return features, ignored


def read_numbers(column: Column, *, is_date: bool, layout: DateLayout = "iso") -> dict[str, Singles]:
    """Read a column as numbers: part → float32 [N], NaN for missing; ``value`` is the only part of a number column.

    Raises:
        DataError: A value cannot be read, is infinite, or is too large for float32.
    """
    if is_date:
        stamps = parse_dates(column, layout)
        if len(stamps.bad):
            _refuse(column, stamps.bad, f"a date such as {EXAMPLES[layout]}")
        return {part: values.astype(np.float32) for part, values in date_parts(stamps.values).items()}
    numbers = parse_numbers(column)
    if len(numbers.bad):
        _refuse(column, numbers.bad, "a number, or an empty cell for a missing value")
    return {VALUE: _single(column, numbers.values)}


def _single(column: Column, values: Floats) -> Singles:
    with np.errstate(over="ignore"):
        singles = values.astype(np.float32)
    infinite = np.flatnonzero(np.isinf(singles))
    if len(infinite):
        _refuse(column, infinite, f"a finite number below {np.finfo(np.float32).max:.2g} in size")
    return singles


def _refuse(column: Column, positions: Ints, expected: str) -> NoReturn:
    value = column.iloc[positions[0]]
    shown = f"'{value}'" if isinstance(value, str) else f"{value}"
    others = f" (and {len(positions) - 1:,} more)" if len(positions) > 1 else ""
    raise DataError(
        f"column '{column.name}' holds {shown} in row {column.index[positions[0]]}{others}",
        where=f"column '{column.name}'",
        expected=expected,
        hint="rows are counted from 0",
    )
