"""One process a run directory: a lock of the operating system's, which ends with the process however that ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainkit.errors import RunError
from trainkit.rundir import RunDirectory

try:
    import fcntl
except ImportError:  # Windows has none: there the user looks after it himself
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"


@contextmanager
def locked(run: RunDirectory) -> Iterator[None]:
    """Holds a run's directory while this process works in it.

    Nothing is left over by a process that was killed: the lock is the open file's, not the file. Children do not hold
    it; on a network file system it needs one that locks.

    Raises:
        RunError: Another process works in it.
    """
    if fcntl is None:
        yield
        return
    path = run.path / NAME
    handle = _acquired(path)
    try:
        os.truncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _acquired(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            owner = os.read(handle, 200).decode(errors="replace")
            os.close(handle)
            raise RunError(
                f"'{path.parent}' is in use by {owner or 'another process'}",
                where="run.dir",
                hint="wait until it is done; two processes in one run directory would overwrite each other",
            ) from error
        if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
            return handle
        os.close(handle)  # the one before has just left, and taken the file with it
