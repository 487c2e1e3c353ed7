"""Trees in a loaded estimator: honest ones pass, one that leads out of its arrays or back is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.ensemble import BaggingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from trainkit.runs.structure import check_structure

INPUTS, TARGET = load_wine(return_X_y=True)


def fitted(estimator: Any) -> Any:
    return estimator.fit(INPUTS, TARGET)


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(3, random_state=0),
        BaggingClassifier(n_estimators=3, max_features=4, random_state=0),
        HistGradientBoostingClassifier(max_iter=3),
        HistGradientBoostingClassifier(max_iter=3, categorical_features=[0], max_bins=40),
        KNeighborsClassifier(algorithm="kd_tree", leaf_size=3),
        KNeighborsClassifier(algorithm="ball_tree"),
        make_pipeline(StandardScaler(), DecisionTreeClassifier()),
        DecisionTreeClassifier(max_depth=1),
    ],
)
def test_fitted_estimators_pass(estimator: Any) -> None:
    if getattr(estimator, "categorical_features", None) is not None:
        return check_structure(estimator.fit(np.c_[TARGET % 2, INPUTS], TARGET))
    check_structure(fitted(estimator))


def changed_tree(key: str, value: int) -> Any:
    estimator = fitted(DecisionTreeClassifier())
    tree = estimator.tree_
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    state["nodes"][key][0] = value
    tree.__setstate__(state)
    return make_pipeline(StandardScaler(), estimator).set_params()


def changed_boosting(key: str, value: int) -> Any:
    estimator = fitted(HistGradientBoostingClassifier(max_iter=2))
    estimator._predictors[1][2].nodes[key][0] = value
    return estimator


def changed_neighbours(place: int, change: Callable[[np.ndarray], None]) -> Any:
    estimator = fitted(KNeighborsClassifier(algorithm="kd_tree", leaf_size=10))
    state = list(estimator._tree.__getstate__())
    state[place] = np.array(state[place])
    change(state[place])
    estimator._tree.__setstate__(tuple(state))
    return estimator


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("left_child", 10_000, "names a node that is not there"),
        ("right_child", -3, "names a node that is not there"),
        ("left_child", 0, "leads back"),
        ("feature", 13, "names a feature that is not there"),
        ("feature", -5, "names a feature that is not there"),
    ],
)
def test_a_doctored_tree(key: str, value: int, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_structure([changed_tree(key, value)])


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("left", 10_000, "names a node that is not there"),
        ("right", 0, "leads back"),
        ("feature_idx", 13, "names a feature that is not there"),
        ("is_categorical", 1, "names a category that is not there"),
    ],
)
def test_a_doctored_tree_of_a_boosting(key: str, value: int, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_structure({"model": changed_boosting(key, value)})


def test_doctored_neighbours() -> None:
    def far(order: np.ndarray) -> None:
        order[0] = 10_000

    def deep(nodes: np.ndarray) -> None:
        nodes["is_leaf"][-1] = 0

    def long(nodes: np.ndarray) -> None:
        nodes["idx_end"][0] = 10_000

    arrays = [type(part) for part in fitted(KNeighborsClassifier(algorithm="kd_tree"))._tree.__getstate__()[:4]]
    assert arrays == [np.ndarray] * 4
    for place, change, text in ((1, far, "row"), (2, deep, "node"), (2, long, "row")):
        with pytest.raises(ValueError, match=f"names a {text} that is not there"):
            check_structure(changed_neighbours(place, change))
    narrow = changed_neighbours(1, lambda order: None)
    narrow.n_features_in_ = 12
    with pytest.raises(ValueError, match="of another width than its data"):
        check_structure(narrow)
