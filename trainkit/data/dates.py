"""Date columns of a table: which way they are written, the moments they name, and the numbers these become."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from trainkit.data.values import Column, Dates, Floats, Ints, factorize, text_or_missing

DateLayout = Literal["iso", "day_first", "month_first", "named"]
"""How texts write a date: 2024-01-31, 31.1.2024 (or / or -), 1/31/2024, or with the month's name, 31 Jan 2024."""

CYCLIC = ("year_sin", "year_cos")
"""Parts of a date that tell its place in the year."""

GLANCE = 20
"""Texts that are looked at before all are read."""

EXAMPLES: dict[DateLayout, str] = {
    "iso": "2024-01-31 or 2024-01-31T08:30:00",
    "day_first": "31.01.2024",
    "month_first": "01/31/2024",
    "named": "31 Jan 2024",
}

_SECOND = r"(?::(?P<second>\d{2}(?:\.\d{1,9})?))?"
_CLOCK = rf"(?:(?:[T,]\s?|\s)(?P<hour>\d{{1,2}}):(?P<minute>\d{{2}}){_SECOND}\s?(?P<half>[AaPp][Mm])?)?"
_ISO = re.compile(
    r"\d{4}[-/]\d{2}(?:[-/]\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?)?", re.ASCII
)
_BETWEEN = r"(?P<separator>[./-])"
_YEAR = rf"(?P=separator)(?P<year>\d{{4}}){_CLOCK}"
_DAY_FIRST = re.compile(rf"(?P<day>\d{{1,2}}){_BETWEEN}(?P<month>\d{{1,2}}){_YEAR}", re.ASCII)
_MONTH_FIRST = re.compile(rf"(?P<month>\d{{1,2}}){_BETWEEN}(?P<day>\d{{1,2}}){_YEAR}", re.ASCII)
_NAMED = re.compile(
    r"(?:(?P<day>\d{1,2})[ -](?P<name>[A-Za-z]{3,9})[ -]|(?P<name2>[A-Za-z]{3,9}) (?P<day2>\d{1,2}), ?)(?P<year>\d{4})"
    + _CLOCK,
    re.ASCII,
)
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_SHAPES = {"day_first": _DAY_FIRST, "month_first": _MONTH_FIRST, "named": _NAMED}
_MICROSECONDS_PER_DAY = 86_400_000_000


class Stamps(NamedTuple):
    """A column read as dates.

    Attributes:
        values: datetime64[us] [N] in UTC, NaT where the value is missing or no date.
        bad: int64, positions of values that are no dates.
    """

    values: Dates
    bad: Ints


def find_layout(column: Column) -> DateLayout | None:
    """The way in which every present value of a column is a date; None where there is none.

    Where both day and month may come first (no day in the column is above 12), a slash is read as 1/31/2024, a dot or
    a hyphen as 31.1.2024.

    Raises:
        DataError: The column holds lists or other nested values.
    """
    if not len(parse_dates(column).bad):
        return "iso"
    texts = [text for value in factorize(column)[1] if isinstance(value, str) and (text := text_or_missing(value))]
    slashed = any("/" in text for text in texts[:1])
    order: Sequence[DateLayout] = ("month_first", "day_first") if slashed else ("day_first", "month_first")
    for layout in (*order, "named"):
        looks_so = texts and all(_ISO.fullmatch(text) or _SHAPES[layout].fullmatch(text) for text in texts[:GLANCE])
        if looks_so and not len(parse_dates(column, layout).bad):
            return layout
    return None


def parse_dates(column: Column, layout: DateLayout = "iso") -> Stamps:
    """Read a column as dates: datetime dtypes, date objects, or texts such as 2024-01-31 or 2024-01-31T08:30:00Z.

    Times with a zone are moved to UTC, others are taken as they stand.

    Args:
        column: Of any dtype.
        layout: How its texts are written; those as in ISO 8601 are read whatever it is.

    Raises:
        DataError: The column holds lists or other nested values.
    """
    if dtypes.is_datetime64_any_dtype(column.dtype):
        return Stamps(_utc_microseconds(column), np.empty(0, np.int64))
    codes, raw = factorize(column)
    texts = [_date_text(value, layout) for value in raw]
    stamps = pd.Series([text or None for text in texts] + [None], dtype=object)
    values = _utc_microseconds(pd.to_datetime(stamps, format="ISO8601", utc=True, errors="coerce"))
    unread = np.isnat(values) & np.array([text is not None for text in texts] + [False])
    return Stamps(values[codes], np.flatnonzero(unread[codes]).astype(np.int64))


def _date_text(value: object, layout: DateLayout) -> str | None:
    """ISO text of a date, None where it is missing, an empty text where it is no date."""
    text = text_or_missing(value)
    if text is None or isinstance(value, datetime.date):
        return text
    if not isinstance(value, str):
        return ""
    if _ISO.fullmatch(text):
        return text.replace("/", "-")
    found = None if layout == "iso" else _SHAPES[layout].fullmatch(text)
    return _iso_text(found.groupdict()) if found else ""


def _iso_text(parts: dict[str, str | None]) -> str:
    """ISO text of what a shape found; an empty one where there is no such month or hour."""
    name = (parts.get("name") or parts.get("name2") or "").lower()
    months = [number for number, month in enumerate(_MONTHS, 1) if name in (month, month[:3], month[:4])]
    month = int(parts.get("month") or (months or [0])[0])
    hour, half = int(parts["hour"] or 0), (parts["half"] or "").lower()
    if half:
        if not 1 <= hour <= 12:
            return ""
        hour = hour % 12 + 12 * (half == "pm")
    day = int(parts.get("day") or parts.get("day2") or 0)
    return f"{parts['year']}-{month:02}-{day:02}T{hour:02}:{parts['minute'] or '00'}:{parts['second'] or '00'}"


def _utc_microseconds(stamps: Column) -> Dates:
    if isinstance(stamps.dtype, pd.ArrowDtype):
        stamps = pd.Series(stamps.dt.tz_convert("UTC") if stamps.dt.tz is not None else stamps)
        return stamps.to_numpy(dtype="datetime64[us]", na_value=np.datetime64("NaT", "us"))
    if isinstance(stamps.dtype, pd.DatetimeTZDtype):
        stamps = stamps.dt.tz_convert("UTC").dt.tz_localize(None)
    return stamps.to_numpy().astype("datetime64[us]")


def date_parts(stamps: Dates) -> dict[str, Floats]:
    """The numbers a date becomes, each float64 [N] with NaN for missing.

    Args:
        stamps: datetime64[us] [N].

    Returns:
        ``days`` since 1970-01-01 with the time of day as fraction, ``year``, ``month`` 1-12, ``weekday`` 0-6 from
        Monday, ``hour`` 0-24 with minutes as fraction, and the place in the year on a circle, ``year_sin`` and
        ``year_cos``, on which December lies beside January.
    """
    missing = np.isnat(stamps)
    filled = np.where(missing, np.datetime64(0, "us"), stamps).astype("datetime64[us]")
    micros = filled.astype(np.int64)
    months = filled.astype("datetime64[M]").astype(np.int64)
    years = filled.astype("datetime64[Y]")
    length = ((years + 1).astype("datetime64[D]") - years.astype("datetime64[D]")).astype(np.int64)
    angle = 2 * np.pi * (filled - years.astype("datetime64[us]")).astype(np.int64) / (length * _MICROSECONDS_PER_DAY)
    parts = {
        "days": micros / _MICROSECONDS_PER_DAY,
        "year": months // 12 + 1970,
        "month": months % 12 + 1,
        "weekday": (micros // _MICROSECONDS_PER_DAY + 3) % 7,
        "hour": (micros % _MICROSECONDS_PER_DAY) / (_MICROSECONDS_PER_DAY / 24),
        "year_sin": np.sin(angle),
        "year_cos": np.cos(angle),
    }
    return {name: np.where(missing, np.nan, part.astype(np.float64)) for name, part in parts.items()}
