"""The honest score: metrics with intervals on parts that training never saw, and a baseline on the same rows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pyarrow import ArrowException

from trainkit.data import DataModule
from trainkit.data.module import Part
from trainkit.data.splits import EXTRA
from trainkit.errors import RunError
from trainkit.evaluation import (
    Comparison,
    compare,
    constant_quantiles,
    fit_baseline,
    fit_several,
    metrics_for,
    score,
    several_names,
    simple_baseline,
)
from trainkit.rundir import RunDirectory, atomic_path
from trainkit.runs.estimators import of_one_target
from trainkit.runs.parts import Parts
from trainkit.types import DataSpec, Estimate, Predictions

QUANTILE, TARGET, PREDICTION = "q_", "target_", "prediction_"
"""Before the level, or the name of one of several targets, in the names of columns."""

SEPARATOR = "|"
"""Between the labels that a row is said to have."""

PART_NAMES: dict[Part, str] = {"val": "validation", "test": "test"}
"""Parts in files and printed lines."""


def scored_parts(data: DataModule) -> dict[str, Part]:
    """The parts that are scored, by their names in files: ``validation``, ``test``, and each ``validation/<name>``."""
    parts = data.splits.parts()
    named = {name: part for part, name in PART_NAMES.items() if len(parts[part])}
    return named | {f"{PART_NAMES['val']}/{name}": f"{EXTRA}{name}" for name in data.extra_val}


def predictions_frame(parts: dict[str, Predictions]) -> pd.DataFrame:
    """Predictions of several parts as one table: row, split, file, group, target, prediction, p_<class> or q_<level>.

    ``file``, ``group`` and ``target`` are there where they are known. Of labels there are ``target_<label>`` and
    ``p_<label>``, and ``prediction`` names those of a probability above one half between ``|``; of several numbers
    ``target_<name>`` and ``prediction_<name>``.
    """
    frames = []
    for split, made in parts.items():
        columns: dict[str, Any] = {"row": made.rows, "split": split}
        if made.files is not None:
            columns["file"] = made.files
        if made.groups is not None:
            columns["group"] = made.groups
        frames.append(pd.DataFrame(columns | _outcome_columns(made)))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _outcome_columns(made: Predictions) -> dict[str, Any]:
    """Target and prediction, as columns."""
    columns: dict[str, Any] = {}
    names = np.array(made.class_names, dtype=object)
    if made.is_multilabel or made.target_names:
        several = made.class_names or made.target_names
        if made.target is not None:
            columns |= {f"{TARGET}{name}": made.target[:, idx] for idx, name in enumerate(several)}
        if made.probabilities is not None:
            columns["prediction"] = [SEPARATOR.join(names[row > 0.5]) for row in made.probabilities]
    elif made.target is not None:
        columns["target"] = names[made.target] if made.probabilities is not None else made.target
    if made.probabilities is not None:
        if not made.is_multilabel:
            columns["prediction"] = names[made.probabilities.argmax(axis=1)]
        return columns | {f"p_{name}": made.probabilities[:, idx] for idx, name in enumerate(made.class_names)}
    values = np.asarray(made.values)
    if made.target_names:
        return columns | {f"{PREDICTION}{name}": values[:, idx] for idx, name in enumerate(made.target_names)}
    columns["prediction"] = values
    if made.quantiles is not None:
        columns |= {f"{QUANTILE}{level:g}": made.quantiles[:, idx] for idx, level in enumerate(made.levels)}
    return columns


def save_predictions(run: RunDirectory, parts: dict[str, Predictions]) -> None:
    """Writes ``predictions.parquet``."""
    with atomic_path(run.predictions) as temporary:
        predictions_frame(parts).to_parquet(temporary, index=False)


def saved_predictions(run: RunDirectory, split: str, spec: DataSpec) -> Predictions:
    """Predictions of one split as the run saved them; empty where it had none.

    Args:
        run: The run.
        split: As the file names it.
        spec: Of the run's data: names of classes, labels and targets.

    Raises:
        RunError: The file is damaged, or not that of this run.
    """
    try:
        frame = pd.read_parquet(run.predictions)
        made = _predictions_in(frame[frame["split"] == split], spec)
    except (ArrowException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RunError(f"'{run.predictions}' is damaged, or not of this run: {reason}", where="RUN") from error
    run.check(run.predictions)
    return made


def _predictions_in(frame: pd.DataFrame, spec: DataSpec) -> Predictions:
    rows = frame["row"].to_numpy()
    known: Any = {
        field: frame[key].to_numpy() for field, key in (("groups", "group"), ("files", "file")) if key in frame
    }
    class_names = spec.class_names
    if spec.target_kind == "multilabel" or spec.target_names:

        def matrix(start: str) -> np.ndarray:
            columns = [f"{start}{name}" for name in class_names or spec.target_names]
            return frame[columns].to_numpy(dtype=np.float64)

        if class_names:
            known |= {"class_names": class_names, "is_multilabel": True}
            return Predictions(rows, matrix(TARGET), matrix("p_"), **known)
        return Predictions(rows, matrix(TARGET), values=matrix(PREDICTION), target_names=spec.target_names, **known)
    if not class_names:
        target = frame["target"].to_numpy(dtype=np.float64)
        if columns := [name for name in map(str, frame) if name.startswith(QUANTILE)]:
            levels = tuple(float(name.removeprefix(QUANTILE)) for name in columns)
            known |= {"quantiles": frame[columns].to_numpy(dtype=np.float64), "levels": levels}
        return Predictions(rows, target, values=frame["prediction"].to_numpy(), **known)
    index = {name: idx for idx, name in enumerate(class_names)}
    target = np.array([index[name] for name in frame["target"]], dtype=np.int64)
    probabilities = frame[[f"p_{name}" for name in class_names]].to_numpy(dtype=np.float64)
    return Predictions(rows, target, probabilities, class_names=class_names, **known)


def score_parts(parts: dict[str, Predictions], settings: Any) -> dict[str, dict[str, Estimate]]:
    """Metrics with intervals of each part."""
    return {
        split: score(made, resamples=settings.resamples, confidence=settings.confidence)
        for split, made in parts.items()
    }


def baseline(parts: Parts, test: Predictions) -> tuple[str, Predictions, Comparison]:
    """A quick classical model on the same split, and the paired difference of the headline metric.

    Where the model itself is linear and classical, or the data has no plain arrays, the bar is the class shares or the
    mean.
    """
    data, settings = parts.data, parts.config.evaluation
    assert test.target is not None
    names, kind = data.spec.class_names, data.spec.target_kind
    if test.quantiles is not None:
        bar = replace(constant_quantiles(data.targets("train"), test), groups=test.groups)
        options = {"resamples": settings.resamples, "confidence": settings.confidence}
        return "quantiles of training", bar, compare(test, bar, next(iter(metrics_for(test))), **options)
    matrix = None if _is_linear(parts.estimator) else data.flat_arrays()
    if several_names(test):
        name, bar = _several_baseline(parts, test, matrix)
    elif matrix is None:
        name, bar = simple_baseline(data.targets("train"), test.rows, test.target, names, kind)
    else:
        train, rows = data.rows("train").numpy(), data.rows("test").numpy()
        weight = data.source.weight
        name, bar = fit_baseline(
            matrix[train],
            data.targets("train"),
            matrix[rows],
            test.rows,
            test.target,
            names,
            kind,
            seed=parts.config.seed,
            train_weight=None if weight is None else weight.numpy()[train],
        )
    headline, bar = next(iter(metrics_for(test))), replace(bar, groups=test.groups)
    difference = compare(test, bar, headline, resamples=settings.resamples, confidence=settings.confidence)
    return name, bar, difference


def _is_linear(estimator: Any) -> bool:
    return type(of_one_target(estimator)).__module__.startswith("sklearn.linear_model")


def _several_baseline(parts: Parts, test: Predictions, matrix: np.ndarray | None) -> tuple[str, Predictions]:
    data = parts.data
    train, rows, weight = data.rows("train").numpy(), data.rows("test").numpy(), data.source.weight
    return fit_several(
        None if matrix is None else matrix[train],
        data.targets("train"),
        None if matrix is None else matrix[rows],
        test,
        seed=parts.config.seed,
        train_weight=None if weight is None else weight.numpy()[train],
    )


def estimate_json(estimate: Estimate) -> dict[str, Any]:
    """An estimate as JSON; what is undefined becomes null."""
    values = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    plain: dict[str, Any] = {name: None if math.isnan(value) else value for name, value in values.items()}
    return plain | {"n": estimate.n, "method": estimate.method}


def estimate_from_json(values: dict[str, Any]) -> Estimate:
    """The estimate that ``estimate_json`` wrote."""
    value, low, high = (math.nan if values[name] is None else values[name] for name in ("value", "low", "high"))
    return Estimate(value, low, high, n=values["n"], method=values.get("method", "bootstrap"))


def unseen_cells(data: DataModule) -> dict[str, int]:
    """Cells per column whose category training never saw."""
    return dict(getattr(data, "unseen", {}))
