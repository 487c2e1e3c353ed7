"""Whether a file is the text table that its name says: another format, bytes of no text, no header; for ``reading``."""

from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from trainkit.data.values import canonical_text, distinct_texts, parse_numbers
from trainkit.errors import DataError

CHUNK_BYTES = 2**20
COMPARED_ROWS = 10_000
"""Rows in which a name of the header is looked for."""

_FORMATS = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"%PDF", "a PDF"),
    (b"SQLite format 3", "a database"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
_HTML = re.compile(rb"\s*<(!doctype html|html)\b", re.IGNORECASE)


def check_text(path: Path, *, compressed: bool) -> None:
    """Reads a file once as bytes.

    Args:
        path: A .csv, .tsv or such.
        compressed: Whether gzip compressed it.

    Raises:
        DataError: It is of another format, or holds NUL bytes, which no text has and which would end a cell unseen.
        OSError: It cannot be read.
    """
    with (gzip.open if compressed else open)(path, "rb") as file:
        chunk = file.read(CHUNK_BYTES)
        for start, kind in _FORMATS:
            if chunk.startswith(start):
                raise _other(path, kind)
        if _HTML.match(chunk):
            raise _other(path, "a web page")
        place = 0
        while chunk:
            if b"\0" in chunk:
                what = f"{path.name} holds a NUL byte, at byte {place + chunk.index(0):,}"
                hint = "damaged, or not UTF-8: save the file as UTF-8"
                raise DataError(what, where=str(path), expected="a table as UTF-8 text", hint=hint)
            place += len(chunk)
            chunk = file.read(CHUNK_BYTES)


def _other(path: Path, kind: str) -> DataError:
    hint = "save the file as UTF-8" if "UTF" in kind else None
    return DataError(f"{path.name} is {kind}", where=str(path), expected="a table as UTF-8 text", hint=hint)


def check_header(path: Path, names: Sequence[str], frame: pd.DataFrame) -> None:
    """Raises DataError where the first line of a file seems to be a row like all others.

    It does where every name could be a value of its column: a number among numbers, a text that occurs below. Whole
    numbers that count on are names all the same, as arrays get them.

    Args:
        path: The file.
        names: The names as they stand in it.
        frame: The rows below.
    """
    if len(names) != frame.shape[1] or _count_on(names):
        return
    head = frame.iloc[:COMPARED_ROWS]
    if all(_is_value(name, head.iloc[:, idx]) for idx, name in enumerate(names)):
        shown = ", ".join(f"'{name}'" for name in names[:4]) + ", …" * (len(names) > 4)
        raise DataError(
            f"{path.name} seems to have no header: its first line, {shown}, is like those below",
            where=str(path),
            expected="a first line with the names of the columns",
        )


def _count_on(names: Sequence[str]) -> bool:
    if not all(name.strip().isdecimal() for name in names):
        return False
    counted = [int(name) for name in names]
    return all(after == before + 1 for before, after in itertools.pairwise(counted))


def _is_value(name: str, column: pd.Series) -> bool:
    text = canonical_text(name)
    if text is None:
        return False
    numbers = parse_numbers(column)
    if not len(numbers.bad) and len(numbers.values):
        return not len(parse_numbers(pd.Series([text], dtype=object)).bad)
    return text in distinct_texts(column).texts
