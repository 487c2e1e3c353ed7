"""The target column: kind, classes, values, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainkit.data.targets import TargetColumn, infer_target_kind
from trainkit.errors import DataError


def table(values: Any, dtype: Any = None) -> pd.DataFrame:
    return pd.DataFrame({"x": range(len(values)), "y": pd.Series(values, dtype=dtype)})


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pd.Series(["a", "b", "c"]), "class"),
        (pd.Series(["a", "b", "c"], dtype=object), "class"),
        (pd.Series([True, False]), "class"),
        (pd.Series([1.5, 2.5, 9.5], dtype="category"), "class"),
        (pd.Series([0.25, 0.75, 0.25]), "class"),
        (pd.Series([1, 2, 3] * 5), "class"),
        (pd.Series([1.0, 2.0, 3.0] * 5), "class"),
        (pd.Series(["1", "2", "3"] * 5), "class"),
        (pd.Series(range(20)).repeat(5), "class"),
        (pd.Series(range(21)).repeat(5), "number"),
        (pd.Series([1, 2, 3] * 4), "number"),
        (pd.Series([0.5, 1.0, 1.5] * 5), "number"),
        (pd.Series(np.linspace(0, 1, 50)), "number"),
        (pd.Series(["0.5", "1.25", "7"]), "number"),
    ],
)
def test_kind_is_inferred_from_the_values(column: Any, kind: str) -> None:
    assert infer_target_kind(column) == kind


def test_a_given_kind_overrides() -> None:
    frame = table([3, 5, 4] * 5)
    assert TargetColumn.fit(frame, "y").kind == "class"
    as_number = TargetColumn.fit(frame, "y", "number")
    assert as_number == TargetColumn("y", "number")
    np.testing.assert_array_equal(as_number.encode(frame), np.array([3.0, 5.0, 4.0] * 5))
    floats = table([0.5, 2.5, 1.5] * 2)
    assert TargetColumn.fit(floats, "y", "class").class_names == ("0.5", "1.5", "2.5")


@pytest.mark.parametrize(
    ("values", "names", "codes"),
    [
        (["Yes", "No", " Yes"], ("No", "Yes"), [1, 0, 1]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
        ([10, 9, 10], ("9", "10"), [1, 0, 1]),
        (["10", "9", "10"], ("9", "10"), [1, 0, 1]),
        ([0.0, 1.0, 1.0], ("0", "1"), [0, 1, 1]),
    ],
)
def test_classes_are_sorted_and_coded(values: list[object], names: tuple[str, ...], codes: list[int]) -> None:
    target = TargetColumn.fit(table(values), "y")
    assert target.class_names == names
    encoded = target.encode(table(values))
    assert encoded.tolist() == codes
    assert encoded.dtype == np.int64
    assert [target.class_names[code] for code in encoded] == [names[code] for code in codes]


def test_labels_of_another_file_may_have_another_type() -> None:
    target = TargetColumn.fit(table([0, 1, 1]), "y")
    for values in ([1.0, 0.0], ["1", "0"], [True, False], ["true", "FALSE"]):
        assert target.encode(table(values)).tolist() == [1, 0]


def test_numbers_are_exact() -> None:
    values = np.random.default_rng(0).normal(size=50)
    frame = pd.DataFrame({"y": values})
    target = TargetColumn.fit(frame, "y")
    encoded = target.encode(frame)
    assert encoded.dtype == np.float64
    np.testing.assert_array_equal(encoded, values)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            table(["a", "b"]).rename(columns={"y": "churn"}),
            "the table has no column 'y'\n  where    data.target\n  expected one of x, churn",
        ),
        (
            table(["a", "b"]).rename(columns={"y": "yy"}),
            "the table has no column 'y'\n  where    data.target\n  expected one of x, yy\n"
            "  hint     did you mean 'yy'?",
        ),
        (table(["a"]).iloc[:0], "the table has no rows\n  where    data.path"),
        (
            table(["a", None, "b", ""]),
            "target 'y' is missing in 2 rows: 1, 3 (counted from 0)\n  where    data.target\n"
            "  expected a value in every row\n  hint     remove these rows from the table",
        ),
        (
            table([1.5, np.nan, 2.5]),
            "target 'y' is missing in 1 row: 1 (counted from 0)\n  where    data.target\n"
            "  expected a value in every row\n  hint     remove these rows from the table",
        ),
        (
            table(["a"] * 1200),
            "target 'y' has one class only: 'a' in all 1,200 rows\n  where    data.target\n"
            "  expected at least two classes",
        ),
        (
            table(["a", "b", "c"]),
            "target 'y' has a different class in each of 3 rows\n  where    data.target\n"
            "  expected classes that occur more than once, or numbers",
        ),
        (
            table([pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02")]),
            "target 'y' holds dates\n  where    data.target\n  expected classes or numbers",
        ),
        (
            table([0.5, np.inf, 2.5]),
            "target 'y' is inf in row 1\n  where    data.target\n  expected a finite number in every row",
        ),
    ],
)
def test_targets_that_cannot_be_learned(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError) as caught:
        TargetColumn.fit(frame, "y")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([2.5, 2.5], "target 'y' is 2.5 in every row\n  where    data.target"),
        (
            ["1", "two", "3"],
            "target 'y' is 'two' in row 1\n  where    data.target\n  expected a finite number in every row",
        ),
    ],
)
def test_numbers_that_cannot_be_learned(values: list[object], message: str) -> None:
    with pytest.raises(DataError) as caught:
        TargetColumn.fit(table(values), "y", "number")
    assert str(caught.value) == message


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(
        DataError,
        match=r"^target kind 'klass' is unknown\n  where    data\.target_kind\n  expected one of class, number$",
    ):
        TargetColumn.fit(table([1, 2]), "y", "klass")  # type: ignore[arg-type]


def test_a_class_that_training_never_saw_is_named() -> None:
    target = TargetColumn.fit(table(["Yes", "No"]), "y")
    with pytest.raises(DataError) as caught:
        target.encode(table(["No", "Yes", "Yess"]).set_axis([7, 8, 9]))
    assert str(caught.value) == (
        "target 'y' is 'Yess' in row 9, a class that training never saw\n"
        "  where    data.target\n  expected one of No, Yes\n  hint     did you mean 'Yes'?"
    )
