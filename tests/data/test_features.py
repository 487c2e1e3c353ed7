"""Vocabularies and statistics of single columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from trainkit.data.features import CategoryFeature, NumberFeature, fit_category, fit_numbers, read_codes, read_numbers
from trainkit.errors import DataError


def test_rare_categories_share_the_unknown_bucket() -> None:
    column = pd.Series(["b"] * 5 + ["a"] * 6 + ["c"] * 4 + ["d"], name="x")
    feature = fit_category(column, min_count=5)
    assert feature == CategoryFeature("x", ("a", "b"), ("c", "d"), False)
    assert feature.cardinality == 3
    read = read_codes(column, feature)
    assert read.values.tolist() == [2] * 5 + [1] * 6 + [0] * 5
    assert read.num_unseen == 0


def test_missing_is_a_category_only_if_training_has_it() -> None:
    with_missing = fit_category(pd.Series(["a", None, "b"], name="x"), 1)
    without = fit_category(pd.Series(["a", "b"], name="x"), 1)
    new = pd.Series(["b", "", "c", np.nan], name="x", dtype=object)
    assert with_missing.cardinality == 4
    assert read_codes(new, with_missing).values.tolist() == [2, 3, 0, 3]
    read = read_codes(new, without)
    assert read.values.tolist() == [2, 0, 0, 0]
    assert (read.num_unseen, read.num_missing) == (1, 2)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1, 2, 3]),
        pd.Series([1.0, 2.0, 3.0]),
        pd.Series(["1", "2", "3"]),
        pd.Series(["1.0", "2.", " 3"], dtype=object),
        pd.Series([1, "2", 3.0], dtype=object),
        pd.Series([1, 2, 3], dtype="Int64"),
        pd.Series([1, 2, 3], dtype="float32"),
        pd.Series([1, 2, 3], dtype="category"),
        pd.Series([1, 2, 3], dtype="int64[pyarrow]"),
    ],
)
def test_numbers_of_a_category_column_keep_their_code_in_every_form(column: pd.Series[int]) -> None:
    feature = CategoryFeature("x", ("1", "2", "3", "basic"))
    assert read_codes(column, feature).values.tolist() == [1, 2, 3]


def test_booleans_come_back_as_zero_and_one_and_the_reverse() -> None:
    trained_on_booleans = fit_category(pd.Series([True, False], name="x"), 1)
    assert read_codes(pd.Series([0, 1]), trained_on_booleans).values.tolist() == [1, 2]
    trained_on_numbers = fit_category(pd.Series([1, 0], name="x"), 1)
    assert read_codes(pd.Series([False, True, None], dtype=object), trained_on_numbers).values.tolist() == [1, 2, 0]


def test_statistics_are_those_of_the_present_values() -> None:
    (feature,), constant = fit_numbers(pd.Series([1.0, 3.0, np.nan, 8.0], name="x"), is_date=False)
    assert feature == NumberFeature("x", "value", 4.0, float(np.std([1, 3, 8])), True)
    assert constant == {}


def test_scale_of_a_single_value_is_one() -> None:
    (feature,), _ = fit_numbers(pd.Series([0.1, 0.1, np.nan], name="x"), is_date=False)
    assert (feature.mean, feature.scale) == (float(np.float32(0.1)), 1.0)


def test_date_features_and_those_that_tell_nothing() -> None:
    days = pd.Series(["2024-01-31", "2024-03-01", None], name="since")
    features, constant = fit_numbers(days, is_date=True)
    assert [feature.name for feature in features] == [
        *("since.days", "since.month", "since.weekday", "since.year_sin", "since.year_cos"),
    ]
    assert constant == {"since.year": "constant"}
    times = pd.Series(["2023-01-31T06:00", "2024-03-01", None], name="since")
    features, constant = fit_numbers(times, is_date=True)
    assert [feature.part for feature in features] == [
        *("days", "year", "month", "weekday", "hour", "year_sin", "year_cos"),
    ]
    assert constant == {}
    assert read_numbers(times, is_date=True)["hour"].tolist()[:2] == [6.0, 0.0]


@pytest.mark.parametrize(
    ("values", "is_date", "message"),
    [
        (
            ["1", "many", "2"],
            False,
            "column 'x' holds 'many' in row 11\n  where    column 'x'\n"
            "  expected a number, or an empty cell for a missing value\n  hint     rows are counted from 0",
        ),
        (
            [1.0, np.inf, -np.inf],
            False,
            "column 'x' holds inf in row 11 (and 1 more)\n  where    column 'x'\n"
            "  expected a finite number below 3.4e+38 in size\n  hint     rows are counted from 0",
        ),
        (
            [1.0, 2.0, -1e39],
            False,
            "column 'x' holds -1e+39 in row 12\n  where    column 'x'\n"
            "  expected a finite number below 3.4e+38 in size\n  hint     rows are counted from 0",
        ),
        (
            ["2024-01-01", None, "tomorrow"],
            True,
            "column 'x' holds 'tomorrow' in row 12\n  where    column 'x'\n"
            "  expected a date such as 2024-01-31 or 2024-01-31T08:30:00\n  hint     rows are counted from 0",
        ),
    ],
)
def test_values_that_cannot_be_read(values: list[object], is_date: bool, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_numbers(pd.Series(values, index=[10, 11, 12], name="x"), is_date=is_date)
    assert str(caught.value) == message
