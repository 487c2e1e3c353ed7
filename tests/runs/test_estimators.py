"""``model.skops``: every estimator that can be saved comes back the same to the bit, and the others say why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, load_wine
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVR

from trainkit.rundir import RunDirectory
from trainkit.runs.estimators import foreign_types, load_estimator, save_estimator

CLASSES, NUMBERS = load_wine(return_X_y=True), load_diabetes(return_X_y=True)

STORED = [
    AdaBoostClassifier(n_estimators=3, random_state=0),
    BaggingRegressor(n_estimators=3, random_state=0),
    GaussianNB(),
    HistGradientBoostingClassifier(max_iter=5, early_stopping=True, random_state=0),
    *(HistGradientBoostingRegressor(max_iter=3, loss=loss) for loss in ("absolute_error", "poisson", "gamma")),
    HistGradientBoostingRegressor(max_iter=3, loss="quantile", quantile=0.9),
    *(KNeighborsClassifier(algorithm=algorithm) for algorithm in ("ball_tree", "kd_tree", "brute")),
    *(KNeighborsRegressor(algorithm="kd_tree", metric=metric) for metric in ("manhattan", "chebyshev")),
    KNeighborsClassifier(algorithm="ball_tree", p=3),
    QuadraticDiscriminantAnalysis(),
    RandomForestRegressor(n_estimators=3, max_depth=1, random_state=0),
    SVR(),
    make_pipeline(StandardScaler(), PCA(3), LogisticRegression()),
]


def fitted(estimator: Any) -> Any:
    return estimator.fit(*(CLASSES if is_classifier(estimator) else NUMBERS))


@pytest.mark.parametrize("estimator", STORED, ids=lambda estimator: type(estimator).__name__)
def test_one_that_can_be_saved_comes_back(estimator: Any, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert foreign_types(fitted(estimator)) == []
    save_estimator(run, estimator)
    loaded = load_estimator(run)
    assert type(loaded) is type(estimator)
    predict, inputs = ("predict_proba", CLASSES[0]) if is_classifier(estimator) else ("predict", NUMBERS[0])
    np.testing.assert_array_equal(getattr(loaded, predict)(inputs), getattr(estimator, predict)(inputs))


@pytest.mark.parametrize(
    ("estimator", "foreign"),
    [
        (make_pipeline(FunctionTransformer(np.log1p), Ridge()), ["numpy.log1p"]),
        (CalibratedClassifierCV(GaussianNB()), ["sklearn.calibration._CalibratedClassifier"]),
        (
            GaussianProcessRegressor(optimizer=None),
            [
                "numpy.random.mtrand.RandomState",
                *(f"sklearn.gaussian_process.kernels.{name}" for name in ("ConstantKernel", "Product", "RBF")),
            ],
        ),
        (
            KNeighborsRegressor(algorithm="ball_tree", metric="canberra"),
            ["sklearn.metrics._dist_metrics.CanberraDistance64"],
        ),
    ],
)
def test_what_would_not_be_loaded_is_named(estimator: Any, foreign: list[str]) -> None:
    inputs, target = CLASSES if is_classifier(estimator) else NUMBERS
    assert foreign_types(estimator.fit(np.abs(inputs), target)) == foreign


def test_what_cannot_be_saved_at_all_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="generator"):
        foreign_types(Ridge(tol=(number for number in range(3))))
