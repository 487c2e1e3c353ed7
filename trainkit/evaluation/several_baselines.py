"""The quick classical models of several targets, one for each; called once per run, on the run's own split."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from trainkit.errors import DataError
from trainkit.evaluation.baselines import fit_baseline
from trainkit.evaluation.checked import Floats
from trainkit.types import Predictions

_FEWEST_ROWS = 1_000


def fit_several(
    train_x: np.ndarray | None,
    train_y: np.ndarray,
    test_x: np.ndarray | None,
    test: Predictions,
    seed: int = 0,
    max_rows: int = 20_000,
    max_seconds: float = 5.0,
    train_weight: np.ndarray | None = None,
) -> tuple[str, Predictions]:
    """Fits a baseline of ``fit_baseline`` to each target alone, on the rows that have it.

    Rows and seconds are shared out among the targets, down to 1,000 rows each.

    Args:
        train_x: Numbers [N, D] without NaN, or None where the data has no plain arrays.
        train_y: float [N, T], NaN where a target is missing.
        test_x: Numbers [M, D] without NaN, or None.
        test: Predictions of the test part, whose rows, targets and names are taken.
        seed: Seed of the subsamples.
        max_rows: Most training rows used, over all targets.
        max_seconds: Time that logistic regressions are planned for, over all targets.
        train_weight: Weight ≥ 0 of each training row [N] in the fits; None for equal weights.

    Returns:
        Name of the model (``logistic`` stands for one against the rest of each label), and its predictions.

    Raises:
        DataError: No training rows, or NaN or infinite inputs.
    """
    if len(train_y) == 0:
        raise DataError("a baseline has no training rows to learn from", expected="at least one row")
    count, is_label = train_y.shape[1], test.is_multilabel
    options: dict[str, Any] = {"seed": seed, "max_seconds": max_seconds / count}
    options["max_rows"] = min(max_rows, max(_FEWEST_ROWS, max_rows // count))
    names, columns = [], []
    for target in train_y.T:
        name, column = _fit_one(train_x, target, test_x, test, is_label, train_weight, options)
        names.append(name)
        columns.append(column)
    made = np.stack(columns, axis=1)
    fitted = [name for name in names if name in ("logistic", "linear")]
    name = (fitted or names)[0]
    if is_label:
        return ("shares" if name == "majority" else name), replace(test, probabilities=made, groups=None)
    return name, replace(test, values=made, groups=None)


def _fit_one(
    train_x: np.ndarray | None,
    target: Floats,
    test_x: np.ndarray | None,
    test: Predictions,
    is_label: bool,
    weight: np.ndarray | None,
    options: dict[str, Any],
) -> tuple[str, Floats]:
    known = np.flatnonzero(~np.isnan(target))
    if not len(known):
        return "constant", np.full(len(test), 0.5 if is_label else 0.0)
    inputs = None if train_x is None else (train_x if len(known) == len(target) else train_x[known])
    train_y = target[known].astype(np.int64) if is_label else target[known].astype(np.float64)
    weight = None if weight is None else weight[known]
    class_names = ("without", "with") if is_label else ()
    name, made = fit_baseline(
        *(inputs, train_y, test_x, test.rows, None, class_names),
        "class" if is_label else "number",
        train_weight=weight,
        **options,
    )
    column = made.probabilities[:, 1] if made.probabilities is not None else made.values
    return name, np.asarray(column, dtype=np.float64)
