"""What people read of a run, written at its end: ``report.html`` and ``MODEL_CARD.md``."""

from __future__ import annotations

from trainkit.config.copying import plain
from trainkit.data import LoaderData
from trainkit.reports.card import write_model_card
from trainkit.reports.examples import examples_of
from trainkit.reports.report import write_report
from trainkit.rundir import RunDirectory
from trainkit.runs.parts import RunParts
from trainkit.runs.result import Result
from trainkit.runs.score import unseen_cells
from trainkit.training import read_metrics
from trainkit.types import Predictions


def write_reports(run: RunDirectory, result: Result, parts: RunParts, predictions: dict[str, Predictions]) -> None:
    """Writes ``report.html`` and ``MODEL_CARD.md`` of a run."""
    config = plain(parts.config)
    history = [tuple(row.values()) for row in read_metrics(run.metrics)] if run.metrics.is_file() else []
    counts = unseen_cells(parts.data)
    notes = [f"{count:,} cells of {column} hold categories that training never saw" for column, count in counts.items()]
    notes += parts.data.notes()
    examples = examples_of(parts.data, predictions)
    write_report(run.path, result.to_json(), config, history, predictions, notes=notes, examples=examples)
    spec = None if isinstance(parts.data, LoaderData) else parts.data.spec
    write_model_card(run.path, result.to_json(), config, spec, predictions, notes=notes)
