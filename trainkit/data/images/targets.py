"""Labels of images: the folder that each lies in, or columns of a table; called by ``ImageData``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainkit.data.several import SeveralTargets, check_several
from trainkit.data.targets import TargetColumn
from trainkit.data.values import distinct_texts, sorted_texts
from trainkit.errors import ConfigError, DataError, did_you_mean, one_of
from trainkit.types import TargetKind

if TYPE_CHECKING:
    import pandas as pd

FILE_COLUMNS = ("file", "filename", "file_name", "image", "path")
"""Names that a column of file names usually has."""


@dataclass(frozen=True)
class Labels:
    """Targets of a pool of images.

    Attributes:
        kind: ``class``, ``number`` or ``multilabel``.
        values: int64 [N] class indices, float64 [N] numbers ([N, T] of several), or float32 [N, K] of 0 and 1.
        names: Of the K classes or labels; empty for numbers.
        target_names: Of several numbers.
    """

    kind: TargetKind
    values: np.ndarray
    names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()


def folder_labels(labels: Sequence[str]) -> Labels:
    """Classes by the names of folders, in numeric order if all are numbers.

    Raises:
        DataError: There is one class only.
    """
    names = sorted_texts(set(labels))
    if len(names) < 2:
        what = f"every image is of one class ('{names[0]}')"
        raise DataError(what, where="data.path", expected="a folder for each of at least two classes")
    index = {name: code for code, name in enumerate(names)}
    return Labels("class", np.array([index[label] for label in labels], np.int64), tuple(names))


def table_labels(
    frame: pd.DataFrame, target: str | Sequence[str], separator: str | None, kind: TargetKind | None
) -> Labels:
    """The labels of a table's rows.

    Args:
        frame: All rows; its index names them in errors.
        target: A column, or several, of labels or of numbers.
        separator: Stands between the labels in a cell; None for one label.
        kind: What the target is; None judges by the values.

    Raises:
        ConfigError: Settings that exclude each other.
        DataError: No such column, a missing or unusable value, fewer than two classes or labels.
    """
    is_one = separator is None and isinstance(target, str)
    if kind is not None and (separator is not None or is_one) and is_one == (kind == "multilabel"):
        expected = "data.target=[a,b,c] of 0/1 columns, or data.separator, beside it" if is_one else "multilabel"
        raise ConfigError(f"data.target_kind is {kind}", where="data.target_kind", expected=expected)
    if separator is not None and not isinstance(target, str):
        what = "data.target names several columns, and data.separator is for one"
        raise ConfigError(what, where="data.separator", hint="leave out one of them")
    if not isinstance(target, str):
        several = SeveralTargets.fit(frame, target, kind)
        values = several.encode(frame)
        if several.kind == "number":
            return Labels("number", values, target_names=several.names)
        return Labels("multilabel", values.astype(np.float32), several.names)
    if separator is not None:
        return _of_cells(frame, target, separator)
    fitted = TargetColumn.fit(frame, target, kind)
    return Labels(fitted.kind, np.array(fitted.encode(frame)), fitted.class_names)


def _of_cells(frame: pd.DataFrame, target: str, separator: str) -> Labels:
    """Labels by names in one column; an empty cell has none."""
    if not separator:
        raise ConfigError("data.separator is empty", where="data.separator", expected="a text such as '|'")
    columns = [str(column) for column in frame.columns]
    if target not in columns:
        raise missing_column(target, columns, "data.target")
    distinct = distinct_texts(frame.iloc[:, columns.index(target)])
    cells = [[label.strip() for label in text.split(separator) if label.strip()] for text in distinct.texts]
    names = sorted_texts({label for cell in cells for label in cell})
    index = {name: place for place, name in enumerate(names)}
    rows = np.zeros((len(cells) + 1, len(names)))  # the last one is that of code -1, an empty cell
    for row, cell in zip(rows, cells, strict=False):
        row[[index[label] for label in cell]] = 1
    if len(names) < 2:
        found = f"there is one label only ('{names[0]}')" if names else "there is no label"
        raise DataError(found, where="data.target", expected="at least two; one label is a class: data.target=<column>")
    values = rows[distinct.codes]
    check_several(values, names, "multilabel", is_told=True)
    return Labels("multilabel", values.astype(np.float32), tuple(names))


def missing_column(name: str, columns: Sequence[str], where: str) -> DataError:
    """The error for a column that a table has not."""
    what = f"the table has no column '{name}'"
    return DataError(what, where=where, expected=one_of(columns), hint=did_you_mean(name, columns))


def file_column(columns: Sequence[str], asked: str | None) -> str:
    """The column of the file names.

    Args:
        columns: Of the table.
        asked: As the user named it; None takes the usual names.

    Raises:
        DataError: There is none.
    """
    if asked is not None:
        if asked not in columns:
            raise missing_column(asked, columns, "data.file")
        return asked
    found = [name for name in columns if name.lower() in FILE_COLUMNS]
    if not found:
        expected = f"one called {', '.join(FILE_COLUMNS)}, or data.file={columns[0]}"
        raise DataError("no column is known to hold the names of the images", where="data.file", expected=expected)
    return found[0]
