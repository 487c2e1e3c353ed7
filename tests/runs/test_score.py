from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trainkit as tk
from trainkit.rundir import RunDirectory
from trainkit.runs.build import build_parts
from trainkit.runs.score import (
    baseline,
    estimate_from_json,
    estimate_json,
    predictions_frame,
    save_predictions,
    saved_predictions,
    score_parts,
)
from trainkit.types import DataSpec, Estimate, Predictions, TargetKind

CLASSES = Predictions(
    np.array([4, 7]), np.array([1, 0]), probabilities=np.array([[0.3, 0.7], [0.4, 0.6]]), class_names=("no", "yes")
)
NUMBERS = Predictions(np.array([2, 9]), np.array([1.5, 0.1]), values=np.array([1 / 3, 0.25]))


def test_columns_of_predictions() -> None:
    assert predictions_frame({"test": CLASSES}).to_dict("list") == {
        **{"row": [4, 7], "split": ["test"] * 2, "target": ["yes", "no"], "prediction": ["yes", "yes"]},
        **{"p_no": [0.3, 0.4], "p_yes": [0.7, 0.6]},
    }
    assert list(predictions_frame({"test": NUMBERS})) == ["row", "split", "target", "prediction"]
    new = Predictions(np.arange(2), None, values=np.zeros(2))
    assert list(predictions_frame({"new": new})) == ["row", "split", "prediction"]
    assert predictions_frame({}).empty


@pytest.mark.parametrize("made", [CLASSES, NUMBERS])
def test_saved_predictions_come_back_to_the_bit(made: Predictions, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    save_predictions(run, {"validation": made, "test": made})
    kind: TargetKind = "class" if made.class_names else "number"
    again = saved_predictions(run, "test", DataSpec("table", (1,), kind, made.class_names))
    for name in ("rows", "target", "probabilities", "values"):
        np.testing.assert_array_equal(getattr(again, name), getattr(made, name))
    assert again.class_names == made.class_names


@pytest.mark.parametrize("estimate", [Estimate(0.5, 0.4, 0.6, n=7), Estimate(math.nan, math.nan, math.nan, 0, "none")])
def test_estimates_as_json(estimate: Estimate) -> None:
    plain = estimate_json(estimate)
    again = estimate_from_json(plain)
    np.testing.assert_equal(
        (again.value, again.low, again.high, again.n, again.method),
        (estimate.value, estimate.low, estimate.high, estimate.n, estimate.method),
    )
    assert not any(isinstance(value, float) and math.isnan(value) for value in plain.values())


def test_each_part_is_scored_with_intervals() -> None:
    generator = np.random.default_rng(0)
    target, values = generator.normal(size=50), generator.normal(size=50)
    made = Predictions(np.arange(50), target, values=values)
    scored = score_parts({"test": made}, tk.compose(["evaluation.resamples=100"]).evaluation)["test"]
    assert scored["rmse"].value == pytest.approx(np.sqrt(np.mean((target - values) ** 2)))
    assert scored["rmse"].low < scored["rmse"].value < scored["rmse"].high and scored["rmse"].n == 50


@pytest.mark.parametrize(
    ("data", "model", "name"),
    [
        *[("wine", "mlp", "logistic"), ("diabetes", "mlp", "linear")],
        *[("wine", "logistic", "majority"), ("diabetes", "linear", "mean")],
    ],
)
def test_the_baseline_is_scored_on_the_rows_of_the_test(data: str, model: str, name: str) -> None:
    parts = build_parts(tk.compose([f"data={data}", f"model={model}", "evaluation.resamples=50"]))
    rows, target = parts.data.splits.test, parts.data.targets("test")
    is_class = parts.data.spec.target_kind == "class"
    perfect = Predictions(
        rows,
        target,
        probabilities=np.eye(3)[target] if is_class else None,
        values=None if is_class else target,
        class_names=parts.data.spec.class_names,
    )
    found, bar, difference = baseline(parts, perfect)
    assert found == name and difference.metric == ("accuracy" if is_class else "rmse")
    np.testing.assert_array_equal(bar.rows, rows)
    assert difference.better in ("a", "neither")


def test_a_forest_is_compared_with_logistic_regression(cli: Callable[..., Any]) -> None:
    done = cli("fit", "data=wine", "model=random_forest", "model.n_estimators=5", "run.dir=run")
    assert done.code == 0 and "bar    logistic " in done.stdout


def test_a_run_of_objects_is_continued_by_its_script(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = tk.fit(data="wine", model=torch.nn.Linear(13, 3), max_epochs=1, overrides=[f"run.dir={tmp_path}/run"])
    out = capsys.readouterr().out
    assert f"Ctrl-C saves; the script with overrides=['run.dir={run.run_dir}'] continues" in out
