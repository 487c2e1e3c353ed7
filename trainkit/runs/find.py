"""Finds run directories and reads what each came to, without torch: for ``list runs``, completion and notebooks."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from trainkit.errors import RunError
from trainkit.rundir import FORMAT_VERSION, RunDirectory
from trainkit.types import Estimate

RECENT_SECONDS = 600
"""A run without a result whose files changed within this time may be running."""

_BARE = RunDirectory(Path())
_SIGNS = {path.name for path in (_BARE.result, _BARE.splits, _BARE.environment, _BARE.weights, _BARE.checkpoints)}
"""Names of which a run directory holds at least one, and no other directory does."""
_WEAK_SIGNS = {_BARE.error.name}
"""Names that only mean a run, one of a sweep refused before it began, below the directory that was asked for."""
_STAMP = re.compile(r"(\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2})(?:-\d+)?")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class FoundRun:
    """What can be read of a run directory.

    Attributes:
        path: The directory.
        status: ``completed``, ``failed`` or ``interrupted`` as its result says; ``running?`` or ``unfinished`` where
            there is none yet; ``damaged`` where its files cannot be read.
        began: When it began: by its name, else by its config's age.
        test: Metrics of the test part by name.
        validation: Metrics of the validation part by name.
        objective_name: Name of the value that chose the best epoch.
        objective_mode: ``max`` or ``min``.
        objective: That value.
        epochs: Epochs begun.
        steps: Optimizer steps done.
        seconds: Duration of the whole run.
        config: Its config as plain containers; empty where it has none.
        choices: Choices of groups that were typed, for example ``{"model": "cnn"}``.
        error: Why it failed, what cannot be read, or what was changed since it was written.
    """

    path: Path
    status: str
    began: datetime
    test: Mapping[str, Estimate] = field(default_factory=dict)
    validation: Mapping[str, Estimate] = field(default_factory=dict)
    objective_name: str | None = None
    objective_mode: str | None = None
    objective: float | None = None
    epochs: int | None = None
    steps: int | None = None
    seconds: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None

    @property
    def name(self) -> str:
        """Name of the run or study: the directory that holds it."""
        return self.path.absolute().parent.name

    @property
    def model(self) -> str | None:
        """Class of its model."""
        return class_name(self.config.get("model"))

    def metric(self, name: str) -> float | None:
        """Value of a test metric (``accuracy``), a validation metric (``val/accuracy``) or the objective; nan is None.

        Args:
            name: As in the metrics of a result; ``val/`` in front means validation.
        """
        part, found = (self.validation, name[4:]) if name.startswith("val/") else (self.test, name)
        value = part[found].value if found in part else self.objective if name == self.objective_name else None
        return None if value is None or math.isnan(value) else value


def class_name(section: Any) -> str | None:
    """Last part of a section's ``_target_``, or of the class of a live object."""
    if not isinstance(section, Mapping):
        return None
    target = section.get("_target_") or section.get("live")
    return target.rpartition(".")[2] if isinstance(target, str) else None


def run_directories(root: str | Path, depth: int = 8, top: bool = True) -> Iterator[Path]:
    """Every run directory at or below a directory, sorted by path; links to directories are not followed.

    Args:
        root: Where to look.
        depth: Levels to go down at most.
        top: Whether ``root`` is the place that was asked for, where a config alone does not mean a run.
    """
    try:
        with os.scandir(root) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:  # gone or closed to us in the meantime
        return
    names = {entry.name for entry in entries}
    folders = [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)]
    if names & (_SIGNS if top else _SIGNS | _WEAK_SIGNS) or (not folders and _STAMP.fullmatch(Path(root).name)):
        yield Path(root)
        return
    for folder in folders if depth else ():
        yield from run_directories(folder.path, depth - 1, top=False)


def read_runs(root: str | Path) -> list[FoundRun]:
    """Reads every run at or below a directory; one that cannot be read is ``damaged``.

    Raises:
        RunError: There is no such directory.
    """
    if not Path(root).is_dir():
        raise RunError(f"there is no directory '{root}'", where="--root", hint="trainkit fit makes runs")
    return [read_run(path) for path in run_directories(root)]


def read_run(path: Path) -> FoundRun:
    """Reads one run directory, whatever state it is in."""
    directory = RunDirectory(path)
    try:
        return _read(directory)
    except RunError as error:
        problem = error.what
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        problem = f"'{directory.result}' is not as trainkit writes it ({type(error).__name__}: {error})"
    return FoundRun(path, "damaged", _began(directory), error=" ".join(problem.split()))


def _read(directory: RunDirectory) -> FoundRun:
    result = directory.read_result() if directory.result.is_file() else {}
    if not result and not directory.config.is_file() and not directory.error.is_file():
        raise RunError(f"'{directory.config}' is missing")
    version = result.get("format_version", FORMAT_VERSION)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise RunError(f"'{directory.result}' has format {version}, of a newer trainkit")
    objective, seconds, metrics = (result.get(key) or {} for key in ("objective", "seconds", "metrics"))
    overrides = _mapping(directory.overrides).get("overrides") or ()
    pairs = (str(text).lstrip("+").partition("=") for text in overrides)
    return FoundRun(
        path=directory.path,
        status=_status(directory, result),
        began=_began(directory),
        test=_estimates(metrics.get("test")),
        validation=_estimates(metrics.get("validation")),
        objective_name=objective.get("name"),
        objective_mode=objective.get("mode"),
        objective=_number(objective.get("value")),
        epochs=_number(result.get("epochs")),
        steps=_number(result.get("steps")),
        seconds=_number(seconds.get("total")),
        config=_mapping(directory.config),
        choices={key: value for key, _, value in pairs if key.isidentifier()},
        error=result.get("error") or _first_line(directory.error) or "; ".join(directory.changes()) or None,
    )


def _status(directory: RunDirectory, result: Mapping[str, Any]) -> str:
    written = _changed(directory.result)
    changed = max(map(_changed, (directory.path, directory.metrics, directory.checkpoints)))
    is_recent = time.time() - changed < RECENT_SECONDS
    if result:
        status = str(result["status"])
        continues = status != "completed" and is_recent and changed > written + 1
        return "running?" if continues else status
    if not directory.config.is_file():
        return "failed"
    return "running?" if is_recent else "unfinished"


def _estimates(values: Mapping[str, Any] | None) -> dict[str, Estimate]:
    return {name: _estimate(value) for name, value in (values or {}).items()}


def _estimate(values: Mapping[str, Any]) -> Estimate:
    value, low, high = (math.nan if values[key] is None else float(values[key]) for key in ("value", "low", "high"))
    return Estimate(value, low, high, n=int(values["n"]))


def _number(value: Any) -> Any:
    if value is not None and not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    return value


def _mapping(path: Path) -> dict[str, Any]:
    """A YAML's mapping; empty where there is no such file."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER) if path.is_file() else {}
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise RunError(f"'{path}' cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise RunError(f"'{path}' holds a {type(values).__name__}", expected="a mapping")
    return values


def _first_line(path: Path) -> str | None:
    return path.read_text(encoding="utf-8").partition("\n")[0] or None if path.is_file() else None


def _began(directory: RunDirectory) -> datetime:
    stamp = _STAMP.fullmatch(directory.path.absolute().name)
    if stamp:
        try:
            return datetime.strptime(stamp[1], "%Y-%m-%d_%H-%M-%S")
        except ValueError:  # digits that are no date
            pass
    return datetime.fromtimestamp(_changed(directory.config) or _changed(directory.path))


def _changed(path: Path) -> float:
    """Seconds since the epoch of the last change; 0 where there is no such file."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
