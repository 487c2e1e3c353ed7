"""Writes a run's ``report.html``; called at the end of ``fit`` and by ``trainkit report``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainkit.reports import sections
from trainkit.reports.examples import Example, examples_section
from trainkit.reports.outcomes import read_outcomes
from trainkit.reports.page import Markup, document, element
from trainkit.reports.values import Result, lineage_facts, run_title, short_target
from trainkit.rundir import RunDirectory, atomic_path

if TYPE_CHECKING:
    from trainkit.reports.outcomes import AnyPredictions


def write_report(
    run_dir: Path,
    result: Result,
    config: Mapping[str, Any],
    history: Iterable[Sequence[Any]] = (),
    predictions: AnyPredictions | None = None,
    *,
    notes: Sequence[str] = (),
    examples: Sequence[Example] = (),
) -> Path:
    """Writes one page that opens anywhere, offline, in light or dark: the result and how far to believe it.

    Args:
        run_dir: The run directory.
        result: Contents of ``result.json``; a classical model has no steps and epochs, an unfinished run no scores.
        config: The run's config as plain containers.
        history: Rows of ``metrics.csv``: step, epoch, split, name, value.
        predictions: Contents of ``predictions.parquet``, or ``Predictions`` by split name.
        notes: What the reader must know of the data, one sentence each.
        examples: Images on which the run errs most.

    Returns:
        The path of ``report.html``, replaced if it was there.

    Raises:
        RunError: The predictions name a class that has no probability column.
    """
    title = run_title(run_dir, config)
    body = (
        _header(title, run_dir, config),
        _alert(result),
        sections.headline(result, config),
        _notes(notes),
        sections.curves(history, result),
        sections.outcomes_section(read_outcomes(predictions)),
        examples_section(examples),
        sections.metrics_table(result, config),
        sections.facts(result, lineage_facts(run_dir)),
        sections.configuration(config),
        element("footer", "Written by trainkit from this run directory; the page loads nothing from elsewhere."),
    )
    path: Path = RunDirectory(run_dir).report
    with atomic_path(path) as temporary:
        temporary.write_text(document(f"{title} – trainkit report", *body), encoding="utf-8")
    return path


def _header(title: str, run_dir: Path, config: Mapping[str, Any]) -> Markup:
    parts = (run_dir.name, *(f"{key} {short_target(config, key)}" for key in ("data", "model", "task")))
    return element("header", element("h1", title), element("p", " · ".join(parts), class_="sub"))


def _alert(result: Result) -> Markup:
    status = str(result.get("status", "completed"))
    if status == "completed":
        return Markup()
    return element("p", f"This run is {status}: numbers below are of the part that ran.", class_="alert")


def _notes(notes: Sequence[str]) -> Markup:
    if not notes:
        return Markup()
    return element(
        "section", element("h2", "Notes on the data"), element("ul", *(element("li", note) for note in notes))
    )
