"""Classical models: scikit-learn's own numbers, runs that load alone, files of nothing but known types."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

import trainkit as tk
from trainkit.data.sources import TensorSource
from trainkit.rundir import RunDirectory, read_json
from trainkit.runs.build import build_parts
from trainkit.runs.classical import check_classical
from trainkit.runs.parts import Parts

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
    ("foreign", "named"),
    [
        ([Ridge(), FunctionTransformer(np.log1p)], "numpy.log1p"),
        (Ridge(tol=os.system), "posix.system"),
        (Ridge(tol=Ridge().fit), "sklearn.linear_model._ridge.Ridge"),
        (Ridge(tol=functools.partial(os.system, "ls")), "functools.partial, posix.system"),
        (Ridge(tol=RBF()), "sklearn.gaussian_process.kernels.RBF"),
        (Ridge(tol=np.random.RandomState(0)), "numpy.random.mtrand.RandomState"),
        (Pipeline([("a", Ridge(tol=os.system))]), "posix.system"),
    ],
)
def test_estimators_of_other_types_are_not_loaded(foreign: Any, named: str, logistic: RunDirectory) -> None:
    skops.io.dump(foreign, logistic.classical_model)
    with pytest.raises(tk.RunError) as caught:
        tk.load_run(logistic.path)
    assert str(caught.value).startswith(f"'{logistic.classical_model}' holds foreign types: {named}")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"\x80\x04."])
def test_a_damaged_estimator_is_named(content: bytes, logistic: RunDirectory) -> None:
    logistic.classical_model.write_bytes(content)
    with pytest.raises(tk.RunError, match=r"model.skops' is damaged"):
        tk.load_run(logistic.path)


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


def doctored(run: RunDirectory, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the schema of ``model.skops``."""
    with zipfile.ZipFile(run.classical_model) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(files["schema.json"])
    change(schema)
    files["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(run.classical_model, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("module", "kind", "loader"),
    [
        ("os", "system", "FunctionNode"),
        ("sklearn.linear_model._ridge", "os.system", "ObjectNode"),
        ("sklearn.utils", "Bunch", "ObjectNode"),
        ("sklearn.linear_model", "LogisticRegression", "ObjectNode"),
        ("trainkit.models", "MLP", "ObjectNode"),
        ("builtins", "dict", "MethodNode"),
        ("builtins", "list", "OperatorFuncNode"),
    ],
)
def test_a_doctored_file_is_refused(module: str, kind: str, loader: str, logistic: RunDirectory) -> None:
    named = {"__module__": module, "__class__": kind, "__loader__": loader, "content": None}
    doctored(logistic, lambda schema: schema["content"]["content"].update(tol=named))
    with pytest.raises(tk.RunError) as caught:
        tk.load_run(logistic.path)
    assert str(caught.value).startswith(f"'{logistic.classical_model}' holds foreign types: {module}.{kind}\n")


def test_estimators_that_are_named_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = functools.partial(RandomForestClassifier, n_estimators=3)
    result = tk.fit(data="wine", model=model, overrides=["evaluation.resamples=20", "evaluation.baseline=false"])
    assert result.run_dir is not None and len(tk.load_run(result.run_dir).estimator.estimators_) == 3


def test_more_neighbors_than_rows_are_refused_first(cli: Cli, tmp_path: Path) -> None:
    done = cli("fit", "data=wine", "model=knn", "model.n_neighbors=1000", "run.dir=run")
    expected = "1000 neighbors, and 124 training rows\n  where    model.n_neighbors\n  expected at most 124\n"
    assert (done.code, done.stderr) == (2, expected) and not (tmp_path / "run").exists()
