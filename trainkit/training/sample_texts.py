"""A sample's target, prediction and features in words, for tables and titles of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from trainkit.types import Inputs

MAX_FEATURES, MAX_LETTERS = 12, 90
"""Features of a sample that a table shows at most, and letters: TensorBoard breaks the words of a wide table."""

MOST_NAMED = 4
"""Numbers of a sample with several that are shown."""


class Sample(NamedTuple):
    """One validation sample.

    Attributes:
        row: Its number in the source, by which samples are sorted.
        inputs: Without the batch's axis.
        predicted: float64 [K] probabilities, or a value [], or several [T].
        target: Class index, or number, or several [T].
    """

    row: int
    inputs: Inputs
    predicted: Tensor
    target: Tensor


def detail_columns(sample: Sample, class_names: Sequence[str]) -> list[str]:
    """Titles of what ``outcome_texts`` gives after the truth and the prediction."""
    if sample.predicted.ndim == 0:
        return ["error"]
    if sample.target.ndim == 0:
        return ["probability", "wrong"]
    return ["wrong"] if class_names else ["largest error"]


def outcome_texts(sample: Sample, class_names: Sequence[str]) -> list[str]:
    """True, predicted, and probability with a mark (of numbers the error, of labels the mark alone), as texts.

    Args:
        sample: With class, labels, a number or several.
        class_names: Names of the classes or labels; empty for numbers.
    """
    if sample.predicted.ndim == 0:
        true, predicted = float(sample.target), float(sample.predicted)
        return [number_text(true), number_text(predicted), number_text(predicted - true)]
    if sample.target.ndim == 0:
        best, truth = int(sample.predicted.argmax()), int(sample.target)
        mark = "✗" if best != truth else ""
        return [class_names[truth], class_names[best], f"{float(sample.predicted[best]):.3f}", mark]
    if not class_names:
        errors = (sample.predicted - sample.target).abs()
        known = errors[~errors.isnan()]
        return [*map(_listed, (sample.target, sample.predicted)), number_text(float(known.max())) if len(known) else ""]
    known = ~sample.target.isnan()
    true_labels, said = (sample.target == 1) & known, (sample.predicted > 0.5) & known
    words = [", ".join(class_names[at] for at in labels.nonzero().flatten().tolist()) for labels in (true_labels, said)]
    return [*(word or "–" for word in words), "✗" if bool((true_labels != said).any()) else ""]


def _listed(values: Tensor) -> str:
    shown = ", ".join(number_text(value) for value in values[:MOST_NAMED].tolist())
    return shown + (", …" if len(values) > MOST_NAMED else "")


def joined(features: dict[str, str]) -> str:
    """Names and values of the first features, as many as fit."""
    text = ""
    for place, (name, value) in enumerate(features.items()):
        longer = text + " · " * bool(text) + f"{name} {value}"
        if place == MAX_FEATURES or (text and len(longer) > MAX_LETTERS):
            return f"{text} · …"
        text = longer
    return text


def number_text(value: float) -> str:
    """A number of four digits, or that it is missing."""
    return "(missing)" if math.isnan(value) else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
