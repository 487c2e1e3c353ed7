"""Predictions of one split in the form the report draws: a confusion count for classes, pairs for numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainkit.errors import RunError
from trainkit.reports.several import SeveralOutcomes, several_in, several_of
from trainkit.types import Predictions

if TYPE_CHECKING:
    import pandas as pd

    AnyPredictions = pd.DataFrame | Mapping[str, Predictions]

PREFERRED_SPLITS = ("test", "validation", "val")


@dataclass(frozen=True)
class Outcomes:
    """True and predicted values of the rows of one split whose target is known.

    Attributes:
        split: Name of the split.
        target: int64 [N] class indices or float64 [N].
        predicted: Same as ``target``.
        class_names: Names of the K classes; empty for numbers.
    """

    split: str
    target: np.ndarray
    predicted: np.ndarray
    class_names: tuple[str, ...]

    def confusion(self) -> np.ndarray:
        """Counts int64 [K, K]: rows are the true class, columns the predicted one."""
        k = len(self.class_names)
        counts = np.bincount(self.target.astype(np.int64) * k + self.predicted.astype(np.int64), minlength=k * k)
        return counts.reshape(k, k)


def read_outcomes(predictions: AnyPredictions | None) -> Outcomes | SeveralOutcomes | None:
    """The test rows, or the validation rows where nothing else was predicted.

    Args:
        predictions: A run's ``predictions.parquet`` as a frame (``row, split, target, prediction, p_<class>…``), or
            ``Predictions`` by split name.

    Returns:
        The outcomes, or None where no row has a target.

    Raises:
        RunError: The frame names a class that has no probability column.
    """
    if predictions is None:
        return None
    if isinstance(predictions, Mapping):
        found = [_from_predictions(split, predictions[split]) for split in _ordered(predictions)]
    else:
        found = [_from_frame(split, predictions) for split in _ordered(predictions["split"])]
    return next((outcomes for outcomes in found if outcomes is not None and len(outcomes.target)), None)


def _ordered(splits: Iterable[str]) -> list[str]:
    names = dict.fromkeys(splits)
    return [
        *(name for name in PREFERRED_SPLITS if name in names),
        *(name for name in names if name not in PREFERRED_SPLITS),
    ]


def _from_predictions(split: str, predictions: Predictions) -> Outcomes | SeveralOutcomes | None:
    several = several_of(split, predictions)
    if several is not None or predictions.target is None:
        return several
    if predictions.probabilities is not None:
        predicted = predictions.probabilities.argmax(axis=1)
    else:
        predicted = np.asarray(predictions.values)
    return Outcomes(split, predictions.target, predicted, predictions.class_names)


def _from_frame(split: str, frame: pd.DataFrame) -> Outcomes | SeveralOutcomes | None:
    if "target" not in frame.columns:
        return several_in(split, frame)
    rows = frame[(frame["split"] == split) & frame["target"].notna()]
    names = tuple(str(column)[2:] for column in frame.columns if str(column).startswith("p_"))
    if not names:
        return Outcomes(split, rows["target"].to_numpy(np.float64), rows["prediction"].to_numpy(np.float64), ())
    target, predicted = (_class_indices(rows[column], names) for column in ("target", "prediction"))
    return Outcomes(split, target, predicted, names)


def _class_indices(labels: pd.Series, names: tuple[str, ...]) -> np.ndarray:
    index = {name: position for position, name in enumerate(names)}
    texts = [str(label) for label in labels]
    if unknown := sorted(set(texts) - index.keys()):
        raise RunError(
            f"the predictions name the class {unknown[0]!r}, which has no probability column",
            where=f"column {labels.name}",
            expected=f"one of {', '.join(names[:20])}",
        )
    return np.array([index[text] for text in texts], dtype=np.int64)
