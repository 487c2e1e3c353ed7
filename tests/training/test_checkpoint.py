"""When a checkpoint is written, which are kept, which is the best, and what a damaged one comes to."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from trainkit.data.loader import BatchLoader
from trainkit.data.plan import LoaderState
from trainkit.data.sources import TensorSource
from trainkit.errors import RunError
from trainkit.rundir import RunDirectory, read_json
from trainkit.training import (
    CheckpointWriter,
    StopFlag,
    all_saved,
    load_best_weights,
    usable_checkpoint,
)

STEPS_PER_EPOCH = 4


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path)


class Rig:
    """A writer driven by hand: one step per execution, four steps an epoch, a validation where a score is given."""

    def __init__(self, run: RunDirectory, **settings: Any) -> None:
        self.loader = BatchLoader(TensorSource(torch.zeros(4), torch.zeros(4)), torch.arange(4), batch_size=1)
        defaults: dict[str, Any] = {"monitor": "val/score", "mode": "max", "every_n_steps": 1, "every_n_epochs": None}
        stop = StopFlag()
        self.writer = CheckpointWriter(run, self.loader, **{**defaults, "keep": 2, "stop": stop, **settings})
        self.trainer: Any = SimpleNamespace(
            enable_validation=True,
            sanity_checking=False,
            state=SimpleNamespace(fn="fit"),
            callback_metrics={},
            loggers=[],
            should_stop=False,
            is_global_zero=True,
            world_size=1,
            log_every_n_steps=1_000,
            strategy=SimpleNamespace(barrier=lambda name: None),
            save_checkpoint=self.save,
        )

    def save(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        torch.save({"state_dict": {"step": torch.tensor(self.writer.position.step)}}, path)

    def step(self, step: int, score: float | None = None, name: str = "val/score") -> None:
        state, module = LoaderState(*divmod(step, STEPS_PER_EPOCH), step), cast(Any, None)
        batch: Any = SimpleNamespace(state=state, validate=score is not None)
        self.writer.on_train_batch_end(self.trainer, module, None, batch, 0)
        if score is not None:
            self.trainer.callback_metrics = {name: torch.tensor(score)}
            self.writer.on_validation_end(self.trainer, module)

    def scores(self, scores: Sequence[float | None]) -> None:
        for step, score in enumerate(scores, start=1):
            self.step(step, score)


def names(run: RunDirectory) -> list[str]:
    return sorted(path.name for path in run.checkpoints.glob("*"))


@pytest.mark.parametrize(
    ("mode", "scores", "best"),
    [
        ("max", [0.1, 0.3, 0.2], 2),
        ("min", [0.3, 0.1, 0.2], 2),
        ("max", [0.3, 0.1, 0.3], 3),
        ("min", [0.1, 0.1, 0.3], 2),
        ("max", [math.nan, 0.1, math.nan], 2),
        ("min", [0.1, math.nan, 0.2], 1),
        ("max", [math.nan, math.nan, None], None),
        ("max", [-math.inf, -math.inf, None], 2),
        ("max", [None, None, None], None),
    ],
)
def test_best(run: RunDirectory, mode: str, scores: list[float | None], best: int | None) -> None:
    """A tie goes to the later step, and NaN is never best."""
    rig = Rig(run, mode=mode)
    rig.scores(scores)
    assert run.best.is_file() is (best is not None)
    if best is None:
        assert rig.writer.best is None
        assert int(load_best_weights(run)["step"]) == 3
        return
    pointer, value = read_json(run.best), torch.tensor(scores[best - 1]).item()
    expected = {"name": "val/score", "value": value, "step": best, "epoch": 1}
    assert rig.writer.best == pointer["monitor"] == expected
    assert (pointer["file"], pointer["step"]) == (f"step-{best}.ckpt", best)
    assert int(load_best_weights(run)["step"]) == best


def test_best_needs_no_due_checkpoint(run: RunDirectory) -> None:
    rig = Rig(run, every_n_steps=None)
    rig.scores([None, 0.5, None, 0.4])
    assert names(run) == ["best.json", "last.json", "step-2.ckpt"]


@pytest.mark.parametrize(("step", "epoch"), [(1, 1), (4, 1), (5, 2), (8, 2)])
def test_epoch_of_the_best_counts_from_one(run: RunDirectory, step: int, epoch: int) -> None:
    rig = Rig(run)
    rig.step(step, 0.5)
    assert rig.writer.best is not None
    assert rig.writer.best["epoch"] == epoch


def test_without_a_monitor_the_last_is_the_best(run: RunDirectory) -> None:
    Rig(run, monitor=None).scores([0.5, 0.1])
    assert not run.best.is_file()
    assert int(load_best_weights(run)["step"]) == 2


def test_a_monitor_that_nobody_logs(run: RunDirectory) -> None:
    with pytest.raises(KeyError, match="val/score"):
        Rig(run).step(1, 0.5, name="val/other")


@pytest.mark.parametrize(
    ("keep", "kept"), [(1, [2, 5, 6]), (2, [2, 5, 6]), (3, [2, 4, 5, 6]), (5, [2, 3, 4, 5, 6]), (9, [1, 2, 3, 4, 5, 6])]
)
def test_the_newest_are_kept_and_the_best(run: RunDirectory, keep: int, kept: list[int]) -> None:
    rig = Rig(run, keep=keep)
    rig.scores([None, 0.9, None, 0.5, 0.5, 0.5])
    assert names(run) == ["best.json", "last.json", *(f"step-{step}.ckpt" for step in kept)]
    newest = [entry["step"] for entry in all_saved(run)]
    assert newest == list(range(6, 6 - max(2, keep), -1))[:6]


@pytest.mark.parametrize(
    ("every_n_steps", "every_n_epochs", "saved"),
    [(3, None, [3, 6, 9]), (None, 1, [4, 8, 9]), (None, 2, [8, 9]), (5, 1, [4, 5, 8, 9]), (None, None, [9])],
)
def test_when_a_checkpoint_is_due(
    run: RunDirectory, every_n_steps: int | None, every_n_epochs: int | None, saved: list[int]
) -> None:
    rig = Rig(run, every_n_steps=every_n_steps, every_n_epochs=every_n_epochs, keep=99)
    rig.scores([None] * 9)
    module: Any = None
    rig.writer.on_train_end(rig.trainer, module)
    assert [entry["step"] for entry in reversed(all_saved(run))] == saved


def test_a_run_that_is_told_to_stop_is_saved(run: RunDirectory) -> None:
    rig = Rig(run, every_n_steps=None)
    rig.trainer.should_stop = True
    rig.step(3)
    assert [entry["step"] for entry in all_saved(run)] == [3]


def test_curves_are_written_before_the_checkpoint(run: RunDirectory) -> None:
    rig, seen = Rig(run), []
    rig.trainer.loggers = [SimpleNamespace(save=lambda: seen.append(run.checkpoints.exists()))]
    rig.step(1)
    assert seen == [False]
    assert run.checkpoints.exists()


def test_validations_of_others_commit_nothing(run: RunDirectory) -> None:
    rig, module = Rig(run), None
    rig.trainer.sanity_checking = True
    rig.writer.on_validation_end(rig.trainer, module)  # type: ignore[arg-type]
    rig.trainer.sanity_checking, rig.trainer.state.fn = False, "validate"
    rig.writer.on_validation_end(rig.trainer, module)  # type: ignore[arg-type]
    assert not run.checkpoints.exists()


def test_state_goes_back_to_loader_and_writer(run: RunDirectory) -> None:
    rig = Rig(run, every_n_steps=None)
    rig.step(6, 0.7)
    other = Rig(run)
    other.writer.load_state_dict(rig.writer.state_dict())
    assert other.writer.position == other.loader.state == LoaderState(1, 2, 6)
    assert other.writer.best == {"name": "val/score", "value": torch.tensor(0.7).item(), "step": 6, "epoch": 2}
    other.step(7, 0.6)
    assert read_json(run.best)["step"] == 6


def test_nothing_was_written_yet(run: RunDirectory) -> None:
    assert all_saved(run) == []
    assert usable_checkpoint(run) == (None, [])


def flip(path: Path) -> None:
    """One bit, which ``torch.load`` would not notice."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint_is_named_and_passed_over(run: RunDirectory) -> None:
    Rig(run, keep=3).scores([None] * 4)
    flip(run.checkpoints / "step-4.ckpt")
    (run.checkpoints / "step-3.ckpt").unlink()
    broken = ["step-4.ckpt is damaged", "step-3.ckpt is missing"]
    assert usable_checkpoint(run) == (run.checkpoints / "step-2.ckpt", broken)


def test_every_checkpoint_is_damaged(run: RunDirectory) -> None:
    Rig(run).scores([None] * 2)
    for step in (1, 2):
        flip(run.checkpoints / f"step-{step}.ckpt")
    with pytest.raises(RunError) as error:
        usable_checkpoint(run)
    assert str(error.value) == (
        f"no checkpoint of '{run.path}' can be used: step-2.ckpt is damaged; step-1.ckpt is damaged\n  where    run.dir"
    )


def test_a_damaged_checkpoint_does_not_outlive_its_replacement(run: RunDirectory) -> None:
    """Two good ones are kept: one that was passed over on a resume is not counted."""
    rig = Rig(run, keep=2)
    rig.scores([None] * 3)
    flip(run.checkpoints / "step-3.ckpt")
    resumed = Rig(run, every_n_steps=None, keep=2)
    resumed.writer.load_state_dict({**rig.writer.state_dict(), "position": [0, 2, 2]})
    resumed.step(5, 0.5)
    assert [entry["step"] for entry in all_saved(run)] == [5, 2]
    assert names(run) == ["best.json", "last.json", "step-2.ckpt", "step-5.ckpt"]


def test_the_best_is_damaged(run: RunDirectory) -> None:
    Rig(run).scores([0.5])
    flip(run.checkpoints / "step-1.ckpt")
    with pytest.raises(RunError) as error:
        load_best_weights(run)
    path = run.checkpoints / "step-1.ckpt"
    assert str(error.value) == f"'{path}' is damaged or missing\n  where    {run.best}"


@pytest.mark.parametrize("name", ["../step-1.ckpt", "/etc/passwd", "a/b"])
def test_a_pointer_that_leaves_its_folder(run: RunDirectory, name: str) -> None:
    run.checkpoints.mkdir()
    run.last.write_text(json.dumps({"file": name, "sha256": "", "step": 1, "older": []}))
    for use in (usable_checkpoint, load_best_weights):
        with pytest.raises(RunError) as error:
            use(run)
        assert str(error.value) == f"'{name}' is no file name\n  where    {run.last}"


def test_the_clock_saves(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("trainkit.training.checkpoint.time.monotonic", lambda: now)
    rig = Rig(run, every_n_steps=None, every_n_minutes=2.0, monitor=None, keep=9)
    for step, seconds in enumerate((60.0, 119.0, 121.0, 200.0, 241.0, 300.0), start=1):
        now = seconds
        rig.step(step)
    assert [entry["step"] for entry in all_saved(run)] == [5, 3]


def test_a_disk_that_is_full_for_a_while_costs_no_more_than_its_checkpoints(run: RunDirectory) -> None:
    told: list[str] = []
    rig = Rig(run, tell=told.append, keep=9)
    rig.step(1, 0.5)
    save, rig.trainer.save_checkpoint = rig.trainer.save_checkpoint, no_space
    rig.step(2, 0.9)
    rig.step(3)
    assert rig.writer.best is not None and rig.writer.best["value"] == 0.5
    assert [entry["step"] for entry in all_saved(run)] == [1]
    rig.trainer.save_checkpoint = save
    rig.step(4, 0.7)
    assert [entry["step"] for entry in all_saved(run)] == [4, 1]
    assert int(load_best_weights(run)["step"]) == 4
    assert len(told) == 2 and "No space left on device; training goes on, and would continue from step 1" in told[0]


def no_space(path: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_ends_the_run_otherwise(run: RunDirectory) -> None:
    rig = Rig(run)
    rig.step(1)
    rig.trainer.save_checkpoint = no_space
    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        rig.step(2)
    assert usable_checkpoint(run) == (run.checkpoints / "step-1.ckpt", [])
