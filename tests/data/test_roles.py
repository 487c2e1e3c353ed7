"""Columns that are no features: groups, moments and weights, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from trainkit.data.roles import as_groups, as_times, role_words, weights_of
from trainkit.data.splits import Splits
from trainkit.errors import DataError

SPLITS = Splits(np.array([0, 1]), np.array([2]), np.array([3]))


def column(values: Any, **options: Any) -> Any:
    return pd.Series(values, name="c", **options)


def test_groups_are_texts() -> None:
    assert as_groups(column([1, 2, 1])).tolist() == ["1", "2", "1"]
    assert as_groups(column([1.0, 2.0, 1.0])).tolist() == ["1", "2", "1"]
    assert as_groups(column(["a", " b", "a"])).tolist() == ["a", "b", "a"]


def test_times_are_dates_or_numbers() -> None:
    assert as_times(column([3, 1, 2])).tolist() == [3.0, 1.0, 2.0]
    for values in (["2021-03-01", "2021/02/01"], pd.to_datetime(["2021-03-01", "2021-02-01"])):
        assert as_times(column(values)).astype("datetime64[D]").astype(str).tolist() == ["2021-03-01", "2021-02-01"]
    assert as_times(column(["7", "3"])).tolist() == [7.0, 3.0]
    written = as_times(column(["31.03.2021", "1.2.2021"])).astype("datetime64[D]").astype(str)
    assert written.tolist() == ["2021-03-31", "2021-02-01"]


def test_weights_are_single_floats() -> None:
    weight = weights_of(column(["1", "0", "2.5", "1"]), SPLITS)
    assert (weight.tolist(), weight.dtype) == ([1.0, 0.0, 2.5, 1.0], torch.float32)
    assert weights_of(column([1, 0, 1, 0]), SPLITS).tolist() == [1, 0, 1, 0]  # the test part is not weighed


TIME = "a date such as 2024-01-31 or 2024-01-31T08:30:00, or a number, in every row"
WEIGHT = "a number ≥ 0 in every row"


@pytest.mark.parametrize(
    ("role", "values", "found", "expected"),
    [
        ("group", ["a", None, "b", None], "missing in row 1 (and 1 more)", "a group in every row"),
        ("time", ["2021-01-01", "2021-02-30", "2021-01-01", "2021-01-01"], "'2021-02-30' in row 1", TIME),
        ("time", ["2021-01-01", None, "2021-01-01", "2021-01-01"], "missing in row 1", TIME),
        ("time", [1.0, 2.0, np.inf, 3.0], "inf in row 2", TIME),
        ("time", ["1", "2", "soon", "3"], "'soon' in row 2", TIME),
        ("weight", [1.0, -1.0, 1.0, 1.0], "-1.0 in row 1", WEIGHT),
        ("weight", [1.0, np.nan, np.inf, 1.0], "missing in row 1 (and 1 more)", WEIGHT),
        ("weight", ["1", "1", "1", "x"], "'x' in row 3", WEIGHT),
    ],
)
def test_values_that_cannot_be_are_named_with_their_row(role: str, values: Any, found: str, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        if role == "weight":
            weights_of(column(values), SPLITS)
        else:
            (as_groups if role == "group" else as_times)(column(values))
    assert str(caught.value) == (
        f"the {role} 'c' is {found}\n  where    data.{role}\n  expected {expected}\n  hint     rows are counted from 0"
    )


def test_rows_are_named_as_the_table_names_them() -> None:
    with pytest.raises(DataError, match=r"^the group 'c' is missing in row 0 of test\.csv"):
        as_groups(column(["a", None], index=["0 of t.csv", "0 of test.csv"]))


@pytest.mark.parametrize(("values", "part"), [([0, 0, 1, 1], "train"), ([1, 1, 0, 1], "val")])
def test_a_part_without_weight_is_refused(values: list[int], part: str) -> None:
    with pytest.raises(DataError) as caught:
        weights_of(column(values), SPLITS)
    assert str(caught.value) == f"every weight of the {part} part is 0\n  where    data.weight\n  expected some above 0"


def test_words() -> None:
    assert role_words({"group": "g", "time": "when", "weight": "w"}) == ["ordered by when", "weighted by w"]
    assert role_words({"group": "g", "time": None, "weight": None}) == []
