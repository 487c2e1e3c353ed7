"""Where decoded images are kept: the same everywhere; a cache file that is broken, stale or cannot be written."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainkit.data.images import keeping
from trainkit.data.images.form import ImageForm
from trainkit.data.images.keeping import CacheFile, Decoded, choose_cache, free_memory, in_memory, mapped, nowhere
from trainkit.data.images.reading import Pixels, Unreadable, sums_of
from trainkit.errors import DataError

FORM = ImageForm(4, 5, 3)
VALUES = np.random.default_rng(0).integers(0, 256, (6, *FORM.shape)).astype(np.uint8)


class Decoding:
    """Six images, the third of which is broken; counts how often they are decoded."""

    def __init__(self, values: np.ndarray = VALUES) -> None:
        self.values, self.times = values, 0

    def __call__(self) -> Iterator[Pixels | Unreadable]:
        self.times += 1
        for position, values in enumerate(self.values):
            yield Unreadable("it is empty") if position == 2 else Pixels(values, sums_of(values))


def check(decoded: Decoded, has_values: bool = True) -> None:
    kept = np.delete(VALUES, 2, axis=0)
    if has_values:
        np.testing.assert_array_equal(decoded.values, kept)
    else:
        assert decoded.values is None
    np.testing.assert_array_equal(decoded.sums, np.stack([sums_of(values) for values in kept]))
    assert decoded.bad == {2: "it is empty"}


def cache(folder: Path, digest: str = "aa", form: ImageForm = FORM, source: str = "/pics") -> CacheFile:
    return CacheFile(folder, "pics", source, digest, form, len(VALUES))


def test_memory_disk_and_nothing_hold_the_same(tmp_path: Path) -> None:
    check(in_memory(Decoding(), 6, FORM))
    check(nowhere(Decoding(), FORM), has_values=False)
    check(cache(tmp_path).load_or_make(Decoding()))


def test_a_file_serves_again_and_is_not_changed_by_its_user(tmp_path: Path) -> None:
    decoding = Decoding()
    first = cache(tmp_path / "new").load_or_make(decoding)
    assert first.values is not None
    first.values[:] = 0  # of this process alone
    check(cache(tmp_path / "new").load_or_make(decoding))
    assert decoding.times == 1


def test_a_file_may_be_larger_than_the_memory(tmp_path: Path) -> None:
    size = 2 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(size)
    values = mapped(tmp_path / "sparse", (2, size // 2))
    assert values.nbytes == size and values[1, -1] == 0


def test_other_images_and_other_forms_have_files_of_their_own(tmp_path: Path) -> None:
    decoding = Decoding()
    made = [
        cache(tmp_path),
        cache(tmp_path, form=ImageForm(4, 5, 3, "pad")),
        cache(tmp_path, source="/others", digest="b"),
    ]
    for file in made:
        file.load_or_make(decoding)
    assert decoding.times == 3
    assert len(list(tmp_path.glob("pics-*.pixels"))) == len(list(tmp_path.glob("pics-*.npz"))) == 3


def test_a_stale_file_is_replaced_which_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = cache(tmp_path, "aa")
    old.load_or_make(Decoding())
    assert capsys.readouterr().out == ""
    check(cache(tmp_path, "bb").load_or_make(Decoding()))
    assert capsys.readouterr().out == f"cache  {old.pixels} is out of date: made anew\n"
    assert not old.pixels.exists() and not old.facts.exists()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("which", ["pixels", "facts"])
def test_a_broken_file_is_made_anew_which_is_said(
    tmp_path: Path, which: str, damage: Callable[[Path], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    file, decoding = cache(tmp_path), Decoding()
    file.load_or_make(decoding)
    damage(getattr(file, which))
    check(cache(tmp_path).load_or_make(decoding))
    assert decoding.times == 2
    assert f"{file.pixels} is broken (" in capsys.readouterr().out
    check(cache(tmp_path).load_or_make(decoding))
    assert decoding.times == 2


def test_decoding_that_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    def broken_off() -> Iterator[Pixels | Unreadable]:
        yield Pixels(VALUES[0], sums_of(VALUES[0]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache(tmp_path).load_or_make(broken_off)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_away_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / ".pics-0123.pixels.77.tmp", tmp_path / ".pics-4567.pixels.78.tmp"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, time.time() - 100_000))
    cache(tmp_path).load_or_make(Decoding())
    assert not old.exists() and new.exists()


def test_no_readable_image_at_all(tmp_path: Path) -> None:
    decoded = cache(tmp_path).load_or_make(lambda: iter([Unreadable("it is empty")]))
    assert decoded.values is not None and decoded.values.shape == (0, 3, 4, 5)
    assert decoded.bad == {0: "it is empty"}


def test_a_folder_that_cannot_be_made_and_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written") as caught:
        cache(tmp_path / "file" / "folder").load_or_make(Decoding())
    assert caught.value.where == "data.cache_dir" and "data.cache=none" in str(caught.value.hint)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(keeping, "atomic_path", full)
        with pytest.raises(DataError, match="No space left on device"):
            cache(tmp_path).load_or_make(Decoding())
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(100))
    with pytest.raises(DataError, match=r"takes 0.0 GB, and '.*' has 0.0 GB left"):
        cache(tmp_path).load_or_make(Decoding())


def test_auto_takes_the_memory_for_a_quarter_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_memory() > 2**24
    monkeypatch.setattr(keeping, "free_memory", lambda: 4 * 60 * 10)
    assert choose_cache("auto", 10, FORM) == "memory"
    assert choose_cache("auto", 11, FORM) == "disk"
    assert choose_cache("none", 11, FORM) == "none"
    assert choose_cache("memory", 40, FORM) == "memory"
    with pytest.raises(DataError, match=r"41 images take 0.0 GB") as caught:
        choose_cache("memory", 41, FORM)
    assert caught.value.where == "data.cache"
