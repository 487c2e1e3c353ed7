"""How well a run tells several targets of a row: a table of labels, or predicted against true numbers of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainkit.evaluation import wilson
from trainkit.reports.figures import MAX_PAIRS, draw_pairs
from trainkit.reports.page import Markup, element, section, table
from trainkit.reports.values import SPLIT_TITLES, format_number
from trainkit.types import Predictions

if TYPE_CHECKING:
    import pandas as pd

TARGET, PREDICTION, PROBABILITY = "target_", "prediction_", "p_"
"""How columns of ``predictions.parquet`` begin, before the name of a target."""

MOST_DRAWN = 6
"""Numbers that are drawn; of more, the metrics tell."""


@dataclass(frozen=True)
class SeveralOutcomes:
    """True and predicted values of the rows of one split, of several targets.

    Attributes:
        split: Name of the split.
        names: Of the T targets.
        target: float64 [N, T], NaN where one is missing.
        predicted: Probabilities of labels, or numbers, float64 [N, T].
        is_label: Whether they are labels.
    """

    split: str
    names: tuple[str, ...]
    target: np.ndarray
    predicted: np.ndarray
    is_label: bool


def several_of(split: str, predictions: Predictions) -> SeveralOutcomes | None:
    """The outcomes of predictions of several targets; None of one target, or of targets that are not known."""
    names = predictions.class_names if predictions.is_multilabel else predictions.target_names
    if not names or predictions.target is None:
        return None
    made = predictions.probabilities if predictions.is_multilabel else predictions.values
    target = np.asarray(predictions.target, np.float64)
    return SeveralOutcomes(split, names, target, np.asarray(made), predictions.is_multilabel)


def several_in(split: str, frame: pd.DataFrame) -> SeveralOutcomes | None:
    """As ``several_of``, from a table that a run saved."""
    names = tuple(str(column).removeprefix(TARGET) for column in frame.columns if str(column).startswith(TARGET))
    if not names or "target" in frame.columns:
        return None
    rows = frame[frame["split"] == split]
    is_label = all(f"{PROBABILITY}{name}" in frame.columns for name in names)
    start = PROBABILITY if is_label else PREDICTION
    arrays = [rows[[f"{first}{name}" for name in names]].to_numpy(np.float64) for first in (TARGET, start)]
    return SeveralOutcomes(split, names, arrays[0], arrays[1], is_label)


def several_section(outcomes: SeveralOutcomes) -> Markup:
    """A row for each label, the worst recall first; or a scatter plot for each of the first few numbers."""
    split = SPLIT_TITLES.get(outcomes.split, outcomes.split)
    return _labels_section(outcomes, split) if outcomes.is_label else _numbers_section(outcomes, split)


def _labels_section(outcomes: SeveralOutcomes, split: str) -> Markup:
    columns = ("label", "rows with it", "predicted", "recall", "precision")
    found = sorted(_counts(outcomes), key=lambda row: (row[2] / row[1] if row[1] else math.inf, row[0]))
    rows = [
        (name, f"{true:,}", f"{said:,}", _share(hits, true), _share(hits, said)) for name, true, hits, said in found
    ]
    note = f"{split} rows; a label is predicted where its probability is above one half. Brackets are 95 % intervals."
    return section("Labels", table(columns, rows), note=note)


def _counts(outcomes: SeveralOutcomes) -> Iterator[tuple[str, int, int, int]]:
    """Name, rows that have the label, those of them that are found, and rows that are said to have it."""
    for name, target, predicted in zip(outcomes.names, outcomes.target.T, outcomes.predicted.T, strict=True):
        said = (predicted > 0.5) & ~np.isnan(target)
        yield name, int((target == 1).sum()), int((said & (target == 1)).sum()), int(said.sum())


def _share(part: int, whole: int) -> str:
    if not whole:
        return "–"
    low, high = (format_number(end, 3) for end in wilson(part / whole, whole))
    return f"{format_number(part / whole, 3)} [{low}, {high}]"


def _numbers_section(outcomes: SeveralOutcomes, split: str) -> Markup:
    figures = []
    for place, name in enumerate(outcomes.names[:MOST_DRAWN]):
        known = ~np.isnan(outcomes.target[:, place])
        if known.any():
            pairs = (outcomes.target[known, place], outcomes.predicted[known, place])
            drawn = Markup(draw_pairs(*pairs, prefix=f"pairs{place}"))
            figures.append(element("figure", element("h3", name), drawn, class_="square"))
    more = len(outcomes.names) - MOST_DRAWN
    note = f"{split} rows; on the dashed line both agree." + (
        f" {more} more targets are not drawn." if more > 0 else ""
    )
    if len(outcomes.target) > MAX_PAIRS:
        note += f" {MAX_PAIRS:,} of {len(outcomes.target):,} rows are drawn."
    return section("Predicted against true", element("div", *figures, class_="figures"), note=note)


def several_limitations(outcomes: SeveralOutcomes, few_rows: int) -> list[str]:
    """What is little known of labels, in sentences.

    Args:
        outcomes: Of labels or numbers.
        few_rows: Rows with a label below which its recall says little.
    """
    if not outcomes.is_label:
        return []
    part = SPLIT_TITLES.get(outcomes.split, outcomes.split).lower()
    counts = list(_counts(outcomes))
    rare = [name for name, true, _, _ in counts if true < few_rows]
    found = []
    if rare:
        names = ", ".join(rare[:10]) + (f" and {len(rare) - 10} more" if len(rare) > 10 else "")
        found.append(f"Fewer than {few_rows} {part} rows have the label, so that little is known of it: {names}.")
    recalls = {name: hits / true for name, true, hits, _ in counts if true >= few_rows}
    if len(recalls) > 1:
        worst = min(recalls, key=lambda name: recalls[name])
        found.append(f"The label found least often is {worst}: recall {recalls[worst]:.3f} on {part} rows.")
    return found
