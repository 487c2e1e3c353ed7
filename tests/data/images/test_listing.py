"""Folders and tables as one pool: parts, names, labels, and what does not fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.data.images.conftest import Draw
from trainkit.data.images.listing import TableSettings, labels_of, list_images
from trainkit.errors import ConfigError, DataError

TARGET = TableSettings(target="label")


def table(path: Path, names: str = "abcd", **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    label = [name.upper() for name in "xyxy"[: len(names)]]
    pd.DataFrame({"file": [f"{name}.png" for name in names], "label": label} | columns).to_csv(path, index=False)
    return path


def refusal(path: Path, others: dict[str, Path] | None = None, settings: TableSettings | None = None) -> str:
    settings = settings or TableSettings()
    with pytest.raises((DataError, ConfigError)) as caught:
        labels_of(list_images(path, others or {}, settings), settings)
    return str(caught.value)


def test_a_folder_of_classes(pics: Draw) -> None:
    root = pics(cat=2, dog=1)
    listing = list_images(root, {}, TableSettings())
    assert listing.names == ["cat/000.png", "cat/001.png", "dog/000.png"]
    assert listing.paths[2] == root / "dog" / "000.png"
    assert (listing.sizes, len(listing)) == ({"train": 3}, 3)
    labels = labels_of(listing, TableSettings())
    assert (labels.names, labels.values.tolist()) == (("cat", "dog"), [0, 0, 1])
    fewer = listing.kept({0: "empty"})
    assert (fewer.names, fewer.folders) == (["cat/001.png", "dog/000.png"], ["cat", "dog"])
    assert listing.kept({}) is listing


def test_parts_within_and_beside(pics: Draw, tmp_path: Path) -> None:
    root = pics("pics/train", cat=2, dog=2).parent
    pics("pics/test", dog=1)
    other = pics("other", cat=1)
    listing = list_images(root, {"val": other, "val/far": other}, TableSettings())
    assert listing.sizes == {"train": 4, "test": 1, "val": 1, "val/far": 1}
    assert [listing.names[0], *listing.names[4:]] == [
        "train/cat/000.png",
        "test/dog/000.png",
        "cat/000.png",
        "cat/000.png",
    ]
    assert labels_of(listing, TableSettings()).values.tolist() == [0, 0, 1, 1, 1, 0, 0]
    assert "has a test part of its own\n  where    data.test_path" in refusal(root, {"test": other})
    strange = pics("strange", dogs=1)
    said = refusal(root, {"val": strange})
    assert "the val part has a class 'dogs'" in said and "did you mean 'dog'?" in said and "data.val_path" in said


def test_a_table(tmp_path: Path) -> None:
    path = table(tmp_path / "labels.csv", sun=[1, 0, 1, 0], sea=[1, 1, 0, 0])
    listing = list_images(path, {}, TARGET)
    assert listing.names == ["a.png", "b.png", "c.png", "d.png"]
    assert listing.paths[0] == tmp_path / "a.png"
    assert labels_of(listing, TARGET).names == ("X", "Y")
    several = TableSettings(target=("sun", "sea"))
    assert labels_of(list_images(path, {}, several), several).kind == "multilabel"
    (tmp_path / "pics").mkdir()
    elsewhere = TableSettings(images=tmp_path / "pics", target="label", file="file")
    assert list_images(path, {}, elsewhere).paths[0] == tmp_path / "pics" / "a.png"
    assert listing.kept({1: "empty"}).frame["label"].tolist() == ["X", "X", "Y"]  # type: ignore[index]


def test_tables_of_parts(tmp_path: Path) -> None:
    main, test = table(tmp_path / "train.csv"), table(tmp_path / "test.csv", "ab")
    listing = list_images(main, {"test": test}, TARGET)
    assert listing.sizes == {"train": 4, "test": 2}
    table(tmp_path / "new.csv", "a", label=["Z"])
    assert "no image of the class 'Z', and the test part has" in refusal(main, {"test": tmp_path / "new.csv"}, TARGET)
    (tmp_path / "gap.csv").write_text("file,label\na.png,X\n,Y\n")
    assert "'file' names no image in row 1" in refusal(tmp_path / "gap.csv", {}, TARGET)


def test_what_does_not_fit_together(pics: Draw, tmp_path: Path) -> None:
    root, path = pics(cat=2, dog=2), table(tmp_path / "labels.csv")
    given: dict[str, Any] = {"target": "label", "file": "file", "separator": "|", "images": root}
    for name, value in given.items():
        assert f"data.{name} is given, and data.path is a folder" in refusal(root, {}, TableSettings(**{name: value}))
    assert "data.target_kind is number" in refusal(root, {}, TableSettings(target_kind="number"))
    assert "has the columns file, label, and none of them is named as the target" in refusal(path)
    assert "is a folder\n  where    data.test_path" in refusal(path, {"test": root}, TARGET)
    assert "is a table\n  where    data.test_path" in refusal(root, {"test": path})
    assert "there is no '" in refusal(tmp_path / "pisc") and "did you mean 'pics'?" in refusal(tmp_path / "pisc")
    assert "is no table" in refusal(root / "cat" / "000.png")
    gone = TableSettings(target="label", images=tmp_path / "gone")
    assert "data.images" in refusal(path, {}, gone)
