"""Where decoded images are kept: in memory, or in a file that is mapped into it and serves later runs."""

from __future__ import annotations

import glob
import hashlib
import json
import mmap
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import PIL

from trainkit.data.array_reading import BROKEN_FILE
from trainkit.data.images.form import ImageForm
from trainkit.data.images.reading import Pixels, Unreadable, is_first_process
from trainkit.errors import DataError
from trainkit.rundir import atomic_path, sha256

Cache: TypeAlias = Literal["auto", "memory", "disk", "none"]
"""Where decoded images are kept; ``auto`` takes the memory if they fill no more than a quarter of what is free."""

FOLDER = ".trainkit_cache"
"""Name of the folder of cache files, beside the data."""

CACHE_VERSION = 1
MEMORY_SHARE = 0.25
LEFTOVER_SECONDS = 86_400
HINT = "data.cache_dir=… with room, data.cache=none to decode on the fly, or a smaller data.image_size"

Decoding: TypeAlias = Callable[[], Iterator[Pixels | Unreadable]]
"""Begins to decode, and gives the images in order."""


@dataclass
class Decoded:
    """Images in one form.

    Attributes:
        values: uint8 [N, channels, height, width], of those that could be decoded; None where they are not kept.
        sums: int64 [N, 2, channels], the sums of each one's values and of their squares.
        bad: Reasons by position among those that were to be decoded.
    """

    values: np.ndarray | None
    sums: np.ndarray
    bad: dict[int, str] = field(default_factory=dict)


def choose_cache(cache: Cache, num_images: int, form: ImageForm) -> Cache:
    """What ``auto`` comes to.

    Raises:
        DataError: ``memory`` is asked for, and there is not enough.
    """
    needed, free = num_images * int(np.prod(form.shape)), free_memory()
    if cache == "auto":
        return "memory" if needed <= MEMORY_SHARE * free else "disk"
    if cache == "memory" and needed > free:
        what = f"{num_images:,} images take {needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free"
        raise DataError(what, where="data.cache", hint="data.cache=disk, or a smaller data.image_size")
    return cache


def in_memory(decoding: Decoding, num_images: int, form: ImageForm) -> Decoded:
    """Decodes into memory."""
    values = np.empty((num_images, *form.shape), np.uint8)
    made = _Taking(form)
    for pixels in made.take(decoding()):
        values[len(made.sums) - 1] = pixels
    return made.decoded(values[: len(made.sums)])


def nowhere(decoding: Decoding, form: ImageForm) -> Decoded:
    """Decodes once to see what is there, and keeps nothing of it but the sums."""
    made = _Taking(form)
    for _ in made.take(decoding()):
        pass
    return made.decoded(None)


class _Taking:
    """Tells decoded images from others as they come."""

    def __init__(self, form: ImageForm) -> None:
        self.form = form
        self.sums: list[np.ndarray] = []
        self.bad: dict[int, str] = {}

    def take(self, results: Iterator[Pixels | Unreadable]) -> Iterator[np.ndarray]:
        for position, result in enumerate(results):
            if isinstance(result, Unreadable):
                self.bad[position] = result.reason
            else:
                self.sums.append(result.sums)
                yield result.values

    def decoded(self, values: np.ndarray | None) -> Decoded:
        sums = np.stack(self.sums) if self.sums else np.zeros((0, 2, self.form.channels), np.int64)
        return Decoded(values, sums, self.bad)


class CacheFile:
    """Decoded images in a file, mapped into memory; a second file beside it tells what they are.

    Args:
        folder: Where both are; made if need be.
        name: Of the data, for people who look into the folder.
        source: Where the images come from; an earlier file of the same source and form is replaced.
        digest: SHA-256 over the contents of all images, in hex.
        form: Of the images.
        num_images: Images to decode.
    """

    def __init__(self, folder: Path, name: str, source: str, digest: str, form: ImageForm, num_images: int) -> None:
        self.folder, self.form, self.num_images = folder, form, num_images
        self.name = re.sub(r"[^\w.-]", "_", name)
        made_by = json.dumps([CACHE_VERSION, PIL.__version__, form.to_json()])
        self.origin = hashlib.sha256(f"{source}\n{json.dumps(form.to_json())}".encode(errors="replace")).hexdigest()
        self.key = hashlib.sha256(f"{digest}\n{made_by}".encode()).hexdigest()
        self.pixels = folder / f"{self.name}-{self.key[:16]}.pixels"
        self.facts = self.pixels.with_suffix(".npz")

    def load_or_make(self, decoding: Decoding) -> Decoded:
        """The images: from the file if it is there and whole, else decoded into it.

        Raises:
            DataError: The folder cannot be written to, or has too little room.
        """
        why = None
        if self.facts.exists() or self.pixels.exists():
            try:
                return self._load()
            except (*BROKEN_FILE, KeyError) as error:
                why = f"{self.pixels} is broken ({error})"
        stale = [facts for facts in self._others() if facts != self.facts]
        if stale and why is None:
            why = f"{stale[0].with_suffix('.pixels')} is out of date"
        if why and is_first_process():
            print(f"cache  {why}: made anew", flush=True)
        try:
            self._make(decoding)
        except OSError as error:
            what = f"the cache '{self.pixels}' cannot be written: {error.strerror or error}"
            raise DataError(what, where="data.cache_dir", hint=HINT) from error
        for facts in stale:
            facts.unlink(missing_ok=True)
            facts.with_suffix(".pixels").unlink(missing_ok=True)
        return self._load()

    def _load(self) -> Decoded:
        """The images of a whole file.

        Raises:
            ValueError: It is not what was written.
        """
        with self.facts.open("rb") as file, np.load(file, allow_pickle=False) as facts:
            sums, positions, reasons = (facts[name] for name in ("sums", "positions", "reasons"))
            about = json.loads(str(facts["about"]))
        if about["key"] != self.key:
            raise ValueError("of other images")
        shape = (len(sums), *self.form.shape)
        if self.pixels.stat().st_size != max(1, int(np.prod(shape))):
            raise ValueError("of another size")
        if sha256(self.pixels) != about["sha256"]:
            raise ValueError("its SHA-256 differs")
        values = mapped(self.pixels, shape) if len(sums) else np.empty(shape, np.uint8)
        return Decoded(values, sums, dict(zip(positions.tolist(), reasons.tolist(), strict=True)))

    def _make(self, decoding: Decoding) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        needed, free = self.num_images * int(np.prod(self.form.shape)), shutil.disk_usage(self.folder).free
        if needed > free:
            what = f"the cache takes {needed / 1e9:,.1f} GB, and '{self.folder}' has {free / 1e9:,.1f} GB left"
            raise DataError(what, where="data.cache_dir", hint=HINT)
        digest, made = hashlib.sha256(), _Taking(self.form)
        with atomic_path(self.pixels) as temporary, temporary.open("wb") as file:
            for pixels in made.take(decoding()):
                file.write(pixels.data)
                digest.update(pixels.data)
            if not made.sums:  # an empty file cannot be mapped
                file.write(b"\0")
                digest.update(b"\0")
        decoded = made.decoded(None)
        about = json.dumps({"key": self.key, "origin": self.origin, "sha256": digest.hexdigest()})
        with atomic_path(self.facts) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                about=np.array(about),
                sums=decoded.sums,
                positions=np.array(list(decoded.bad), np.int64),
                reasons=np.array(list(decoded.bad.values()), np.str_),
            )

    def _others(self) -> list[Path]:
        """Fact files of the same images in the same form, as they are or were."""
        found = []
        for facts in sorted(self.folder.glob("*.npz")) if self.folder.is_dir() else []:
            try:
                with facts.open("rb") as file, np.load(file, allow_pickle=False) as values:
                    if json.loads(str(values["about"]))["origin"] == self.origin:
                        found.append(facts)
            except (*BROKEN_FILE, KeyError):  # of another program, or of no use to anyone
                continue
        return found

    def _sweep(self) -> None:
        """Removes what a killed process left half written, after a day."""
        for path in self.folder.glob(f".{glob.escape(self.name)}-*.tmp"):
            if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                path.unlink(missing_ok=True)


def mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A file as uint8 of some shape; what is written to it stays in this process, and the file as it is.

    torch wants tensors that may be written to. Linux sets memory aside for such mappings unless it is told not to, and
    would refuse a file that is larger than the memory, for which all this is made.
    """
    no_reserve = 0x4000 if sys.platform == "linux" else 0  # MAP_NORESERVE, which Python's mmap does not name
    with path.open("rb") as file:
        flags, prot = mmap.MAP_PRIVATE | no_reserve, mmap.PROT_READ | mmap.PROT_WRITE
        return np.frombuffer(mmap.mmap(file.fileno(), 0, flags=flags, prot=prot), np.uint8).reshape(shape)


def free_memory() -> int:
    """Bytes of memory that this process can still take: of the machine, or of its control group."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo, group = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
    if meminfo.is_file():
        values = dict(line.split(":") for line in meminfo.read_text().splitlines())
        free = int(values["MemAvailable"].split()[0]) * 1024
    limit, used = group / "memory.max", group / "memory.current"
    if limit.is_file() and used.is_file() and (most := limit.read_text().strip()) != "max":
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        free = min(free, int(most) - int(used.read_text()) + int(stat.get("inactive_file", 0)))
    return max(0, free)
