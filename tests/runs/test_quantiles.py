"""A run of quantiles: columns of predictions, scores with intervals, saved and loaded, and refused where it must be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import trainkit as tk
from tests.runs.conftest import fit
from trainkit.evaluation import score
from trainkit.rundir import RunDirectory
from trainkit.runs.score import saved_predictions
from trainkit.types import DataSpec, Predictions

Cli = Callable[..., Any]
OPTIONS = (
    *("data=diabetes", "task=quantile", "task.quantiles=[0.1,0.5,0.9]", "model=tabular", "trainer.threads=1"),
    *("trainer.max_epochs=3", "evaluation.resamples=50", "logger=none"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return fit(tmp_path_factory.mktemp("quantiles") / "run", *OPTIONS)


def test_predictions_have_a_column_for_each_level(run: RunDirectory) -> None:
    frame = pd.read_parquet(run.predictions)
    columns = ["q_0.1", "q_0.5", "q_0.9"]
    assert [name for name in frame if str(name).startswith("q_")] == columns
    assert (np.diff(frame[columns].to_numpy(), axis=1) >= 0).all()
    np.testing.assert_array_equal(frame["prediction"], frame["q_0.5"])


def test_scores_and_the_baseline_are_of_quantiles(run: RunDirectory) -> None:
    result = tk.load_run(run.path).result
    assert result is not None
    assert list(result.test) == ["pinball", "coverage", "width", "mae"]
    assert result.test["coverage"].method == "wilson" and result.baseline["name"] == "quantiles of training"
    assert result.objective_name == "val/pinball" and result.objective_mode == "min"
    again = tk.evaluate(run.path)
    assert again.test["pinball"] == result.test["pinball"]
    saved = saved_predictions(run, "test", DataSpec("table", (1,), "number"))
    assert saved.levels == (0.1, 0.5, 0.9)
    assert score(saved, resamples=50)["pinball"].value == pytest.approx(result.test["pinball"].value)


def test_new_rows_get_quantiles_too(run: RunDirectory, cli: Cli, tmp_path: Path) -> None:
    from sklearn.datasets import load_diabetes

    load_diabetes(as_frame=True, scaled=False).data.head(7).to_csv(tmp_path / "new.csv", index=False)
    assert cli("predict", str(run.path), "new.csv", "-o", "out.csv").code == 0
    made = pd.read_csv(tmp_path / "out.csv")
    assert list(made) == ["row", "prediction", "q_0.1", "q_0.5", "q_0.9"] and len(made) == 7


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (("model=random_forest",), "RandomForestRegressor predicts no quantiles"),
        (("data=digits",), "the task is for a number, and the target of digits is a class"),
        (("task.quantiles=[0.1,0.9]",), "quantiles are [0.1, 0.9]"),
    ],
)
def test_what_cannot_be(overrides: tuple[str, ...], what: str, cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("fit", "run.dir=run", *OPTIONS, *overrides)
    assert code == 2 and err.startswith(what) and not (tmp_path / "run").exists()


def test_numbers_by_hand() -> None:
    quantiles = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
    made = Predictions(
        np.arange(2), np.array([1.5, 3.0]), values=quantiles[:, 1], quantiles=quantiles, levels=(0.1, 0.5, 0.9)
    )
    scores = score(made, resamples=20)
    assert scores["coverage"].value == 0.5 and scores["width"].value == 2.0 and scores["mae"].value == 1.25
    of_first = (0.1 * 1.5 + 0.5 * 0.5 + 0.1 * 0.5) / 3
    of_second = (0.1 * 3 + 0.5 * 2 + 0.9 * 1) / 3
    assert scores["pinball"].value == pytest.approx((of_first + of_second) / 2)
