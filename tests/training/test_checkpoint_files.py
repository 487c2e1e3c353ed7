"""Files of checkpoints are whole or not there, and plain, in a real run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
import torch

from trainkit.rundir import RunDirectory, sha256
from trainkit.training import AtomicCheckpointIO, all_saved, usable_checkpoint

if TYPE_CHECKING:
    from tests.training.conftest import Job


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path)


def names(run: RunDirectory) -> list[str]:
    return sorted(path.name for path in run.checkpoints.glob("*"))


def test_a_failed_save_leaves_nothing(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    target = run.checkpoints / "step-1.ckpt"
    io = AtomicCheckpointIO()
    io.save_checkpoint({"value": 1}, target)

    def half(checkpoint: dict[str, Any], file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="no space left"):
        io.save_checkpoint({"value": 2}, target)
    with pytest.raises(OSError, match="no space left"):
        io.save_checkpoint({"value": 2}, run.checkpoints / "step-2.ckpt")
    assert names(run) == ["step-1.ckpt"]
    assert io.load_checkpoint(target) == {"value": 1}


def test_nothing_is_unpickled(run: RunDirectory, tmp_path: Path) -> None:
    torch.save({"path": tmp_path}, tmp_path / "foreign.ckpt")
    with pytest.raises(Exception, match="Weights only load failed"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "foreign.ckpt", weights_only=False)


def test_every_checkpoint_of_a_run_is_plain_and_known_by_its_checksum(job: Callable[..., Job]) -> None:
    finished = job(keep=1000).fit()
    entries = all_saved(finished.run)
    assert sorted(entry["file"] for entry in entries) == finished.checkpoint_names
    assert [entry["step"] for entry in entries] == [40, 36, 35, 30, 27, 25, 20, 18, 15, 10, 9, 5]
    for entry in entries:
        path = finished.run.checkpoints / entry["file"]
        assert sha256(path) == entry["sha256"]
        saved = torch.load(path, weights_only=True)
        assert saved["global_step"] == entry["step"]
        assert {"state_dict", "optimizer_states", "lr_schedulers", "callbacks", "loops", "trainkit"} <= saved.keys()


def test_the_loop_is_killed_in_the_middle_of_a_save(job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    save, saves = torch.save, 0

    def third_fails(checkpoint: Any, path: Path) -> None:
        nonlocal saves
        saves += 1
        save(checkpoint, path)
        if saves == 3:
            raise OSError("killed")

    monkeypatch.setattr(torch, "save", third_fails)
    killed = job().fit()
    assert isinstance(killed.error, OSError)
    assert names(killed.run) == ["best.json", "last.json", "step-5.ckpt", "step-9.ckpt"]
    assert usable_checkpoint(killed.run) == (killed.run.checkpoints / "step-9.ckpt", [])
