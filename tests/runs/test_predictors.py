from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import nn

import trainkit as tk
from trainkit.rundir import RunDirectory
from trainkit.runs.build import build_parts
from trainkit.runs.predictors import ClassicalPredictor

Cli = Callable[..., Any]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_copy_of_the_raw_file_gives_the_saved_predictions_exactly(
    kind: str, cli: Cli, churn: Any, tmp_path: Path
) -> None:
    frame = pd.read_csv(churn.file)
    new = frame.drop(columns="churn") if kind == "parquet" else frame
    new.to_csv("new.csv", index=False) if kind == "csv" else new.to_parquet("new.parquet")
    assert cli("predict", churn.run.path, f"new.{kind}", "-o", f"out.{kind}") == (
        *(0, f"file   out.{kind} · 7,043 rows\n", ""),
    )
    made = pd.read_csv("out.csv") if kind == "csv" else pd.read_parquet("out.parquet")
    assert list(made) == ["row", "prediction", "p_No", "p_Yes"]
    saved = pd.read_parquet(churn.run.predictions).drop(columns=["split", "target"])
    again = made.set_index("row").loc[saved["row"]].reset_index()
    pd.testing.assert_frame_equal(again, saved, check_exact=True)


def test_a_class_that_the_estimator_never_saw_has_probability_zero() -> None:
    class Two:
        classes_ = np.array([0, 2])

        def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
            return np.tile([0.25, 0.75], (len(matrix), 1))

    parts: Any = build_parts(tk.compose(["data=wine", "model=logistic"]))
    predictor = ClassicalPredictor(parts.data.input_module(nn.Identity()), Two(), parts.data.spec, 16)
    made = predictor.predict_part(parts.data, "test")
    assert made.probabilities is not None
    assert (made.probabilities == [0.25, 0, 0.75]).all()


def test_rows_do_not_depend_on_what_they_are_scored_with(digits: RunDirectory) -> None:
    run = tk.load_run(digits.path)
    saved = pd.read_parquet(digits.predictions).query("split == 'test'")
    columns = [f"p_{name}" for name in run.spec.class_names]
    rows = run.data.rows("test")
    for some in (rows[:1], rows[5:9], rows.flip(0)):
        expected = saved.set_index("row").loc[some.numpy(), columns].to_numpy()
        np.testing.assert_array_equal(run.predictor.predict(run.data.source, some), expected)
