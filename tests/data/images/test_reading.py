"""Many images at once: in order whatever the threads do, unreadable ones kept, progress where it is slow."""

from __future__ import annotations

import hashlib
import io
import os
import time
from pathlib import Path

import numpy as np
import pytest

from tests.data.images.pictures import picture, save
from trainkit.data.images import reading
from trainkit.data.images.form import ImageForm
from trainkit.data.images.reading import (
    Look,
    Pixels,
    Progress,
    Unreadable,
    decode_all,
    in_order,
    look_at,
    refuse_unreadable,
    sums_of,
)
from trainkit.errors import DataError


def test_results_come_in_order_whatever_takes_longer() -> None:
    def slow(number: int) -> int:
        time.sleep(0.002 * (number % 3 == 0))
        return number * number

    assert list(in_order(slow, range(200), "squaring", per_task=7)) == [number * number for number in range(200)]
    assert list(in_order(slow, [], "squaring")) == []


def test_no_more_than_a_few_tasks_are_ahead() -> None:
    made = []
    results = in_order(lambda number: made.append(number), range(4000), "counting", per_task=1)
    next(results)
    time.sleep(0.05)
    assert len(made) <= 2 * reading.MOST_THREADS + 2
    results.close()  # type: ignore[attr-defined]


def test_headers_and_pixels(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{seed}.png", picture(seed, 6, 5)) for seed in range(40)]
    paths[7].write_bytes(b"")
    looks = list(look_at(paths))
    first = looks[0]
    assert isinstance(first, Look) and first.digest == hashlib.sha256(paths[0].read_bytes()).digest()
    assert (first.header.height, first.header.width, first.header.is_grey) == (6, 5, False)
    assert looks[7] == Unreadable("it is empty")
    pixels = list(decode_all(paths, ImageForm(6, 5, 3)))
    assert isinstance(pixels[7], Unreadable)
    for seed, made in enumerate(pixels):
        if seed != 7:
            assert isinstance(made, Pixels)
            np.testing.assert_array_equal(made.values, picture(seed, 6, 5).transpose(2, 0, 1))
            np.testing.assert_array_equal(made.sums, sums_of(made.values))


def test_sums_are_whole_numbers() -> None:
    values = np.full((2, 300, 300), 255, np.uint8)
    values[1] = 3
    expected = [[90_000 * 255, 90_000 * 3], [90_000 * 255**2, 90_000 * 9]]
    assert sums_of(values).tolist() == expected and sums_of(values).dtype == np.int64


def test_what_is_no_file_is_named_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    os.symlink("round.png", tmp_path / "round.png")
    (tmp_path / "folder.png").mkdir()
    os.symlink("nowhere.png", tmp_path / "dangling.png")
    names = ["pipe.png", "round.png", "folder.png", "dangling.png", "gone.png"]
    reasons = [look.reason for look in look_at([tmp_path / name for name in names]) if isinstance(look, Unreadable)]
    assert reasons == [
        "it is no file",
        "too many levels of symbolic links",
        "it is no file",
        "there is no such file",
        "there is no such file",
    ]


def test_unreadable_images_are_counted_and_the_first_are_named() -> None:
    refuse_unreadable({}, 9)
    bad = {f"{number}.png": "it is empty" for number in range(7)}
    with pytest.raises(DataError) as caught:
        refuse_unreadable(bad, 9)
    text = str(caught.value)
    assert text.startswith("7 images of 9 cannot be read:\n    0.png: it is empty\n")
    assert "4.png" in text and "5.png" not in text and "… and 2 more" in text and "data.on_error=skip" in text
    with pytest.raises(DataError) as caught:
        refuse_unreadable(bad, 7)
    assert "skip" not in str(caught.value)  # nothing would be left


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_progress_is_shown_once_it_takes_long(kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = kind()
    with Progress(100, "decoding", stream) as progress:
        for seconds in (1, 2, 4, 8):
            now[0] = seconds
            assert list(progress.counted([0] * 20)) == [0] * 20
            assert bool(stream.getvalue()) == (seconds >= 4)
    first = stream.getvalue().replace("\r", "\n").strip().splitlines()[0].strip()
    assert first == "images decoding 60 of 100 · 0:02 left"
    assert stream.getvalue().endswith("\r") == (kind is Terminal)


def test_other_processes_of_a_group_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "QUIET_SECONDS", 0.0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    stream = io.StringIO()
    with Progress(2, "decoding", stream) as progress:
        list(progress.counted([1, 2]))
    assert stream.getvalue() == ""
