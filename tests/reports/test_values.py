from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from trainkit.reports.values import (
    confidence_text,
    format_bytes,
    format_estimate,
    format_seconds,
    headline_metric,
    read_baseline,
    read_estimate,
    read_metrics,
    read_verdict,
    run_facts,
    run_title,
    short_target,
)
from trainkit.types import Estimate

NAN = math.nan


def test_estimates_are_read_with_or_without_an_interval() -> None:
    assert read_estimate({"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}) == Estimate(0.5, 0.4, 0.6, 10)
    for bare in (0.5, {"value": 0.5}, {"value": 0.5, "low": None, "high": None, "n": None}):
        read = read_estimate(bare)
        assert (read.value, read.n) == (0.5, 0)
        assert math.isnan(read.low)
        assert math.isnan(read.high)
    assert math.isnan(read_estimate({"value": None}).value)


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.9907, 0.9741, 0.9963, 270), "0.991 [0.974, 0.996]"),
        (Estimate(0.99912, 0.9989, 0.9993, 9), "0.9991 [0.9989, 0.9993]"),
        (Estimate(53.214, 47.1, 60.2, 67), "53.21 [47.10, 60.20]"),
        (Estimate(-12345.6, -20000, 1, 67), "−12,346 [−20,000, 1]"),
        (Estimate(0.5, NAN, NAN, 0), "0.500"),
        (Estimate(NAN, NAN, NAN, 0), "–"),
        (Estimate(1.0, 1.0, 1.0, 5), "1.000 [1.000, 1.000]"),
        (Estimate(0.0, 0.0, 1e-12, 5), "0.000000 [0.000000, 0.000000]"),
        (Estimate(math.inf, NAN, NAN, 5), "inf"),
    ],
)
def test_decimals_follow_size_and_interval(estimate: Estimate, text: str) -> None:
    assert format_estimate(estimate) == text


@pytest.mark.parametrize(
    ("low", "high", "better", "words"),
    [
        (0.01, 0.09, "a", "better than"),
        (0.01, 0.09, True, "better than"),
        (-0.09, -0.01, "a", "better than"),
        (0.01, 0.09, "b", "worse than"),
        (-0.09, -0.01, False, "worse than"),
        (-0.01, 0.09, True, "not distinguishable from"),
        (0.0, 0.09, True, "not distinguishable from"),
        (None, None, "a", "not distinguishable from"),
    ],
)
def test_the_verdict_needs_an_interval_without_zero(
    result: dict[str, Any], low: float | None, high: float | None, better: object, words: str
) -> None:
    result["baseline"]["comparison"] |= {"low": low, "high": high, "better": better}
    verdict = read_verdict(result)
    assert verdict is not None
    assert verdict.words == words


def test_the_verdict_is_one_sentence(result: dict[str, Any]) -> None:
    verdict = read_verdict(result)
    assert verdict is not None
    assert verdict.sentence == ("Better than the logistic baseline on the same rows: +0.050 [+0.010, +0.090].")


def test_without_a_baseline_there_is_no_verdict(result: dict[str, Any]) -> None:
    for baseline in (None, {}, {"name": "logistic", "metrics": {}}):
        result["baseline"] = baseline
        assert read_verdict(result) is None
    assert read_baseline({}) == (None, {})


def test_the_headline_is_the_compared_then_the_monitored_then_the_first_metric(result: dict[str, Any]) -> None:
    result["objective"]["name"] = "val/log_loss"
    assert headline_metric(result) == ("test", "accuracy")
    del result["baseline"]
    assert headline_metric(result) == ("test", "log_loss")
    del result["objective"]
    assert headline_metric(result) == ("test", "accuracy")
    del result["metrics"]["test"]
    assert headline_metric(result) == ("validation", "accuracy")
    assert headline_metric({"metrics": None}) is None
    assert read_metrics({}, "test") == {}


def test_facts_of_a_finished_run(result: dict[str, Any]) -> None:
    assert run_facts(result) == {
        "Status": "completed",
        "Objective": "val/accuracy 0.917, higher is better",
        "Optimizer steps": "1,400",
        "Epochs": "20",
        "Time": "total 1 min 15 s, train 1 min 01 s",
        "Training speed": "51,234 samples/s",
        "Peak memory": "2.0 GiB",
        "Seed": "0",
        "Split seed": "3",
        "Data fingerprint": "5d0c2a",
        "Resumes exactly": "yes, bit for bit",
        "Best checkpoint": "checkpoints/step-40.ckpt",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (False, "no"),
        ("data loader of the user", "no: data loader of the user"),
        ({"exact": False, "why": "threads"}, "no: threads"),
        ({"exact": True}, "yes, bit for bit"),
    ],
)
def test_a_resume_that_is_not_exact_says_why(value: object, text: str) -> None:
    assert run_facts({"exact_resume": value}) == {"Resumes exactly": text}


def test_facts_that_a_classical_model_lacks_are_left_out() -> None:
    assert run_facts({"steps": None, "epochs": None, "seconds": 1.44, "seed": 0}) == {"Time": "1.4 s", "Seed": "0"}
    assert run_facts({}) == {}


def test_units() -> None:
    assert [format_seconds(seconds) for seconds in (8.44, 125, 11400)] == ["8.4 s", "2 min 05 s", "3 h 10 min"]
    assert [format_bytes(count) for count in (512 * 2**20, 1536 * 2**20)] == ["512 MiB", "1.5 GiB"]


def test_names_come_from_the_config_or_the_directory(config: dict[str, Any], tmp_path: Path) -> None:
    run_dir = tmp_path / "churn" / "2026-11-23_05-10-02"
    assert run_title(run_dir, config) == "shapes"
    assert run_title(run_dir, {"data": {"name": None, "path": "tables/bank.csv"}}) == "bank"
    assert run_title(run_dir, config | {"run": {"name": "mine"}}) == "mine"
    assert run_title(run_dir, {}) == "churn"
    assert short_target(config, "model") == "MLP"
    assert short_target({}, "model") == "–"
    assert confidence_text(config) == "90 %"
    assert confidence_text({}) == "95 %"
