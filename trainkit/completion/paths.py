"""Files, directories and run directories that begin as typed, level by level as shells do it."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from trainkit.runs.find import run_directories


def files(typed: str, is_wanted: Callable[[os.DirEntry[str]], bool] | None = None) -> list[str]:
    """Files and directories that begin as typed; directories end in a slash.

    Args:
        typed: A path; ``~`` stands for the home directory.
        is_wanted: Leaves others out. Default all.
    """
    head, _, start = typed.rpartition("/")
    folder = os.path.expanduser(f"{head}/") if "/" in typed else "."
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:  # no such directory, or closed to us
        return []
    shown = [entry for entry in entries if entry.name.startswith(start) and (start or not entry.name.startswith("."))]
    shown = [entry for entry in shown if is_wanted is None or is_wanted(entry)]
    parent = f"{head}/" if "/" in typed else ""
    return [f"{parent}{entry.name}" + ("/" if entry.is_dir() else "") for entry in shown]


def directories(typed: str) -> list[str]:
    """Directories that begin as typed, with a slash at the end."""
    return files(typed, os.DirEntry.is_dir)


def runs(typed: str) -> list[str]:
    """Run directories that begin as typed, and the directories on the way to some, these with a slash at the end.

    Where there is one way only, it is followed.
    """
    found = files(typed, _leads_to_a_run)
    while len(found) == 1 and not _is_run(found[0]):
        found = files(found[0], _leads_to_a_run)
    return [path.rstrip("/") if _is_run(path) else path for path in found]


def _leads_to_a_run(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and bool(list(islice(run_directories(entry.path, depth=2), 1)))


def _is_run(path: str) -> bool:
    folder = Path(path).expanduser()
    return next(iter(run_directories(folder, depth=0)), None) == folder
