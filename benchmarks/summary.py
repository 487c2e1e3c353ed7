"""The README's table of speed, ``python -m benchmarks summary``: each target beside what was measured last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measuring import FLOOR, OURS

RESULTS = Path(__file__).parent / "results"


class Target(NamedTuple):
    """A number that is held to.

    Attributes:
        words: For the table.
        benchmark: That measures it.
        case: How the case of its row begins.
        what: What is measured.
        bound: The target.
        is_least: Whether at least that is wanted; else at most.
        by: ``ratio`` to the bar, ``value``, or ``floor``: the ratio to forward and backward alone.
        who: Whose row.
    """

    words: str
    benchmark: str
    case: str
    what: str
    bound: float
    is_least: bool = True
    by: str = "ratio"
    who: str = OURS


SMALL, NORMED, CNN = "MLP 64-128-10", "MLP 784-64-128-64-10", "CNN 32-64-128"
TRAINING, VALIDATION = "training throughput", "validation throughput"

TARGETS = (
    Target("training ÷ loop by hand, MLP 64-128-10", "throughput", f"{SMALL}, batch 64, 1 thread", TRAINING, 1.5),
    Target("the same, MLP 784-64-128-64-10 with BatchNorm", "throughput", f"{NORMED}, BatchNorm", TRAINING, 1.5),
    Target("the same, CNN 32-64-128, crop and flip, 2 threads", "throughput", CNN, TRAINING, 1.0),
    Target("training ÷ forward and backward alone, MLP 64-128-10", "throughput", SMALL, TRAINING, 0.75, by="floor"),
    Target("the same, with BatchNorm", "throughput", NORMED, TRAINING, 0.75, by="floor"),
    Target(
        "own Dataset ÷ loop over a DataLoader, MLP 64-128-10",
        "throughput",
        f"{SMALL}, batch 64, 1 thread, own",
        TRAINING,
        0.95,
    ),
    Target("the same, with BatchNorm", "throughput", f"{NORMED}, BatchNorm, batch 64, 1 thread, own", TRAINING, 0.95),
    Target("validation ÷ loop by hand, MLP 64-128-10", "throughput", SMALL, VALIDATION, 0.95),
    Target("the same, with BatchNorm", "throughput", NORMED, VALIDATION, 0.95),
    Target("training ÷ plain Lightning, 60,000 images of 28×28", "throughput", "60,000 images", TRAINING, 9),
    Target("whole process ÷ plain Lightning's, 2 epochs of them", "throughput", "60,000 images", "whole process", 4),
    Target("`trainkit --help`, seconds", "startup", "start", "whole command", 0.5, False, "value", "trainkit --help"),
    Target(
        "`trainkit fit --cfg job`, seconds, torch not imported",
        "startup",
        "start",
        "whole command",
        1.0,
        is_least=False,
        by="value",
        who="trainkit fit --cfg job",
    ),
    Target(
        "start of a process to its first step ÷ `import torch, lightning`",
        "startup",
        "start",
        "process start to first step",
        1.3,
        is_least=False,
    ),
    Target(
        "one more job of a multirun beyond its training, seconds",
        "sweep",
        "multirun",
        "a further job beyond its training",
        0.3,
        is_least=False,
        by="value",
    ),
    Target(
        "share of checkpoints, 10 M parameters, every 50 steps, 1 of 2 cores training",
        "checkpoint",
        "10 M parameters, batch 128, a save every 50 steps, threads: 1",
        "share of the training time",
        0.03,
        is_least=False,
        by="value",
    ),
    Target(
        "the same, both cores training",
        "checkpoint",
        "10 M parameters, batch 128, a save every 50 steps, threads: 2",
        "share of the training time",
        0.03,
        is_least=False,
        by="value",
    ),
    Target("2 processes ÷ 1, CNN", "process", "CNN on images", TRAINING, 1.7, who="2 processes"),
)


def newest(benchmark: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Rows of the last results that are kept of a benchmark."""
    path = max(folder.glob(f"{benchmark}_*.json"))
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def measured(target: Target, folder: Path = RESULTS) -> float:
    """What was measured of a target.

    Raises:
        LookupError: No row is about it.
    """
    rows = [row for row in newest(target.benchmark, folder) if row["what"] == target.what]
    for row in rows:
        if row["who"] == target.who and row["case"].startswith(target.case):
            if target.by == "floor":
                floor = next(other for other in rows if other["case"] == row["case"] and other["who"] == FLOOR)
                return float(row["value"] / floor["value"])
            return float(row[target.by])
    raise LookupError(f"nothing was measured of '{target.words}'")


def lines(folder: Path = RESULTS) -> Iterator[str]:
    """The table in Markdown, and the machine."""
    yield "| what | wanted | measured |"
    yield "|---|---|---|"
    for target in TARGETS:
        value = measured(target, folder)
        is_met = value >= target.bound if target.is_least else value <= target.bound
        wanted = f"{'≥' if target.is_least else '≤'} {target.bound:g}"
        yield f"| {target.words} | {wanted} | {value:.3g}{'' if is_met else ' (short)'} |"
    machine = newest("throughput", folder)[0]["machine"]
    yield ""
    yield "Measured on: {cpu}, {cores} cores, Python {python}, torch {torch}.".format(**machine)
