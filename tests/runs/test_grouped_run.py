"""A run whose rows come in groups: its intervals draw whole groups, now and when it is scored again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import trainkit as tk
from trainkit.evaluation import score
from trainkit.rundir import RunDirectory
from trainkit.runs.result import Result
from trainkit.runs.score import saved_predictions
from trainkit.types import DataSpec

Cli = Callable[..., Any]
QUICK = ("model=mlp", "model.hidden=[4]", "trainer.max_epochs=1", "trainer.threads=1", "evaluation.resamples=200")


def patients(path: Path, num_patients: int = 100, visits: int = 12) -> None:
    """Visits of patients, each of whom has an effect of his own on what is measured."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(num_patients), visits)
    x = rng.normal(size=len(patient))
    y = x + 2 * rng.normal(size=num_patients)[patient] + 0.1 * rng.normal(size=len(patient))
    texts = [f"p{number}" for number in patient]
    pd.DataFrame({"patient": texts, "x": x, "z": rng.normal(size=len(x)), "y": y}).to_csv(path, index=False)


def test_intervals_and_the_bar_are_of_groups_and_stay_so(cli: Cli, tmp_path: Path) -> None:
    patients(tmp_path / "t.csv")
    common = ("fit", "data=table", "data.path=t.csv", "data.target=y", "data.group=patient", *QUICK)
    code, out, err = cli(*common, "run.dir=run")
    assert (code, err) == (0, "")
    assert " · grouped by patient (70/15/15 groups), split seed 0\n" in out
    run = RunDirectory(tmp_path / "run")
    frame = pd.read_parquet(run.predictions)
    source = pd.read_csv(tmp_path / "t.csv")
    assert frame["group"].tolist() == source["patient"][frame["row"]].tolist()
    result = Result.load(run)
    assert {estimate.method for estimate in result.test.values()} == {"bootstrap of 15 groups"}
    assert result.baseline["comparison"]["method"] == "bootstrap of 15 groups"
    assert result.baseline["metrics"]["rmse"]["method"] == "bootstrap of 15 groups"
    saved = saved_predictions(run, "test", DataSpec("table", (1,), "number"))
    assert result.test == score(saved, resamples=200)
    rows = score(replace(saved, groups=None), resamples=200)["rmse"]
    assert result.test["rmse"].n == rows.n == 180
    assert result.test["rmse"].high - result.test["rmse"].low > 2 * (rows.high - rows.low)

    for source_text in ("the run's own data, unchanged", "saved predictions"):
        again = tk.evaluate(run.path)
        assert again.test == result.test and {one.method for one in again.test.values()} == {"bootstrap of 15 groups"}
        code, out, _ = cli("evaluate", "run")
        assert (code, out.splitlines()[0].startswith(f"data   {source_text}")) == (0, True)
        (tmp_path / "t.csv").unlink(missing_ok=True)


def test_one_group_in_the_test_part_is_scored_without_an_interval(cli: Cli, tmp_path: Path) -> None:
    patients(tmp_path / "t.csv", num_patients=3, visits=40)
    common = ("fit", "data=table", "data.path=t.csv", "data.target=y", "data.group=patient", *QUICK)
    code, out, err = cli(*common, "run.dir=run")
    assert (code, err) == (0, "")
    (line,) = [line for line in out.splitlines() if line.startswith("test ")]
    assert "[" not in line and line.endswith(" · n 40")
    (bar,) = [line for line in out.splitlines() if line.startswith("bar ")]
    assert "not distinguishable (" in bar and bar.endswith(", no interval)")
    assert (tmp_path / "run" / "report.html").is_file() and (tmp_path / "run" / "MODEL_CARD.md").is_file()
    assert np.isnan(tk.evaluate(tmp_path / "run").test["rmse"].low)


def test_groups_of_arrays_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(40), 5)
    np.savez("a.npz", x=rng.normal(size=(200, 3)), y=rng.integers(0, 2, 40)[group], g=group)
    settings = ["data=arrays", "data.path=a.npz", "data.group=g", *QUICK, "run.dir=run"]
    result = tk.fit(tk.compose(settings))
    assert result.test["accuracy"].method == "bootstrap of 6 groups"
    assert pd.read_parquet(tmp_path / "run" / "predictions.parquet")["group"].nunique() == 12
