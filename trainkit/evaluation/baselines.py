"""The quick classical model that every score stands beside; called once per run, on the run's own split."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainkit.errors import DataError
from trainkit.evaluation.checked import Floats, Ints
from trainkit.types import Predictions, TargetKind

_MAX_FEATURES = 5_000
# Numbers in the training matrix (160 MB as float64): wide inputs are fitted on fewer rows.
_MAX_CELLS = 20_000_000
_MIN_ITERATIONS, _MAX_ITERATIONS = 10, 1_000
_PREDICT_ROWS = 20_000


def fit_baseline(
    train_x: np.ndarray | None,
    train_y: np.ndarray,
    test_x: np.ndarray | None,
    test_rows: np.ndarray,
    test_y: np.ndarray | None,
    class_names: Sequence[str],
    target_kind: TargetKind,
    seed: int = 0,
    max_rows: int = 20_000,
    max_seconds: float = 5.0,
    train_weight: np.ndarray | None = None,
) -> tuple[str, Predictions]:
    """Fit logistic or ridge regression on scaled inputs, or the majority or mean where that cannot be.

    The work is planned from the sizes, not cut by the clock, and done on one thread, so that a baseline does not depend
    on how busy the machine is. One that reaches its limit of iterations is a baseline all the same.

    Args:
        train_x: Numbers [N, D] without NaN (categories one-hot), or None where the data has no plain arrays.
        train_y: int class indices [N], or float [N] in the target's unit.
        test_x: Numbers [M, D] without NaN, or None.
        test_rows: int64 [M], row numbers of the test rows in the source.
        test_y: Targets of the test rows [M]; None where not known.
        class_names: Names of the K classes; empty for numbers.
        target_kind: ``class`` or ``number``.
        seed: Seed of the subsample.
        max_rows: Most training rows used; a subsample spreads evenly over classes, or over the values of the target.
        max_seconds: Time that logistic regression's iterations are planned for, seconds of one ordinary core; a ridge
            takes 3 s at most.
        train_weight: Weight ≥ 0 of each training row [N] in the fit; None for equal weights.

    Returns:
        ``logistic``, ``linear``, ``majority`` or ``mean``, and its predictions of the test rows. The last two serve
        where there are no arrays, more than 5,000 features, or a single class in training.

    Raises:
        DataError: No training rows, or NaN or infinite inputs.
    """
    if train_x is None or test_x is None or not 0 < train_x.shape[1] <= _MAX_FEATURES:
        return simple_baseline(train_y, test_rows, test_y, class_names, target_kind)
    chosen = _subsample(train_y, min(max_rows, max(1, _MAX_CELLS // train_x.shape[1])), seed)
    targets = train_y[chosen]
    if len(targets) == 0 or (target_kind == "class" and len(np.unique(targets)) < 2):
        return simple_baseline(train_y, test_rows, test_y, class_names, target_kind)
    inputs = _finite("training inputs", train_x[chosen])
    weight = None if train_weight is None else train_weight[chosen]
    if target_kind == "class":
        probabilities = _predict(_fit_logistic(inputs, targets, max_seconds, weight), test_x, len(class_names))
        return "logistic", Predictions(test_rows, test_y, probabilities=probabilities, class_names=tuple(class_names))
    return "linear", Predictions(test_rows, test_y, values=_predict(_fit_linear(inputs, targets, weight), test_x, 0))


def simple_baseline(
    train_y: np.ndarray,
    test_rows: np.ndarray,
    test_y: np.ndarray | None,
    class_names: Sequence[str],
    target_kind: TargetKind,
) -> tuple[str, Predictions]:
    """Predict the same for every row: the classes' shares, or the mean, of the training rows.

    Args:
        train_y: int class indices [N], or float [N] in the target's unit.
        test_rows: int64 [M], row numbers of the test rows in the source.
        test_y: Targets of the test rows [M]; None where not known.
        class_names: Names of the K classes; empty for numbers.
        target_kind: ``class`` or ``number``.

    Returns:
        ``majority`` or ``mean``, and its predictions.

    Raises:
        DataError: No training rows.
    """
    if len(train_y) == 0:
        raise DataError("a baseline has no training rows to learn from", expected="at least one row")
    if target_kind == "number":
        return "mean", Predictions(test_rows, test_y, values=np.full(len(test_rows), np.mean(train_y, dtype=float)))
    shares = np.bincount(np.asarray(train_y, dtype=np.int64), minlength=len(class_names)) / len(train_y)
    probabilities = np.tile(shares, (len(test_rows), 1))
    return "majority", Predictions(test_rows, test_y, probabilities=probabilities, class_names=tuple(class_names))


def constant_quantiles(train_y: np.ndarray, test: Predictions) -> Predictions:
    """Predict the quantiles of the training rows for every row of a test part that has quantiles.

    Args:
        train_y: float [N] in the target's unit.
        test: Its rows, target and levels are taken.

    Raises:
        DataError: No training rows.
    """
    if len(train_y) == 0:
        raise DataError("a baseline has no training rows to learn from", expected="at least one row")
    quantiles = np.tile(np.quantile(np.asarray(train_y, dtype=np.float64), test.levels), (len(test), 1))
    median = quantiles[:, test.levels.index(0.5)]
    return Predictions(test.rows, test.target, values=median, quantiles=quantiles, levels=test.levels)


def _fit_logistic(inputs: Floats, labels: np.ndarray, max_seconds: float, weight: np.ndarray | None) -> Any:
    # scikit-learn takes half a second to import, which runs without a baseline need not wait for.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    iterations = _affordable_iterations(len(inputs), inputs.shape[1], len(np.unique(labels)), max_seconds)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=iterations))
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        # The limit of iterations is ours, and reaching it is part of the plan.
        warnings.filterwarnings("ignore", message="lbfgs failed to converge", category=ConvergenceWarning)
        return model.fit(inputs, labels, logisticregression__sample_weight=weight)


def _fit_linear(inputs: Floats, targets: np.ndarray, weight: np.ndarray | None) -> Any:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        model = make_pipeline(StandardScaler(), Ridge())
        return model.fit(inputs, np.asarray(targets, dtype=np.float64), ridge__sample_weight=weight)


def _affordable_iterations(num_rows: int, num_features: int, num_classes: int, max_seconds: float) -> int:
    """Iterations of L-BFGS in the time, by costs measured on one core of a server of 2023 (rounded up)."""
    seconds = num_rows * (num_features * (1.0e-9 + 0.3e-9 * num_classes) + 20e-9 * num_classes)
    return int(np.clip(max_seconds / seconds, _MIN_ITERATIONS, _MAX_ITERATIONS))


def _predict(model: Any, test_x: np.ndarray, num_classes: int) -> Floats:
    """Probabilities [M, K], classes unseen in training at 0, or numbers [M] where K is 0; in parts, to spare memory."""
    predicted = np.zeros((len(test_x), num_classes)) if num_classes else np.empty(len(test_x))
    for start in range(0, len(test_x), _PREDICT_ROWS):
        part = slice(start, start + _PREDICT_ROWS)
        inputs = _finite("test inputs", test_x[part])
        if num_classes:
            predicted[part, model.classes_] = model.predict_proba(inputs)
        else:
            predicted[part] = model.predict(inputs)
    return predicted


def _subsample(targets: np.ndarray, num_rows: int, seed: int) -> Ints:
    """At most this many rows, spread evenly over the sorted targets, so that classes keep their shares to one row."""
    if len(targets) <= num_rows:
        return np.arange(len(targets))
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    by_target = shuffled[np.argsort(targets[shuffled], kind="stable")]
    chosen: Ints = np.sort(by_target[np.arange(num_rows) * len(targets) // num_rows])
    return chosen


def _finite(name: str, array: np.ndarray) -> Floats:
    numbers = np.asarray(array, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise DataError(f"the baseline's {name} hold NaN or infinite numbers", hint="impute missing values first")
    return numbers
