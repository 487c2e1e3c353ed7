from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from trainkit.errors import RunError
from trainkit.reports import write_report
from trainkit.types import Predictions

VOID = {"meta", "br", "hr", "img", "link", "input"}
HOSTILE = "<script>alert(1)</script>\"'&"


class Checker(HTMLParser):
    """Fails on tags that do not nest, and collects everything that could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"script", "link", "img", "iframe", "object", "embed", "base", "form"} or "src" in given:
            self.loads.append(tag)
        self.loads += [value for key, value in attrs if key == "href" and value and not value.startswith("#")]
        self.loads += [key for key, _ in attrs if key.startswith("on")]
        self.ids += [value for key, value in attrs if key == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert checker.loads == []
    assert len(checker.ids) == len(set(checker.ids))
    for address in ("http:", "https:", "//", "@import", "url(h"):
        assert address not in page
    return checker


def test_the_page_is_whole_and_loads_nothing(
    tmp_path: Path,
    result: dict[str, Any],
    config: dict[str, Any],
    history: list[tuple[int, int, str, str, float]],
    predictions: dict[str, Predictions],
) -> None:
    path = write_report(tmp_path, result, config, history, predictions, notes=["2 rows have an unseen city."])
    page = path.read_text(encoding="utf-8")
    check(page)
    assert path == tmp_path / "report.html"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    headings = ["Notes on the data", "Learning curves", "Confusion", "Metrics", "Run", "Configuration"]
    places = [page.index(f"<h2>{heading}</h2>") for heading in headings]
    assert places == sorted(places)
    assert "2 rows have an unseen city." in page
    assert 'class="alert"' not in page


def test_the_same_run_gives_the_same_page(
    tmp_path: Path, result: dict[str, Any], config: dict[str, Any], history: list[tuple[int, int, str, str, float]]
) -> None:
    first = write_report(tmp_path, result, config, history).read_bytes()
    assert write_report(tmp_path, result, config, history).read_bytes() == first


def test_everything_a_user_can_name_is_escaped(tmp_path: Path, result: dict[str, Any], config: dict[str, Any]) -> None:
    result["status"] = result["data_fingerprint"] = result["baseline"]["name"] = HOSTILE
    result["objective"]["name"] = f"val/{HOSTILE}"
    result["metrics"]["test"][HOSTILE] = {"value": 0.1}
    config |= {"run": {"name": HOSTILE}, "model": {"_target_": HOSTILE}, HOSTILE: HOSTILE}
    predicted = Predictions(np.arange(2), np.array([0, 1]), probabilities=np.eye(2), class_names=(HOSTILE, "b"))
    history = [(1, 0, "val", HOSTILE, 0.5), (1, 0, HOSTILE, "loss", 0.5)]
    page = write_report(tmp_path, result, config, history, {"test": predicted}, notes=[HOSTILE]).read_text("utf-8")
    check(page)
    assert "<script" not in page
    assert page.count("alert(1)") > 10


def test_a_classical_model_has_no_curves(tmp_path: Path, result: dict[str, Any], config: dict[str, Any]) -> None:
    result |= {"steps": None, "epochs": None, "samples_per_second": None, "best_checkpoint": None}
    page = write_report(tmp_path, result, config).read_text("utf-8")
    check(page)
    assert "Learning curves" not in page
    assert "Optimizer steps" not in page


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_an_unfinished_run_says_so(tmp_path: Path, status: str) -> None:
    page = write_report(tmp_path, {"status": status}, {}).read_text("utf-8")
    check(page)
    assert f"This run is {status}: numbers below are of the part that ran." in page


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, config: dict[str, Any]) -> None:
    import pandas as pd

    old = write_report(tmp_path, {}, config).read_bytes()
    frame = pd.DataFrame({"split": ["test"], "target": ["x"], "prediction": ["y"], "p_y": [1.0]})
    with pytest.raises(RunError, match="the class 'x'"):
        write_report(tmp_path, {}, config, predictions=frame)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("report.html", old)]


def test_a_long_run_is_small_and_quick(tmp_path: Path, result: dict[str, Any], config: dict[str, Any]) -> None:
    rows = [(step, 0, split, f"metric{i}", 0.5) for step in range(5000) for split in ("train", "val") for i in range(6)]
    values = np.linspace(0, 1, 100_000)
    predicted = {"test": Predictions(np.arange(len(values)), values, values=values)}
    write_report(tmp_path, result, config, rows[:1], predicted)
    start = perf_counter()
    path = write_report(tmp_path, result, config, rows, predicted)
    assert perf_counter() - start < 4  # about 1 s; the rest is for a busy machine
    assert path.stat().st_size < 500_000
