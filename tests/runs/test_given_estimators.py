"""``tk.fit(model=RandomForestClassifier(10))``: scikit-learn's estimators as objects, kept in the config as its own."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import trainkit as tk
from trainkit.runs.nodes import estimator_node

FAST = ["evaluation.resamples=20", "evaluation.baseline=false", "run.dir=run"]
FOREST = {"_target_": "sklearn.ensemble._forest.RandomForestClassifier"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("model", "node"),
    [
        (RandomForestClassifier(10, max_depth=3), FOREST | {"n_estimators": 10, "max_depth": 3}),
        (RandomForestClassifier, FOREST),
        (functools.partial(RandomForestClassifier, n_estimators=10), FOREST | {"n_estimators": 10}),
        (
            BaggingClassifier(DecisionTreeClassifier(max_depth=2), n_estimators=3),
            {
                "_target_": "sklearn.ensemble._bagging.BaggingClassifier",
                "estimator": {"_target_": "sklearn.tree._classes.DecisionTreeClassifier", "max_depth": 2},
                "n_estimators": 3,
            },
        ),
    ],
)
def test_an_estimator_is_kept_in_the_config_and_fitted(model: Any, node: dict[str, Any]) -> None:
    result = tk.fit(model=model, data="wine", overrides=FAST)
    assert result.test["accuracy"].value > 0.8
    run = tk.load_run("run")
    assert run.config.model == node and type(run.estimator).__name__ == node["_target_"].rpartition(".")[2]
    assert tk.evaluate("run").test["accuracy"].value == result.test["accuracy"].value
    assert not hasattr(model, "classes_")  # the user's own is not fitted


def test_a_pipeline_keeps_its_steps() -> None:
    tk.fit(model=make_pipeline(StandardScaler(), LogisticRegression(C=0.5)), data="wine", overrides=FAST)
    steps = tk.load_run("run").config.model.steps
    assert [(name, node["_target_"].rpartition(".")[2], node.get("C")) for name, node in steps] == [
        ("standardscaler", "StandardScaler", None),
        ("logisticregression", "LogisticRegression", 0.5),
    ]


def test_numpys_numbers_are_numbers() -> None:
    assert estimator_node(LogisticRegression(C=np.float64(0.5)))["C"] == 0.5


def test_a_setting_that_a_config_cannot_hold_is_named() -> None:
    with pytest.raises(tk.ConfigError) as caught:
        tk.fit(model=RandomForestClassifier(random_state=np.random.RandomState(0)), data="wine", overrides=FAST)
    assert str(caught.value) == (
        "RandomForestClassifier has a RandomState as its random_state, which a config cannot hold\n"
        "  where    model\n  expected numbers, texts, lists and estimators as settings"
    )
    assert not Path("run").exists()


def test_what_is_neither_names_both() -> None:
    with pytest.raises(tk.ConfigError) as caught:
        tk.fit(model=3, data="wine", overrides=FAST)
    expected = "an nn.Module or a scikit-learn estimator, or what gives one when called"
    assert (caught.value.what, caught.value.expected) == ("the model is a int", expected)
