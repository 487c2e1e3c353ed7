"""The state of git repositories, the user's and trainkit's own, as a run starts: bounded in size and in time."""

from __future__ import annotations

import re
import subprocess
import threading
from pathlib import Path
from typing import Any, NamedTuple

TIMEOUT_SECONDS = 3.0
"""For the three questions, which are asked at once."""

MAX_DIFF_BYTES = 1_000_000
MAX_NAMES_BYTES = 200_000
MAX_UNTRACKED = 200


class _Answer(NamedTuple):
    text: str
    is_cut: bool


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit, branch, and what differs from it; None outside of a repository, before a first commit, or without git.

    Args:
        folder: In the repository.

    Returns:
        ``commit``; ``branch`` (null when detached); ``dirty``, ``diff`` and ``untracked`` (names of files git does not
        know, folders as one), null where git took longer than three seconds; ``diff_is_cut`` after a million bytes and
        ``untracked_is_cut`` after 200 names.
    """
    asked = [
        _Question(folder, MAX_NAMES_BYTES, "rev-parse", "HEAD", "--abbrev-ref", "HEAD"),
        _Question(folder, MAX_DIFF_BYTES, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD"),
        _Question(folder, MAX_NAMES_BYTES, "status", "--porcelain", "-z", "--untracked-files=normal"),
    ]
    head, diff, status = (question.answer() for question in asked)
    if head is None:
        return None
    commit, branch = head.text.split()[:2]
    changes = status.text.split("\0")[:-1] if status else []
    untracked = [change[3:] for change in changes if change.startswith("??")]
    return {
        "commit": commit,
        "branch": None if branch == "HEAD" else branch,
        "dirty": bool(diff.text) if diff else None,
        "diff": diff.text if diff else None,
        "diff_is_cut": bool(diff and diff.is_cut),
        "untracked": untracked[:MAX_UNTRACKED] if status else None,
        "untracked_is_cut": bool(status and (status.is_cut or len(untracked) > MAX_UNTRACKED)),
    }


def checkout_state(folder: Path) -> dict[str, Any] | None:
    """Commit of a package that is used from a checkout, as an editable install is; None for one that is installed.

    Args:
        folder: Top of the checkout, if it is one; a repository that merely lies around it is not asked.

    Returns:
        ``commit``, and ``dirty``: whether files of that commit were changed, deleted or added.
    """
    if not (folder / ".git").exists():
        return None
    words = ("status", "--porcelain=v2", "--branch", "--untracked-files=no")
    answer = _Question(folder, MAX_NAMES_BYTES, *words).answer()
    found = re.search(r"^# branch\.oid ([0-9a-f]+)$", answer.text, re.MULTILINE) if answer else None
    if answer is None or found is None:  # no git, or no commit yet
        return None
    return {"commit": found[1], "dirty": any(not line.startswith("#") for line in answer.text.splitlines())}


class _Question:
    """One call of git under way; ``answer`` waits for it, reads a bounded number of bytes and ends it in time."""

    def __init__(self, folder: Path, limit: int, *args: str) -> None:
        self.limit = limit
        # Neither hooks nor a daemon of the repository's are started, and no lock is taken.
        command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *args]
        try:
            self.process: subprocess.Popen[bytes] | None = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError:  # no git
            self.process = None
            return
        self.timer = threading.Timer(TIMEOUT_SECONDS, self.process.kill)
        self.timer.daemon = True
        self.timer.start()

    def answer(self) -> _Answer | None:
        """What git said, or None where it failed or took too long."""
        process = self.process
        if process is None:
            return None
        with process:
            assert process.stdout is not None
            content = process.stdout.read(self.limit + 1)
            is_cut = len(content) > self.limit
            if is_cut:
                process.kill()
        self.timer.cancel()
        if process.returncode and not is_cut:
            return None
        return _Answer(content[: self.limit].decode("utf-8", errors="replace"), is_cut)
