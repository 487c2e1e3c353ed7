"""Filters and order of found runs: ``optimizer.lr=1e-3``, ``accuracy>=0.9``; best first for a metric."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from trainkit.config.shipped import contents
from trainkit.errors import ConfigError, did_you_mean, one_of
from trainkit.runs.find import FoundRun, class_name, read_runs

if TYPE_CHECKING:
    import pandas as pd

LOWER_IS_BETTER = (
    *("rmse", "mae", "mse", "mape", "loss", "brier", "error", "ece", "nll", "perplexity", "deviance"),
    *("pinball", "width"),
)
"""A metric is better when lower if the last word of its name (``log_loss``, ``max_error``) is one of these, or the
first, as of one of several targets (``rmse_height``)."""

HIGHER_IS_BETTER = ("auroc", "r2", "f1", "accuracy")
"""First words of metrics of one of several targets, whatever the target's name (``auroc_loss``)."""

ORDERS: dict[str, Callable[[FoundRun], Any]] = {
    "date": lambda run: -run.began.timestamp(),
    "time": lambda run: math.inf if run.seconds is None else run.seconds,
    "name": lambda run: str(run.path),
}
"""Orders that are no metrics: newest, quickest and alphabetical first."""

FIELDS = ("status", "name", "epochs", "steps", "seconds", "objective")
"""Facts of a run that a filter may name besides metrics and config keys."""

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_FILTER = re.compile(r"\s*([^<>=!\s]+)\s*(>=|<=|!=|==|=|>|<)\s*(.*?)\s*")


@dataclass(frozen=True)
class Filter:
    """One condition on a run.

    Attributes:
        key: A fact (``status``), a metric (``accuracy``, ``val/accuracy``), a group (``model``) or a config key.
        compare: ``=``, ``!=``, ``>=``, ``<=``, ``>`` or ``<``.
        value: What is compared with, as written.
    """

    key: str
    compare: str
    value: str

    def holds(self, run: FoundRun) -> bool:
        """Whether a run meets it; one that lacks the key does not."""
        found = values_of(run, self.key)
        if self.compare in _OPERATORS:
            bound = float(self.value)
            return any(_is_number(value) and _OPERATORS[self.compare](value, bound) for value in found)
        return bool(found) and any(_equal(value, self.value) for value in found) == (self.compare == "=")


def parse_filter(text: str) -> Filter:
    """Reads ``key=value`` or a key compared with a number.

    Raises:
        ConfigError: It is neither.
    """
    found = _FILTER.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"cannot read the filter '{text}'", where="--filter", expected="key=value, or >=, <=, >, <, != for ="
        )
    key, compare, value = found[1], found[2].replace("==", "="), found[3]
    if compare in _OPERATORS and not _is_number(_parsed(value)):
        raise ConfigError(f"'{value}' is no number", where=f"--filter {text}", expected=f"{key}{compare}NUMBER")
    return Filter(key, compare, value)


def search(
    root: str | Path = "runs", *, sort: str = "date", filters: Sequence[str] = (), limit: int | None = None
) -> list[FoundRun]:
    """Reads the runs at or below a directory that meet every filter, in order.

    Args:
        root: Where the runs are.
        sort: ``date`` (newest first), ``time`` (quickest first), ``name``, or a metric: best first, runs without it
            last.
        filters: Conditions such as ``model=cnn``, ``optimizer.lr=1e-3``, ``status=failed`` or ``accuracy>=0.9``.
        limit: Runs at most.

    Returns:
        The runs; those that cannot be read are ``damaged``.

    Raises:
        RunError: There is no such directory.
        ConfigError: A filter cannot be read, no run has its key, or no run has the metric.
    """
    conditions = [parse_filter(text) for text in filters]
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}", where="--limit", expected="an integer ≥ 1")
    runs = read_runs(root)
    for condition in conditions if runs else ():
        _check_key(condition.key, runs)
    if sort not in ORDERS and runs:
        _check_metric(sort, runs)
    kept = [run for run in runs if all(condition.holds(run) for condition in conditions)]
    kept.sort(key=ORDERS.get(sort) or _by_metric(sort, runs))
    return kept[:limit]


def find_runs(
    root: str | Path = "runs", *, sort: str = "date", filters: Sequence[str] = (), limit: int | None = None
) -> pd.DataFrame:
    """The runs at or below a directory as a table, a row each; reads files only and imports no torch.

    Args:
        root: Where the runs are.
        sort: ``date`` (newest first), ``time`` (quickest first), ``name``, or a metric: best first, runs without it
            last.
        filters: Conditions such as ``model=cnn``, ``optimizer.lr=1e-3``, ``status=failed`` or ``accuracy>=0.9``; a run
            has to meet all of them.
        limit: Rows at most.

    Returns:
        Columns ``path``, ``status``, ``name``, ``began``, ``epochs``, ``steps``, ``seconds``, ``objective``,
        ``error``; for each test metric ``<metric>``, ``<metric>_low`` and ``<metric>_high``; ``val/<metric>``; and one
        for each config key, with dots.

    Raises:
        RunError: There is no such directory.
        ConfigError: A filter cannot be read, no run has its key, or no run has the metric.
    """
    import pandas as pd

    rows = []
    for run in search(root, sort=sort, filters=filters, limit=limit):
        row: dict[str, Any] = {"path": run.path, "status": run.status, "name": run.name, "began": run.began}
        row |= {key: getattr(run, key) for key in ("epochs", "steps", "seconds", "objective", "error")}
        for name, estimate in run.test.items():
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        row |= {f"val/{name}": estimate.value for name, estimate in run.validation.items()}
        rows.append(row | {key: value for key, value in flat_keys(run.config) if not isinstance(value, Mapping)})
    return pd.DataFrame(rows, columns=None if rows else ["path", "status", "name", "began", *FIELDS[2:], "error"])


def flat_keys(config: Mapping[str, Any], parent: str = "") -> Iterator[tuple[str, Any]]:
    """Keys of a config with dots, sections included, and their values."""
    for key, value in config.items():
        yield f"{parent}{key}", value
        if isinstance(value, Mapping):
            yield from flat_keys(value, f"{parent}{key}.")


def values_of(run: FoundRun, key: str) -> list[Any]:
    """What a filter's key stands for in a run; several names for a group, nothing where the run lacks the key."""
    if key in FIELDS:
        value = getattr(run, key)
        return [] if value is None else [value]
    metric = run.metric(key)
    if metric is not None:
        return [metric]
    if key in run.choices or isinstance(run.config.get(key), Mapping):
        return list(_names(run, key))
    return [value for name, value in flat_keys(run.config) if name == key]


def _names(run: FoundRun, group: str) -> Iterator[str]:
    """The names of a group's choice: as typed, its own ``name`` or its file's, its class, the YAML of its class."""
    if group in run.choices:
        yield run.choices[group]
    section = run.config.get(group)
    if not isinstance(section, Mapping):
        return
    if isinstance(section.get("name") or section.get("path"), str):
        yield section.get("name") or Path(section["path"]).stem
    name = class_name(section)
    if name:
        yield name
        targets = [(choice, content.get("_target_")) for choice, content in contents(group).items()]
        same = [choice for choice, target in targets if target == section.get("_target_")]
        if len(same) == 1:
            yield same[0]


def metric_names(runs: Sequence[FoundRun]) -> list[str]:
    """Every metric that some run has: of the test, of the validation with ``val/``, and objectives."""
    names: dict[str, None] = {}
    for run in runs:
        names |= dict.fromkeys(run.test)
    for run in runs:
        names |= dict.fromkeys([*(f"val/{name}" for name in run.validation), run.objective_name or ""])
    return [name for name in names if name]


def _check_key(key: str, runs: Sequence[FoundRun]) -> None:
    known: dict[str, None] = dict.fromkeys([*FIELDS, *metric_names(runs)])
    for run in runs:
        known |= dict.fromkeys([*run.choices, *(name for name, _ in flat_keys(run.config))])
    if key not in known:
        near = did_you_mean(key, known) or "a metric, or a config key with dots such as optimizer.lr"
        raise ConfigError(f"no run has '{key}'", where="--filter", hint=near)


def _check_metric(name: str, runs: Sequence[FoundRun]) -> None:
    known = [*ORDERS, *metric_names(runs)]
    if name not in known:
        raise ConfigError(
            f"no run has the metric '{name}'", where="--sort", expected=one_of(known), hint=did_you_mean(name, known)
        )


def _by_metric(name: str, runs: Sequence[FoundRun]) -> Callable[[FoundRun], Any]:
    sign = 1 if lower_is_better(name, runs) else -1

    def key(run: FoundRun) -> tuple[bool, float, float]:
        value = run.metric(name)
        return value is None, sign * (value or 0.0), -run.began.timestamp()

    return key


def lower_is_better(name: str, runs: Sequence[FoundRun] = ()) -> bool:
    """Direction of a metric: that of the runs' objective of the same name, else by its name."""
    bare = name.rpartition("/")[2]
    modes = {run.objective_mode for run in runs if (run.objective_name or "").rpartition("/")[2] == bare}
    if len(modes) == 1 and modes <= {"min", "max"}:
        return modes == {"min"}
    first, last = bare.partition("_")[0], bare.rpartition("_")[2]
    return first not in HIGHER_IS_BETTER and (first in LOWER_IS_BETTER or last in LOWER_IS_BETTER)


def _parsed(text: str) -> Any:
    try:
        return float(text)  # YAML takes 1e-3 for a text
    except ValueError:
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(value: Any, text: str) -> bool:
    wanted = _parsed(text)
    if _is_number(value) and _is_number(wanted):
        return math.isclose(value, wanted, rel_tol=1e-9)
    return str(value).lower() == text.lower() or (type(value) is type(wanted) and bool(value == wanted))
