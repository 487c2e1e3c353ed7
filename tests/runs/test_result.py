from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import trainkit as tk
from trainkit.rundir import RunDirectory
from trainkit.runs.result import Result
from trainkit.types import Estimate


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    result = Result(
        status="completed",
        run_dir=tmp_path,
        test={"accuracy": Estimate(0.9, 0.8, 1.0, n=10, method="wilson")},
        validation={"accuracy": Estimate(0.7, 0.6, 0.8, n=9)},
        objective_name="val/accuracy",
        objective_mode="max",
        objective=0.7,
        baseline={"name": "majority"},
        facts={"steps": 4, "seconds": {"train": 1.5}},
    )
    result.save()
    assert Result.load(RunDirectory(tmp_path)) == result
    assert str(result.test["accuracy"]) == "0.900 [0.800, 1.000]" and float(result.test["accuracy"]) == 0.9
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.status = "failed"  # type: ignore[misc]


def test_a_failed_one_says_why(tmp_path: Path) -> None:
    failed = Result("failed", tmp_path, error="ValueError: no", facts={"seed": 1})
    failed.save()
    assert Result.load(RunDirectory(tmp_path)) == failed
    assert "error" not in Result("completed", tmp_path).to_json()


def test_one_that_is_missing_or_damaged(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with pytest.raises(tk.RunError, match="is missing"):
        Result.load(run)
    run.result.write_text("{")
    with pytest.raises(tk.RunError, match="cannot be read"):
        Result.load(run)
