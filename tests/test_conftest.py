"""The guard of the fixtures: a test that writes into the repository fails where it writes; and counters at 0."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.summary.writer.event_file_writer import EventFileWriter  # type: ignore[import-untyped]

REPOSITORY = Path(__file__).resolve().parent.parent
NAME = "written-by-a-test"


@pytest.mark.parametrize("place", [NAME, f"tests/{NAME}", f"trainkit/{NAME}"])
def test_opening_a_file_of_the_repository_for_writing_is_refused(place: str) -> None:
    with pytest.raises(AssertionError, match=f"{NAME}: tests write to tmp_path only"):
        (REPOSITORY / place).write_text("")
    assert not (REPOSITORY / place).exists()


def test_other_ways_of_writing_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(REPOSITORY)
    writes: list[Callable[[], None]] = [
        lambda: os.mkdir(NAME),
        lambda: os.rename(tmp_path / "file", NAME),
        lambda: os.symlink(tmp_path / "file", NAME),
        lambda: os.close(os.open(NAME, os.O_CREAT | os.O_WRONLY)),
        lambda: os.remove(REPOSITORY / "pyproject.toml"),
    ]
    for write in writes:
        with pytest.raises(AssertionError, match="tests write to tmp_path only"):
            write()
    assert not Path(NAME).exists()
    assert Path("pyproject.toml").exists()


def test_reading_the_repository_and_writing_elsewhere_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes((REPOSITORY / "pyproject.toml").read_bytes())
    assert (tmp_path / "copy").stat().st_size > 0


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_numbers_its_event_files_from_0(turn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard reads the files of one second by name, and so would read the tenth before the ninth."""
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    for _ in range(9):
        EventFileWriter(str(tmp_path)).close()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [f".{number}" for number in range(9)]
