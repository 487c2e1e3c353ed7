"""The sections of a run's report, each from plain data to HTML; ``report.py`` puts them in order."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import yaml

from trainkit.reports.figures import MAX_PAIRS, MAX_POINTS, Points, draw_curves, draw_pairs
from trainkit.reports.outcomes import Outcomes
from trainkit.reports.page import Markup, definitions, element, join, section, table
from trainkit.reports.several import SeveralOutcomes, several_section
from trainkit.reports.values import (
    SPLIT_TITLES,
    Result,
    confidence_text,
    decimals_for,
    format_estimate,
    format_interval,
    format_number,
    headline_metric,
    read_baseline,
    read_metrics,
    read_verdict,
    run_facts,
)
from trainkit.types import Estimate

MAX_CLASSES = 20
"""A confusion matrix with more classes than this becomes a list of the most frequent confusions."""
MAX_PANELS = 6
NO_CURVE = {"lr", "learning_rate", "grad_norm", "samples_per_second", "throughput", "epoch"}
"""Names of ``metrics.csv`` that TensorBoard shows and a report does not."""


class Row(NamedTuple):
    """One line of ``metrics.csv``."""

    step: int
    epoch: int
    split: str
    name: str
    value: float


def headline(result: Result, config: Mapping[str, Any]) -> Markup:
    """The one number with its interval, beside the baseline's."""
    found = headline_metric(result)
    if found is None:
        return section("Result", element("p", "This run has no scores yet."))
    split, name = found
    score = read_metrics(result, split)[name]
    rows = f", {score.n:,} rows" if score.n else ""
    number = element(
        "div",
        element("p", f"{SPLIT_TITLES[split]} {name}", class_="label"),
        element("p", format_number(score.value, decimals_for(score)), class_="value"),
        element("p", f"{confidence_text(config)} interval {format_interval(score) or '–'}{rows}", class_="interval"),
    )
    baseline_name, baseline = read_baseline(result)
    strips: Markup | str = ""
    if split == "test" and baseline_name and name in baseline:
        strips = _strips({"this model": score, baseline_name: baseline[name]})
    verdict = read_verdict(result)
    sentence = element("p", verdict.sentence, class_="verdict") if verdict else ""
    return element("section", element("div", number, strips, class_="headline"), sentence)


def _strips(scores: Mapping[str, Estimate]) -> Markup:
    ends = [end for score in scores.values() for end in (score.value, score.low, score.high) if math.isfinite(end)]
    if not ends:
        return Markup()
    margin = 0.08 * (max(ends) - min(ends)) or 0.5
    low, high = min(ends) - margin, max(ends) + margin  # of the axis
    decimals = max(decimals_for(score) for score in scores.values())

    def percent(value: float) -> float:
        return 100 * (value - low) / (high - low)

    cells: list[Markup] = []
    for kind, (label, score) in zip(("model", "baseline"), scores.items(), strict=True):
        marks = [element("span", class_=f"dot {kind}", style=f"left:{percent(score.value):.2f}%")]
        if math.isfinite(score.low) and math.isfinite(score.high):
            left, width = percent(score.low), percent(score.high) - percent(score.low)
            marks.insert(0, element("span", class_=f"range {kind}", style=f"left:{left:.2f}%;width:{width:.2f}%"))
        cells += [element("span", label), element("div", *marks, class_="track", title=format_estimate(score))]
    labels = [
        element("span", format_number(end, decimals), style=f"left:{percent(end):.2f}%")
        for end in dict.fromkeys((min(ends), max(ends)))
    ]
    return element("div", *cells, element("span"), element("div", *labels, class_="ends"), class_="strips")


def curves(history: Iterable[Sequence[Any]], result: Result) -> Markup:
    """Learning curves, one panel a metric; empty without history."""
    lines = _lines(history)
    monitored = str((result.get("objective") or {}).get("name", "")).rpartition("/")[2]
    names = sorted(lines, key=lambda name: (name != "loss", name != monitored, "val" not in lines[name]))[:MAX_PANELS]
    if not names:
        return Markup()
    best = re.search(r"step[-=](\d+)", str(result.get("best_checkpoint") or ""))
    marked = int(best[1]) if best else None
    panels = [
        element("figure", element("h3", name), Markup(draw_curves(lines[name], marked_step=marked, prefix=f"curve{i}")))
        for i, name in enumerate(names)
    ]
    note = "Over optimizer steps." + (" The dotted line is the best checkpoint." if marked is not None else "")
    if any(len(x) > MAX_POINTS for name in names for x, _ in lines[name].values()):
        note += f" Long curves are drawn as {MAX_POINTS} means of equal stretches."
    return section("Learning curves", element("div", *panels, class_="figures"), _legend(names, lines), note=note)


def _lines(history: Iterable[Sequence[Any]]) -> dict[str, dict[str, Points]]:
    lines: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for row in map(Row._make, history):
        if row.name not in NO_CURVE and row.split != "test" and math.isfinite(float(row.value)):
            x, y = lines.setdefault(row.name, {}).setdefault(row.split, ([], []))
            x.append(float(row.step))
            y.append(float(row.value))
    return {name: dict(of_split) for name, of_split in lines.items()}


def _legend(names: Sequence[str], lines: Mapping[str, Mapping[str, Points]]) -> Markup:
    splits = sorted({split for name in names for split in lines[name]})
    entries = []
    for split in splits:
        colour = element("i", style=f"background:var(--{'train' if split == 'train' else 'model'})")
        entries.append(element("span", colour, SPLIT_TITLES.get(split, split).lower()))
    return element("p", *entries, class_="legend")


def outcomes_section(outcomes: Outcomes | SeveralOutcomes | None) -> Markup:
    """Where the model errs: a confusion matrix, the most frequent confusions, labels, or predicted against true."""
    if outcomes is None:
        return Markup()
    if isinstance(outcomes, SeveralOutcomes):
        return several_section(outcomes)
    split = SPLIT_TITLES.get(outcomes.split, outcomes.split)
    if not outcomes.class_names:
        shown = (
            "" if len(outcomes.target) <= MAX_PAIRS else f" {MAX_PAIRS:,} of {len(outcomes.target):,} rows are drawn."
        )
        note = f"{split} rows; on the dashed line both agree.{shown}"
        svg = Markup(draw_pairs(outcomes.target, outcomes.predicted, prefix="pairs"))
        return section("Predicted against true", element("figure", svg, class_="square"), note=note)
    if len(outcomes.class_names) > MAX_CLASSES:
        return _frequent_confusions(outcomes, split)
    note = f"{split} rows; each row of the table is a true class, each column a predicted one."
    return section("Confusion", _matrix(outcomes), note=note)


def _matrix(outcomes: Outcomes) -> Markup:
    counts, names = outcomes.confusion(), outcomes.class_names
    columns = [element("th", name, scope="col", title=name) for name in names]
    head = element("tr", element("th", "true"), *columns, element("th", "recall"), element("th", "rows"))
    body = []
    for position, name in enumerate(names):
        total = int(counts[position].sum())
        cells = [_cell(int(count), total) for count in counts[position]]
        recall = format_number(counts[position, position] / total if total else math.nan, 3)
        cells += [element("td", text, class_="total") for text in (recall, f"{total:,}")]
        body.append(element("tr", element("th", name, scope="row", title=name), *cells))
    filled = element("table", element("thead", head), element("tbody", *body), class_="confusion")
    return element("div", filled, class_="scroll")


def _cell(count: int, total: int) -> Markup:
    shade = 85 * math.sqrt(count / total) if total else 0.0  # by the root, so that a rare error is seen
    kind = " strong" if shade > 55 else " empty" if count == 0 else ""
    return element("td", f"{count:,}", class_=f"count{kind}", style=f"--share:{shade:.0f}%")


def _frequent_confusions(outcomes: Outcomes, split: str) -> Markup:
    counts = outcomes.confusion()
    totals = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(counts, axis=None, kind="stable")[::-1][:MAX_CLASSES]
    rows = []
    for true, predicted in zip(*np.unravel_index(order, counts.shape), strict=True):
        if count := int(counts[true, predicted]):
            share = format_number(100 * count / totals[true], 1)
            rows.append((outcomes.class_names[true], outcomes.class_names[predicted], count, f"{share} % of the class"))
    note = f"{split} rows, {len(outcomes.class_names):,} classes."
    if not rows:
        return section("Confusion", element("p", "No row was confused."), note=note)
    return section("Most frequent confusions", table(("true", "predicted", "rows", "share"), rows), note=note)


def metrics_table(result: Result, config: Mapping[str, Any]) -> Markup:
    """Every metric of every part with its interval, and the baseline's; empty without scores."""
    parts = {split: read_metrics(result, split) for split in ("test", "validation")}
    baseline_name, baseline = read_baseline(result)
    columns = {SPLIT_TITLES[split]: metrics for split, metrics in parts.items() if metrics}
    if not columns:
        return Markup()
    if baseline:
        columns[f"{baseline_name} baseline, test"] = baseline
    names = dict.fromkeys(name for metrics in columns.values() for name in metrics)
    rows = [(name, *(_score_cell(metrics.get(name)) for metrics in columns.values())) for name in names]
    counts = {title: {score.n for score in metrics.values()} for title, metrics in columns.items()}
    header = [_column_title(title, counts[title]) for title in columns]
    note = f"Brackets are {confidence_text(config)} intervals."
    return section("Metrics", table(("", *header), rows), note=note)


def _column_title(title: str, counts: set[int]) -> str:
    return f"{title} (n {counts.copy().pop():,})" if len(counts) == 1 and counts != {0} else title


def _score_cell(score: Estimate | None) -> Markup | str:
    if score is None:
        return "–"
    return join((f"{format_number(score.value, decimals_for(score))} ", element("small", format_interval(score))))


def facts(result: Result, lineage: Mapping[str, str] | None = None) -> Markup:
    """What was run, how long it took, and which run it comes from."""
    return section("Run", definitions({**(lineage or {}), **run_facts(result)}))


def configuration(config: Mapping[str, Any]) -> Markup:
    """The whole config as YAML, folded."""
    text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=100)
    return section("Configuration", element("details", element("summary", "Show config.yaml"), element("pre", text)))
