"""scikit-learn's estimators, the classifier or the regressor by the kind of target; built by ``conf/model``'s YAMLs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from trainkit.types import TargetKind

_FAMILIES: Mapping[str, tuple[type[BaseEstimator], type[BaseEstimator]]] = {
    "random_forest": (RandomForestClassifier, RandomForestRegressor),
    "knn": (KNeighborsClassifier, KNeighborsRegressor),
    "hist_gradient_boosting": (HistGradientBoostingClassifier, HistGradientBoostingRegressor),
}


def random_forest(target_kind: TargetKind, **settings: Any) -> BaseEstimator:
    """A random forest (Breiman, 2001, https://doi.org/10.1023/A:1010933404324).

    Args:
        target_kind: ``number`` gives a ``RandomForestRegressor``, every other kind a ``RandomForestClassifier``.
        settings: Any argument of that class.
    """
    return _estimator("random_forest", target_kind, settings)


def knn(target_kind: TargetKind, **settings: Any) -> BaseEstimator:
    """The nearest neighbours' vote or mean (Cover and Hart, 1967, https://doi.org/10.1109/TIT.1967.1053964).

    Args:
        target_kind: ``number`` gives a ``KNeighborsRegressor``, every other kind a ``KNeighborsClassifier``.
        settings: Any argument of that class.
    """
    return _estimator("knn", target_kind, settings)


def hist_gradient_boosting(target_kind: TargetKind, **settings: Any) -> BaseEstimator:
    """Gradient boosting of trees over binned features (Ke et al., 2017, LightGBM, NeurIPS).

    Args:
        target_kind: ``number`` gives a ``…Regressor``, every other kind a ``HistGradientBoostingClassifier``.
        settings: Any argument of that class.
    """
    return _estimator("hist_gradient_boosting", target_kind, settings)


def _estimator(family: str, target_kind: TargetKind, settings: dict[str, Any]) -> BaseEstimator:
    classifier, regressor = _FAMILIES[family]
    return (regressor if target_kind == "number" else classifier)(**settings)


def _signature(family: str) -> inspect.Signature:
    """``target_kind`` and every argument of both classes, against which a config is checked."""
    own = inspect.Parameter("target_kind", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=TargetKind)
    names = dict.fromkeys(name for kind in _FAMILIES[family] for name in inspect.signature(kind).parameters)
    settings = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in names]
    return inspect.Signature([own, *settings])


for _function in (random_forest, knn, hist_gradient_boosting):
    _function.__signature__ = _signature(_function.__name__)  # type: ignore[attr-defined]
