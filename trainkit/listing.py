"""``trainkit list``: what can be chosen and what was run, one line each; imports no torch."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from trainkit.config.choices import Choice, find_choices
from trainkit.errors import ConfigError, did_you_mean, one_of
from trainkit.runs.find import FoundRun, run_directories
from trainkit.runs.query import ORDERS, search
from trainkit.types import Estimate, decimals_for

RUNS = "runs"
GAP = "  "
OPTIONAL_COLUMNS = (9, 5, 8, 7, 6, 4, 2)
"""Columns of a run's line that a narrow terminal does without, the first to go first."""
_SHORTEST = 12
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def list_(
    kind: str | None = None,
    *,
    root: str | None = None,
    sort: str | None = None,
    filters: Sequence[str] = (),
    limit: int | None = None,
    as_json: bool = False,
    config_dir: str | None = None,
) -> list[Choice] | list[FoundRun]:
    """Prints the choices of a kind or the runs, one line each; without a kind, the kinds and how many there are.

    Args:
        kind: ``models``, ``data``, … or ``runs``; the singular will do.
        root: Directory of the runs. Default ``runs``.
        sort: Order of the runs, as in ``find_runs``. Default ``date``.
        filters: Conditions on the runs, as in ``find_runs``.
        limit: Lines at most.
        as_json: Whether a JSON list is printed instead.
        config_dir: Directory with YAMLs of the user's own. Default none.

    Returns:
        What was listed.

    Raises:
        ConfigError: There is no such kind, or an option belongs to another kind.
        RunError: The runs' directory does not exist.
    """
    choices = find_choices(config_dir)
    kinds = {plural(group): group for group in choices}
    if kind is None:
        _refuse("runs", sort=sort, filter=filters, limit=limit, json=as_json)
        counts = {name: str(len(choices[group])) for name, group in kinds.items()}
        _print_table([*counts.items(), (RUNS, str(len(list(run_directories(root or RUNS)))))])
        return []
    if kind in (RUNS, "run"):
        _refuse("the other kinds", config_dir=config_dir)
        runs = search(root or RUNS, sort=sort or "date", filters=filters, limit=limit)
        if runs or as_json:
            _print_runs(runs, sort, as_json)
        else:
            print(f"no runs in '{root or RUNS}'" + " that meet every filter" * bool(filters))
        return runs
    _refuse("runs", root=root, sort=sort, filter=filters)
    named = kinds | {group: group for group in choices} | {name.removesuffix("s"): g for name, g in kinds.items()}
    if kind not in named:
        known = [*kinds, RUNS]
        raise ConfigError(f"there is no kind '{kind}'", expected=one_of(known), hint=did_you_mean(kind, known))
    found = choices[named[kind]][:limit]
    _print_choices(found, as_json)
    return found


def plural(group: str) -> str:
    """Name of a group's kind: ``models`` for ``model``, ``data`` for ``data``."""
    return group if group == "data" or group.endswith("s") else f"{group}s"


def _refuse(kinds: str, **options: Any) -> None:
    """An option without effect is a mistake."""
    given = next((name for name, value in options.items() if value), None)
    if given:
        raise ConfigError(f"--{given.replace('_', '-')} is for {kinds}", where="list")


def _print_choices(choices: Sequence[Choice], as_json: bool) -> None:
    if as_json:
        _print_json([{"name": c.name, "about": c.about, "path": str(c.path), "own": c.is_own} for c in choices])
        return
    _print_table([(choice.name, choice.about + _whose(choice)) for choice in choices])


def _whose(choice: Choice) -> str:
    if not choice.is_own:
        return ""
    hidden = ", never used: another of this name comes first" if choice.hidden_by else ""
    return f"{' ' if choice.about else ''}(yours: {choice.path}{hidden})"


def _print_runs(runs: Sequence[FoundRun], sort: str | None, as_json: bool) -> None:
    if as_json:
        _print_json([_plain(run) for run in runs])
        return
    now = datetime.now()
    metric = None if sort in (None, *ORDERS) else sort
    _print_table([_cells(run, metric, now) for run in runs], OPTIONAL_COLUMNS)


def _cells(run: FoundRun, metric: str | None, now: datetime) -> tuple[str, ...]:
    """Directory, status, model, metric, interval, objective, epochs, duration, age and error."""
    name = metric or next(iter(run.test), None)
    value, interval = _metric(run, name) if name else ("", "")
    value = f"{name} {value}" if name and value else "–"
    objective = run.objective
    shown = f"{run.objective_name} {objective:,.{decimals_for(objective)}f}" if objective is not None else "–"
    epochs = "–" if run.epochs is None else f"{run.epochs} epoch" + "s" * (run.epochs != 1)
    seconds = "–" if run.seconds is None else _duration(run.seconds)
    age = f"{_duration((now - run.began).total_seconds())} ago"
    return str(run.path), run.status, run.model or "–", value, interval, shown, epochs, seconds, age, run.error or ""


def _metric(run: FoundRun, name: str) -> tuple[str, str]:
    part, bare = (run.validation, name[4:]) if name.startswith("val/") else (run.test, name)
    value = run.metric(name)
    if value is None:
        return "", ""
    estimate = part.get(bare) or Estimate(value, math.nan, math.nan, n=0)
    number, _, interval = str(estimate).partition(" ")
    return number, "" if math.isnan(estimate.low) else interval


def _duration(seconds: float) -> str:
    """``8 s``, ``12 min``, ``3 h`` or ``5 d``: the largest unit alone."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    return f"{max(0, int(seconds // size))} {unit}"


def _plain(run: FoundRun) -> dict[str, Any]:
    """A run as JSON; what is undefined becomes null."""
    parts = {"test": run.test, "validation": run.validation}
    return {
        "path": str(run.path),
        "status": run.status,
        "model": run.model,
        "metrics": {
            part: {name: _plain_estimate(estimate) for name, estimate in estimates.items()}
            for part, estimates in parts.items()
        },
        "objective": {"name": run.objective_name, "mode": run.objective_mode, "value": _defined(run.objective)},
        "epochs": run.epochs,
        "steps": run.steps,
        "seconds": run.seconds,
        "began": run.began.isoformat(timespec="seconds"),
        "error": run.error,
    }


def _plain_estimate(estimate: Estimate) -> dict[str, float | None]:
    return {key: _defined(getattr(estimate, key)) for key in ("value", "low", "high", "n")}


def _defined(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _print_json(rows: list[dict[str, Any]]) -> None:
    print(json.dumps(rows, indent=2, ensure_ascii=False))


def _print_table(rows: Sequence[tuple[str, ...]], optional: Sequence[int] = ()) -> None:
    """Prints aligned columns; a terminal gets lines that fit it, a pipe whole ones."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in table(rows, width, optional):
        print(line)


def table(rows: Sequence[tuple[str, ...]], width: int | None = None, optional: Sequence[int] = ()) -> list[str]:
    """Lines of aligned columns.

    Args:
        rows: Cells; every row has as many. A column that is empty in all of them is left out.
        width: Characters of a line at most; None for no limit.
        optional: Columns that are left out where the lines would be too long, the first to go first; then the longest
            of the first and the last column is cut, with a ``…``.

    Returns:
        One line for each row.
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    columns = [idx for idx, longest in enumerate(widths) if longest]

    def excess() -> int:
        return sum(widths[idx] for idx in columns) + len(GAP) * (len(columns) - 1) - (width or 0)

    for idx in optional if width else ():
        if idx in columns and excess() > 0:
            columns.remove(idx)
    if width and excess() > 0:
        longest = max(columns[0], columns[-1], key=lambda idx: widths[idx])
        widths[longest] = max(_SHORTEST, widths[longest] - excess())
    lines = (GAP.join(_fitted(row[idx], widths[idx], idx == 0) for idx in columns).rstrip() for row in rows)
    return [line if not width or len(line) <= width else line[: width - 1] + "…" for line in lines]


def _fitted(text: str, width: int, is_path: bool) -> str:
    """A cell of a width; of a path the end is kept, since it names the run."""
    if len(text) <= width:
        return text.ljust(width)
    return "…" + text[len(text) - width + 1 :] if is_path else text[: width - 1] + "…"
