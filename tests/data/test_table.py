"""Tables from files: what is learned of them, fixed parts, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from trainkit.data.sources import TensorSource
from trainkit.data.table import TableData
from trainkit.errors import DataError


def frame(num_rows: int = 200, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    gone = generator.random(num_rows) < 0.1
    return pd.DataFrame(
        {
            "id": [f"row {i}" for i in range(num_rows)],
            "age": np.where(gone, np.nan, generator.integers(18, 90, num_rows)),
            "height": generator.normal(170, 10, num_rows).round(1),
            "town": generator.choice(["Aarau", "Bern", "Chur"], num_rows),
            "state": "CH",
            "label": generator.choice(["no", "yes"], num_rows, p=[0.7, 0.3]),
        }
    )


def write(path: Path, table: pd.DataFrame) -> Path:
    table.to_csv(path, index=False)
    return path


def set_up(path: Path, target: str = "label", **options: Any) -> TableData:
    data = TableData(path, target, **options)
    data.setup()
    return data


def refusal(path: Path, target: str = "label", **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        set_up(path, target, **options)
    return str(caught.value)


def test_the_line_on_the_data(tmp_path: Path) -> None:
    table = frame()
    data = set_up(write(tmp_path / "people.csv", table), ignore=["height"])
    missing = int(table["age"].isna().sum())
    assert data.describe() == (
        f"people.csv 200 rows · 1 categories, 1 numbers · {missing} missing"
        " · ignored height (as asked), id (unique), state (constant)"
    )
    assert data.name == "people"
    wide = table.assign(**{f"c{i}": i for i in range(4)})
    data = set_up(write(tmp_path / "wide.csv", wide.drop(columns="age")), name="mine")
    assert data.name == "mine"
    assert data.describe() == (
        "wide.csv 200 rows · 1 categories, 1 numbers"
        " · ignored id (unique), state (constant), c0 (constant), c1 (constant) and 2 more"
    )


def test_the_spec_and_the_batches(tmp_path: Path) -> None:
    table = frame()
    data = set_up(write(tmp_path / "people.csv", table))
    spec = data.spec
    assert (spec.input_kind, spec.target_kind, spec.class_names, spec.target_name) == (
        "table",
        "class",
        ("no", "yes"),
        "label",
    )
    assert spec.feature_names == ("age", "height", "town")
    assert (spec.cardinalities, spec.num_numbers, spec.input_shape) == ((4,), 3, (7,))
    inputs, target = data.source.fetch(torch.arange(200), 0)
    assert isinstance(inputs, dict)
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in inputs.items()} == {
        "numbers": (torch.float32, (200, 2)),
        "codes": (torch.int64, (200, 1)),
    }
    np.testing.assert_array_equal(inputs["numbers"].numpy(), table[["age", "height"]].astype(np.float32))
    assert [("", "Aarau", "Bern", "Chur")[code] for code in inputs["codes"][:, 0]] == table["town"].tolist()
    assert [spec.class_names[label] for label in target] == table["label"].tolist()


def test_a_number_to_predict_keeps_its_unit(tmp_path: Path) -> None:
    table = frame()
    data = set_up(write(tmp_path / "people.csv", table), "height")
    assert (data.spec.target_kind, data.spec.class_names, data.strata()) == ("number", (), None)
    np.testing.assert_array_equal(data.targets("val"), table["height"][data.splits.val])


def test_a_target_kind_that_was_asked_for(tmp_path: Path) -> None:
    table = frame().assign(label=np.arange(200) % 3)
    path = write(tmp_path / "people.csv", table)
    assert set_up(path).spec.class_names == ("0", "1", "2")
    data = set_up(path, target_kind="number")
    assert (data.spec.target_kind, str(data.targets("train").dtype)) == ("number", "float64")
    assert refusal(path, target_kind="letters").startswith("target kind 'letters' is unknown")


def test_parts_are_stratified_and_drawn_from_the_split_seed(tmp_path: Path) -> None:
    path = write(tmp_path / "people.csv", frame())
    first, same, other = (set_up(path, split_seed=seed).splits for seed in (0, 0, 1))
    for part in ("train", "val", "test"):
        np.testing.assert_array_equal(getattr(first, part), getattr(same, part))
    assert first.test.tolist() != other.test.tolist()
    data = set_up(path)
    share = data.targets("train").mean()
    assert [abs(data.targets(part).mean() - share) < 0.03 for part in ("val", "test")] == [True, True]


def three_files(folder: Path) -> tuple[Path, Path, Path]:
    """120, 30 and 50 rows; ``height`` tells each row's file and place."""
    tables = [frame(size, seed) for seed, size in enumerate((120, 30, 50))]
    for number, table in enumerate(tables):
        table["height"] = number * 1000 + np.arange(len(table)) + 0.5
    first, second, third = (write(folder / f"{name}.csv", t) for name, t in zip("abc", tables, strict=True))
    return first, second, third


def places(data: TableData, part: Any) -> list[tuple[int, int]]:
    """File and row of each row of a part."""
    assert isinstance(data.source, TensorSource)
    assert isinstance(data.source.inputs, dict)
    heights = data.source.inputs["numbers"][data.rows(part), 1].tolist()
    return [(int(height // 1000), int(height % 1000)) for height in heights]


def test_files_fix_the_validation_and_the_test_part(tmp_path: Path) -> None:
    train, val, test = three_files(tmp_path)
    data = set_up(train, val_path=val, test_path=test)
    assert places(data, "train") == [(0, row) for row in range(120)]
    assert places(data, "val") == [(1, row) for row in range(30)]
    assert places(data, "test") == [(2, row) for row in range(50)]
    for part, size in (("train", 120), ("val", 30), ("test", 50)):
        assert data.row_numbers(getattr(data.splits, part)).tolist() == list(range(size))
    assert data.describe().startswith("a.csv 120 + b.csv 30 + c.csv 50 rows")


def test_a_file_for_one_part_leaves_the_other_to_be_drawn(tmp_path: Path) -> None:
    train, val, test = three_files(tmp_path)
    data = set_up(train, test_path=test)
    assert places(data, "test") == [(2, row) for row in range(50)]
    assert {file for file, _ in places(data, "val")} == {0}
    assert (len(data.splits.train), len(data.splits.val)) == (102, 18)
    rows = data.row_numbers(data.splits.val)
    assert rows.tolist() == [row for _, row in places(data, "val")]
    data = set_up(train, val_path=val, test_share=0.25)
    assert places(data, "val") == [(1, row) for row in range(30)]
    assert (len(data.splits.train), len(data.splits.test)) == (90, 30)
    assert {file for file, _ in places(data, "test")} == {0}


def test_row_numbers_of_a_single_file_are_its_own(tmp_path: Path) -> None:
    data = set_up(write(tmp_path / "people.csv", frame()))
    assert data.row_numbers(data.splits.test).tolist() == data.splits.test.tolist()


def test_statistics_come_from_the_training_file_alone(tmp_path: Path) -> None:
    train, _, test = three_files(tmp_path)
    encoder = set_up(train, test_path=test, val_share=0.0).reader.encoder
    heights = np.arange(120) + 0.5
    assert encoder.number_mean[1] == pytest.approx(heights.mean())
    assert encoder.number_scale[1] == pytest.approx(heights.std())


def test_a_column_that_is_empty_in_another_file_is_missing_there(tmp_path: Path) -> None:
    train, _, test = three_files(tmp_path)
    write(test, pd.read_csv(test).assign(age=np.nan, town=None))
    data = set_up(train, test_path=test)
    assert isinstance(data.source, TensorSource)
    assert isinstance(data.source.inputs, dict)
    assert data.source.inputs["numbers"][data.rows("test"), 0].isnan().all()
    assert data.source.inputs["codes"][data.rows("test")].eq(0).all()


def test_unseen_categories_are_counted_and_are_no_error(tmp_path: Path) -> None:
    train, _, test = three_files(tmp_path)
    table = pd.read_csv(test)
    table.loc[:6, "town"] = "Zug"
    write(test, table)
    data = set_up(train, test_path=test)
    assert data.unseen == {"town": 7}
    assert data.describe().endswith(" · 7 cells of unseen categories")
    assert isinstance(data.source, TensorSource)
    assert isinstance(data.source.inputs, dict)
    assert data.source.inputs["codes"][data.rows("test")][:7].tolist() == [[0]] * 7


def test_a_class_that_only_the_test_file_has_is_refused_with_its_row(tmp_path: Path) -> None:
    train, _, test = three_files(tmp_path)
    table = pd.read_csv(test)
    table.loc[5, "label"] = "Yes"
    write(test, table)
    assert refusal(train, test_path=test) == (
        f"target 'label' is 'Yes' in row 5 of {test}, a class that training never saw\n"
        "  where    data.target\n  expected one of no, yes\n  hint     did you mean 'yes'?"
    )


def test_values_that_cannot_be_read_are_refused_with_file_and_row(tmp_path: Path) -> None:
    train, val, test = three_files(tmp_path)
    table = pd.read_csv(val)
    table["height"] = table["height"].astype(object)
    table.loc[3, "height"] = "tall"
    write(val, table)
    found = refusal(train, val_path=val, test_path=test)
    assert found.splitlines()[0] == f"column 'height' holds 'tall' in row 3 of {val}"


def test_another_file_without_a_column_is_refused(tmp_path: Path) -> None:
    train, val, _ = three_files(tmp_path)
    write(val, pd.read_csv(val).drop(columns=["town", "age"]))
    assert refusal(train, val_path=val) == (
        f"'{val}' lacks the columns age, town\n  where    data\n  expected those of {train}"
    )
    assert set_up(train, val_path=val, ignore=["age", "town"]).reader.encoder.columns == ("height",)
    assert set_up(train, val_path=val, features=["height"]).reader.encoder.columns == ("height",)
    assert refusal(train, val_path=val, features=["height", "age"]).startswith(f"'{val}' lacks the columns age\n")


def test_names_given_alone_are_one_name(tmp_path: Path) -> None:
    path = write(tmp_path / "people.csv", frame())
    assert set_up(path, features="age").reader.encoder.columns == ("age",)
    assert set_up(path, ignore="age").reader.encoder.columns == ("height", "town")


def test_wrong_columns_and_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "people.csv", frame())
    assert refusal(path, "lable") == (
        "the table has no column 'lable'\n  where    data.target\n"
        "  expected one of id, age, height, town, state, label\n  hint     did you mean 'label'?"
    )
    assert refusal(path, features=["agee"]).endswith("hint     did you mean 'age'?")
    assert refusal(path, ignore=["age", "height", "town"]).splitlines()[0] == "no feature column is left"
    assert refusal(tmp_path / "poeple.csv").splitlines()[0] == f"there is no file {tmp_path}/poeple.csv"
    assert refusal(path, test_path=tmp_path / "none.csv").splitlines()[0] == f"there is no file {tmp_path}/none.csv"
    table = frame().assign(label="no")
    assert refusal(write(tmp_path / "one.csv", table)).splitlines()[0].startswith("target 'label' has one class only")


def test_the_fingerprint_is_that_of_the_content_and_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "people.csv", frame())
    copy = write(tmp_path / "copy.csv", frame())
    first = set_up(path).fingerprint
    assert set_up(copy, split_seed=4, batch_size=2, name="other").fingerprint == first
    changed = frame()
    changed.loc[7, "height"] = 170.05
    variants = [
        set_up(write(tmp_path / "changed.csv", changed)),
        set_up(path, features=["age"]),
        set_up(path, ignore=["age"]),
        set_up(path, "town"),
        set_up(path, test_path=copy),
    ]
    prints = {first, *(data.fingerprint for data in variants)}
    assert len(prints) == 6


@pytest.mark.parametrize(("num_rows", "expected"), [(1990, 32), (2000, 64), (9990, 64), (10000, 256)])
def test_batch_size_auto_goes_by_the_size_of_the_training_part(tmp_path: Path, num_rows: int, expected: int) -> None:
    path = write(tmp_path / "people.csv", frame(num_rows))
    data = set_up(path, val_share=0.0, test_share=0.0, batch_size="auto")
    assert data.batch_size == expected
    assert set_up(path, batch_size=17).batch_size == 17


def test_csv_and_parquet_give_the_same_data(tmp_path: Path) -> None:
    table = frame()
    table.to_parquet(tmp_path / "people.parquet")
    first, second = set_up(write(tmp_path / "people.csv", table)), set_up(tmp_path / "people.parquet")
    assert first.spec == second.spec
    np.testing.assert_array_equal(first.splits.test, second.splits.test)
    np.testing.assert_array_equal(first.flat_arrays(), second.flat_arrays())
