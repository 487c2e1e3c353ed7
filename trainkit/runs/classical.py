"""Classical models on the same rails: fitted on the same parts, saved without pickle, scored like a net."""

from __future__ import annotations

import inspect
import json
import time
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from torch import nn

from trainkit.data.module import DataModule
from trainkit.data.sources import TensorSource, map_inputs
from trainkit.errors import ConfigError, DataError, RunError
from trainkit.models import Network
from trainkit.rundir import RunDirectory, atomic_path
from trainkit.runs.devices import find_devices
from trainkit.runs.parts import Parts
from trainkit.runs.predictors import flat_matrix
from trainkit.runs.train import TrainOutcome, peak_memory
from trainkit.runs.weights import save_weights

TRUSTED = ("sklearn.linear_model._logistic.LogisticRegression", "sklearn.linear_model._ridge.Ridge")
"""Estimators that are saved and loaded."""

_PLAIN = frozenset(
    {f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "str", "tuple", "NoneType")}
    | {f"numpy.{name}" for name in ("bool", "dtype", "float32", "float64", "int32", "int64", "ndarray")}
)
"""What else a saved estimator may be made of; skops by itself trusts far more."""


class _Saved(nn.Module):
    """What a classical model keeps beside the estimator, under the names that a net's weights have."""

    def __init__(self, inputs: nn.Module, task: nn.Module) -> None:
        super().__init__()
        self.model, self.task = Network(nn.Identity(), inputs), task


def check_classical(parts: Parts) -> None:
    """Raises for an estimator that does not fit the data or cannot be saved.

    Raises:
        ConfigError: A regressor for classes, a classifier for numbers, or a class that is not on our list.
        DataError: The data is a Dataset of the user's own.
    """
    name = type(parts.estimator).__name__
    path = f"{type(parts.estimator).__module__}.{name}"
    if path not in TRUSTED:
        known = ", ".join(item.rpartition(".")[2] for item in TRUSTED)
        raise ConfigError(f"{name} cannot be saved without pickle here", where="model", expected=f"one of {known}")
    if not isinstance(parts.data.source, TensorSource):
        raise DataError(f"{name} needs data in memory", where="data", expected="a table or arrays")
    is_class = parts.data.spec.target_kind == "class"
    if hasattr(parts.estimator, "predict_proba") != is_class:
        target = "classes" if is_class else "a number"
        choice = "logistic" if is_class else "linear"
        raise ConfigError(f"{name} does not fit a target of {target}", where="model", hint=f"use model={choice}")


def train_classical(parts: Parts, run: RunDirectory) -> TrainOutcome:
    """Fits the estimator on the training part and writes it."""
    started = time.perf_counter()
    data, source = parts.data, parts.data.source
    assert isinstance(source, TensorSource)
    inputs = preprocessing(data)
    matrix = flat_matrix(inputs, map_inputs(source.inputs, lambda tensor: tensor[data.rows("train")]))
    estimator = parts.estimator
    if "random_state" in inspect.signature(type(estimator)).parameters and estimator.random_state is None:
        estimator.set_params(random_state=parts.config.seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        estimator.fit(matrix, data.targets("train"), **_sample_weight(parts))
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            parts.notes["fit"] = f"stopped at its limit of {estimator.max_iter} iterations before it converged"
    seconds = time.perf_counter() - started
    save_estimator(run, estimator)
    save_weights(run, parts, _Saved(inputs, parts.task))
    count = len(data.splits.train)
    devices = find_devices(parts.config)
    return TrainOutcome(0, 0, seconds, count / max(seconds, 1e-9), peak_memory(devices), None, f"{count:,} samples")


def _sample_weight(parts: Parts) -> dict[str, Any]:
    """The weights of the training rows as an argument of ``fit``; none where it takes none, which a note says."""
    weight = parts.data.source.weight
    if weight is None:
        return {}
    if "sample_weight" not in inspect.signature(parts.estimator.fit).parameters:
        parts.notes["fit"] = f"{type(parts.estimator).__name__} takes no weights: every row counts once"
        return {}
    return {"sample_weight": weight[parts.data.rows("train")].numpy()}


def preprocessing(data: DataModule) -> nn.Module:
    """The data's preprocessing for a model that takes one matrix."""
    return data.input_module(nn.Identity()) or nn.Identity()


def save_estimator(run: RunDirectory, estimator: Any) -> None:
    """Writes ``model.skops``."""
    import skops.io

    with atomic_path(run.classical_model) as temporary:
        skops.io.dump(estimator, temporary)


def load_estimator(run: RunDirectory) -> Any:
    """Reads ``model.skops``; only the types that we name are made.

    Raises:
        RunError: The file is damaged, or holds other types.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    path = run.classical_model
    try:
        with zipfile.ZipFile(path) as archive:
            named = set(_types_in(json.loads(archive.read("schema.json"))))
        foreign = named - set(TRUSTED) - _PLAIN
        if foreign:
            raise RunError(f"'{path}' holds foreign types: {', '.join(sorted(foreign))}", where="RUN")
        return skops.io.load(path, trusted=list(TRUSTED))
    except (UntrustedTypesFoundException, zipfile.BadZipFile, ValueError, KeyError, OSError, TypeError) as error:
        raise RunError(f"'{path}' is damaged: {error}", where="RUN") from error


def _types_in(node: Any) -> Iterator[str]:
    """Every type that the schema of a skops file names, wherever it is nested."""
    if isinstance(node, dict):
        if "__module__" in node:
            yield f"{node['__module__']}.{node.get('__class__')}"
        node = list(node.values())
    for inner in node if isinstance(node, list) else ():
        yield from _types_in(inner)
