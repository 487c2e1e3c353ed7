"""Files from a stranger: nothing in them is run, and what they say is shown as text."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.faults.conftest import ONE_THREAD, Runs, call
from tests.faults.payloads import copied_scene
from tests.faults.strangers import PAYLOADS
from trainkit.errors import TrainkitError
from trainkit.rundir import RunDirectory


@pytest.fixture(scope="session")
def classical(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    place = tmp_path_factory.mktemp("classical") / "run"
    said = call("fit", "data=wine", "model=logistic", "evaluation.resamples=20", f"run.dir={place}", ONE_THREAD)
    assert said.code == 0, said.text
    return RunDirectory(place)


def carry_out(payloads: Iterable[str], runs: Runs, classical: RunDirectory, place: Path) -> str:
    """Uses each of them as a user would; the tally."""
    given = {"finished": runs.finished, "interrupted": runs.interrupted, "classical": classical}
    count, executed, tracebacks = 0, [], []
    for count, name in enumerate(payloads, start=1):
        scene = copied_scene(given, place / str(count))
        os.chdir(scene.folder)
        for module in ("evil_module.py", "hubconf.py"):
            Path(module).write_text(f"open({str(scene.marker)!r}, 'w')\ndef x(): return None\n")
        try:
            PAYLOADS[name](scene)
        except TrainkitError:
            pass
        except Exception:  # of any class: all of them fail the test below
            tracebacks.append(f"{name}\n{traceback.format_exc(limit=-6)}")
        if scene.marker.exists() or (place / "MARKER").exists():
            executed.append(name)
    assert not executed
    assert not tracebacks, "\n\n".join(tracebacks)
    return f"hostile files executed {len(executed)} of {count}"


def test_nothing_is_executed(runs: Runs, classical: RunDirectory, tmp_path: Path) -> None:
    assert carry_out(list(PAYLOADS)[::8], runs, classical, tmp_path)


@pytest.mark.faults
@pytest.mark.timeout(3_600)
def test_nothing_of_all_is_executed(
    runs: Runs, classical: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = carry_out(PAYLOADS, runs, classical, tmp_path)
    with capsys.disabled():
        print(f"\n{tally}")


SCRIPT = "<script>alert(1)</script>"
HOSTILE_TEXTS = (
    SCRIPT,
    '"><img src=x onerror=alert(1)>',
    "</style><svg onload=alert(1)>",
    "[x](javascript:alert(1))",
    'a`b` ```"c',
)


class Tags(HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [tag, *(name for name, _ in attrs), *(value or "" for name, value in attrs if name == "href")]


def active(page: str) -> list[str]:
    """What in a page would run or load something."""
    tags = Tags()
    tags.feed(page)
    return [
        text for text in tags.found if text in ("script", "iframe", "object") or text.startswith(("on", "javascript"))
    ]


@pytest.mark.parametrize("hostile", HOSTILE_TEXTS)
def test_names_are_shown_as_text(hostile: str, tmp_path: Path) -> None:
    import pandas as pd

    generator = np.random.default_rng(0)
    labels = np.array([f"no {hostile}", f"yes {hostile}"])[generator.integers(0, 2, 200)]
    frame = pd.DataFrame(
        {f"a {hostile}": generator.normal(size=200), "b": [hostile, "fine"] * 100, f"y {hostile}": labels}
    )
    name = hostile.replace("/", "_")
    frame.to_csv(f"{name}.csv", index=False)
    import trainkit as tk

    quoted = ["evaluation.resamples=20", "evaluation.baseline=false", ONE_THREAD, "data=table", "model=mlp"]
    config = tk.compose(["data.path=x.csv", "data.target=y", *quoted])
    config.data.path, config.data.target = f"{name}.csv", f"y {hostile}"
    config.run.name, config.trainer.max_steps = name, 3
    result = tk.fit(config)
    assert result.run_dir is not None
    run = RunDirectory(result.run_dir)
    assert active(run.report.read_text()) == []
    card = run.model_card.read_text().partition("\n---\n")[2]
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", card, flags=re.DOTALL)
    assert not re.search(r"<(script|img|svg)|\]\(javascript", prose)
    assert len(re.findall(r"(?<!\\)`", card)) == 8


def test_the_tags_are_seen() -> None:
    pages: dict[str, Callable[[str], Any]] = {"plain": str}
    assert all(active(read(f"<p>{SCRIPT}<a href='javascript:x' onclick=y>")) for read in pages.values())
