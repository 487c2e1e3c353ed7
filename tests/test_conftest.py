"""The guard of the fixtures: a test that writes into the repository fails where it writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

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
