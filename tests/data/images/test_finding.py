"""Which files are images: classes, parts, hidden files, links and their loops."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from trainkit.data.images.finding import find_classes, find_images, find_parts
from trainkit.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        for folder in find_parts(root).values():
            find_classes(folder)
    return str(caught.value)


def test_images_are_told_by_name_in_every_depth_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.PNG", "a/z.jpeg", "a/b/c.tiff", "a.webp", "notes.txt", ".DS_Store", ".hidden.png", ".git/x.png")
    found = find_images(tmp_path)
    assert found.names == ["a.webp", "a/b/c.tiff", "a/z.jpeg", "b.PNG"]
    assert found.num_ignored == 3  # what is in a hidden folder is not looked at


def test_classes_are_folders(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.png", "cat/more/2.gif", "cat/readme.md", "dog/1.bmp", "logo.png", ".cache/x.png")
    found = find_classes(tmp_path)
    assert list(zip(found.names, found.labels, strict=True)) == [
        ("cat/1.png", "cat"),
        ("cat/more/2.gif", "cat"),
        ("dog/1.bmp", "dog"),
    ]
    assert found.num_ignored == 2


def test_parts_are_folders_above_the_classes(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/1.png", "valid/cat/2.png", "test/cat/3.png", "readme.md")
    parts = {part: folder.name for part, folder in find_parts(tmp_path).items()}
    assert parts == {"train": "train", "val": "valid", "test": "test"}


@pytest.mark.parametrize(
    "names",
    [
        ["train/1.png", "test/2.png"],  # the classes are called so
        ["train/steam/1.png", "bus/1.png"],  # vehicles
        ["cat/1.png", "dog/2.png"],
        ["val/cat/1.png", "test/cat/1.png"],
    ],
)
def test_other_folders_are_classes(tmp_path: Path, names: list[str]) -> None:
    assert find_parts(touch(tmp_path, *names)) == {"train": tmp_path}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    assert "holds no folders and 2 images" in refusal(touch(tmp_path / "flat", "1.png", "2.png"))
    assert "holds no folders\n" in refusal(touch(tmp_path / "none", "1.txt"))
    empty = touch(tmp_path / "empty", "cat/1.png", "dog/1.txt", "emu/.keep")
    assert "there is no image in dog, emu of" in refusal(empty)
    beside = touch(tmp_path / "beside", "train/cat/1.png", "test/cat/1.png", "unlabelled/1.png")
    assert "beside test/, train/ there is 'unlabelled/'" in refusal(beside)
    twice = touch(tmp_path / "twice", "train/cat/1.png", "val/cat/1.png", "valid/cat/1.png")
    assert "holds val/, valid/" in refusal(twice)


def test_links_are_followed_and_loops_of_links_end(tmp_path: Path) -> None:
    store = touch(tmp_path / "store", "1.png", "deep/2.png")
    root = touch(tmp_path / "pics", "cat/0.png")
    (root / "dog").symlink_to(store, target_is_directory=True)
    (root / "cat" / "up").symlink_to(root, target_is_directory=True)
    (root / "cat" / "self").symlink_to(root / "cat", target_is_directory=True)
    os.symlink("round.png", root / "cat" / "round.png")
    found = find_classes(root)
    assert [name for name in found.names if name.startswith("dog")] == ["dog/1.png", "dog/deep/2.png"]
    assert "cat/round.png" in found.names and "cat/0.png" in found.names
    assert len(found.names) == len(set(found.names)) < 12


@pytest.mark.parametrize("closed", [".", "cat", "cat/deep"])
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "cat/1.png", "cat/deep/2.png", "dog/1.png")
    scandir = os.scandir

    def guarded(folder: Path) -> Any:
        if Path(folder) == tmp_path / closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", guarded)
    assert f"'{tmp_path / closed}' cannot be read: Permission denied" in refusal(tmp_path)
