from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

import trainkit as tk
from trainkit.rundir import RunDirectory, read_json
from trainkit.runs.classical import TRUSTED

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
        (SVC(), "sklearn.svm._classes.SVC"),
        (Pipeline([("a", Ridge())]), "sklearn.pipeline.Pipeline"),
        ([Ridge(), FunctionTransformer(np.log1p)], "numpy.log1p, sklearn.preprocessing._function_transformer"),
        (Ridge(tol=os.system), "posix.system"),
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


def test_the_trusted_types_are_those_of_the_shipped_models() -> None:
    assert [name.rpartition(".")[2] for name in TRUSTED] == ["LogisticRegression", "Ridge"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["model=linear", "data=wine"], "Ridge does not fit a target of classes"),
        (["model=logistic", "data=diabetes"], "LogisticRegression does not fit a target of a number"),
        (
            ["model=custom", "model._target_=sklearn.svm.SVC", "data=wine"],
            "SVC cannot be saved without pickle here",
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
