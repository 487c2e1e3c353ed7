"""``model.skops``: a fitted estimator saved without pickle, and loaded only if it is made of types that we know."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator

from trainkit.config.targets import resolve_judged
from trainkit.errors import ConfigError, RunError
from trainkit.rundir import RunDirectory, atomic_path
from trainkit.runs.structure import check_structure

_LOSSES = (
    *("HalfBinomialLoss", "HalfMultinomialLoss", "HalfSquaredError", "AbsoluteError"),
    *("PinballLoss", "HalfPoissonLoss", "HalfGammaLoss"),
)
_LINKS = ("IdentityLink", "LogLink", "LogitLink", "MultinomialLogit", "Interval")
_DISTANCES = ("EuclideanDistance64", "ManhattanDistance64", "ChebyshevDistance64", "MinkowskiDistance64")

TRUSTED = frozenset(
    {
        *("sklearn.tree._tree.Tree", "sklearn.neighbors._kd_tree.KDTree", "sklearn.neighbors._ball_tree.BallTree"),
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        *(f"sklearn.metrics._dist_metrics.{name}" for name in _DISTANCES),
        *(f"sklearn._loss.loss.{name}" for name in _LOSSES),
        *(f"sklearn._loss._loss.Cy{name}" for name in _LOSSES),
        *(f"sklearn._loss.link.{name}" for name in _LINKS),
        *("numpy.random._generator.Generator", "numpy.uint64"),
    }
)
"""Types inside the shipped estimators that are no estimators themselves."""

_PLAIN = frozenset(
    {f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "str", "tuple", "NoneType")}
    | {f"numpy.{name}" for name in ("bool", "dtype", "float32", "float64", "int32", "int64", "ndarray")}
)
"""What else a saved estimator may be made of; skops by itself trusts far more."""

_LOADERS = frozenset(
    {f"{name}Node" for name in ("Cached", "DType", "Dict", "Json", "List", "Loss", "NdArray", "Object")}
    | {f"{name}Node" for name in ("RandomGenerator", "Tree", "Tuple", "Type")}
)
"""How skops may make them; bound methods, functions and partials are not among them."""


def of_one_target(estimator: Any) -> Any:
    """What fits one target: the estimator inside scikit-learn's own for several, or else the estimator itself."""
    is_each = type(estimator).__module__ == "sklearn.multioutput" and hasattr(estimator, "estimator")
    return estimator.estimator if is_each else estimator


def save_estimator(run: RunDirectory, estimator: Any) -> None:
    """Writes ``model.skops``."""
    import skops.io

    with atomic_path(run.classical_model) as temporary:
        skops.io.dump(estimator, temporary)


def load_estimator(run: RunDirectory) -> Any:
    """Reads ``model.skops``; only estimators of scikit-learn and the types that we name are made.

    Raises:
        RunError: The file is damaged, or holds other types.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    path = run.classical_model
    try:
        named, foreign = _types_in_file(path)
        if foreign:
            raise RunError(f"'{path}' holds foreign types: {', '.join(foreign)}", where="RUN")
        estimator = skops.io.load(path, trusted=sorted(named - _PLAIN))
        check_structure(estimator)
    except (
        *(UntrustedTypesFoundException, zipfile.BadZipFile),
        *(ValueError, LookupError, OSError, TypeError, AttributeError, EOFError, RuntimeError, zlib.error),
    ) as error:
        raise RunError(f"'{path}' is damaged: {error}", where="RUN") from error
    run.check(path)
    return estimator


def foreign_types(estimator: Any) -> list[str]:
    """Names of types in a fitted estimator that could be saved, but would not be loaded; sorted.

    Raises:
        TypeError: It holds something that cannot be saved at all.
    """
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException

    try:
        content = skops.io.dumps(estimator)
    except UnsupportedTypeException as error:
        raise TypeError(str(error)) from error
    return _types_in_file(io.BytesIO(content))[1]


def _types_in_file(file: Path | io.BytesIO) -> tuple[set[str], list[str]]:
    """Every type that a skops file names, and those of them that may not be made."""
    with zipfile.ZipFile(file) as archive:
        found = set(_types_in(json.loads(archive.read("schema.json"))))
    named = {name for name, _ in found}
    foreign = {name for name in named - TRUSTED - _PLAIN if not _is_estimator(name)}
    return named, sorted(foreign | {name for name, loader in found if loader not in _LOADERS})


def _types_in(node: Any) -> Iterator[tuple[str, str | None]]:
    """Every type that the schema of a skops file names, wherever it is nested, and how it is made."""
    if isinstance(node, dict):
        if "__module__" in node:
            yield f"{node['__module__']}.{node.get('__class__')}", node.get("__loader__")
        node = list(node.values())
    for inner in node if isinstance(node, list) else ():
        yield from _types_in(inner)


def _is_estimator(name: str) -> bool:
    """Whether a name is that of a class of scikit-learn's estimators; the object decides."""
    if name.partition(".")[0] != "sklearn":
        return False
    try:
        kind = resolve_judged(name)
    except ConfigError:
        return False
    return (
        isinstance(kind, type) and issubclass(kind, BaseEstimator) and name == f"{kind.__module__}.{kind.__qualname__}"
    )
