"""Runs of classical models: scikit-learn's own numbers, the run directory, and what does not fit is refused first."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge

import trainkit as tk
from trainkit.rundir import RunDirectory, read_json

Cli = Callable[..., Any]


def test_logistic_regression_is_scikit_learns(logistic: RunDirectory) -> None:
    run = tk.load_run(logistic.path)
    assert run.model is None and isinstance(run.estimator, LogisticRegression)
    matrix, train, test = run.data.flat_arrays(), run.data.splits.train, run.data.splits.test
    assert matrix is not None
    plain = LogisticRegression(max_iter=1000).fit(matrix[train].astype(np.float64), run.data.targets("train"))
    expected = plain.predict_proba(matrix[test].astype(np.float64))
    saved = pd.read_parquet(logistic.predictions).query("split == 'test'")
    np.testing.assert_allclose(saved[[f"p_{name}" for name in run.spec.class_names]], expected, atol=1e-6)


def test_ridge_is_scikit_learns(linear: Any) -> None:
    run = tk.load_run(linear.run.path)
    matrix, train, test = run.data.flat_arrays(), run.data.splits.train, run.data.splits.test
    assert matrix is not None
    plain = Ridge().fit(matrix[train].astype(np.float64), run.data.targets("train"))
    saved = pd.read_parquet(linear.run.predictions).query("split == 'test'")
    assert list(saved) == ["row", "split", "target", "prediction"]
    np.testing.assert_allclose(saved["prediction"], plain.predict(matrix[test].astype(np.float64)), rtol=1e-6)


def test_the_run_directory_has_what_applies(logistic: RunDirectory) -> None:
    names = {path.name for path in logistic.path.iterdir()}
    assert names == {
        *("config.yaml", "overrides.yaml", "environment.json", "splits.npz", "model.skops", "model.safetensors"),
        *("predictions.parquet", "result.json", "report.html", "MODEL_CARD.md"),
    }
    result = read_json(logistic.result)
    assert (result["status"], result["steps"], result["epochs"]) == ("completed", None, None)
    assert result["best_checkpoint"] is None
    assert result["objective"] == {
        "name": "val/accuracy",
        "mode": "max",
        "value": result["metrics"]["validation"]["accuracy"]["value"],
    }
    assert result["baseline"]["name"] == "majority"


def test_evaluate_and_predict_give_the_saved_numbers(cli: Cli, linear: Any, tmp_path: Path) -> None:
    assert tk.evaluate(linear.run.path) == tk.load_run(linear.run.path).result
    pd.read_parquet(linear.file).drop(columns="target").to_parquet(tmp_path / "new.parquet")
    for name in ("out.parquet", "out.csv"):
        assert cli("predict", linear.run.path, "new.parquet", "-o", name) == (0, f"file   {name} · 442 rows\n", "")
    saved = pd.read_parquet(linear.run.predictions).set_index("row")
    for made in (pd.read_parquet("out.parquet"), pd.read_csv("out.csv")):
        assert list(made) == ["row", "prediction"]
        pd.testing.assert_series_equal(
            made.set_index("row")["prediction"].loc[saved.index], saved["prediction"], check_exact=True
        )


def test_a_finished_classical_run_is_left_alone(cli: Cli, logistic: RunDirectory) -> None:
    code, out, err = cli("fit", f"run.dir={logistic.path}")
    assert (code, err) == (0, "") and "is finished; nothing to do\n" in out


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["model=linear", "data=wine"], "Ridge does not fit a target of classes"),
        (["model=logistic", "data=diabetes"], "LogisticRegression does not fit a target of a number"),
        (
            ["model=custom", "model._target_=sklearn.svm.SVC", "data=wine"],
            "SVC gives no probabilities",
        ),
        (
            ["model=custom", "model._target_=sklearn.ensemble.GradientBoostingClassifier", "data=wine"],
            "GradientBoostingClassifier cannot be saved without pickle here: it holds numpy.random.mtrand.RandomState",
        ),
        (
            ["model=logistic", "model.C=-1", "data=wine"],
            "LogisticRegression cannot be fitted: The 'C' parameter of LogisticRegression must be a float in the range "
            "(0.0, inf]. Got -1 instead.",
        ),
        (
            ["model=random_forest", "+model.class_weight=balanced", "data=diabetes"],
            "trainkit.models.classical.random_forest cannot be built: RandomForestRegressor.__init__() got an "
            "unexpected keyword argument 'class_weight'",
        ),
        *(
            (
                ["model=logistic", "data=wine", "task=classification", option],
                f"{key} has no effect on LogisticRegression",
            )
            for key, option in (
                ("task.class_weights", "task.class_weights=balanced"),
                ("task.label_smoothing", "task.label_smoothing=0.1"),
                ("task.criterion", "+task.criterion._target_=torch.nn.CrossEntropyLoss"),
                ("task.metrics", "+task.metrics.mean._target_=torchmetrics.MeanMetric"),
            )
        ),
        (
            ["model=linear", "data=diabetes", "task=regression", "task.loss=huber"],
            "task.loss has no effect on Ridge",
        ),
        (
            ["model=knn", "+model.n_neighbour=3", "data=wine"],
            "model.n_neighbour: knn takes no argument 'n_neighbour'",
        ),
        (
            [
                *("model=logistic", "data=dataset", "+data.train._target_=torchvision.datasets.FakeData"),
                *("+data.train.size=40", "+data.train.image_size=[1,4,4]"),
                "+data.train.transform._target_=torchvision.transforms.ToTensor",
            ],
            "LogisticRegression needs data in memory",
        ),
    ],
)
def test_an_estimator_that_does_not_fit_is_refused_first(
    options: list[str], text: str, cli: Cli, tmp_path: Path
) -> None:
    code, out, err = cli("fit", *options)
    assert (code, out, err.splitlines()[0]) == (2, "", text)
    assert list(tmp_path.iterdir()) == []


def test_one_that_did_not_converge_says_so(cli: Cli) -> None:
    code, out, err = cli("fit", "model=logistic", "model.max_iter=3", "data=wine", "evaluation.resamples=20")
    assert (code, err) == (0, "")
    assert "note   stopped at its limit of 3 iterations before it converged\n" in out


def test_estimators_that_are_named_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = functools.partial(RandomForestClassifier, n_estimators=3)
    result = tk.fit(data="wine", model=model, overrides=["evaluation.resamples=20", "evaluation.baseline=false"])
    assert result.run_dir is not None and len(tk.load_run(result.run_dir).estimator.estimators_) == 3


def test_more_neighbors_than_rows_are_refused_first(cli: Cli, tmp_path: Path) -> None:
    done = cli("fit", "data=wine", "model=knn", "model.n_neighbors=1000", "run.dir=run")
    expected = "1000 neighbors, and 124 training rows\n  where    model.n_neighbors\n  expected at most 124\n"
    assert (done.code, done.stderr) == (2, expected) and not (tmp_path / "run").exists()
