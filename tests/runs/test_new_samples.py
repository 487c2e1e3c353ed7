"""What ``Run.predict`` takes as new samples, and what it says of anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import trainkit as tk
from trainkit.rundir import RunDirectory
from trainkit.runs.load import Run

TABLE = "a file or a DataFrame, with the columns of the training table"
OWN = "an array or tensor [N, …], or a Dataset"
POINTS = np.zeros((3, 4), np.float32)


@pytest.fixture(scope="module")
def dataset_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run trained on a Dataset of the user's own: four numbers, two classes."""
    points = torch.randn(60, 4)
    options = ["logger=none", "evaluation.resamples=20", "trainer.threads=1"]
    directory = tmp_path_factory.mktemp("own") / "run"
    train = TensorDataset(points, (points.sum(1) > 0).long())
    tk.fit(model=nn.Linear(4, 2), train=train, max_epochs=1, overrides=[*options, f"run.dir={directory}"])
    return tk.load_run(directory, model=nn.Linear(4, 2))


def refusal(run: Run, source: Any) -> str:
    with pytest.raises(tk.DataError) as caught:
        run.predict(source)
    assert caught.value.where == "predict"
    return f"{caught.value.what} | {caught.value.expected} | {caught.value.hint}"


FRAME = "pd.DataFrame(…, columns=…)"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"x": POINTS}, f"cannot predict a dict | {TABLE} | {FRAME}"),
        ([[1.0, 2.0]], f"cannot predict a list | {TABLE} | {FRAME}"),
        ([], f"cannot predict an empty list | {TABLE} | {FRAME}"),
        (POINTS, f"cannot predict a ndarray | {TABLE} | {FRAME}"),
        (torch.zeros(3, 13), f"cannot predict a Tensor | {TABLE} | {FRAME}"),
        (TensorDataset(torch.zeros(3, 4)), f"cannot predict a TensorDataset | {TABLE} | None"),
        (None, f"cannot predict a NoneType | {TABLE} | None"),
    ],
)
def test_a_table_is_predicted_from_files_and_frames_alone(source: Any, told: str, linear: Any) -> None:
    assert refusal(tk.load_run(linear.run.path), source) == told


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"x": POINTS}, f"cannot predict a dict | {OWN} | None"),
        ({}, f"cannot predict an empty dict | {OWN} | None"),
        ([[1.0, 2.0, 3.0, 4.0]], f"cannot predict a list | {OWN} | np.array(…, dtype=np.float32)"),
        (POINTS.tolist(), f"cannot predict a list | {OWN} | np.array(…, dtype=np.float32)"),
        (7, f"cannot predict an int | {OWN} | None"),
        (pd.DataFrame(POINTS), f"cannot predict a DataFrame | {OWN} | frame.to_numpy(), of shape [N, 4]"),
        (POINTS.astype(object), "inputs of object | numbers | None"),
        (np.array(["a"]), "inputs of <U1 | numbers | None"),
        (POINTS[:, :2], "inputs of shape [3, 2] | [N, 4] | None"),
        (torch.zeros(4), "inputs of shape [4] | [N, 4] | None"),
        ([torch.zeros(4)], "a sample is a Tensor | (inputs, target), or a dict with the target | None"),
    ],
)
def test_what_is_no_sample_of_a_dataset_is_named(source: Any, told: str, dataset_run: Run) -> None:
    assert refusal(dataset_run, source) == told


def test_arrays_tensors_datasets_and_lists_of_samples_give_the_same(dataset_run: Run) -> None:
    points = torch.randn(5, 4)
    expected = dataset_run.predict(points)
    samples = [(point, 0) for point in points]
    for source in (points.numpy(), TensorDataset(points, torch.zeros(5)), samples):
        pd.testing.assert_frame_equal(dataset_run.predict(source), expected)


def test_files_are_among_what_arrays_are_predicted_from(digits: RunDirectory) -> None:
    assert refusal(tk.load_run(digits.path), {}).endswith(f"| a file, {OWN} | None")


@pytest.mark.parametrize("name", ["callbacks.early_stopping", "callbacks.mine"])
def test_a_patience_below_zero_is_refused(name: str, tmp_path: Path) -> None:
    target = "lightning.pytorch.callbacks.EarlyStopping"
    words = [f"+{name}._target_={target}", f"+{name}.monitor=val/loss", f"+{name}.patience=-1"]
    with pytest.raises(tk.ConfigError) as caught:
        tk.fit(overrides=["data=wine", "model=mlp", f"run.dir={tmp_path}/run", *words])
    assert str(caught.value) == (
        "EarlyStopping.patience is -1\n  where    callbacks, EarlyStopping.patience\n  expected at least 0 validations"
    )
    assert not (tmp_path / "run").exists()
