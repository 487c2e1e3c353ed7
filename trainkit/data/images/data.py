"""Pictures in folders of classes, or listed with their labels in a table: ``data=images``."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainkit.data.images.form import Channels, ImageForm, Resize, check_form, choose_form
from trainkit.data.images.keeping import FOLDER, Cache, CacheFile, Decoded, choose_cache, in_memory, nowhere
from trainkit.data.images.listing import Listing, TableSettings, labels_of, list_images
from trainkit.data.images.reader import ImageReader, OnError
from trainkit.data.images.reading import Look, Pixels, decode_all, look_at, refuse_unreadable
from trainkit.data.images.source import ImageFiles, ImageSource
from trainkit.data.module import DataModule, Part
from trainkit.data.preprocessing import Standardize
from trainkit.data.roles import Role, role_words
from trainkit.data.several import label_strata
from trainkit.data.sources import TensorSource
from trainkit.data.splits import EXTRA
from trainkit.data.values import Column
from trainkit.errors import ConfigError, DataError, did_you_mean, one_of
from trainkit.types import DataSpec, TargetKind

FLAT_SIDE, FLAT_CELLS = 32, 5_000
"""Baselines see larger images shrunk to so many pixels a side; so many numbers of an image are left as they are."""


class ImageData(DataModule):
    """Images in files, decoded once to uint8 [N, channels, height, width].

    They lie in a folder for each class, which folders ``train``, ``val`` and ``test`` may divide; or a table lists them
    with a class, a number, or several labels. EXIF orientation is applied, alpha is laid on white, of an animation the
    first picture counts, of 16 bits a channel the upper 8. Where they are kept changes nothing in what is learned.

    Args:
        path: The folder, or a .csv or .parquet.
        images: Folder from which a table's names start; the table's own by default.
        file: Column of the names; ``file``, ``filename``, ``image`` or ``path`` by default.
        target: Column of a class or number, or of labels between ``separator``; or several columns, of labels (0 and 1)
            or numbers.
        separator: Text between several labels in one cell.
        target_kind: ``class``, ``number`` or ``multilabel``; told from the values by default.
        image_size: Pixels of both sides, or height and width; the images' own by default, if all have the same.
        resize: ``crop`` (scaled to cover the size, the centre kept), ``squash``, or ``pad`` (with black).
        channels: 1, 3, or ``auto``: 1 where no image has colours.
        on_error: ``raise``, or ``skip`` to leave out images that cannot be read.
        cache: Where decoded images are kept: ``memory``, ``disk`` (later runs find them there), ``none`` (decoded
            anew each time by ``num_workers`` processes), or ``auto``: memory if they fill a quarter of it at most,
            else disk.
        cache_dir: Folder of the files on disk; ``.trainkit_cache`` beside ``path`` by default.
        val_path: Folder or table of the validation part.
        test_path: Likewise for the test part.
        extra_val: Folders or tables of further validation sets by name; they are scored and choose nothing.
        common: Arguments of ``DataModule``; ``name`` is the folder's or the file's by default. ``group``, ``time`` and
            ``weight`` name columns of a table.

    Raises:
        ConfigError: Settings that exclude each other.
        DataError: Something that is not there, cannot be read, or cannot be learned from.
    """

    reader: ImageReader

    def __init__(
        self,
        path: str | Path,
        images: str | Path | None = None,
        file: str | None = None,
        target: str | Sequence[str] | None = None,
        separator: str | None = None,
        target_kind: TargetKind | None = None,
        image_size: int | Sequence[int] | None = None,
        resize: Resize = "crop",
        channels: Channels = "auto",
        on_error: OnError = "raise",
        cache: Cache = "auto",
        cache_dir: str | Path | None = None,
        val_path: str | Path | None = None,
        test_path: str | Path | None = None,
        extra_val: Mapping[str, str | Path] | None = None,
        **common: Any,
    ) -> None:
        place = Path(os.path.abspath(path))
        super().__init__(**{**common, "name": common.get("name") or place.name.split(".")[0] or "images"})
        check_form(image_size, resize, channels)
        for key, value, choices in (
            ("on_error", on_error, ("raise", "skip")),
            ("cache", cache, ("auto", "memory", "disk", "none")),
            ("target_kind", target_kind, ("class", "number", "multilabel", None)),
        ):
            if value not in choices:
                words = [choice for choice in choices if choice]
                hint = did_you_mean(str(value), words)
                raise ConfigError(f"data.{key} is '{value}'", where=f"data.{key}", expected=one_of(words), hint=hint)
        self.path = Path(path)
        given = {"val": val_path, "test": test_path}
        given |= {f"{EXTRA}{name}": other for name, other in (extra_val or {}).items()}
        self.other_paths = {part: Path(other) for part, other in given.items() if other}
        self.table = TableSettings(
            images=None if images is None else Path(images),
            file=file,
            target=target if target is None or isinstance(target, str) else tuple(target),
            separator=separator,
            target_kind=target_kind,
        )
        self.image_size, self.resize, self.channels = image_size, resize, channels
        self.on_error, self.cache = on_error, cache
        named = self.path if self.path.name not in ("", "..") else place
        self.cache_dir = Path(cache_dir) if cache_dir else named.parent / FOLDER
        self.num_deep = 0
        self._sizes: Counter[tuple[int, int]] = Counter()

    def __getstate__(self) -> dict[str, Any]:
        """All but the images: another process takes them from the cache, or decodes them again."""
        kept = {name: value for name, value in self.__dict__.items() if name not in ("decoded", "source")}
        return kept | {"_is_set_up": False}

    def load(self) -> int:
        """Finds the images, looks at each, and decodes them."""
        self.skipped = dict[str, str]()
        listing = list_images(self.path, self.other_paths, self.table)
        wanted = labels_of(listing, self.table)  # a mistake there is told before the long work
        num_found, parts, self.num_ignored = len(listing), set(listing.sizes), listing.num_ignored
        looks = list(look_at(listing.paths))
        seen = [look for look in looks if isinstance(look, Look)]
        bad = {at: look.reason for at, look in enumerate(looks) if not isinstance(look, Look)}
        self._take_out(listing, bad)
        listing = listing.kept(bad)
        if not seen:
            refuse_unreadable(self.skipped, num_found)
        form = choose_form(self.image_size, self.resize, self.channels, [look.header for look in seen])
        self.decoded = self._decode(listing, seen, form)
        self._take_out(listing, self.decoded.bad)
        if self.on_error == "raise" or len(self.skipped) == num_found:
            refuse_unreadable(self.skipped, num_found)
        self.listing = listing.kept(self.decoded.bad)
        kept = [look for at, look in enumerate(seen) if at not in self.decoded.bad]
        self._sizes = Counter((look.header.height, look.header.width) for look in kept)
        self.num_deep = sum(look.header.is_deep for look in kept)
        self.sizes = self.listing.sizes
        for part in parts - self.sizes.keys():
            raise DataError(f"no image of the {part} part can be read", where="data.on_error")
        self.labels = labels_of(self.listing, self.table)
        for name in sorted(set(wanted.names) - set(self.labels.names)):
            raise DataError(f"no image of the class '{name}' can be read", where="data.on_error")
        self.reader = ImageReader(form, self.on_error)
        self.fingerprint = self._fingerprint(kept)
        return len(self.listing)

    def _take_out(self, listing: Listing, bad: Mapping[int, str]) -> None:
        self.skipped |= {listing.names[at]: reason for at, reason in bad.items()}

    def _decode(self, listing: Listing, seen: Sequence[Look], form: ImageForm) -> Decoded:
        decoding = functools.partial(decode_all, listing.paths, form)
        self._keeps = choose_cache(self.cache, len(listing), form)
        if self._keeps == "none":
            return nowhere(decoding, form)
        if self._keeps == "memory":
            return in_memory(decoding, len(listing), form)
        digest = hashlib.sha256(b"".join(look.digest for look in seen)).hexdigest()
        source = os.path.abspath(self.path)
        return CacheFile(self.cache_dir, self.name, source, digest, form, len(listing)).load_or_make(decoding)

    def _fingerprint(self, looks: Sequence[Look]) -> str:
        """SHA-256 over names, contents and labels of the images, and what is made of them; not over where they lie."""
        digest = hashlib.sha256(json.dumps([self.reader.form.to_json(), self.sizes, self.labels.names]).encode())
        for name, look in zip(self.listing.names, looks, strict=True):
            digest.update(os.fsencode(name) + b"\0" + look.digest)
        digest.update(self.labels.values.tobytes())
        for role, column in self.roles.items():
            if column is not None:
                digest.update(f"{role}={self._series(role, column).astype(str).tolist()}".encode())
        return digest.hexdigest()

    def strata(self) -> np.ndarray | None:
        """The classes, or combinations of labels; None for numbers."""
        if self.labels.kind == "multilabel":
            return label_strata(self.labels.values)
        return self.labels.values if self.labels.kind == "class" else None

    def column(self, role: Role, name: str) -> Column:
        """A column of the table that says something of its rows."""
        frame = self.listing.frame
        if frame is None:
            what = f"the images lie in folders of classes, and data.{role} names a column"
            raise DataError(what, where=f"data.{role}", expected="a .csv or .parquet as data.path")
        names = [str(column) for column in frame.columns]
        if name not in names:
            what, hint = f"there is no column '{name}'", did_you_mean(name, names)
            raise DataError(what, where=f"data.{role}", expected=one_of(names), hint=hint)
        return frame.iloc[:, names.index(name)]

    def prepare(self, train_rows: np.ndarray) -> None:
        """Makes a source of the images; statistics are of the training part, and exact."""
        form, target = self.reader.form, torch.from_numpy(self.labels.values)
        if self.decoded.values is None:
            self.source = ImageSource(ImageFiles(self.listing.paths, target, form))
        else:
            self.source = TensorSource(torch.from_numpy(self.decoded.values), target)
        names = self.table.target
        self.spec = DataSpec(
            input_kind="image",
            input_shape=form.shape,
            target_kind=self.labels.kind,
            class_names=self.labels.names,
            target_name=names if isinstance(names, str) else "target",
            target_names=self.labels.target_names,
        )
        self._mean, self._scale = moments(self.decoded.sums[train_rows], form.height * form.width)

    def targets(self, part: Part) -> np.ndarray:
        """Targets of a part: int64 or float64 [N], or float32 [N, K]."""
        return np.asarray(self.labels.values[self.rows(part).numpy()])

    def input_module(self, net: nn.Module) -> nn.Module:
        """Standardises per channel."""
        return Standardize(self._mean, self._scale, image=True)

    def flat_arrays(self) -> np.ndarray:
        """The images, large ones shrunk, flattened: float32 [N, D]."""
        channels, height, width = self.reader.form.shape
        is_small = channels * height * width <= FLAT_CELLS
        sides = (height, width) if is_small else (min(height, FLAT_SIDE), min(width, FLAT_SIDE))
        flat = np.empty((len(self.listing), channels * math.prod(sides)), np.float32)
        kept = self.decoded.values
        for row, image in enumerate(self._decoded_again() if kept is None else kept):
            pixels = torch.from_numpy(image).float()
            flat[row] = (pixels if is_small else functional.adaptive_avg_pool2d(pixels, sides)).flatten().numpy()
        return flat

    def _decoded_again(self) -> Iterator[np.ndarray]:
        """The images that are not kept, in order, on every core."""
        made = decode_all(self.listing.paths, self.reader.form)
        for path, pixels in zip(self.listing.paths, made, strict=True):
            if not isinstance(pixels, Pixels):
                raise DataError(f"'{path}' cannot be read any more: {pixels.reason}", where="data.path")
            yield pixels.values

    def file_names(self, rows: np.ndarray) -> np.ndarray:
        """The names of images by row of the pool, as predictions show them."""
        names = (self.listing.names[row] for row in rows.tolist())
        return np.array([os.fsencode(name).decode("utf-8", "replace") for name in names], dtype=object)

    def notes(self) -> list[str]:
        """What a reader of the report must know: the images that were left out."""
        count = len(self.skipped)
        if not count:
            return super().notes()
        listed = "; ".join(f"{name} ({reason})" for name, reason in list(self.skipped.items())[:20])
        told = "image could not be read and was" if count == 1 else "images could not be read and were"
        return [*super().notes(), f"{count:,} {told} left out: {listed}" + "; …" * (count > 20)]

    def describe(self) -> str:
        """Name, number and form, and what was done to or left of the images."""
        form = self.reader.form
        parts = [f"{self.name} {len(self.listing):,} images {'×'.join(map(str, form.shape))}"]
        if set(self._sizes) != {(form.height, form.width)}:
            done = {"crop": "cropped", "squash": "squashed", "pad": "padded"}[self.resize]
            sizes = (
                f"{len(self._sizes):,} sizes" if len(self._sizes) > 1 else "{1}×{0}".format(*next(iter(self._sizes)))
            )
            parts.append(f"{done} from {sizes}")
        if self.num_deep:
            parts.append(f"{self.num_deep:,} of 16 bits, reduced to 8")
        kept = {"disk": f"cache {self.cache_dir}", "none": "decoded on the fly"}
        parts += [kept[self._keeps]] if self._keeps in kept else []
        parts += role_words(self.roles)
        if self.skipped:
            parts.append(f"{len(self.skipped):,} unreadable, skipped")
        if self.num_ignored:
            parts.append(f"{self.num_ignored:,} other file{'s' * (self.num_ignored > 1)} ignored")
        return " · ".join(parts)


def moments(sums: np.ndarray, num_pixels: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel, float64; 1 for the deviation of a constant.

    Args:
        sums: int64 [N, 2, channels], sums of each image's values and of their squares.
        num_pixels: Of an image.
    """
    count = len(sums) * num_pixels
    totals = [[sum(column) for column in rows] for rows in sums.astype(object).transpose(1, 2, 0).tolist()]
    means = [total / count for total in totals[0]]
    # In whole numbers, which have no order of summation; no part of it can be below zero.
    variances = [(count * square - total**2) / count**2 for total, square in zip(*totals, strict=True)]
    scales = [math.sqrt(variance) if variance > 0 else 1.0 for variance in variances]
    return torch.tensor(means, dtype=torch.float64), torch.tensor(scales, dtype=torch.float64)
