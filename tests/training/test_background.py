"""Saving beside the training: what is written is a copy, errors come to light, and nothing is left unwritten."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

import trainkit as tk
from trainkit.errors import RunError
from trainkit.rundir import RunDirectory, read_json, sha256
from trainkit.training import AtomicCheckpointIO, Background
from trainkit.training.background import Snapshots

PATIENCE = 30
"""Seconds before a test that waits for another thread gives up."""


def test_a_snapshot_is_a_copy_with_its_views_and_attributes() -> None:
    memory = torch.arange(6.0)
    state = OrderedDict(first=memory[:2], second=memory[2:].view(2, 2).t())
    state._metadata = {"": {"version": 2}}  # type: ignore[attr-defined]
    given: dict[str, Any] = {"state": state, "list": [nn.Parameter(torch.ones(2)), (1, "a", None)]}
    snapshots = Snapshots()
    copied = snapshots.take(given)
    memory.zero_()
    given["list"][0].data.zero_()
    assert torch.equal(copied["state"]["first"], torch.tensor([0.0, 1.0]))
    assert torch.equal(copied["state"]["second"], torch.tensor([[2.0, 4.0], [3.0, 5.0]]))
    first, second = (copied["state"][name].untyped_storage().data_ptr() for name in ("first", "second"))
    assert first == second != memory.untyped_storage().data_ptr()
    assert copied["state"]._metadata == {"": {"version": 2}}
    assert torch.equal(copied["list"][0], torch.ones(2))
    assert not copied["list"][0].requires_grad
    assert copied["list"][1] == (1, "a", None)
    again = snapshots.take(given)  # in the memory of the first
    assert again["state"]["second"].untyped_storage().data_ptr() == second
    assert torch.equal(again["state"]["second"], torch.zeros(2, 2))


def test_one_save_waits_for_the_last() -> None:
    background, go, done = Background(), threading.Event(), list[str]()

    def slow() -> None:
        assert go.wait(PATIENCE)
        done.append("slow")

    with background.taking():
        background.add(slow)
    background.add(partial(done.append, "after it"))
    assert done == []
    background.check()  # does not wait
    threading.Timer(0.1, go.set).start()
    with background.taking():
        assert done == ["slow", "after it"]
    background.close()


def test_an_error_is_raised_once_and_stops_what_belongs_to_it() -> None:
    background, done = Background(), list[str]()

    def fails() -> None:
        raise OSError("no space left")

    background.add(fails)
    background.add(partial(done.append, "pointer"))
    with pytest.raises(OSError, match="no space left"):
        background.wait()
    background.check()
    background.add(partial(done.append, "next"))
    background.close()
    assert done == ["next"]


def test_a_checkpoint_is_that_of_the_moment_it_was_taken(tmp_path: Path) -> None:
    background = Background()
    io, weights, path = AtomicCheckpointIO(background), torch.ones(3), tmp_path / "checkpoints" / "step-1.ckpt"
    gate = threading.Event()
    background.add(lambda: assert_set(gate))
    background.is_taking = True
    io.save_checkpoint({"weights": weights}, path)
    weights.zero_()
    gate.set()
    background.close()
    assert torch.equal(io.load_checkpoint(path)["weights"], torch.ones(3))


def assert_set(gate: threading.Event) -> None:
    assert gate.wait(PATIENCE)


def test_other_saves_are_there_at_once(tmp_path: Path) -> None:
    AtomicCheckpointIO(Background()).save_checkpoint({"step": 1}, tmp_path / "own.ckpt")
    assert (tmp_path / "own.ckpt").is_file()


DATA = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 2


def run(path: Path, *overrides: str, callbacks: Sequence[L.Callback] = ()) -> RunDirectory:
    torch.manual_seed(0)
    fixed = [f"run.dir={path}", "data.batch_size=10", "trainer.max_epochs=4", "logger=none", "checkpoint.keep=3"]
    fixed += ["evaluation.baseline=false", *overrides]
    tk.fit(model=nn.Linear(4, 2), train=DATA, val=DATA, callbacks=callbacks, overrides=fixed)
    return RunDirectory(path)


def test_all_that_was_saved_is_there_when_a_run_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    threads = set()
    save = torch.save

    def noted(*args: Any) -> None:
        threads.add(threading.current_thread())
        save(*args)

    monkeypatch.setattr(torch, "save", noted)
    made = run(tmp_path / "run", "checkpoint.every_n_steps=1")
    assert threads
    assert threading.main_thread() not in threads
    last = read_json(made.last)
    assert [last["step"], *(entry["step"] for entry in last["older"])] == [24, 23, 22]
    for entry in (last, *last["older"], read_json(made.best)):
        assert sha256(made.checkpoints / entry["file"]) == entry["sha256"]
    assert not any(thread.name.startswith("checkpoints") for thread in threading.enumerate())


def test_a_save_that_fails_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save = torch.save

    def full(checkpoint: Any, path: Path) -> None:
        if "step-12" in str(path):
            raise OSError(28, "No space left on device")
        save(checkpoint, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises((OSError, RunError), match="No space left"):
        run(tmp_path / "run", "checkpoint.every_n_steps=6", "checkpoint.every_n_epochs=null")
    made = RunDirectory(tmp_path / "run")
    last = read_json(made.last)
    assert last["step"] == 6
    assert sha256(made.checkpoints / last["file"]) == last["sha256"]
    assert [path.name for path in made.checkpoints.iterdir() if path.name.startswith(".")] == []


def test_memory_that_begins_at_one_address_may_be_of_two_lengths() -> None:
    whole = np.arange(1000, dtype=np.float32)
    state = {"head": torch.from_numpy(whole[:5]), "all": torch.from_numpy(whole)}
    copied = Snapshots().take(state)
    assert torch.equal(copied["all"], torch.arange(1000.0))
    assert torch.equal(copied["head"], torch.arange(5.0))


class Raises(L.Callback):
    """Ends the run, and keeps the callbacks after it from hearing of that."""

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch == 2:
            raise ValueError("no more")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        raise LookupError("what was that?")


def test_nothing_is_written_any_more_once_a_run_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save = torch.save

    def slow(checkpoint: Any, path: Path) -> None:
        time.sleep(0.3)
        save(checkpoint, path)

    monkeypatch.setattr(torch, "save", slow)
    with pytest.raises(LookupError):
        run(tmp_path / "run", callbacks=[Raises()])
    assert read_json(RunDirectory(tmp_path / "run").last)["step"] == 12
    assert not any(thread.name.startswith("checkpoints") for thread in threading.enumerate())


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = run(tmp_path / "run", "trainer.max_steps=6", "trainer.max_epochs=null")
    made.result.unlink()
    left = made.checkpoints / ".step-9.ckpt.12345.tmp"
    left.write_bytes(b"half")
    tk.fit(overrides=[f"run.dir={made.path}"], model=nn.Linear(4, 2), train=DATA, val=DATA)
    assert not left.exists()
