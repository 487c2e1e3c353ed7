"""Labels by folders and by columns of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainkit.data.images.targets import file_column, folder_labels, table_labels
from trainkit.errors import ConfigError, DataError

FRAME = pd.DataFrame(
    {
        "file": ["a.png", "b.png", "c.png", "d.png"],
        "kind": ["x", "y", "x", "y"],
        "age": [1.5, 2.5, 3.25, 4.0],
        "sun": [1, 0, 1, 0],
        "sea": [True, True, False, False],
        "tags": ["sun|sea", " sea ", "sun", None],
    }
)


def test_folders_are_classes_in_numeric_order() -> None:
    labels = folder_labels(["10", "2", "1", "10"])
    assert (labels.kind, labels.names) == ("class", ("1", "2", "10"))
    assert labels.values.tolist() == [2, 1, 0, 2]
    assert folder_labels(["NA", "cat"]).names == ("NA", "cat")  # a name, not a missing value
    with pytest.raises(DataError, match=r"every image is of one class \('cat'\)"):
        folder_labels(["cat", "cat"])


def test_one_label() -> None:
    labels = table_labels(FRAME, "kind", None, None)
    assert (labels.kind, labels.names, labels.values.tolist()) == ("class", ("x", "y"), [0, 1, 0, 1])
    numbers = table_labels(FRAME, "age", None, None)
    assert (numbers.kind, numbers.names, str(numbers.values.dtype)) == ("number", (), "float64")
    assert numbers.values.tolist() == [1.5, 2.5, 3.25, 4.0]


def test_several_labels_by_columns_and_by_cells() -> None:
    expected = [[1, 1], [0, 1], [1, 0], [0, 0]]
    labels = table_labels(FRAME, ["sun", "sea"], None, None)
    assert (labels.kind, labels.names) == ("multilabel", ("sun", "sea"))
    assert labels.values.dtype == np.float32
    assert labels.values.tolist() == expected
    cells = table_labels(FRAME, "tags", "|", "multilabel")
    assert (cells.kind, cells.names) == ("multilabel", ("sea", "sun"))
    assert cells.values[:, ::-1].tolist() == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("kin", None, None), "the table has no column 'kin'"),
        ((["sun", "se"], None, None), "the table has no column 'se'"),
        (("tag", "|", None), "the table has no column 'tag'"),
        ((["sun", "sun"], None, None), "names 'sun' twice"),
        ((["sun", "age"], None, "multilabel"), "label 'age' is '1.5' in row 0"),
        ((["sun", "kind"], None, None), "target 'kind' is 'x' in row 0"),
        ((["sun"], None, None), "the list has 'sun' only"),
        ((["sun", "sea"], "|", None), "data.separator is for one"),
        ((["sun", "sea"], None, "class"), "data.target_kind is class"),
        (("kind", None, "multilabel"), "data.target_kind is multilabel"),
        (("tags", "|", "number"), "data.target_kind is number"),
        (("tags", "", None), "data.separator is empty"),
        (("tags", None, None), "missing in 1 row"),
    ],
)
def test_what_cannot_be_learned_is_named(arguments: Any, said: str) -> None:
    with pytest.raises((DataError, ConfigError)) as caught:
        table_labels(FRAME, *arguments)
    assert said in str(caught.value)


def test_a_label_of_every_image_is_refused() -> None:
    with pytest.raises(DataError, match="label 'all' is 1 in every row"):
        table_labels(FRAME.assign(all=1), ["sun", "all"], None, None)


def test_the_column_of_names() -> None:
    assert file_column(["id", "Filename"], None) == "Filename"
    assert file_column(["id", "file"], "id") == "id"
    with pytest.raises(DataError, match="no column is known to hold the names"):
        file_column(["id", "label"], None)
    with pytest.raises(DataError, match="no column 'files'"):
        file_column(["file", "label"], "files")
