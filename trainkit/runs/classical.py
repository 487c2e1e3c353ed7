"""Classical models on the same rails: fitted on the same parts, saved without pickle, scored like a net."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import torch
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.utils.validation import has_fit_parameter
from torch import Tensor, nn

from trainkit.config.earlier import key_of
from trainkit.data.module import DataModule
from trainkit.data.sources import TensorSource, map_inputs
from trainkit.errors import ConfigError, DataError
from trainkit.models import Network
from trainkit.rundir import RunDirectory
from trainkit.runs.devices import find_devices
from trainkit.runs.estimators import foreign_types, load_estimator, of_one_target, save_estimator
from trainkit.runs.parts import Parts
from trainkit.runs.predictors import flat_matrix
from trainkit.runs.train import TrainOutcome, peak_memory
from trainkit.runs.weights import save_weights
from trainkit.tasks import Task

TRIAL_ROWS = 200


class _Saved(nn.Module):
    """What a classical model keeps beside the estimator, under the names that a net's weights have."""

    def __init__(self, inputs: nn.Module, task: nn.Module) -> None:
        super().__init__()
        self.model, self.task = Network(nn.Identity(), inputs), task


IDLE = (
    *("augment", "finetune", "optimizer", "scheduler", "trainer", "checkpoint", "callbacks", "logger"),
    *("data.batch_size", "data.sampling", "evaluation.tta"),
)
"""Sections and keys that an estimator does not follow."""


def is_idle(override: str) -> bool:
    """Whether an override, as the user wrote it, has no effect on a classical model."""
    key = key_of(override)
    return any(key == name or key.startswith(f"{name}.") for name in IDLE)


def check_classical(parts: Parts) -> None:
    """Raises for an estimator that does not fit the data or cannot be saved; tries it on a few hundred rows.

    Raises:
        ConfigError: A regressor for classes, a classifier for numbers, one without probabilities, one that takes no row
            weights where the data has some, settings it does not take, settings of the task that only nets follow, or
            an estimator that holds types which are not loaded.
        DataError: The data is a Dataset of the user's own.
    """
    estimator, data = parts.estimator, parts.data
    name = type(estimator).__name__
    if not isinstance(data.source, TensorSource):
        raise DataError(f"{name} needs data in memory", where="data", expected="a table or arrays")
    is_class = data.spec.target_kind != "number"
    if not (is_classifier if is_class else is_regressor)(estimator):
        target = "classes" if is_class else "a number"
        choice = "logistic" if is_class else "linear"
        raise ConfigError(f"{name} does not fit a target of {target}", where="model", hint=f"use model={choice}")
    if is_class and not hasattr(estimator, "predict_proba"):
        raise ConfigError(f"{name} gives no probabilities", where="model", expected="a classifier with predict_proba")
    _refuse_task_settings(parts.task, name)
    if data.source.target.ndim == 2:
        _check_several(parts, data.source.target)
    if _weights(parts) is not None and not has_fit_parameter(estimator, "sample_weight"):
        raise ConfigError(f"{name} takes no row weights", where="model", hint="use model=random_forest, or no weights")
    try:
        foreign = foreign_types(_fitted_for_trial(parts))
    except TypeError as error:
        raise ConfigError(f"{name} cannot be saved without pickle here: {error}", where="model") from error
    if foreign:
        what = f"{name} cannot be saved without pickle here: it holds {', '.join(foreign)}"
        raise ConfigError(what, where="model", expected="an estimator made of scikit-learn's estimators and arrays")


def _check_several(parts: Parts, target: Tensor) -> None:
    """Puts an estimator of one target into scikit-learn's own that fits one for each of several.

    Raises:
        DataError: A target is missing somewhere.
    """
    lacking = int(target[parts.data.rows("train")].isnan().any(dim=1).sum())
    if lacking:
        found = f"{lacking:,} training rows lack one of their {target.shape[1]} targets"
        name = type(parts.estimator).__name__
        raise DataError(
            found, where="data.target", expected=f"all of them, for {name}", hint="a net, such as model=mlp"
        )
    tags = parts.estimator.__sklearn_tags__()
    is_label = parts.data.spec.target_kind == "multilabel"
    takes = tags.classifier_tags.multi_label if is_label else tags.target_tags.multi_output
    if not takes:
        parts.estimator = (MultiOutputClassifier if is_label else MultiOutputRegressor)(parts.estimator)


def _refuse_task_settings(task: Task, name: str) -> None:
    """Raises ConfigError for a loss or metrics of the task's, which an estimator would not follow."""
    found = {key: getattr(task, key, None) is not None for key in ("criterion", "class_weights", "pos_weight")}
    found |= {"label_smoothing": bool(getattr(task, "label_smoothing", 0)), "metrics": bool(task.own_metrics)}
    is_focal = getattr(task, "focal_gamma", 0) > 0
    found |= {"loss": is_focal or getattr(task, "loss_kind", "squared") != "squared"}
    if task.levels:
        raise ConfigError(f"{name} predicts no quantiles", where="task", hint="task=regression, or a net")
    for key, is_set in found.items():
        if is_set:
            is_weight = key in ("class_weights", "pos_weight")
            hint = "+model.class_weight=balanced, if it takes that" if is_weight else "leave it out"
            raise ConfigError(f"task.{key} has no effect on {name}", where=f"task.{key}", hint=hint)


def train_classical(parts: Parts, run: RunDirectory) -> TrainOutcome:
    """Fits the estimator on the training part, writes it, and goes on with what a later load will give."""
    started = time.perf_counter()
    inputs = preprocessing(parts.data)
    rows = parts.data.rows("train")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        _fit(parts.estimator, parts, rows)
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            limit = getattr(parts.estimator, "max_iter", None)
            of = "" if limit is None else f" of {limit} iterations"
            parts.notes["fit"] = f"stopped at its limit{of} before it converged"
    seconds = time.perf_counter() - started
    save_estimator(run, parts.estimator)
    parts.estimator = load_estimator(run)
    save_weights(run, parts, _Saved(inputs, parts.task))
    devices = find_devices(parts.config)
    return TrainOutcome(
        0, 0, seconds, len(rows) / max(seconds, 1e-9), peak_memory(devices), None, f"{len(rows):,} samples"
    )


def _fit(estimator: Any, parts: Parts, rows: Tensor) -> None:
    """Fits on some rows of the pool, with the job's seed and the rows' weights."""
    source = parts.data.source
    assert isinstance(source, TensorSource)
    inner = of_one_target(estimator)
    if "random_state" in inner.get_params(deep=False) and inner.random_state is None:
        inner.set_params(random_state=parts.config.seed)
    matrix = flat_matrix(preprocessing(parts.data), map_inputs(source.inputs, lambda tensor: tensor[rows]))
    weights = _weights(parts)
    weighted = {} if weights is None else {"sample_weight": weights[rows].double().numpy()}
    estimator.fit(matrix, source.target[rows].numpy(), **weighted)


def _weights(parts: Parts) -> Tensor | None:
    """Row weights of the pool, float [N]; None where the data has none."""
    return parts.data.source.weight


def _fitted_for_trial(parts: Parts) -> Any:
    """A copy fitted on a few hundred training rows of every class; on all of them where these do not suffice.

    Raises:
        ConfigError: It cannot be fitted on them all either.
    """
    rows, target = parts.data.rows("train"), parts.data.targets("train")
    few = np.arange(min(TRIAL_ROWS, len(rows)))
    if parts.data.spec.target_kind == "class":
        few = np.union1d(few, [at for label in np.unique(target) for at in np.flatnonzero(target == label)[:5]])
    if parts.data.spec.target_kind == "multilabel":
        few = np.union1d(few, [at for column in (target == 1).T for at in np.flatnonzero(column)[:5]]).astype(np.int64)
    neighbors = getattr(parts.estimator, "n_neighbors", None)
    if neighbors is not None and neighbors > len(rows):
        what = f"{neighbors} neighbors, and {len(rows)} training rows"
        raise ConfigError(what, where="model.n_neighbors", expected=f"at most {len(rows)}")
    cause: Exception | None = None
    for tried in (rows[torch.from_numpy(few)], rows):
        estimator = clone(parts.estimator)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _fit(estimator, parts, tried)
            return estimator
        except (ValueError, TypeError) as error:
            cause = error
    text = str(cause).splitlines()[0]
    raise ConfigError(f"{type(parts.estimator).__name__} cannot be fitted: {text}", where="model") from cause


def preprocessing(data: DataModule) -> nn.Module:
    """The data's preprocessing for a model that takes one matrix."""
    return data.input_module(nn.Identity()) or nn.Identity()
