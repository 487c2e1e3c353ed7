"""Writes a run's ``MODEL_CARD.md`` in the sections of Mitchell et al. 2019 (https://arxiv.org/abs/1810.03993).

What a run can know is filled in; what only the author can know is asked for, and his answer is kept when the card is
written again. Called at the end of ``fit`` and by ``trainkit report``.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from trainkit.reports.outcomes import Outcomes, read_outcomes
from trainkit.reports.several import SeveralOutcomes, several_limitations
from trainkit.reports.values import (
    SPLIT_TITLES,
    Result,
    confidence_text,
    format_estimate,
    lineage_facts,
    read_baseline,
    read_metrics,
    read_verdict,
    run_facts,
    run_title,
    short_target,
)
from trainkit.rundir import RunDirectory, atomic_path
from trainkit.types import DataSpec

if TYPE_CHECKING:
    from trainkit.reports.outcomes import AnyPredictions

PIPELINE = {
    ("table", "class"): "tabular-classification",
    ("table", "number"): "tabular-regression",
    ("image", "class"): "image-classification",
}
"""Names that model hubs have for what a model does, by kind of input and target."""
FEW_ROWS = 30
"""A class with fewer rows than this in the scored part has a recall that says little."""
AUTHOR = {
    "intended-use": "Who should use this model, for which decisions, and for which ones not? "
    "Which people does it concern, and what does a wrong prediction cost them?",
    "data-origin": "Where does the data come from, when was it collected, who is in it, and may it be used for this?",
}
"""What the author is asked, by the name of the passage."""


def write_model_card(
    run_dir: Path,
    result: Result,
    config: Mapping[str, Any],
    spec: DataSpec | None = None,
    predictions: AnyPredictions | None = None,
    *,
    notes: Sequence[str] = (),
) -> Path:
    """Writes the model card, keeping what the author wrote between its ``author:`` comments.

    Args:
        run_dir: The run directory.
        result: Contents of ``result.json``.
        config: The run's config as plain containers.
        spec: What the model knows of its data.
        predictions: Contents of ``predictions.parquet``, or ``Predictions`` by split name.
        notes: Limitations that the data shows, one sentence each, for example of unseen categories.

    Returns:
        The path of ``MODEL_CARD.md``.

    Raises:
        RunError: The predictions name a class that has no probability column.
    """
    path: Path = RunDirectory(run_dir).model_card
    kept = _author_passages(path)
    title = run_title(run_dir, config)
    parts = (
        _front_matter(title, result, spec),
        f"# {_text(title)}",
        "## Model details",
        _list(
            {"Model": short_target(config, "model"), "Task": short_target(config, "task"), "Run": run_dir.name}
            | lineage_facts(run_dir)
        ),
        "## Intended use",
        _author("intended-use", kept),
        "## Training data",
        _author("data-origin", kept),
        _training_data(config, result, spec),
        "## Evaluation",
        _evaluation(result, config),
        "## Limitations",
        _limitations(result, read_outcomes(predictions), notes),
        "## How it was trained",
        _list(run_facts(result)),
        "## How to load it",
        _loading(run_dir, bool(config.get("module"))),
    )
    with atomic_path(path) as temporary:
        temporary.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    return path


def _front_matter(title: str, result: Result, spec: DataSpec | None) -> str:
    values: dict[str, Any] = {"library_name": "trainkit", "model_name": title}
    if spec and (pipeline := PIPELINE.get((spec.input_kind, spec.target_kind))):
        values["pipeline_tag"] = pipeline
    if metrics := list(read_metrics(result, "test")):
        values["metrics"] = metrics
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---"


def _author_passages(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    pattern = r"<!-- author: ([\w-]+) -->\n(.*?)\n<!-- /author -->"
    return {name: passage for name, passage in re.findall(pattern, text, re.DOTALL) if name in AUTHOR}


def _author(name: str, kept: Mapping[str, str]) -> str:
    passage = kept.get(name, f"> **For the author to answer.** {AUTHOR[name]}")
    return f"<!-- author: {name} -->\n{passage}\n<!-- /author -->"


def _training_data(config: Mapping[str, Any], result: Result, spec: DataSpec | None) -> str:
    facts: dict[str, object] = {"Source": short_target(config, "data")}
    data = config.get("data") or {}
    facts |= {key.capitalize(): data[key] for key in ("name", "path") if data.get(key)}
    if spec is not None:
        facts["Input"] = _input(spec)
        kind = {"multilabel": "labels"}.get(spec.target_kind, spec.target_kind)
        facts["Target"] = f"{spec.target_name} ({kind}{'s' * bool(spec.target_names)})"
        if spec.class_names:
            title = "Labels" if spec.target_kind == "multilabel" else "Classes"
            facts[f"{title} ({spec.num_classes})"] = _shortened(spec.class_names)
        if spec.feature_names:
            facts[f"Columns ({len(spec.feature_names)})"] = _shortened(spec.feature_names)
    facts["Fingerprint"] = result.get("data_fingerprint")
    facts["Split seed"] = result.get("split_seed")
    return _list({name: value for name, value in facts.items() if value is not None})


def _input(spec: DataSpec) -> str:
    if spec.input_kind == "table":
        return f"table, {spec.num_numbers} numeric and {len(spec.cardinalities)} categorical columns"
    shape = " × ".join(map(str, spec.input_shape))
    return f"{spec.input_kind} {shape}" if shape else spec.input_kind


def _shortened(names: Sequence[str], limit: int = 20) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _evaluation(result: Result, config: Mapping[str, Any]) -> str:
    columns = {SPLIT_TITLES[split]: read_metrics(result, split) for split in ("test", "validation")}
    baseline_name, baseline = read_baseline(result)
    if baseline:
        columns[f"{baseline_name} baseline (test)"] = baseline
    columns = {title: metrics for title, metrics in columns.items() if metrics}
    if not columns:
        return "This run has no scores."
    names = dict.fromkeys(name for metrics in columns.values() for name in metrics)
    rows = [
        [name, *(format_estimate(metrics[name]) if name in metrics else "–" for metrics in columns.values())]
        for name in names
    ]
    counts = ["rows", *(_rows(metrics.values()) for metrics in columns.values())]
    lines = [_table(["metric", *columns], [*rows, counts]), f"Brackets are {confidence_text(config)} intervals."]
    if verdict := read_verdict(result):
        lines.append(f"In {_text(verdict.metric)}: {_text(verdict.sentence[0].lower() + verdict.sentence[1:])}")
    return "\n\n".join(lines)


def _rows(scores: Iterable[Any]) -> str:
    counts = {score.n for score in scores if score.n}
    return " / ".join(f"{count:,}" for count in sorted(counts)) or "–"


def _limitations(result: Result, outcomes: Outcomes | SeveralOutcomes | None, notes: Sequence[str]) -> str:
    found = [_text(note) for note in notes]
    if isinstance(outcomes, SeveralOutcomes):
        found += [_text(sentence) for sentence in several_limitations(outcomes, FEW_ROWS)]
    elif outcomes is not None and outcomes.class_names:
        found += _class_limitations(outcomes)
    verdict = read_verdict(result)
    if verdict and not verdict.words.startswith("better"):
        found.append(f"It is {_text(verdict.words)} the simpler {_text(verdict.baseline)} baseline.")
    if result.get("status", "completed") != "completed":
        found.append(f"The training run is {_text(result['status'])}, not completed.")
    found.append("The scores hold for data drawn like this data; they say nothing of other places, times or people.")
    return "\n".join(f"- {sentence}" for sentence in found)


def _class_limitations(outcomes: Outcomes) -> list[str]:
    counts = outcomes.confusion()
    totals = counts.sum(axis=1)
    part = SPLIT_TITLES.get(outcomes.split, outcomes.split).lower()
    rare = [name for name, total in zip(outcomes.class_names, totals, strict=True) if total < FEW_ROWS]
    found = []
    if rare:
        names = _text(_shortened(rare, 10))
        found.append(f"Fewer than {FEW_ROWS} {part} rows, so that little is known of how well they are told: {names}.")
    recalls = {
        name: counts[position, position] / totals[position]
        for position, name in enumerate(outcomes.class_names)
        if totals[position] >= FEW_ROWS
    }
    if len(recalls) > 1:
        worst = min(recalls, key=lambda name: recalls[name])
        found.append(f"The class found least often is {_text(worst)}: recall {recalls[worst]:.3f} on {part} rows.")
    return found


def _loading(run_dir: Path, is_own_module: bool) -> str:
    place = run_dir.absolute()
    place = place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else Path(run_dir.name)
    named = place.as_posix().isprintable() and "`" not in place.as_posix()  # else it would lead out of the code
    path = place.as_posix() if named else "RUN"
    code = f"```python\nimport trainkit\n\nrun = trainkit.load_run({json.dumps(path, ensure_ascii=False)})\n```"
    if is_own_module:
        return f"{code}\n\n`run.module` is the LightningModule, in evaluation mode."
    return f"{code}\n\nOn a new file: `trainkit predict {shlex.quote(path)} FILE -o predictions.csv`."


def _list(facts: Mapping[str, object]) -> str:
    return "\n".join(f"- **{_text(name)}:** {_text(value)}" for name, value in facts.items())


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell if line[0] == '---' else _text(cell) for cell in line)} |" for line in lines)


def _text(value: object) -> str:
    """Plain text in Markdown: one line, nothing in it is markup."""
    flat = " ".join(str(value).split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*|~]|\b_|_\b|(?<=\])\()", r"\\\1", flat)
