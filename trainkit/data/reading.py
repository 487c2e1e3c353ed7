"""Reads a table file into a data frame, the same way for training and for later files; called by the table source."""

from __future__ import annotations

import csv
import gzip
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainkit.data.text_files import check_header, check_text
from trainkit.data.values import MISSING_WORDS
from trainkit.errors import DataError, first_line, near_file

SEPARATORS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}
EXTENSIONS = (*SEPARATORS, ".parquet")
EXACT_NUMBERS: dict[str, Any] = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)
"""pandas 3.1 reads numbers to the last bit by itself, and warns where asked to."""


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a ``.csv``, ``.csv.gz``, ``.tsv``, ``.tsv.gz`` or ``.parquet`` file.

    The first line of a text file holds the column names, its encoding is UTF-8. Empty cells and the usual words for
    missing (``NA``, ``null``, ``nan``; not ``None``) become missing values. A named index of a Parquet file becomes a
    column. Rows are numbered from 0.

    Args:
        path: The file.

    Raises:
        DataError: No such file, a folder, an unknown extension, an empty file, one that does not parse, or columns of
            one name.
    """
    path = Path(path)
    extension = _extension(path)
    try:
        frame = _read_parquet(path) if extension == ".parquet" else _read_text(path, extension)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8 text", where=str(path), hint="save the file as UTF-8") from error
    except (OSError, EOFError, ValueError, zlib.error, csv.Error, pd.errors.ParserWarning) as error:
        raise DataError(f"{path.name} cannot be read: {_reason(error)}", where=str(path)) from error
    if not len(frame):
        raise DataError(f"{path.name} has no rows", where=str(path), expected="a header and at least one row")
    return frame


def _reason(error: Exception) -> str:
    """The first line of an error, without the names of pandas' parts."""
    line = first_line(error)
    if isinstance(error, pd.errors.ParserWarning) and "names does not match" in line:
        return "rows have more cells than the first line has names"
    return line.removeprefix("Error tokenizing data. ").removeprefix("C error: ")


def _extension(path: Path) -> str:
    """The known extension of an existing, non-empty file."""
    if path.is_dir():
        raise DataError(f"{path} is a folder", where="data.path", expected=f"a file: {', '.join(EXTENSIONS)}")
    if not path.exists():
        folder = path.parent
        if not folder.is_dir():
            raise DataError(f"there is no file {path}", where="data.path", hint=f"the folder {folder} does not exist")
        raise DataError(f"there is no file {path}", where="data.path", hint=near_file(path))
    name = path.name.lower()
    for extension in EXTENSIONS:
        if name.endswith(extension):
            break
    else:
        raise DataError(
            f"{path.name} has no known extension", where="data.path", expected=f"one of {', '.join(EXTENSIONS)}"
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty", where=str(path), expected="a header and at least one row")
    return extension


def _read_text(path: Path, extension: str) -> pd.DataFrame:
    separator = SEPARATORS[extension]
    check_text(path, compressed=extension.endswith(".gz"))
    names = _header(path, separator, compressed=extension.endswith(".gz"))
    _check_names(path, names)
    if len(names) == 1 and "\n" in names[0].strip():
        raise DataError(f"a quote in the first line of {path.name} is not closed", where=str(path))
    other = next((mark for mark in ";\t,|" if mark in names[0]), None) if len(names) == 1 else None
    if other:
        shown = "a tab" if other == "\t" else f"'{other}'"
        expected = "tabs" if separator == "\t" else "commas"
        raise DataError(f"{path.name} seems to be separated by {shown}", where=str(path), expected=expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame: pd.DataFrame = pd.read_csv(
            path,
            sep=separator,
            encoding="utf-8-sig",
            compression="gzip" if extension.endswith(".gz") else None,
            index_col=False,
            keep_default_na=False,
            na_values=sorted(MISSING_WORDS),
            low_memory=False,
            **EXACT_NUMBERS,
        )
    check_header(path, names, frame)
    return frame


def _header(path: Path, separator: str, *, compressed: bool) -> list[str]:
    """The column names as they stand in the file; pandas would rename those that occur twice."""
    with (gzip.open if compressed else open)(path, "rt", encoding="utf-8-sig", newline="") as lines:
        for names in csv.reader(lines, delimiter=separator):
            if any(name.strip() for name in names):
                return names
    raise DataError(f"{path.name} is empty", where=str(path), expected="a header and at least one row")


def _read_parquet(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path, engine="pyarrow")
    named = any(name is not None for name in frame.index.names)
    frame = frame.reset_index(drop=not named)
    names = [str(name) for name in frame.columns]
    _check_names(path, names)
    return frame.set_axis(names, axis=1)


def _check_names(path: Path, names: list[str]) -> None:
    given = np.array([name for name in names if name.strip()], dtype=object)
    distinct, counts = np.unique(given, return_counts=True)
    if len(given) > len(distinct):
        twice = [f"'{name}'" for name in distinct[counts > 1]]
        raise DataError(
            f"{path.name} has more than one column named {', '.join(twice)}",
            where=str(path),
            expected="a different name for each column",
        )
