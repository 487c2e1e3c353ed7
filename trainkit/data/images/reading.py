"""Reading many images at once: all headers, then all pixels, in order, on every core; what cannot be read is kept."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO, TypeVar

import numpy as np
from PIL import Image

from trainkit.data.images.decoding import UnreadableImageError, decode, read_header
from trainkit.data.images.form import Header, ImageForm
from trainkit.data.workers import usable_cores
from trainkit.errors import DataError

Item = TypeVar("Item")
Made = TypeVar("Made")

PER_TASK, BYTES_PER_TASK = 32, 2**24
"""Images that a thread takes at a time, since small ones take less than the handing over; fewer of large ones."""

MOST_THREADS = 16
QUIET_SECONDS, EVERY_SECONDS, EVERY_SECONDS_IN_LOG = 3.0, 0.2, 15.0
NAMED = 5
"""Unreadable images that an error lists."""


class Look(NamedTuple):
    """What is known of a file before its pixels are.

    Attributes:
        digest: SHA-256 of its content.
        header: Its size and colours.
    """

    digest: bytes
    header: Header


class Pixels(NamedTuple):
    """A decoded image.

    Attributes:
        values: uint8 [channels, height, width].
        sums: int64 [2, channels], the sums of its values and of their squares, by which statistics are exact.
    """

    values: np.ndarray
    sums: np.ndarray


class Unreadable(NamedTuple):
    """Why an image cannot be used."""

    reason: str


def look_at(paths: Sequence[Path]) -> Iterator[Look | Unreadable]:
    """The headers of files, in order."""
    return in_order(_look, paths, "looking at")


def decode_all(paths: Sequence[Path], form: ImageForm) -> Iterator[Pixels | Unreadable]:
    """The pixels of files in one form, in order."""
    per_task = max(1, min(PER_TASK, BYTES_PER_TASK // int(np.prod(form.shape))))
    return in_order(lambda path: _decode(path, form), paths, "decoding", per_task)


def in_order(
    make: Callable[[Item], Made], items: Sequence[Item], doing: str, per_task: int = PER_TASK
) -> Iterator[Made]:
    """What a function makes of each item, made by threads (Pillow decodes without holding up others), in order.

    Args:
        make: Called with an item; of several, at the same time.
        items: What to call it with.
        doing: What is done with images, for the line that shows how far it is.
        per_task: Items that a thread takes at a time.
    """
    cores = usable_cores()
    threads = min(MOST_THREADS, cores)
    tasks = [items[start : start + per_task] for start in range(0, len(items), per_task)]
    waiting: deque[Future[list[Made]]] = deque()
    with _bombs_refused(), ThreadPoolExecutor(threads) as pool, Progress(len(items), doing) as progress:
        for task in tasks:
            waiting.append(pool.submit(lambda chosen: [make(item) for item in chosen], task))
            if len(waiting) > 2 * threads:  # no further ahead than that: results are held in memory
                yield from progress.counted(waiting.popleft().result())
        while waiting:
            yield from progress.counted(waiting.popleft().result())


@contextmanager
def _bombs_refused() -> Iterator[None]:
    """Turns Pillow's warning of images that unfold to too many pixels into an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read_bytes(path: Path) -> bytes:
    """Contents of a file.

    Raises:
        UnreadableImageError: It cannot be read, or is no file: a pipe would wait for ever.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableImageError("it is no file")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableImageError("there is no such file") from error
    except OSError as error:
        raise UnreadableImageError((error.strerror or str(error)).lower()) from error


def _look(path: Path) -> Look | Unreadable:
    try:
        data = read_bytes(path)
        return Look(hashlib.sha256(data).digest(), read_header(data))
    except UnreadableImageError as error:
        return Unreadable(str(error))


def _decode(path: Path, form: ImageForm) -> Pixels | Unreadable:
    try:
        values = decode(read_bytes(path), form)
    except UnreadableImageError as error:
        return Unreadable(str(error))
    return Pixels(values, sums_of(values))


def sums_of(values: np.ndarray) -> np.ndarray:
    """int64 [2, channels]: the sums of uint8 [channels, height, width] and of their squares."""
    flat = values.reshape(len(values), -1).astype(np.uint32)
    return np.stack([flat.sum(axis=1, dtype=np.int64), (flat * flat).sum(axis=1, dtype=np.int64)])


def refuse_unreadable(bad: dict[str, str], num_images: int, where: str = "data.path", can_skip: bool = True) -> None:
    """Raises DataError that names images which cannot be used, if there are any.

    Args:
        bad: The reasons by name.
        num_images: Images in all.
        where: The config key or argument that leads to them.
        can_skip: Whether they could be left out on request.
    """
    if not bad:
        return
    first = list(bad.items())[:NAMED]
    listed = "".join(f"\n    {name}: {reason}" for name, reason in first)
    more = f"\n    … and {len(bad) - NAMED:,} more" if len(bad) > NAMED else ""
    plural = "image" if len(bad) == 1 else "images"
    raise DataError(
        f"{len(bad):,} {plural} of {num_images:,} cannot be read:{listed}{more}",
        where=where,
        expected="whole images in 8 bits a channel",
        hint="data.on_error=skip leaves them out" if can_skip and len(bad) < num_images else None,
    )


def is_first_process() -> bool:
    """Whether this process speaks for all: the others of a group are silent."""
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("RANK", "0") == "0"


class Progress:
    """A line that says how far the images are, where that takes longer than some seconds.

    Args:
        total: Images.
        doing: What is done with them.
        stream: Where to; standard output by default. A terminal's line is drawn over, other places get some lines.
    """

    def __init__(self, total: int, doing: str, stream: TextIO | None = None) -> None:
        self.total, self.doing, self.stream = total, doing, stream or sys.stdout
        self.done, self._width = 0, 0
        self._started = time.monotonic()
        self._last = self._started + QUIET_SECONDS
        self._every = EVERY_SECONDS if self.stream.isatty() else EVERY_SECONDS_IN_LOG

    def counted(self, made: list[Made]) -> Iterator[Made]:
        """Passes results on and counts them."""
        self.done += len(made)
        now = time.monotonic()
        if now >= self._last and is_first_process():
            self._last = now + self._every
            self._show(now)
        yield from made

    def _show(self, now: float) -> None:
        left = (now - self._started) / max(self.done, 1) * (self.total - self.done)
        line = f"images {self.doing} {self.done:,} of {self.total:,} · {int(left) // 60}:{int(left) % 60:02d} left"
        if not self.stream.isatty():
            print(line, file=self.stream, flush=True)
            return
        self.stream.write("\r" + line + " " * max(0, self._width - len(line)))
        self.stream.flush()
        self._width = len(line)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._width:
            self.stream.write("\r" + " " * self._width + "\r")
            self.stream.flush()
