"""Canonical texts, numbers and dates of table cells."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainkit.data.values import (
    canonical_text,
    distinct_texts,
    holds_nested,
    parse_numbers,
    row_list,
    sorted_texts,
    with_boolean_aliases,
)
from trainkit.errors import DataError

INSTANT: Any = pd.DatetimeIndex(["2024-02-29 06:30", None])
IN_BERLIN: Any = pd.DatetimeIndex(["2024-02-29 07:30", None], tz="Europe/Berlin")
ARROW_IN_BERLIN: Any = "timestamp[us, Europe/Berlin][pyarrow]"


@pytest.mark.parametrize(
    "values",
    [
        [1, 1.0, "1", " 1 ", "1.0", "01", "1e0", np.int8(1), np.float32(1), Decimal("1.00")],
        [-2.5, "-2.5", "-2.50", np.float32(-2.5)],
        [0.1, "0.1", np.float32(0.1), np.float64(0.1), ".1"],
        [True, np.True_, "True", "true", "TRUE", " true"],
        [0.0, -0.0, 0, "0", "-0"],
        [10**20, 1e20, "1e20", "100000000000000000000"],
        [None, np.nan, pd.NA, pd.NaT, "", "  ", "NA", "nan", "null", np.float32("nan")],
    ],
)
def test_equal_values_of_any_type_have_one_text(values: list[object]) -> None:
    assert len({canonical_text(value) for value in values}) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [("None", "None"), (" a b ", "a b"), ("1_0", "1_0"), ("1e999", "1e999"), ("٣", "٣"), ("-", "-"), ("1,5", "1,5")],
)
def test_texts_that_are_no_numbers_stay(value: str, text: str) -> None:
    assert canonical_text(value) == text


@pytest.mark.parametrize("dtype", ["object", "str", "string", "category", "string[pyarrow]"])
def test_distinct_texts_of_text_columns(dtype: str) -> None:
    codes, texts = distinct_texts(pd.Series(["b", None, "a", " b", ""], dtype=dtype))
    assert texts == ["b", "a"]
    assert codes.tolist() == [0, -1, 1, 0, -1]


def test_distinct_texts_do_not_confuse_true_with_one() -> None:
    codes, texts = distinct_texts(pd.Series([True, 1, "1", False, 1.0], dtype=object))
    assert texts == ["True", "1", "False"]
    assert codes.tolist() == [0, 1, 1, 2, 1]


def test_distinct_texts_without_any_value() -> None:
    assert distinct_texts(pd.Series([None, np.nan], dtype=object)).codes.tolist() == [-1, -1]
    assert distinct_texts(pd.Series([], dtype=object)).texts == []


@pytest.mark.parametrize("dtype", ["object", "str", "string"])
def test_numbers_in_texts(dtype: str) -> None:
    numbers = parse_numbers(pd.Series(["1", " 2.5", "", None, "None", "-1e3", "inf"], dtype=dtype))
    np.testing.assert_array_equal(numbers.values, [1, 2.5, np.nan, np.nan, np.nan, -1000, np.inf])
    assert numbers.bad.tolist() == []
    assert not numbers.integer


def test_values_that_are_no_numbers_are_placed() -> None:
    numbers = parse_numbers(pd.Series(["1", "x", "2", "1_000", "x"], dtype=object))
    assert numbers.bad.tolist() == [1, 3, 4]
    assert np.isnan(numbers.values[[1, 3, 4]]).all()


@pytest.mark.parametrize(
    ("column", "values", "integer"),
    [
        (pd.Series([1, None], dtype="Int64"), [1, np.nan], True),
        (pd.Series([1.5, None], dtype="Float64"), [1.5, np.nan], False),
        (pd.Series([True, None], dtype="boolean"), [1, np.nan], False),
        (pd.Series([True, None, False], dtype=object), [1, np.nan, 0], False),
        (pd.Series([1, 2], dtype="int64[pyarrow]"), [1, 2], True),
        (pd.Series(["7", "08"], dtype=object), [7, 8], True),
        (pd.Series([Decimal("1.5"), None], dtype=object), [1.5, np.nan], False),
        (pd.Series(pd.to_timedelta([90, None], unit="s")), [90, np.nan], False),
    ],
)
def test_numbers_of_other_dtypes(column: Any, values: list[float], integer: bool) -> None:
    numbers = parse_numbers(column)
    np.testing.assert_array_equal(numbers.values, values)
    assert numbers.values.dtype == np.float64
    assert numbers.integer is integer
    assert not len(numbers.bad)


def test_text_parses_to_the_bits_that_python_gives() -> None:
    values = np.random.default_rng(0).normal(size=500) * 10.0 ** np.arange(-250, 250)
    np.testing.assert_array_equal(parse_numbers(pd.Series([repr(value) for value in values.tolist()])).values, values)


def test_nested_values_are_refused_by_name() -> None:
    column = pd.Series([[1, 2], [3]], name="tags", dtype=object)
    assert holds_nested(column)
    assert not holds_nested(pd.Series(["a", None]))
    with pytest.raises(DataError, match=r"^column 'tags' holds lists or other nested values"):
        distinct_texts(column)


def test_texts_sort_as_numbers_if_all_are() -> None:
    assert sorted_texts(["10", "9", "-1", "1.5"]) == ["-1", "1.5", "9", "10"]
    assert sorted_texts(["10", "9", "b", "a"]) == ["10", "9", "a", "b"]


def test_boolean_aliases_only_fill_a_gap() -> None:
    assert with_boolean_aliases({"0": 1, "1": 2}) == {"0": 1, "1": 2, "False": 1, "True": 2}
    assert with_boolean_aliases({"False": 1, "True": 2}) == {"False": 1, "True": 2, "0": 1, "1": 2}
    assert with_boolean_aliases({"True": 1, "1": 2}) == {"True": 1, "1": 2}
    assert with_boolean_aliases({"a": 1}) == {"a": 1}


def test_row_list_names_source_rows() -> None:
    column = pd.Series(range(10), index=range(100, 110))
    assert row_list(column, np.array([0, 3])) == "100, 103"
    assert row_list(column, np.arange(7)) == "100, 101, 102, 103, 104, …"
