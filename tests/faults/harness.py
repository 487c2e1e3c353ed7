"""A bad input, and what has to come of it: a few lines and nothing left behind, or a run whose numbers are numbers."""

from __future__ import annotations

import io
import json
import math
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from trainkit.cli import FAILED_JOBS, main
from trainkit.errors import TrainkitError, told

SMALLEST = (
    "trainer.max_steps=3",
    "evaluation.resamples=20",
    "evaluation.baseline=false",
    "trainer.threads=1",
    "model=mlp",
    "logger=none",
)
"""Overrides of the shortest run; a bad input's own come after them."""

LONGEST_SECONDS = 60.0
"""Until the user is told, or the short run is done; far more than it takes, for a busy machine."""

LONGEST_MESSAGE = 16
"""Lines of a mistake."""

Maker = Callable[[Path], None]


class Fault(NamedTuple):
    """One bad input to ``trainkit fit``.

    Attributes:
        name: In a few words; the id of its test.
        words: Overrides.
        make: Writes its files into an empty folder, in which the command runs.
        says: Text that the mistake has to hold; None where training is right, empty for either.
        short: Whether the ordinary suite runs it.
    """

    name: str
    words: tuple[str, ...]
    make: Maker
    says: str | None = ""
    short: bool = False


class Outcome(NamedTuple):
    """What came of a bad input.

    Attributes:
        refused: The mistake as told, or None where it trained.
        wrong: What is against the rules, or None.
        traceback: Whether anything but a mistake of the user's was raised.
    """

    refused: str | None
    wrong: str | None = None
    traceback: bool = False


def nothing(folder: Path) -> None:
    """Writes no file."""


def command(folder: Path, *words: str) -> Outcome:
    """What ``trainkit WORDS`` gives in a folder, which has to be the working directory."""
    before, start = sorted(folder.rglob("*")), time.monotonic()
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            options = [word for word in words[1:] if word.startswith("-")]  # which stand before overrides
            code = main([words[0], *options, *(word for word in words[1:] if word not in options)])
    except SystemExit as stop:  # of argparse, which has shown the usage
        return _told(err.getvalue().rpartition("usage: ")[2].splitlines()[-1] + "\n", int(stop.code or 0), [], None)
    except Exception:  # of any class: that it is none of a mistake is what is counted
        return Outcome(None, traceback.format_exc(), traceback=True)
    wrong = _too_long(time.monotonic() - start)
    if code == FAILED_JOBS:  # of a sweep, whose other jobs go on and whose directories stay
        return _told(err.getvalue(), TrainkitError.exit_code, [], wrong)
    if code == 0:
        return Outcome(None, wrong or _nonsense(folder))
    left = sorted(set(folder.rglob("*")) - set(before))
    return _told(err.getvalue(), code, left, wrong)


def call(folder: Path, function: Callable[[], Any]) -> Outcome:
    """What a call from a script gives; the working directory has to be the folder."""
    before, start = sorted(folder.rglob("*")), time.monotonic()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            function()
    except TrainkitError as error:
        left = sorted(set(folder.rglob("*")) - set(before))
        return _told(told(error) + "\n", error.exit_code, left, _too_long(time.monotonic() - start))
    except (Exception, SystemExit):
        return Outcome(None, traceback.format_exc(), traceback=True)
    return Outcome(None, _too_long(time.monotonic() - start) or _nonsense(folder))


def _told(text: str, code: int, left: list[Path], wrong: str | None) -> Outcome:
    lines = text.splitlines()
    if "Traceback" in text:
        return Outcome(text, f"a traceback:\n{text}", traceback=True)
    if code != TrainkitError.exit_code:
        wrong = f"exit code {code}:\n{text}"
    elif left and "at step" not in text:
        wrong = f"left behind: {', '.join(map(str, left))}"
    elif not lines or not lines[0].strip():
        wrong = "nothing is said"
    elif len(lines) > LONGEST_MESSAGE or max(map(len, lines)) > 1_000:
        wrong = f"{len(lines)} lines, the longest of {max(map(len, lines))} characters"
    return Outcome(text, wrong)


def _too_long(seconds: float) -> str | None:
    return f"took {seconds:.0f} s" if seconds > LONGEST_SECONDS else None


def _nonsense(folder: Path) -> str | None:
    """What is no number in the result of a run."""
    for file in folder.glob("runs/**/result.json"):
        result = json.loads(file.read_text())
        if result["status"] != "completed":
            return f"status {result['status']}"
        odd = [name for name, value in _numbers(result["metrics"]) if not math.isfinite(value)]
        if odd:
            return f"no numbers: {', '.join(odd)}"
    return None


def _numbers(tree: Any, name: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _numbers(value, f"{name}.{key}")
    elif isinstance(tree, float | int):
        yield name, float(tree)
