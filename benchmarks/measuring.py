"""What all benchmarks share: turns A B C A B C, medians and ratios, rows, and the machine they were made on."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

HAND, FLOOR, OURS = "hand loop", "forward and backward", "trainkit"


@dataclass(frozen=True)
class Row:
    """One measured value.

    Attributes:
        case: What was run.
        who: Which of those compared.
        what: What was measured, such as ``training throughput``.
        value: The median over the repeats.
        unit: Of the value.
        ratio: Median of the ratios to the bar, each of two measurements side by side; None where there is none.
        bar: Whom it is compared with.
        spread: Smallest and largest value.
    """

    case: str
    who: str
    what: str
    value: float
    unit: str
    ratio: float | None = None
    bar: str = HAND
    spread: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "ratio_to_hand_loop": self.ratio if self.bar == HAND else None}


def in_turn(contenders: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """What each contender measures, so often, in turn: what slows the machine down for a while slows all of them."""
    values: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, measure in contenders.items():
            values[name].append(measure())
    return values


def rows_of(case: str, what: str, unit: str, values: Mapping[str, list[float]], bar: str = HAND) -> list[Row]:
    """A row for each contender: its median, and the median of its ratios to the bar of the same turn.

    Args:
        case: What was run.
        what: What was measured.
        unit: Of the values.
        values: By contender, one for each turn.
        bar: Whom the others are compared with.
    """
    rows = []
    for who, measured in values.items():
        ratio = None
        if bar in values and who != bar:
            ratio = statistics.median(own / other for own, other in zip(measured, values[bar], strict=True))
        spread = (min(measured), max(measured))
        rows.append(Row(case, who, what, statistics.median(measured), unit, ratio, bar, spread))
    return rows


def machine() -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
