"""The comparison on real tables: its arithmetic by hand-made numbers, and a run that is not repeated."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from benchmarks import summary
from benchmarks.measuring import rows_of

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


def test_the_readme_shows_what_was_measured() -> None:
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert "\n".join(summary.lines()) in readme


def test_ratios_are_of_measurements_side_by_side_and_say_whose() -> None:
    values = {"hand loop": [10.0, 20.0, 10.0], "trainkit": [20.0, 20.0, 15.0]}
    hand, ours = rows_of("case", "throughput", "samples/s", values)
    assert (hand.ratio, hand.value, hand.spread) == (None, 10.0, (10.0, 20.0))
    assert (ours.ratio, ours.value) == (1.5, 20.0)
    assert ours.to_json()["ratio_to_hand_loop"] == 1.5
    other = rows_of("case", "seconds", "s", {"a": [2.0], "b": [3.0]}, bar="a")[1]
    assert (other.ratio, other.to_json()["ratio_to_hand_loop"]) == (1.5, None)


def test_a_number_that_falls_short_is_marked(tmp_path: Path) -> None:
    target = summary.Target("a", "x", "case", "speed", 1.5)
    row = {"case": "case one", "who": "trainkit", "what": "speed", "value": 3.0, "ratio": 1.25}
    older = [row | {"ratio": 9.0}]
    (tmp_path / "x_2026-01-01.json").write_text(json.dumps(older))
    (tmp_path / "x_2026-02-01.json").write_text(json.dumps([row]))
    assert summary.measured(target, tmp_path) == 1.25
    with pytest.raises(LookupError, match="nothing was measured of 'a'"):
        summary.measured(target._replace(case="another"), tmp_path)
