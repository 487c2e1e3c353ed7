"""Table files, and what can be wrong with them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainkit.data.reading import read_table
from trainkit.errors import DataError

CSV = 'name,size,"a, b"\nx,0.1,1\n"y, z",,NA\nNone,1e-3,3\n'


def write(path: Path, content: str | bytes) -> Path:
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.CSV", "t.csv.gz", "t.tsv", "t.tsv.gz"])
def test_text_files(tmp_path: Path, name: str) -> None:
    text = CSV
    if ".tsv" in name:
        text = "name\tsize\ta, b\nx\t0.1\t1\ny, z\t\tNA\nNone\t1e-3\t3\n"
    frame = read_table(write(tmp_path / name, text))
    assert frame.columns.tolist() == ["name", "size", "a, b"]
    assert frame["name"].tolist() == ["x", "y, z", "None"]
    np.testing.assert_array_equal(frame["size"], [0.1, np.nan, 0.001])
    np.testing.assert_array_equal(frame["a, b"], [1, np.nan, 3])
    assert frame.index.tolist() == [0, 1, 2]


def test_marks_and_blank_lines_before_the_header_do_not_count(tmp_path: Path) -> None:
    frame = read_table(write(tmp_path / "t.csv", "\ufeff\r\na,b\r\n1,2\r\n"))
    assert frame.columns.tolist() == ["a", "b"]
    assert frame.to_numpy().tolist() == [[1, 2]]


def test_numbers_are_read_to_the_last_bit(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=2000) * 1e5
    path = write(tmp_path / "t.csv", "x\n" + "\n".join(map(repr, values.tolist())))
    np.testing.assert_array_equal(read_table(path)["x"], values)


def test_parquet_has_the_rows_of_the_frame(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]})
    frame.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_table(str(tmp_path / "t.parquet")), frame)
    frame.iloc[[2, 0]].to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").index.tolist() == [0, 1]
    frame.set_index("a").to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet"), frame)


def message(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path)
    return str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    write(tmp_path / "churn.csv", CSV)
    assert message(tmp_path / "chrun.csv") == (
        f"there is no file {tmp_path}/chrun.csv\n  where    data.path\n  hint     did you mean 'churn.csv'?"
    )
    assert message(tmp_path / "zzz") == f"there is no file {tmp_path}/zzz\n  where    data.path"
    assert message(tmp_path / "dta" / "churn.csv") == (
        f"there is no file {tmp_path}/dta/churn.csv\n  where    data.path\n"
        f"  hint     the folder {tmp_path}/dta does not exist"
    )


def test_a_folder_and_an_unknown_extension(tmp_path: Path) -> None:
    known = ".csv, .csv.gz, .tsv, .tsv.gz, .parquet"
    assert message(tmp_path) == f"{tmp_path} is a folder\n  where    data.path\n  expected a file: {known}"
    assert message(write(tmp_path / "t.xlsx", "x")) == (
        f"t.xlsx has no known extension\n  where    data.path\n  expected one of {known}"
    )


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_empty_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    assert message(path) == f"{name} is empty\n  where    {path}\n  expected a header and at least one row"


@pytest.mark.parametrize("content", ["\n\n", "\ufeff"])
def test_files_of_blank_lines_are_empty(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "t.csv", content)
    assert message(path) == f"t.csv is empty\n  where    {path}\n  expected a header and at least one row"


def test_a_header_alone_is_no_table(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b\n")
    assert message(path) == f"t.csv has no rows\n  where    {path}\n  expected a header and at least one row"
    pd.DataFrame({"a": []}).to_parquet(tmp_path / "t.parquet")
    assert message(tmp_path / "t.parquet").startswith("t.parquet has no rows\n")


@pytest.mark.parametrize(
    ("name", "content", "first_line"),
    [
        ("t.csv", "a,b\n1,2\n1,2,3\n", "t.csv cannot be read: Expected 2 fields in line 3, saw 3"),
        ("t.csv", "a,b\n1,2,3\n1,2,3\n", "t.csv cannot be read: rows have more cells than the first line has names"),
        ("t.csv", 'a,b\n1,"2\n', "t.csv cannot be read: EOF inside string starting at row 1"),
        ("t.csv", "a,b\n\xe9,1\n".encode("latin-1"), "t.csv is not UTF-8 text"),
        ("t.csv", "a;b\n1;2\n", "t.csv seems to be separated by ';'"),
        ("t.csv", "a\tb\n1\t2\n", "t.csv seems to be separated by a tab"),
        ("t.tsv", "a,b\n1,2\n", "t.tsv seems to be separated by ','"),
        ("t.parquet", "a,b\n1,2\n", "t.parquet cannot be read: "),
    ],
)
def test_files_that_do_not_parse(tmp_path: Path, name: str, content: str | bytes, first_line: str) -> None:
    path = write(tmp_path / name, content)
    lines = message(path).splitlines()
    assert lines[0].startswith(first_line)
    assert lines[1] == f"  where    {path}"


def test_damaged_archives(tmp_path: Path) -> None:
    whole = gzip.compress(("a,b\n" + "1,2\n" * 1000).encode())
    for content in (b"a,b\n1,2\n", whole[:-12], whole[:20] + b"\0" * 10 + whole[30:]):
        (tmp_path / "t.csv.gz").write_bytes(content)
        assert message(tmp_path / "t.csv.gz").startswith("t.csv.gz cannot be read: ")


def test_columns_of_one_name(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b,a,c,b\n1,2,3,4,5\n")
    assert message(path) == (
        f"t.csv has more than one column named 'a', 'b'\n  where    {path}\n  expected a different name for each column"
    )
