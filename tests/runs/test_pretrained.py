"""A run with weights from elsewhere stands on its own: it goes on, loads and predicts without their file."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import trainkit as tk
from tests.runs.conftest import FAST, Same, StopAt
from trainkit.models import VisionModel
from trainkit.rundir import RunDirectory

Cli = Callable[..., Any]


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    torch.save(VisionModel("squeezenet1_1", 3, 7, 64).net.state_dict(), "weights.pt")
    generator = np.random.default_rng(0)
    target = np.arange(60) % 2
    images = generator.integers(0, 120, (60, 32, 32, 3)) + 120 * target[:, None, None, None]
    np.savez("images.npz", inputs=images.astype(np.uint8), target=target)
    data = ("data=arrays", "data.path=images.npz", "data.batch_size=14", "trainer.threads=1", "logger=none")
    model = ("model=pretrained", "model.name=squeezenet1_1", "model.weights=weights.pt")
    return (*data, *model, "trainer.max_epochs=4", *FAST)


def test_it_goes_on_and_predicts_without_the_file_of_weights(
    options: tuple[str, ...], cli: Cli, stop_at: StopAt, assert_same_run: Same, tmp_path: Path
) -> None:
    code, out, err = cli("fit", "run.dir=whole", *options)
    assert (code, err) == (0, "")
    assert "weights weights.pt: 50 of 52 tensors · new classifier.1.weight, classifier.1.bias\n" in out
    stop_at(2)
    assert cli("fit", "run.dir=run", *options, "trainer.steps_per_execution=1").code == 128 + signal.SIGTERM
    stop_at(None)
    Path("weights.pt").unlink()
    code, out, err = cli("fit", "run.dir=run")
    assert (code, err) == (0, "")
    run = RunDirectory(tmp_path / "run")
    assert_same_run(RunDirectory(tmp_path / "whole"), run)
    loaded, saved = tk.load_run(run.path), pd.read_parquet(run.predictions)
    images = np.load("images.npz")["inputs"][saved["row"].to_list()]
    np.testing.assert_allclose(loaded.predict(images)["p_0"], saved["p_0"], rtol=1e-6)
    assert cli("fit", "run.dir=longer", "resume_from=run", "trainer.max_epochs=5").code == 0


def test_a_run_gives_its_weights_to_another_task(options: tuple[str, ...], cli: Cli) -> None:
    assert cli("fit", "run.dir=first", *options).code == 0
    code, out, err = cli("fit", "run.dir=second", *options, "model.weights=first", "data.split_seed=1")
    assert (code, err) == (0, "") and "weights first: 52 of 52 tensors\n" in out


def test_numbers_that_are_no_pixels_are_told(options: tuple[str, ...], cli: Cli, tmp_path: Path) -> None:
    saved = dict(np.load("images.npz"))
    np.savez("images.npz", inputs=saved["inputs"].astype(np.float32) / 16, target=saved["target"])
    code, _, err = cli("fit", "run.dir=run", *options)
    assert code == 2 and not (tmp_path / "run").exists()
    assert err == (
        "images of float32 up to 14.9375\n  where    data\n"
        "  expected uint8, or numbers in [0, 1], for weights from elsewhere\n"
    )
