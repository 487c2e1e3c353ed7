"""The cells of one table column in one canonical form, whatever file or dtype they came from.

Used by ``columns``, ``targets`` and ``encoding``. A value reads the same from a CSV or a Parquet file, as text or as a
number, and alone or among others: ``1``, ``1.0`` and ``"1"`` are the text ``1``; ``true`` is ``True``; surrounding
blanks do not count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from trainkit.errors import DataError

Column: TypeAlias = "pd.Series[Any]"
Ints: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Dates: TypeAlias = "np.ndarray[Any, np.dtype[np.datetime64]]"

MISSING_WORDS = frozenset(
    ["", "#N/A", "#N/A N/A", "#NA", "-NaN", "-nan", "<NA>", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null", "NaT"]
)
"""Texts that stand for a missing value; ``None`` is one only among numbers and dates, for it is a category to many."""

FEW_WITH_COMMAS = 10
"""Distinct texts, up to which those like 3,4 may well be names."""

_DECIMAL_COMMA = re.compile(r"[+-]?\d+(?:[.,]\d+)+|[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,300}", re.ASCII)
_INFINITE = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE)
_BEYOND = 2**1023
"""Whole numbers from here on may be too large for a float64; they count as infinite."""

_NESTED = (list, tuple, dict, set, np.ndarray)


class Distinct(NamedTuple):
    """A column as numbers into its distinct texts.

    Attributes:
        codes: int64 [N], index into ``texts``; -1 where the value is missing.
        texts: Distinct canonical texts in order of appearance.
    """

    codes: Ints
    texts: list[str]


class Numbers(NamedTuple):
    """A column read as numbers.

    Attributes:
        values: float64 [N], NaN where the value is missing or no number.
        bad: int64, positions of values that are no numbers.
        integer: Whether every present value was written as an integer.
    """

    values: Floats
    bad: Ints
    integer: bool


def canonical_text(value: object) -> str | None:
    """The one text of a value, or None where it is missing."""
    if isinstance(value, str):
        return _canonical_string(value.strip())
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, np.timedelta64):
        return None if np.isnat(value) else _canonical_number(value / np.timedelta64(1, "s"))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        number = float(str(value))
        return None if math.isnan(number) else _canonical_number(number)
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    return _canonical_string(str(value).strip())


def _canonical_string(text: str) -> str | None:
    if text in MISSING_WORDS:
        return None
    if text.lower() in ("true", "false"):
        return text.lower().capitalize()
    if _INTEGER.fullmatch(text):
        return str(int(text))
    if _NUMBER.fullmatch(text):
        number = float(text)
        return _canonical_number(number) if math.isfinite(number) else text
    return text


def _canonical_number(number: float) -> str:
    return str(int(number)) if number.is_integer() else repr(number)


def distinct_texts(column: Column) -> Distinct:
    """The canonical texts of a column; equal values of different types share one.

    Raises:
        DataError: The column holds lists or other nested values.
    """
    codes, raw = factorize(column, booleans_as_text=True)
    merged, texts = pd.factorize(np.array([canonical_text(value) for value in raw] + [None], dtype=object))
    return Distinct(merged.astype(np.int64)[codes], list(texts))


def parse_numbers(column: Column) -> Numbers:
    """Read a column as numbers; text is parsed, booleans are 0 and 1, durations are seconds.

    Raises:
        DataError: The column holds lists or other nested values.
    """
    if dtypes.is_timedelta64_dtype(column.dtype):
        seconds = column.dt.total_seconds().to_numpy(dtype=np.float64, na_value=np.nan)
        return Numbers(seconds.astype(np.float64), np.empty(0, np.int64), False)
    if dtypes.is_numeric_dtype(column.dtype) and not dtypes.is_complex_dtype(column.dtype):
        values: Floats = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return Numbers(values, np.empty(0, np.int64), dtypes.is_integer_dtype(column.dtype))
    codes, raw = factorize(column)
    parsed = [_number_of(value) for value in raw]
    values = np.array([np.nan if number is None else number for number in parsed] + [np.nan], np.float64)[codes]
    bad = np.array([number is None for number in parsed] + [False])[codes]
    present = (value for value, number in zip(raw, parsed, strict=True) if number is None or not math.isnan(number))
    integer = all(_INTEGER.fullmatch(str(value).strip()) for value in present)
    return Numbers(values, np.flatnonzero(bad).astype(np.int64), integer)


def _number_of(value: object) -> float | None:
    """The number a value stands for, NaN where it is missing, None where it is no number."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    if isinstance(value, bool | np.bool_ | int | float | np.integer | np.floating):
        if isinstance(value, int) and abs(value) >= _BEYOND:
            return math.inf if value > 0 else -math.inf
        return float(value)
    text = text_or_missing(value)
    if text is None:
        return math.nan
    return float(text) if _NUMBER.fullmatch(text) or _INFINITE.fullmatch(text) else None


def text_or_missing(value: object) -> str | None:
    """The stripped text of a value, or None where it is missing among numbers or dates."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    text = str(value).strip()
    return None if text in MISSING_WORDS or text == "None" else text


def has_decimal_commas(texts: Sequence[str]) -> bool:
    """Whether a column's many distinct texts are all numbers that were written with commas."""
    return len(texts) > FEW_WITH_COMMAS and all(_DECIMAL_COMMA.fullmatch(text) for text in texts)


def holds_nested(column: Column) -> bool:
    """Whether an object column holds lists, dicts, sets or arrays."""
    return column.dtype == object and any(isinstance(value, _NESTED) for value in column)


def factorize(column: Column, *, booleans_as_text: bool = False) -> tuple[Ints, Sequence[object]]:
    """Numbers [N] into the distinct raw values; -1, the last place, where missing.

    Among Python objects ``True`` equals ``1``; ``booleans_as_text`` keeps them apart.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    if column.dtype != object:
        codes, raw = pd.factorize(column)
        return codes.astype(np.int64), list(raw.to_numpy())
    if holds_nested(column):
        raise DataError(f"column '{column.name}' holds lists or other nested values", expected="one value per cell")
    values = column.to_numpy(dtype=object)
    if booleans_as_text and dtypes.infer_dtype(column, skipna=True) != "string":
        texts = [str(value) if isinstance(value, bool | np.bool_) else value for value in values]
        values = np.fromiter(texts, dtype=object, count=len(texts))
    codes, objects = pd.factorize(values)
    return codes.astype(np.int64), list(objects)


def sorted_texts(texts: Iterable[str]) -> list[str]:
    """Canonical texts in numeric order if all are numbers, else in the order of their characters."""
    names = list(texts)
    if all(_NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names)


def with_boolean_aliases(codes: dict[str, int]) -> dict[str, int]:
    """The vocabulary, with 0/1 also under False/True (or the reverse) where it has only one of the two spellings."""
    spellings = (("0", "1"), ("False", "True"))
    aliases: dict[str, int] = {}
    for ours, theirs in (spellings, spellings[::-1]):
        if not any(name in codes for name in theirs):
            aliases |= {alias: codes[name] for name, alias in zip(ours, theirs, strict=True) if name in codes}
    return codes | aliases


def row_list(column: Column, positions: Ints, limit: int = 5) -> str:
    """The source rows of the first few positions, such as ``0, 3, 17, …``."""
    rows = ", ".join(str(column.index[position]) for position in positions[:limit])
    return rows + (", …" if len(positions) > limit else "")
