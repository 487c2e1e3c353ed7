from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from trainkit.reports import write_model_card
from trainkit.types import DataSpec, Predictions

SPEC = DataSpec(
    "table", (9,), "class", ("a", "b", "c"), ("age", "city"), cardinalities=(8,), num_numbers=1, target_name="kind"
)


def sections_of(card: str) -> dict[str, str]:
    _, _, body = card.partition("\n# ")
    return {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in body.split("\n## ")[1:]}


@pytest.fixture
def card(tmp_path: Path, result: dict[str, Any], config: dict[str, Any], predictions: dict[str, Predictions]) -> str:
    path = write_model_card(tmp_path, result, config, SPEC, predictions, notes=["2 rows have an unseen city."])
    assert path == tmp_path / "MODEL_CARD.md"
    return path.read_text(encoding="utf-8")


def test_sections_come_in_order(card: str) -> None:
    assert list(sections_of(card)) == [
        "Model details",
        "Intended use",
        "Training data",
        "Evaluation",
        "Limitations",
        "How it was trained",
        "How to load it",
    ]


def test_front_matter_is_yaml_that_hubs_read(card: str) -> None:
    assert yaml.safe_load(card.split("---\n")[1]) == {
        "library_name": "trainkit",
        "model_name": "shapes",
        "pipeline_tag": "tabular-classification",
        "metrics": ["accuracy", "log_loss"],
    }


def test_the_author_is_asked(card: str) -> None:
    found = sections_of(card)
    assert "**For the author to answer.** Who should use this model" in found["Intended use"]
    assert "**For the author to answer.** Where does the data come from" in found["Training data"]


def test_the_data_is_described(card: str) -> None:
    assert sections_of(card)["Training data"].partition("<!-- /author -->\n\n")[2] == (
        "- **Source:** BundledData\n- **Name:** shapes\n- **Input:** table, 1 numeric and 1 categorical columns\n"
        "- **Target:** kind (class)\n- **Classes (3):** a, b, c\n- **Columns (2):** age, city\n"
        "- **Fingerprint:** 5d0c2a\n- **Split seed:** 3"
    )


def test_the_evaluation_has_intervals_rows_and_baseline(card: str) -> None:
    assert sections_of(card)["Evaluation"] == (
        "| metric | Test | Validation | logistic baseline (test) |\n| --- | --- | --- | --- |\n"
        "| accuracy | 0.900 [0.800, 0.967] | 0.917 [0.833, 0.983] | 0.850 [0.750, 0.933] |\n"
        "| log_loss | 0.310 [0.200, 0.450] | – | – |\n| rows | 60 | 60 | 60 |\n\n"
        "Brackets are 90 % intervals.\n\n"
        "In accuracy: better than the logistic baseline on the same rows: +0.050 [+0.010, +0.090]."
    )


def test_limitations_come_from_the_data(card: str) -> None:
    assert sections_of(card)["Limitations"].splitlines()[:2] == [
        "- 2 rows have an unseen city.",
        "- Fewer than 30 test rows, so that little is known of how well they are told: b, c.",
    ]


def test_the_class_found_least_often_is_named(tmp_path: Path) -> None:
    target = np.repeat([0, 1], 40)
    probabilities = np.eye(2)[np.where(np.arange(80) < 10, 1, target)]
    predicted = {"test": Predictions(np.arange(80), target, probabilities=probabilities, class_names=("a", "b"))}
    text = write_model_card(tmp_path, {}, {}, predictions=predicted).read_text("utf-8")
    assert "- The class found least often is a: recall 0.750 on test rows." in text
    assert "Fewer than" not in text


def test_a_model_no_better_than_the_baseline_says_so(tmp_path: Path, result: dict[str, Any]) -> None:
    result["baseline"]["comparison"]["low"] = -0.01
    text = write_model_card(tmp_path, result | {"status": "interrupted"}, {}).read_text("utf-8")
    assert "- It is not distinguishable from the simpler logistic baseline." in text
    assert "- The training run is interrupted, not completed." in text


def test_loading_names_a_place_that_can_be_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    run_dir = tmp_path / "runs" / "churn" / "2026-11-23_05-10-02"
    run_dir.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    inside = write_model_card(run_dir, {}, config).read_text("utf-8")
    assert 'trainkit.load_run("runs/churn/2026-11-23_05-10-02")' in inside
    monkeypatch.chdir(run_dir)
    elsewhere = write_model_card(run_dir.parent, {}, config).read_text("utf-8")
    assert 'trainkit.load_run("churn")' in elsewhere
    assert str(tmp_path) not in inside + elsewhere


def test_what_the_author_wrote_is_kept(tmp_path: Path, result: dict[str, Any], config: dict[str, Any]) -> None:
    path = write_model_card(tmp_path, {}, {})
    text = path.read_text("utf-8")
    question = text.partition("<!-- author: intended-use -->\n")[2].partition("\n<!-- /author -->")[0]
    path.write_text(text.replace(question, "For sorting shapes.\n\nNot for people."), encoding="utf-8")
    again = write_model_card(tmp_path, result, config).read_text("utf-8")
    assert "For sorting shapes.\n\nNot for people." in sections_of(again)["Intended use"]
    assert "Where does the data come from" in sections_of(again)["Training data"]
    assert "0.900 [0.800, 0.967]" in again


def test_names_are_never_markup(tmp_path: Path, result: dict[str, Any]) -> None:
    result["metrics"]["test"] = {"a|b": {"value": 1}, "<b>": {"value": 1}, "my_name": {"value": 1}, "_x_": {"value": 1}}
    config = {"run": {"name": "[click](there)\n# *new*"}}
    text = write_model_card(tmp_path, result, config).read_text("utf-8")
    assert "# [click]\\(there) # \\*new\\*\n" in text
    for name in ("| a\\|b |", "| &lt;b> |", "| my_name |", "| \\_x\\_ |"):
        assert name in text


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (DataSpec("image", (1, 8, 8), "class", ("x", "y")), "- **Input:** image 1 × 8 × 8\n"),
        (DataSpec("vector", (3,), "number"), "- **Input:** vector 3\n- **Target:** target (number)"),
        (DataSpec("other", (), "number"), "- **Input:** other\n"),
    ],
)
def test_other_inputs(tmp_path: Path, spec: DataSpec, text: str) -> None:
    assert text in write_model_card(tmp_path, {}, {}, spec).read_text("utf-8")


def test_a_run_without_scores(tmp_path: Path) -> None:
    assert "This run has no scores." in write_model_card(tmp_path, {}, {}).read_text("utf-8")
