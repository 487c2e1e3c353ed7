"""The shipped classical models: scikit-learn's own numbers with the job's seed, row weights, and the trial before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

import trainkit as tk
from trainkit.data.sources import TensorSource
from trainkit.rundir import RunDirectory
from trainkit.runs.build import build_parts
from trainkit.runs.classical import check_classical
from trainkit.runs.parts import Parts

Cli = Callable[..., Any]
CLASSICAL = {
    "random_forest": ("model=random_forest", "model.n_estimators=7"),
    "knn": ("model=knn",),
    "hist_gradient_boosting": ("model=hist_gradient_boosting", "model.max_iter=5"),
    "extra_trees": ("model=custom", "model._target_=sklearn.ensemble.ExtraTrees{}", "+model.n_estimators=5"),
}
CHILD = """
import sys
import pandas as pd
import trainkit as tk
for path in sys.argv[1:]:
    run = tk.load_run(path)
    made = run.predictor.predict_part(run.data, "test")
    saved = pd.read_parquet(run.directory.predictions).query("split == 'test'")
    columns = [f"p_{name}" for name in run.spec.class_names] or "prediction"
    found = made.values if made.probabilities is None else made.probabilities
    assert (found == saved[columns].to_numpy()).all(), path
    print(type(run.estimator).__name__)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDirectory]:
    """A run of each model on classes (wine) and on numbers (diabetes)."""
    from trainkit.cli import main

    folder, made = tmp_path_factory.mktemp("classical"), {}
    for data, kind in (("wine", "Classifier"), ("diabetes", "Regressor")):
        for name, options in CLASSICAL.items():
            run = RunDirectory(folder / f"{name}_{data}")
            words = [word.format(kind) for word in options]
            quick = ("evaluation.resamples=20", "evaluation.baseline=false", "seed=3")
            assert main(["fit", f"data={data}", *words, f"run.dir={run.path}", *quick]) == 0
            made[f"{name} {data}"] = run
    return made


def test_a_new_process_gives_the_saved_predictions_to_the_bit(runs: dict[str, RunDirectory]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *(str(run.path) for run in runs.values())], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    names = ["RandomForest", "KNeighbors", "HistGradientBoosting", "ExtraTrees"]
    assert done.stdout.split() == [f"{name}{kind}" for kind in ("Classifier", "Regressor") for name in names]


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("random_forest", RandomForestClassifier(n_estimators=7, random_state=3)),
        ("knn", KNeighborsClassifier(n_neighbors=10, weights="distance")),
        ("hist_gradient_boosting", HistGradientBoostingClassifier(max_iter=5, random_state=3, early_stopping=False)),
    ],
)
def test_the_shipped_models_are_scikit_learns_with_the_jobs_seed(
    name: str, plain: Any, runs: dict[str, RunDirectory]
) -> None:
    run = tk.load_run(runs[f"{name} wine"].path)
    matrix, train, test = run.data.flat_arrays(), run.data.splits.train, run.data.splits.test
    assert matrix is not None
    plain.fit(matrix[train].astype(np.float64), run.data.targets("train"))
    saved = pd.read_parquet(runs[f"{name} wine"].predictions).query("split == 'test'")
    columns = [f"p_{name}" for name in run.spec.class_names]
    np.testing.assert_allclose(saved[columns], plain.predict_proba(matrix[test].astype(np.float64)), atol=1e-6)


def test_a_run_of_a_forest_continues_and_evaluates(runs: dict[str, RunDirectory], cli: Cli) -> None:
    run = runs["random_forest wine"]
    assert tk.evaluate(run.path) == tk.load_run(run.path).result
    assert "is finished; nothing to do\n" in cli("fit", f"run.dir={run.path}").stdout


def test_boosting_leaves_the_validation_rows_alone() -> None:
    assert tk.compose(["model=hist_gradient_boosting"]).model.early_stopping is False


def built(*overrides: str) -> Parts:
    return build_parts(tk.compose(["data=wine", *overrides]))


def weighted(parts: Parts, weights: torch.Tensor) -> Parts:
    assert isinstance(parts.data.source, TensorSource)
    parts.data.source.weight = weights  # type: ignore[attr-defined, unused-ignore]
    return parts


@pytest.mark.parametrize("model", ["logistic", "random_forest", "hist_gradient_boosting"])
def test_row_weights_reach_the_fit(model: str, tmp_path: Path) -> None:
    """Rows of the third class that weigh nothing are as good as absent."""
    from trainkit.runs.classical import train_classical

    trees = ["model.n_estimators=20"] if model == "random_forest" else []
    parts = built(f"model={model}", *trees)
    target = parts.data.source.target  # type: ignore[attr-defined]
    weighted(parts, (target != 2).float())
    check_classical(parts)
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    train_classical(parts, run)
    assert parts.estimator.predict_proba(parts.data.flat_arrays())[:, 2].max() < 0.2


def test_row_weights_that_a_model_does_not_take_are_an_error() -> None:
    with pytest.raises(tk.ConfigError) as caught:
        check_classical(weighted(built("model=knn"), torch.ones(178)))
    assert str(caught.value) == (
        "KNeighborsClassifier takes no row weights\n  where    model\n  hint     use model=random_forest, or no weights"
    )


def test_the_trial_leaves_the_model_as_it_is() -> None:
    parts = built("model=random_forest", "model.n_estimators=2")
    check_classical(parts)
    assert parts.estimator.random_state is None and not hasattr(parts.estimator, "estimators_")


def test_a_model_that_needs_more_rows_than_the_trial_gives_is_tried_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainkit.runs.classical.TRIAL_ROWS", 3)
    nodes = ["model=custom", "model._target_=sklearn.linear_model.LogisticRegressionCV", "+model.cv=7"]
    check_classical(built(*nodes, "+model.max_iter=200"))
