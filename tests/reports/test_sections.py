from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from trainkit.reports import sections
from trainkit.reports.figures import MAX_PAIRS, MAX_POINTS
from trainkit.reports.outcomes import Outcomes, read_outcomes
from trainkit.types import Predictions


def text_of(markup: str) -> str:
    """The words of a section."""
    return " ".join(re.sub(r"<[^>]+>", " ", markup).split())


def test_headline_with_baseline(result: dict[str, Any], config: dict[str, Any]) -> None:
    markup = sections.headline(result, config)
    assert text_of(markup) == (
        "Test accuracy 0.900 90 % interval [0.800, 0.967], 60 rows this model logistic 0.750 0.967 "
        "Better than the logistic baseline on the same rows: +0.050 [+0.010, +0.090]."
    )
    positions = [float(left) for left in re.findall(r"left:([-\d.]+)%", markup)]
    assert all(0 <= position <= 100 for position in positions)
    model, baseline = (float(left) for left in re.findall(r'class="dot \w+" style="left:([\d.]+)%"', markup))
    assert model > baseline


def test_headline_without_baseline_test_part_or_scores(result: dict[str, Any], config: dict[str, Any]) -> None:
    del result["baseline"]
    assert "logistic" not in sections.headline(result, config)
    del result["metrics"]["test"]
    assert text_of(sections.headline(result, config)).startswith("Validation accuracy 0.917 90 % interval")
    assert text_of(sections.headline({}, config)) == "Result This run has no scores yet."


def test_headline_of_equal_points_without_intervals(result: dict[str, Any], config: dict[str, Any]) -> None:
    result["metrics"]["test"]["accuracy"] = {"value": 0.5}
    result["baseline"]["metrics"]["accuracy"] = {"value": 0.5}
    markup = sections.headline(result, config)
    assert "range" not in markup
    assert markup.count('style="left:50.00%"') == 3
    assert "interval –" in text_of(markup)


def test_curves_begin_with_the_loss_and_the_monitored_metric(
    result: dict[str, Any], history: list[tuple[int, int, str, str, float]]
) -> None:
    rows = [(20, 1, "val", "alpha", 0.1), (20, 1, "train", "lr", 0.1), *reversed(history)]
    markup = sections.curves(rows, result)
    assert re.findall("<h3>(.*?)</h3>", markup) == ["loss", "accuracy", "alpha"]
    assert "The dotted line is the best checkpoint." in markup
    assert text_of(markup).endswith("training validation")


def test_curves_take_rows_of_text_and_skip_what_is_not_finite(result: dict[str, Any]) -> None:
    rows = [("20", "1", "val", "loss", "0.5"), ("40", "2", "val", "loss", "nan"), ("60", "3", "val", "f1", "inf")]
    markup = sections.curves(rows, {})
    assert re.findall("<h3>(.*?)</h3>", markup) == ["loss"]
    assert "best checkpoint" not in markup


def test_curves_say_when_they_are_thinned() -> None:
    rows = [(step, 0, "train", "loss", 1.0) for step in range(MAX_POINTS + 1)]
    assert f"{MAX_POINTS} means of equal stretches" in sections.curves(rows, {})
    assert "means of equal" not in sections.curves(rows[:-1], {})


def test_without_history_there_are_no_curves(result: dict[str, Any]) -> None:
    assert sections.curves([], result) == ""


def test_confusion_matrix(predictions: dict[str, Predictions]) -> None:
    markup = sections.outcomes_section(read_outcomes(predictions))
    assert text_of(markup).endswith("true a b c recall rows a 34 6 0 0.850 40 b 0 15 0 1.000 15 c 0 0 5 1.000 5")
    shares = [int(share) for share in re.findall(r"--share:(\d+)%", markup)]
    assert shares == [78, 33, 0, 0, 85, 0, 0, 0, 85]


def test_a_class_without_rows_has_no_recall() -> None:
    outcomes = Outcomes("val", np.array([0]), np.array([0]), ("a", "b"))
    assert text_of(sections.outcomes_section(outcomes)).endswith("b 0 0 – 0")


def test_many_classes_give_the_most_frequent_confusions() -> None:
    names = tuple(f"class {i}" for i in range(30))
    target = np.repeat(np.arange(30), 10)
    predicted = target.copy()
    predicted[:3], predicted[10] = 7, 2
    markup = sections.outcomes_section(Outcomes("test", target, predicted, names))
    assert re.findall("<tbody>(.*)</tbody>", markup) == [
        '<tr><th scope="row">class 0</th><td>class 7</td><td>3</td><td>30.0 % of the class</td></tr>'
        '<tr><th scope="row">class 1</th><td>class 2</td><td>1</td><td>10.0 % of the class</td></tr>'
    ]
    perfect = sections.outcomes_section(Outcomes("test", target, target, names))
    assert "No row was confused." in perfect


@pytest.mark.parametrize(("n", "note"), [(5, ""), (MAX_PAIRS + 1, f" {MAX_PAIRS:,} of {MAX_PAIRS + 1:,} rows")])
def test_numbers_give_predicted_against_true(n: int, note: str) -> None:
    values = np.linspace(0, 1, n)
    markup = sections.outcomes_section(Outcomes("test", values, values, ()))
    assert f"Test rows; on the dashed line both agree.{note}" in markup
    assert markup.count("<svg") == 1


def test_without_predictions_there_is_no_section() -> None:
    assert sections.outcomes_section(None) == ""


def test_metrics_table_has_every_part_and_the_baseline(result: dict[str, Any], config: dict[str, Any]) -> None:
    assert text_of(sections.metrics_table(result, config)) == (
        "Metrics Brackets are 90 % intervals. Test (n 60) Validation (n 60) logistic baseline, test (n 60) "
        "accuracy 0.900 [0.800, 0.967] 0.917 [0.833, 0.983] 0.850 [0.750, 0.933] log_loss 0.310 [0.200, 0.450] – –"
    )


def test_metrics_of_different_rows_name_no_common_n(result: dict[str, Any], config: dict[str, Any]) -> None:
    result["metrics"]["test"]["log_loss"]["n"] = 59
    assert "Test Validation (n 60)" in text_of(sections.metrics_table(result, config))
    assert sections.metrics_table({}, config) == ""


def test_facts_and_configuration(result: dict[str, Any], config: dict[str, Any]) -> None:
    assert "Resumes exactly yes, bit for bit" in text_of(sections.facts(result))
    markup = sections.configuration(config | {"note": "<x> ä"})
    assert "_target_: trainkit.models.MLP" in markup
    assert "note: &lt;x&gt; ä" in markup
