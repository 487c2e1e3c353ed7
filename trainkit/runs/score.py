"""The honest score: metrics with intervals on parts that training never saw, and a baseline on the same rows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from trainkit.data import DataModule
from trainkit.data.module import Part
from trainkit.data.splits import EXTRA
from trainkit.evaluation import (
    Comparison,
    compare,
    constant_quantiles,
    fit_baseline,
    metrics_for,
    score,
    simple_baseline,
)
from trainkit.rundir import RunDirectory, atomic_path
from trainkit.runs.parts import Parts
from trainkit.types import Estimate, Predictions

QUANTILE = "q_"
"""Before the level, in the names of columns of quantiles."""

PART_NAMES: dict[Part, str] = {"val": "validation", "test": "test"}
"""Parts in files and printed lines."""


def scored_parts(data: DataModule) -> dict[str, Part]:
    """The parts that are scored, by their names in files: ``validation``, ``test``, and each ``validation/<name>``."""
    parts = data.splits.parts()
    named = {name: part for part, name in PART_NAMES.items() if len(parts[part])}
    return named | {f"{PART_NAMES['val']}/{name}": f"{EXTRA}{name}" for name in data.extra_val}


def predictions_frame(parts: dict[str, Predictions]) -> pd.DataFrame:
    """Predictions of several parts as one table: row, split, file, group, target, prediction, p_<class> or q_<level>.

    ``file``, ``group`` and ``target`` are there where they are known.
    """
    frames = []
    for split, made in parts.items():
        columns: dict[str, Any] = {"row": made.rows, "split": split}
        if made.files is not None:
            columns["file"] = made.files
        names = np.array(made.class_names, dtype=object)
        if made.groups is not None:
            columns["group"] = made.groups
        if made.target is not None:
            columns["target"] = names[made.target] if made.probabilities is not None else made.target
        if made.probabilities is not None:
            columns["prediction"] = names[made.probabilities.argmax(axis=1)]
            columns |= {f"p_{name}": made.probabilities[:, idx] for idx, name in enumerate(made.class_names)}
        else:
            columns["prediction"] = made.values
        if made.quantiles is not None:
            columns |= {f"{QUANTILE}{level:g}": made.quantiles[:, idx] for idx, level in enumerate(made.levels)}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def save_predictions(run: RunDirectory, parts: dict[str, Predictions]) -> None:
    """Writes ``predictions.parquet``."""
    with atomic_path(run.predictions) as temporary:
        predictions_frame(parts).to_parquet(temporary, index=False)


def saved_predictions(run: RunDirectory, split: str, class_names: tuple[str, ...]) -> Predictions:
    """Predictions of one split as the run saved them; empty where it had none."""
    frame = pd.read_parquet(run.predictions)
    frame = frame[frame["split"] == split]
    rows = frame["row"].to_numpy()
    known: Any = {
        field: frame[key].to_numpy() for field, key in (("groups", "group"), ("files", "file")) if key in frame
    }
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
    is_linear = type(parts.estimator).__module__.startswith("sklearn.linear_model")
    matrix = None if is_linear else data.flat_arrays()
    if matrix is None:
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
