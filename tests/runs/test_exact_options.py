"""Every way to optimize and to compute: stopped amid the run and continued, and step by step, to the same bits."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runs.conftest import FAST, WINE, Same, StopAt, fit
from trainkit.rundir import RunDirectory

Cli = Callable[..., Any]

IMAGES = (
    *("data=digits", "data.train_share=0.15", "data.batch_size=16"),
    *("model=cnn", "model.width=8", "trainer.threads=1"),
)
OPTIONS: dict[str, tuple[str, ...]] = {
    "plateau": (*WINE, "scheduler=plateau", "scheduler.patience=0", "optimizer.lr=0.1"),
    "one cycle": (*WINE, "scheduler=one_cycle", "optimizer=sgd"),
    "adam": (*WINE, "optimizer=adam"),
    "muon": (*WINE, "optimizer=muon", "model.hidden=[16,16,16]", "optimizer.adamw_lr=0.001"),
    "ema": (*WINE, "trainer.ema=0.9", "trainer.accumulate=2"),
    "images": (*IMAGES, "trainer.ema=0.9", "optimizer=muon"),
    "bf16-true": (*WINE, "trainer.precision=bf16-true", "trainer.ema=0.9"),
    "recomputed": (*IMAGES, "trainer.activation_checkpointing=[*]"),
}
LENGTH = ("trainer.max_epochs=4", "logger=none", *FAST)


@pytest.mark.parametrize("name", OPTIONS)
def test_stopped_and_continued_is_the_whole_run(
    name: str, cli: Cli, stop_at: StopAt, assert_same_run: Same, tmp_path: Path
) -> None:
    whole = fit(tmp_path / "whole", *OPTIONS[name], *LENGTH)
    stop_at(19)
    command = ("fit", "run.dir=stopped", *OPTIONS[name], *LENGTH, "trainer.steps_per_execution=1")
    assert cli(*command).code == 128 + signal.SIGTERM
    stop_at(None)
    code, _, err = cli("fit", "run.dir=stopped")
    assert (code, err) == (0, "")
    assert_same_run(whole, RunDirectory(tmp_path / "stopped"))
