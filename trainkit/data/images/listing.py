"""Which images there are, with their labels, of folders of classes or of tables; called by ``ImageData``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainkit.data.images.finding import existing, find_classes, find_parts
from trainkit.data.images.targets import Labels, file_column, folder_labels, table_labels
from trainkit.data.reading import EXTENSIONS as TABLE_EXTENSIONS
from trainkit.data.reading import read_table
from trainkit.data.splits import EXTRA
from trainkit.data.values import row_list
from trainkit.errors import ConfigError, DataError, did_you_mean
from trainkit.types import TargetKind

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Listing:
    """A pool of images, the parts that are given one after the other.

    Attributes:
        paths: Where each is.
        names: How each is called in messages and in predictions.
        part_of: The part of each, ``train`` first.
        folders: The class of each by its folder; None for a table.
        frame: The table's rows; None for folders.
        num_ignored: Hidden files and files that are no images.
    """

    paths: list[Path]
    names: list[str]
    part_of: list[str]
    folders: list[str] | None = None
    frame: pd.DataFrame | None = field(default=None, repr=False)
    num_ignored: int = 0

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def sizes(self) -> dict[str, int]:
        """Images by part."""
        return {part: self.part_of.count(part) for part in dict.fromkeys(self.part_of)}

    def kept(self, bad: Mapping[int, Any]) -> Listing:
        """The listing without some images, by position."""
        if not bad:
            return self
        keep = [position for position in range(len(self)) if position not in bad]

        def of(values: list[Any]) -> list[Any]:
            return [values[position] for position in keep]

        return replace(
            self,
            paths=of(self.paths),
            names=of(self.names),
            part_of=of(self.part_of),
            folders=None if self.folders is None else of(self.folders),
            frame=None if self.frame is None else self.frame.iloc[keep],
        )


@dataclass(frozen=True)
class TableSettings:
    """What a table of images needs to be told.

    Attributes:
        images: Folder that the names start from; None for the table's own.
        file: Column of the names; None for the usual ones.
        target: Column, or columns of 0 and 1.
        separator: Between several labels in a cell; None for one label.
        target_kind: ``class``, ``number`` or ``multilabel``; None judges by the values.
    """

    images: Path | None = None
    file: str | None = None
    target: str | tuple[str, ...] | None = None
    separator: str | None = None
    target_kind: TargetKind | None = None

    def refuse_for_folders(self) -> None:
        """Raises ConfigError for what only a table has."""
        for name in ("images", "file", "target", "separator"):
            if getattr(self, name) is not None:
                what = f"data.{name} is given, and data.path is a folder, whose sub-folders are the classes"
                raise ConfigError(
                    what, where=f"data.{name}", expected="a .csv or .parquet of names and labels beside it"
                )
        if self.target_kind not in (None, "class"):
            what = f"data.target_kind is {self.target_kind}, and folders stand for classes"
            raise ConfigError(what, where="data.target_kind", expected="class")


def is_table(path: Path) -> bool:
    """Whether a path is named like a table."""
    return path.name.lower().endswith(TABLE_EXTENSIONS)


def list_images(path: Path, others: Mapping[str, Path], settings: TableSettings) -> Listing:
    """The images of a folder or a table, and those of other parts.

    Args:
        path: Folder of classes (perhaps divided into parts), or table.
        others: Folders or tables of further parts.
        settings: For tables.

    Raises:
        ConfigError: Settings that do not fit.
        DataError: Something is missing, empty, or not what it has to be.
    """
    where = {part: _key(part) for part in ("train", *others)}
    for part, place in {"train": path, **others}.items():
        existing(place, where[part])
        if is_table(place) != is_table(path) or not (is_table(place) or place.is_dir()):
            expected = (
                "a .csv or .parquet" if is_table(path) else "a folder of images, or a .csv or .parquet with labels"
            )
            raise DataError(f"'{place}' is {_kind(place)}", where=where[part], expected=expected)
    if is_table(path):
        return _of_tables({"train": path, **others}, settings)
    settings.refuse_for_folders()
    parts = find_parts(path)
    twice = sorted(parts.keys() & others.keys())
    if twice:
        key = where[twice[0]]
        raise ConfigError(f"'{path}' has a {twice[0]} part of its own", where=key, hint=f"leave out {key}")
    return _of_folders(path, {**parts, **others}, where)


def _key(part: str) -> str:
    if part == "train":
        return "data.path"
    return f"data.extra_val.{part.removeprefix(EXTRA)}" if part.startswith(EXTRA) else f"data.{part}_path"


def _kind(place: Path) -> str:
    return "a folder" if place.is_dir() else "no table" if not is_table(place) else "a table"


def _of_folders(root: Path, parts: Mapping[str, Path], where: Mapping[str, str]) -> Listing:
    listing = Listing([], [], [], [])
    ignored = 0
    for part, folder in parts.items():
        found = find_classes(folder, where.get(part, "data.path"))
        prefix = f"{folder.relative_to(root).as_posix()}/" if folder != root and folder.is_relative_to(root) else ""
        listing.paths.extend(folder / name for name in found.names)
        listing.names.extend(prefix + name for name in found.names)
        listing.part_of.extend([part] * len(found.names))
        assert listing.folders is not None
        known = set(listing.folders)
        unknown = [label for label in dict.fromkeys(found.labels) if label not in known]
        if part != "train" and unknown:
            what = f"the {part} part has a class '{unknown[0]}', which training has not"
            raise DataError(what, where=where.get(part, "data.path"), hint=did_you_mean(unknown[0], sorted(known)))
        listing.folders.extend(found.labels)
        ignored += found.num_ignored
    return replace(listing, num_ignored=ignored)


def _of_tables(tables: Mapping[str, Path], settings: TableSettings) -> Listing:
    import pandas as pd

    if settings.target is None:
        columns = ", ".join(map(str, read_table(tables["train"]).columns))
        what = f"'{tables['train']}' has the columns {columns}, and none of them is named as the target"
        raise ConfigError(what, where="data.target", expected="a column of labels, or a list of 0/1 columns")
    listing, frames = Listing([], [], []), []
    for part, path in tables.items():
        frame = read_table(path)
        names = _names(frame, settings.file)
        folder = path.parent if settings.images is None else existing(settings.images, "data.images")
        listing.paths.extend(folder / name for name in names)
        listing.names.extend(names)
        listing.part_of.extend([part] * len(names))
        rows = range(len(frame)) if len(tables) == 1 else [f"{row} of {path}" for row in range(len(frame))]
        frames.append(frame.set_axis(rows, axis=0))
    return replace(listing, frame=frames[0] if len(frames) == 1 else pd.concat(frames))


def _names(frame: pd.DataFrame, asked: str | None) -> list[str]:
    columns = [str(column) for column in frame.columns]
    column = frame.iloc[:, columns.index(file_column(columns, asked))]
    missing = np.flatnonzero(column.isna())
    if len(missing):
        what = f"'{column.name}' names no image in row {row_list(column, missing)} (counted from 0)"
        raise DataError(what, where="data.file", expected="a file in every row")
    return [str(value) for value in column]


def labels_of(listing: Listing, settings: TableSettings) -> Labels:
    """The targets of a pool.

    Raises:
        ConfigError: Settings that exclude each other.
        DataError: Labels that cannot be learned, or a class that training has no image of.
    """
    if listing.frame is None:
        labels = folder_labels(listing.folders or [])
    else:
        assert settings.target is not None
        target = settings.target if isinstance(settings.target, str) else list(settings.target)
        labels = table_labels(listing.frame, target, settings.separator, settings.target_kind)
    if labels.kind == "class":
        _refuse_unseen(labels, listing.part_of)
    return labels


def _refuse_unseen(labels: Labels, part_of: Sequence[str]) -> None:
    """Raises DataError for a class that only parts other than the first have."""
    is_first = np.array([part == "train" for part in part_of])
    unseen = np.setdiff1d(labels.values, labels.values[is_first])
    if len(unseen):
        name = labels.names[int(unseen[0])]
        first = int(np.flatnonzero(labels.values == unseen[0])[0])
        what = f"training has no image of the class '{name}', and the {part_of[first]} part has"
        raise DataError(what, where="data", expected="classes that training has")
