"""Several targets in a report: a table of labels, a plot for each number, and what is little known."""

from __future__ import annotations

import math
import re

import numpy as np

from trainkit.reports.outcomes import read_outcomes
from trainkit.reports.sections import outcomes_section
from trainkit.reports.several import SeveralOutcomes, several_limitations
from trainkit.runs.score import predictions_frame
from trainkit.types import Predictions

TARGET = np.array([[1, 0], [1, 1], [0, math.nan], [1, 0]])
LABELS = Predictions(
    np.arange(4),
    TARGET,
    np.array([[0.9, 0.2], [0.3, 0.8], [0.7, 0.9], [0.6, 0.5]]),
    class_names=("sun", "<sea>"),
    is_multilabel=True,
)
NUMBERS = Predictions(np.arange(4), TARGET * 3, values=TARGET * 2 + 0.5, target_names=("u", "<v>"))


def test_outcomes_of_a_frame_are_those_of_the_predictions() -> None:
    for made in (LABELS, NUMBERS):
        given, read = read_outcomes({"test": made}), read_outcomes(predictions_frame({"test": made}))
        assert isinstance(given, SeveralOutcomes) and isinstance(read, SeveralOutcomes)
        assert (given.names, given.is_label) == (read.names, read.is_label)
        np.testing.assert_array_equal(given.target, read.target)
        np.testing.assert_array_equal(given.predicted, read.predicted)
    blind = Predictions(np.arange(4), None, values=np.ones((4, 2)), target_names=("u", "v"))
    assert read_outcomes({"test": blind}) is None
    assert read_outcomes(predictions_frame({"test": blind})) is None


def test_a_row_for_each_label() -> None:
    page = outcomes_section(read_outcomes({"test": LABELS}))
    assert "&lt;sea&gt;" in page and "<sea>" not in page
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)", row) for row in re.findall(r"<tr>(.*?)</tr>", page)[1:]]
    assert [row[:3] for row in rows] == [["sun", "3", "3"], ["&lt;sea&gt;", "1", "1"]]  # the worst recall first
    assert [[cell[:5] for cell in row[3:]] for row in rows] == [["0.667", "0.667"], ["1.000", "1.000"]]


def test_a_plot_for_each_number() -> None:
    page = outcomes_section(read_outcomes({"test": NUMBERS}))
    assert page.count("<svg") == 2 and "&lt;v&gt;" in page
    many = Predictions(np.arange(4), np.ones((4, 9)), values=np.ones((4, 9)), target_names=tuple("abcdefghi"))
    page = outcomes_section(read_outcomes({"test": many}))
    assert page.count("<svg") == 6 and "3 more targets are not drawn" in page


def test_rare_labels_are_named() -> None:
    outcomes = read_outcomes({"test": LABELS})
    assert isinstance(outcomes, SeveralOutcomes)
    assert several_limitations(outcomes, few_rows=2) == [
        "Fewer than 2 test rows have the label, so that little is known of it: <sea>."
    ]
    assert several_limitations(outcomes, few_rows=1) == [
        "The label found least often is sun: recall 0.667 on test rows."
    ]
    numbers = read_outcomes({"test": NUMBERS})
    assert isinstance(numbers, SeveralOutcomes) and several_limitations(numbers, few_rows=30) == []
