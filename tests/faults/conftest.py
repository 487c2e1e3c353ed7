"""A folder in which commands run, and the tally of bad inputs, which the last line of the tests gives."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import Outcome


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the working directory of the test."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command line adds the working directory
    return folder


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Callable[[Outcome], None]:
    """Counts an outcome; what is recorded with a test's report reaches the summary from other processes too."""

    def count(outcome: Outcome) -> None:
        record_property("bad input", int(outcome.traceback))

    return count


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    counted = [value for report in reports for name, value in report.user_properties if name == "bad input"]
    if counted:
        terminalreporter.write_line(f"bad inputs {len(counted)} · tracebacks {sum(counted)}")
