"""Which files of a folder are images, and of which class; links are followed, and loops of links end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trainkit.errors import DataError, did_you_mean, one_of

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
"""Names of images end so, in upper or lower case."""

PART_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Names of folders that stand for parts."""


@dataclass
class Folder:
    """Images of a folder.

    Attributes:
        names: Paths from the folder on, with slashes, sorted.
        labels: The class of each, where they lie in folders of classes.
        num_ignored: Hidden files and files that are no images, by name.
    """

    names: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    num_ignored: int = 0


def find_images(root: Path) -> Folder:
    """Every image of a folder and of the folders in it.

    Args:
        root: An existing folder.

    Raises:
        DataError: A folder that may not be read.
    """
    found = Folder()
    for name in _walk(root, "", set()):
        if name.lower().endswith(EXTENSIONS) and not _is_hidden(name):
            found.names.append(name)
        else:
            found.num_ignored += 1
    found.names.sort()
    return found


def find_classes(root: Path, where: str = "data.path") -> Folder:
    """The images of a folder that holds a folder for each class.

    Args:
        root: An existing folder.
        where: The config key that names it.

    Raises:
        DataError: There is no folder of a class, or one without an image.
    """
    classes, num_loose = subfolders(root), 0
    found = Folder()
    for entry in _entries(root):
        is_other = not _is_folder(entry)
        found.num_ignored += is_other
        num_loose += is_other and entry.name.lower().endswith(EXTENSIONS)
    if not classes:
        images = f" and {num_loose:,} images" if num_loose else ""
        raise DataError(
            f"'{root}' holds no folders{images}",
            where=where,
            expected="a folder of images for each class",
            hint="where a file has the labels: data.path=labels.csv data.images=… data.target=…",
        )
    empty = []
    for name in classes:
        inside = find_images(root / name)
        found.num_ignored += inside.num_ignored
        found.names += [f"{name}/{image}" for image in inside.names]
        found.labels += [name] * len(inside.names)
        empty += [] if inside.names else [name]
    if empty:
        more = f" and {len(empty) - 5:,} more" if len(empty) > 5 else ""
        what = f"there is no image in {', '.join(empty[:5])}{more} of '{root}'"
        raise DataError(what, where=where, expected=f"in the folder of a class: {', '.join(EXTENSIONS)}")
    return found


def find_parts(root: Path) -> dict[str, Path]:
    """Folders of the parts that a folder is divided into; ``{"train": root}`` where it is not.

    A folder is divided where it holds ``train`` and, beside it, nothing but ``val`` (or ``valid``, ``validation``) and
    ``test``, in which the folders of classes lie.

    Args:
        root: An existing folder.

    Raises:
        DataError: Something else lies beside the parts, or a part has two folders.
    """
    folders = subfolders(root)
    parts = [name for name in folders if name in PART_FOLDERS]
    if "train" not in parts or not subfolders(root / "train"):
        return {"train": root}
    others = [name for name in folders if name not in PART_FOLDERS]
    if others and len(parts) == 1:
        return {"train": root}
    if others:
        what = f"beside {', '.join(f'{name}/' for name in parts)} there is '{others[0]}/' in '{root}'"
        raise DataError(what, where="data.path", expected="train/, val/ and test/ only, or a folder for each class")
    named = {PART_FOLDERS[name]: root / name for name in parts}
    if len(named) < len(parts):
        what = f"'{root}' holds {', '.join(f'{name}/' for name in parts if PART_FOLDERS[name] == 'val')}"
        raise DataError(what, where="data.path", expected="one folder for validation")
    return {part: named[part] for part in ("train", "val", "test") if part in named}


def subfolders(root: Path) -> list[str]:
    """Names of the folders in a folder that are not hidden, sorted."""
    return [entry.name for entry in _entries(root) if _is_folder(entry) and not entry.name.startswith(".")]


def existing(path: Path, where: str) -> Path:
    """The path, where there is something.

    Raises:
        DataError: There is nothing.
    """
    if path.exists():
        return path
    near = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    raise DataError(
        f"there is no '{path}'",
        where=where,
        expected="a folder of images, or a .csv or .parquet of names and labels",
        hint=did_you_mean(path.name, near) or (one_of(near, 10) if near else f"there is no folder '{path.parent}'"),
    )


def _walk(folder: Path, prefix: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    """Paths of all files from the top folder on; each real folder is entered once, so that loops of links end."""
    try:
        about = folder.stat()
        if (about.st_dev, about.st_ino) in seen:
            return
        seen.add((about.st_dev, about.st_ino))
    except OSError as error:
        raise _unreadable(folder, error) from error
    for entry in _entries(folder):
        name = prefix + entry.name
        if not _is_folder(entry):
            yield name
        elif not entry.name.startswith("."):
            yield from _walk(Path(entry.path), f"{name}/", seen)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: OSError) -> DataError:
    return DataError(f"'{folder}' cannot be read: {error.strerror}", where="data.path")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself: a file that cannot be read, which is said when it is tried
        return False


def _is_hidden(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".")
