"""The state of the user's git repository at the start of a run: bounded in size and in time, and null without one."""

from __future__ import annotations

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
