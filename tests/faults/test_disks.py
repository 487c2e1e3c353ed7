"""A disk that is full, fails or is closed to us, at every write of a run: told of, and the run goes on afterwards."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.faults.conftest import ONE_THREAD, SHORT, call
from trainkit.rundir import RunDirectory
from trainkit.training import usable_checkpoint

KINDS = {"full": errno.ENOSPC, "failing": errno.EIO, "closed": errno.EACCES}
RUN = (*SHORT, ONE_THREAD, "trainer.steps_per_execution=1", "checkpoint.every_n_steps=4", "logger=none")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Disk:
    """Refuses one access below a directory, or all from one on.

    An audit hook cannot be removed, so that there is one, with a switch.
    """

    def __init__(self) -> None:
        self.below, self.at, self.code, self.lasts, self.count = "", -1, 0, False, 0

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.below or event not in ("open", "os.rename", "os.mkdir"):
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & WRITING):
            return
        self.access(args[0])

    def access(self, path: Any) -> None:
        if not isinstance(path, str | bytes | os.PathLike) or not os.path.abspath(os.fsdecode(path)).startswith(
            self.below
        ):
            return
        self.count += 1
        if self.count == self.at or (self.lasts and 0 < self.at < self.count):
            raise OSError(self.code, os.strerror(self.code), os.fsdecode(path))


_disk = Disk()
sys.addaudithook(_disk)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """The disk below ``run`` in the test's folder; fsync counts as an access."""
    fsync = os.fsync

    def counted(handle: int) -> None:
        if _disk.below:
            _disk.access(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", counted)
    yield _disk
    _disk.below = ""


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    place = tmp_path_factory.mktemp("whole") / "run"
    said = call("fit", f"run.dir={place}", *RUN)
    assert said.code == 0, said.text
    return RunDirectory(place)


def weights(run: RunDirectory) -> dict[str, list[float]]:
    return {name: tensor.tolist() for name, tensor in load_file(run.weights).items()}


def accesses(disk: Disk, place: Path) -> int:
    disk.below, disk.at, disk.count = str(place), -1, 0
    assert call("fit", f"run.dir={place}", *RUN).code == 0
    disk.below = ""
    return disk.count


def fails_at(disk: Disk, place: Path, at: int, kind: str, lasts: bool, whole: RunDirectory) -> None:
    """Has one access fail, or all from it on, and goes on with the run."""
    disk.below, disk.at, disk.code, disk.lasts, disk.count = str(place), at, KINDS[kind], lasts, 0
    try:
        said = call("fit", f"run.dir={place}", *RUN)
    finally:
        disk.below = ""
    case = f"{kind} at {at}, lasts: {lasts}\n{said.text}"
    assert said.code == 2 and os.strerror(KINDS[kind]) in said.text and place.name in said.text, case
    run = RunDirectory(place)
    if run.exists():
        assert not any("ckpt" in sentence for sentence in usable_checkpoint(run)[1]), case
    again = call("fit", f"run.dir={place}", *RUN)
    assert again.code == 0, f"{case}\n{again.text}"
    assert weights(run) == weights(whole), case


def test_some_accesses_fail(disk: Disk, tmp_path: Path, whole: RunDirectory) -> None:
    count = accesses(disk, tmp_path / "counted")
    for idx, at in enumerate(range(1, count + 1, max(1, count // 6))):
        fails_at(disk, tmp_path / f"run-{at}", at, list(KINDS)[idx % 3], lasts=idx % 2 == 1, whole=whole)


@pytest.mark.faults
@pytest.mark.timeout(3_600)
def test_every_access_fails(
    disk: Disk, tmp_path: Path, whole: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    count = accesses(disk, tmp_path / "counted")
    for at in range(1, count + 1):
        for lasts in (False, True):
            fails_at(disk, tmp_path / f"run-{at}-{lasts}", at, list(KINDS)[at % 3], lasts, whole)
    with capsys.disabled():
        print(f"\ndisks: {2 * count} failed accesses told and gone on from")


LIMITED = """
    import resource, signal, sys
    from trainkit.cli import main
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
    code = main(sys.argv[2:])
    sys.exit(code)
"""


@pytest.mark.parametrize("limit", [30_000, *(pytest.param(n, marks=pytest.mark.faults) for n in (100, 100_000))])
def test_a_file_that_may_not_grow(limit: int, tmp_path: Path, whole: RunDirectory) -> None:
    command = [sys.executable, "-c", textwrap.dedent(LIMITED), str(limit), "fit", "run.dir=run", *RUN]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert os.strerror(errno.EFBIG) in done.stderr and "run/" in done.stderr
    assert call("fit", f"run.dir={tmp_path / 'run'}", *RUN).code == 0
    assert weights(RunDirectory(tmp_path / "run")) == weights(whole)
