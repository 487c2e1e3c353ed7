from __future__ import annotations

import sys
import time
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

import trainkit as tk
from trainkit.data.sources import TensorSource
from trainkit.runs import schedule as schedules
from trainkit.runs.build import build_parts
from trainkit.runs.parts import LiveObjects
from trainkit.runs.schedule import run_schedule


class Looks(L.Callback):
    def on_train_batch_end(self, *args: Any) -> None: ...


class LooksToo(Looks):
    """Its base is the one that looks."""


class Stops(EarlyStopping):
    """Looks at batches only as far as Lightning's own does."""


class LooksAway(L.Callback):
    def on_train_epoch_end(self, *args: Any) -> None: ...


def schedule(*overrides: str, callbacks: tuple[L.Callback, ...] = ()) -> Any:
    config = tk.compose(["data=wine", "model=mlp", "data.batch_size=10", *overrides])  # 124 rows: 13 steps an epoch
    return run_schedule(build_parts(config, LiveObjects(callbacks=callbacks)))


@pytest.mark.parametrize(
    ("overrides", "total", "log_every"),
    [
        ([], 390, 19),
        (["trainer.max_steps=20"], 20, 1),
        (["trainer.max_epochs=2", "trainer.max_steps=99"], 26, 1),
        (["trainer.max_epochs=null", "trainer.max_steps=5000"], 5000, 50),
        (["data.drop_last=true"], 360, 18),
        (["trainer.log_every_n_steps=7"], 390, 7),
    ],
)
def test_steps_and_intervals(overrides: list[str], total: int, log_every: int) -> None:
    made = schedule(*overrides)
    assert (made.total_steps, made.log_every) == (total, log_every)
    assert made.epochs == total / made.steps_per_epoch
    assert made.plan.max_steps == total and made.plan.intervals == (log_every,)


def test_intervals_of_checkpoints_and_validation_end_an_execution() -> None:
    plan = schedule("checkpoint.every_n_steps=4", "trainer.val_every_n_steps=6", "trainer.val_every_n_epochs=null").plan
    assert plan.intervals == (19, 4)
    assert (plan.val_every_n_steps, plan.val_every_n_epochs) == (6, None)


@pytest.mark.parametrize(
    ("overrides", "callbacks", "steps", "notice"),
    [
        ([], (), 50, None),
        (["trainer.steps_per_execution=7"], (Looks(),), 7, None),
        ([], (LooksAway(), Stops("val/loss")), 50, None),
        (["callbacks=early_stopping"], (), 50, None),
        (["+callbacks.mine._target_=tests_looks.Looks"], (), 1, "Looks looks at every batch: one step at a time"),
        ([], (LooksToo(),), 1, "LooksToo looks at every batch: one step at a time"),
        ([], (Looks(),), 1, "Looks looks at every batch: one step at a time"),
    ],
)  # fmt: skip
def test_steps_per_execution(
    overrides: list[str],
    callbacks: tuple[L.Callback, ...],
    steps: int,
    notice: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tests_looks", sys.modules[__name__])
    made = schedule(*overrides, callbacks=callbacks)
    assert (made.plan.steps_per_execution, made.notice) == (steps, notice)


@pytest.mark.parametrize(("delay", "steps"), [(0.0, 50), (0.03, 1)])
def test_samples_that_take_long_to_read_make_short_executions(
    delay: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    source = TensorSource(torch.zeros(300, 4), torch.zeros(300, dtype=torch.int64))
    fetch = source.fetch

    def slow(rows: torch.Tensor, key: int = 0) -> Any:
        time.sleep(delay)
        asked.append(len(rows))
        return fetch(rows, key)

    monkeypatch.setattr(source, "fetch", slow)
    seconds = schedules.seconds_to_read(source, torch.arange(300))
    assert asked == ([8] if delay else [8, 128])
    assert (seconds * 8 >= delay) if delay else (seconds < 0.001)
    monkeypatch.setattr(schedules, "TensorSource", type(None))  # what the run reads is a Dataset
    monkeypatch.setattr(schedules, "seconds_to_read", lambda source, rows: delay)
    assert schedule("data.batch_size=2", "trainer.log_every_n_steps=50").plan.steps_per_execution == steps


def test_processes_of_a_group_do_not_measure_each_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "TensorSource", type(None))  # what the run reads is a Dataset
    monkeypatch.setattr(schedules, "seconds_to_read", lambda source, rows: 0.0)
    assert schedule("trainer.devices=2").plan.steps_per_execution == 1
    assert schedule().plan.steps_per_execution > 1


class LooksAtValidation(L.Callback):
    def on_validation_batch_end(self, *args: Any, **options: Any) -> None: ...


@pytest.mark.parametrize(
    ("overrides", "callbacks", "expected"),
    [
        ([], (LooksAway(),), 16),
        ([], (LooksAtValidation(),), 1),
        (["data.eval_batch_size=50000"], (), 3),
        (["+task.metrics.f1._target_=torchmetrics.F1Score", "+task.metrics.f1.task=multiclass"], (), 1),
    ],
)
def test_batches_of_a_validation_that_lightning_sees_as_one(
    overrides: list[str], callbacks: tuple[L.Callback, ...], expected: int
) -> None:
    if any("metrics" in text for text in overrides):
        overrides = [*overrides, "+task.metrics.f1.num_classes=3"]
    parts = build_parts(tk.compose(["data=wine", "model=mlp", *overrides]))
    assert schedules.evaluated_at_once(parts, callbacks) == expected


def test_samples_of_a_dataset_are_validated_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = build_parts(tk.compose(["data=wine", "model=mlp"]))
    monkeypatch.setattr(schedules, "TensorSource", type(None))
    assert schedules.evaluated_at_once(parts, ()) == 1
