"""The comparison on real tables: its arithmetic by hand-made numbers, and a run that is not repeated."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "tables.py"))


def test_the_interval_allows_for_splits_that_share_rows(tables: dict[str, Any]) -> None:
    mean, half = tables["corrected"]([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3.0
    assert half == pytest.approx(2.776445 * 2.5**0.5 * (1 / 5 + 0.15 / 0.7) ** 0.5, rel=1e-6)


def test_ranks_follow_the_direction_of_each_metric(tables: dict[str, Any]) -> None:
    values = [("a", "x", 0, "auroc", 0.9), ("a", "y", 0, "auroc", 0.8), ("b", "x", 0, "rmse", 3.0)]
    values += [("b", "y", 0, "rmse", 2.0), ("c", "x", 0, "rmse", 1.0), ("c", "y", 0, "rmse", 1.0)]
    scores = [tables["Score"](*value, 0.0) for value in values]
    assert tables["ranks"](scores) == {"x": 1.5, "y": 1.5}
    assert tables["ranks"](scores[:2]) == {"x": 1.0, "y": 2.0}


def test_a_finished_run_is_not_repeated(
    tables: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tables["scored"]("breast_cancer", "linear", 1, tmp_path)
    changed = (tmp_path / "breast_cancer" / "linear-1" / "model.skops").stat().st_mtime_ns
    assert tables["scored"]("breast_cancer", "linear", 1, tmp_path) == first
    assert (tmp_path / "breast_cancer" / "linear-1" / "model.skops").stat().st_mtime_ns == changed
    assert (first.metric, first.value > 0.9) == ("auroc", True)
    assert capsys.readouterr().out == ""


def test_the_kept_results_are_those_of_all_tables_models_and_seeds(tables: dict[str, Any]) -> None:
    rows = (FOLDER / "results" / "tables.csv").read_text(encoding="utf-8").splitlines()[1:]
    kept = {tuple(row.split(",")[:3]) for row in rows}
    assert kept == {(t, m, str(s)) for t in tables["TABLES"] for m in tables["MODELS"] for s in range(5)}
