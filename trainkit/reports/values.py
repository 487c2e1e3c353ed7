"""Reads ``result.json`` for the report and the model card, and says how its numbers are printed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainkit.types import Estimate

Result = Mapping[str, Any]
"""Contents of ``result.json``; keys can be missing."""

SPLIT_TITLES = {"test": "Test", "validation": "Validation", "val": "Validation", "train": "Training"}
MINUTE, HOUR = 60.0, 3600.0


@dataclass(frozen=True)
class Verdict:
    """What the comparison with the baseline says.

    Attributes:
        metric: The metric both were compared by.
        difference: Model minus baseline on the same rows, with its paired interval.
        words: ``better than``, ``worse than`` or ``not distinguishable from``.
        baseline: Name of the baseline.
    """

    metric: str
    difference: Estimate
    words: str
    baseline: str

    @property
    def sentence(self) -> str:
        """One plain sentence with the difference and its interval."""
        return f"{self.words.capitalize()} the {self.baseline} baseline on the same rows: {self.signed_difference}."

    @property
    def signed_difference(self) -> str:
        """The difference with its sign and interval, for example ``+0.003 [−0.008, +0.013]``."""
        return format_estimate(self.difference, sign=True)


def read_estimate(entry: object) -> Estimate:
    """A metric's entry, ``{"value", "low", "high", "n"}`` or a bare number, with NaN and 0 for what is missing."""
    given: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {"value": entry}
    value, low, high = (_number(given.get(key)) for key in ("value", "low", "high"))
    return Estimate(value, low, high, n=int(given.get("n") or 0))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def read_metrics(result: Result, split: str) -> dict[str, Estimate]:
    """All metrics of a split (``test`` or ``validation``) by name; empty where it was not scored."""
    return {name: read_estimate(entry) for name, entry in _mapping(_mapping(result, "metrics"), split).items()}


def read_baseline(result: Result) -> tuple[str | None, dict[str, Estimate]]:
    """Name and test metrics of the baseline; ``(None, {})`` without one."""
    baseline = _mapping(result, "baseline")
    metrics = {name: read_estimate(entry) for name, entry in _mapping(baseline, "metrics").items()}
    return (str(baseline["name"]), metrics) if baseline.get("name") else (None, {})


def _mapping(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}


def headline_metric(result: Result) -> tuple[str, str] | None:
    """``(split, metric)`` of the number that stands for the run: the compared, the monitored, or the first one."""
    for split in ("test", "validation"):
        metrics = read_metrics(result, split)
        compared = _mapping(_mapping(result, "baseline"), "comparison").get("metric")
        monitored = str(_mapping(result, "objective").get("name", "")).rpartition("/")[2]
        for name in (compared, monitored, *metrics):
            if name in metrics:
                return split, name
    return None


def read_verdict(result: Result) -> Verdict | None:
    """The comparison with the baseline in words; None without one.

    An interval of the difference that holds 0 is "not distinguishable", whatever the point estimate. The model is
    better where ``better`` is true, or ``a`` as in ``trainkit.evaluation.Comparison``.
    """
    name, _ = read_baseline(result)
    comparison = _mapping(_mapping(result, "baseline"), "comparison")
    if name is None or not comparison:
        return None
    difference = read_estimate(comparison)
    if difference.low > 0 or difference.high < 0:
        words = "better than" if comparison.get("better") in (True, "a") else "worse than"
    else:
        words = "not distinguishable from"
    return Verdict(str(comparison["metric"]), difference, words, name)


def decimals_for(estimate: Estimate) -> int:
    """Decimals worth printing: three for shares, fewer for large numbers, more where the interval is narrower."""
    size = max(abs(estimate.value), abs(estimate.low), abs(estimate.high), 0.0)
    if not math.isfinite(size):
        size = abs(estimate.value)
    decimals = 3 if size < 10 else max(0, 3 - int(math.log10(size))) if math.isfinite(size) else 0
    half_width = (estimate.high - estimate.low) / 2
    if math.isfinite(half_width) and half_width > 0:
        decimals = max(decimals, -math.floor(math.log10(half_width)))
    return min(decimals, 6)


def format_number(value: float, decimals: int, *, sign: bool = False) -> str:
    """A number with thousands separators and a true minus; an en dash where it is NaN."""
    if math.isnan(value):
        return "–"
    text = f"{value:{'+' if sign else ''},.{decimals}f}"
    return text.replace("-", "−")


def format_estimate(estimate: Estimate, *, sign: bool = False) -> str:
    """``0.991 [0.985, 0.996]``; the value alone where there is no interval."""
    decimals = decimals_for(estimate)
    value = format_number(estimate.value, decimals, sign=sign)
    interval = format_interval(estimate, sign=sign)
    return f"{value} {interval}" if interval else value


def format_interval(estimate: Estimate, *, sign: bool = False) -> str:
    """``[0.985, 0.996]``, or nothing where there is no interval."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return ""
    decimals = decimals_for(estimate)
    low, high = (format_number(end, decimals, sign=sign) for end in (estimate.low, estimate.high))
    return f"[{low}, {high}]"


def format_seconds(seconds: float) -> str:
    """``8.4 s``, ``2 min 05 s`` or ``3 h 10 min``."""
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min {int(seconds % MINUTE):02d} s"
    return f"{int(seconds // HOUR)} h {int(seconds % HOUR // MINUTE):02d} min"


def format_bytes(count: float) -> str:
    """``512 MiB`` or ``1.5 GiB``."""
    mebibytes = count / 2**20
    return f"{mebibytes:,.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:,.1f} GiB"


def run_title(run_dir: Path, config: Mapping[str, Any]) -> str:
    """The run's name: ``run.name``, else the data's, else the folder that holds its dated directory."""
    data = _mapping(config, "data")
    name = _mapping(config, "run").get("name") or data.get("name") or Path(str(data.get("path") or "")).stem
    return str(name or run_dir.absolute().parent.name)


def short_target(config: Mapping[str, Any], section: str) -> str:
    """The last part of a section's ``_target_``, or of its object's class, such as ``MLP``; an en dash without one.

    A ``LightningModule`` of the user's own stands for the model.
    """
    own = _mapping(config, "module") if section == "model" else {}
    node = own or _mapping(config, section)
    return str(node.get("_target_") or node.get("live") or "–").rpartition(".")[2]


def confidence_text(config: Mapping[str, Any]) -> str:
    """The confidence of all intervals, for example ``95 %``."""
    return f"{100 * float(_mapping(config, 'evaluation').get('confidence', 0.95)):g} %"


def run_facts(result: Result) -> dict[str, str]:
    """What happened, in the order of reading; facts that a run does not have are left out."""
    objective, seconds = _mapping(result, "objective"), result.get("seconds")
    facts: dict[str, str | None] = {"Status": result.get("status")}
    if objective.get("value") is not None:
        mode = {"max": ", higher is better", "min": ", lower is better"}.get(str(objective.get("mode")), "")
        value = format_estimate(read_estimate(objective["value"]))
        facts["Objective"] = f"{objective.get('name')} {value}{mode}"
    facts |= {name: _count(result.get(key)) for name, key in (("Optimizer steps", "steps"), ("Epochs", "epochs"))}
    if isinstance(seconds, Mapping):
        facts["Time"] = ", ".join(f"{key.replace('_', ' ')} {format_seconds(took)}" for key, took in seconds.items())
    elif seconds is not None:
        facts["Time"] = format_seconds(seconds)
    speed, memory = result.get("samples_per_second"), result.get("peak_memory_bytes")
    facts["Training speed"] = None if speed is None else f"{speed:,.0f} samples/s"
    facts["Peak memory"] = None if memory is None else format_bytes(memory)
    facts |= {"Seed": _text(result.get("seed")), "Split seed": _text(result.get("split_seed"))}
    facts["Data fingerprint"] = _text(result.get("data_fingerprint"))
    facts["Resumes exactly"] = _resume(result.get("exact_resume"))
    facts["Best checkpoint"] = _text(result.get("best_checkpoint"))
    return {name: value for name, value in facts.items() if value}


def _count(value: float | None) -> str | None:
    return None if value is None else f"{value:,g}"


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _resume(value: object) -> str | None:
    if isinstance(value, Mapping):
        why = value.get("why") or value.get("reason")
        return _resume(bool(value.get("exact"))) if why is None else f"no: {why}"
    if isinstance(value, str):
        return f"no: {value}"
    return None if value is None else ("yes, bit for bit" if value else "no")
