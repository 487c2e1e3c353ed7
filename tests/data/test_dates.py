"""Dates in every usual spelling, the moments they are, and the numbers they become."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainkit.data.dates import date_parts, find_layout, parse_dates

INSTANT: Any = pd.DatetimeIndex(["2024-02-29 06:30", None])
IN_BERLIN: Any = pd.DatetimeIndex(["2024-02-29 07:30", None], tz="Europe/Berlin")
ARROW_IN_BERLIN: Any = "timestamp[us, Europe/Berlin][pyarrow]"


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["2024-02-29T06:30:00", None]),
        pd.Series(["2024-02-29 06:30", ""], dtype=object),
        pd.Series(["2024-02-29T07:30:00+01:00", "None"], dtype=object),
        pd.Series(INSTANT),
        pd.Series(IN_BERLIN),
        pd.Series(INSTANT.as_unit("ns")),
        pd.Series(INSTANT).astype("timestamp[us][pyarrow]"),
        pd.Series(IN_BERLIN).astype(ARROW_IN_BERLIN),
        pd.Series([pd.Timestamp("2024-02-29 06:30"), None], dtype=object),
    ],
    ids=["iso", "blank", "zone", "datetime", "datetime zone", "ns", "arrow", "arrow zone", "objects"],
)
def test_a_date_is_one_whatever_its_form(column: Any) -> None:
    stamps = parse_dates(column)
    np.testing.assert_array_equal(stamps.values, np.array(["2024-02-29T06:30", "NaT"], "datetime64[us]"))
    assert stamps.values.dtype == np.dtype("datetime64[us]")
    assert not len(stamps.bad)


def test_texts_that_are_no_dates_are_placed() -> None:
    stamps = parse_dates(pd.Series(["2024-01-31", "2024-02-31", "31.01.2024", "2024/03/01", "20240101"]))
    assert stamps.bad.tolist() == [1, 2, 4]
    assert parse_dates(pd.Series([20240101, 20240102])).bad.tolist() == [0, 1]


def test_date_parts_agree_with_pandas() -> None:
    micros = np.random.default_rng(1).integers(-(10**15), 4 * 10**15, 1000)
    stamps = micros.astype("datetime64[us]")
    parts, expected = date_parts(stamps), pd.DatetimeIndex(stamps)
    np.testing.assert_array_equal(parts["year"], expected.year)
    np.testing.assert_array_equal(parts["month"], expected.month)
    np.testing.assert_array_equal(parts["weekday"], expected.day_of_week)
    np.testing.assert_array_equal(np.floor(parts["hour"]), expected.hour)
    np.testing.assert_allclose(parts["days"], micros / 86.4e9, rtol=1e-15)


def test_a_missing_date_has_no_part() -> None:
    parts = date_parts(np.array(["NaT", "1970-01-02T12:00"], "datetime64[us]"))
    assert all(np.isnan(part[0]) for part in parts.values())
    plain = {name: part[1] for name, part in parts.items() if not name.startswith("year_")}
    assert plain == {"days": 1.5, "year": 1970, "month": 1, "weekday": 4, "hour": 12}


def test_december_lies_beside_january_on_the_circle_of_the_year() -> None:
    days = np.array(["2024-01-01", "2024-07-02", "2023-07-02T12:00", "2024-12-31T23:59"], "datetime64[us]")
    parts = date_parts(days)
    np.testing.assert_allclose(parts["year_sin"] ** 2 + parts["year_cos"] ** 2, 1.0)
    np.testing.assert_allclose(parts["year_cos"], [1.0, -1.0, -1.0, 1.0], atol=1e-4)
    assert np.hypot(*(parts[name][0] - parts[name][3] for name in ("year_sin", "year_cos"))) < 1e-4


@pytest.mark.parametrize(
    ("texts", "layout"),
    [
        (["2024-01-31", "2024/02/01", None], "iso"),
        (["31.01.2024", "1.2.2024"], "day_first"),
        (["31/01/2024 08:30", "01/02/2024 17:00"], "day_first"),
        (["31-01-2024", ""], "day_first"),
        (["01/31/2024", "2/1/2024"], "month_first"),
        (["1/31/2024 8:30:00 AM", "2/1/2024 12:15 pm"], "month_first"),
        (["31 Jan 2024", "1 February 2024"], "named"),
        (["Jan 31, 2024", "Sept 1, 2024"], "named"),
        (["31-Jan-2024", "01-FEB-2024"], "named"),
        (["31.01.2024", "2024-02-01"], "day_first"),
        (["01/02/2024", "03/04/2024"], "month_first"),
        (["01.02.2024", "03.04.2024"], "day_first"),
        (["31.01.2024", "01/31/2024"], None),
        (["31.13.2024"], None),
        (["31.01/2024"], None),
        (["31.01.24"], None),
        (["31 Foo 2024"], None),
        (["1/31/2024 13:00 pm"], None),
        (["v1.2.2024"], None),
        ([20240131, 20240201], None),
        (["red", "blue"], None),
    ],
)
def test_the_layout_is_the_one_that_reads_every_value(texts: list[Any], layout: str | None) -> None:
    assert find_layout(pd.Series(texts, dtype=object)) == layout


@pytest.mark.parametrize(
    ("text", "layout", "moment"),
    [
        ("31.1.2024", "day_first", "2024-01-31"),
        ("01/02/2024", "day_first", "2024-02-01"),
        ("01/02/2024", "month_first", "2024-01-02"),
        ("1/31/2024 12:05 AM", "month_first", "2024-01-31T00:05"),
        ("1/31/2024 1:05:30.5 pm", "month_first", "2024-01-31T13:05:30.500"),
        ("29 february 2024", "named", "2024-02-29"),
        ("May 5, 2024, 7:00", "named", "2024-05-05T07:00"),
        ("2024-03-01", "named", "2024-03-01"),
    ],
)
def test_a_text_is_the_moment_that_its_layout_says(text: str, layout: Any, moment: str) -> None:
    stamps = parse_dates(pd.Series([text]), layout)
    assert stamps.values.tolist() == np.array([moment], "datetime64[us]").tolist()
    assert not len(stamps.bad)


@pytest.mark.parametrize(
    ("text", "layout"), [("30.02.2024", "day_first"), ("2/30/2024", "month_first"), ("1.2.2024", "iso")]
)
def test_a_day_that_is_none_is_placed(text: str, layout: Any) -> None:
    assert parse_dates(pd.Series(["2024-01-01", text]), layout).bad.tolist() == [1]
