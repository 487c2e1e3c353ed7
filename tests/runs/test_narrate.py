from __future__ import annotations

import io
from typing import Any

import pytest

import trainkit as tk
from trainkit.runs import narrate
from trainkit.runs.build import build_parts
from trainkit.runs.check import DryBatch
from trainkit.runs.devices import Devices
from trainkit.runs.result import Result
from trainkit.runs.schedule import run_schedule
from trainkit.types import Estimate


def built(*overrides: str) -> Any:
    return build_parts(tk.compose(overrides))


@pytest.mark.parametrize(
    ("overrides", "split", "task", "model"),
    [
        (
            ["data=wine", "model=mlp", "model.hidden=[4]"],
            "train 124 · val 27 · test 27 · stratified, split seed 0",
            "3 classes (auto) · rarest class_2 26.6 % · monitor val/accuracy ↑",
            "MLP · 71 parameters",
        ),
        (
            ["data=breast_cancer", "data.split_seed=3", "task=classification"],
            "train 398 · val 85 · test 86 · stratified, split seed 3",
            "binary · 37.2 % malignant · monitor val/auroc ↑",
            "tabular (auto: table) · ",
        ),
        (
            ["data=diabetes", "data.val_share=0"],
            "train 376 · val 0 · test 66 · split seed 0",
            "regression (auto) · target 152.1 ± 78.3 · no validation part",
            "tabular (auto: table) · ",
        ),
        (
            ["data=wine", "model=logistic", "data.stratify=false"],
            "train 124 · val 27 · test 27 · split seed 0",
            "3 classes (auto) · rarest class_2 ",
            "LogisticRegression (scikit-learn)",
        ),
    ],
)
def test_the_head_of_a_run(overrides: list[str], split: str, task: str, model: str) -> None:
    parts = built(*overrides)
    assert narrate.split_line(parts) == split
    assert narrate.task_line(parts).startswith(task)
    assert narrate.model_line(parts).startswith(model)


@pytest.mark.parametrize(
    ("overrides", "devices", "line"),
    [
        ([], Devices("cpu", 1, 2),
         "2 epochs = 8 steps × 32 · adamw 0.01 cosine, warm-up 2 · fp32 · 2 threads"),
        (["trainer.max_steps=3", "trainer.precision=bf16-mixed"], Devices("cuda", 1, 1),
         "0.75 epochs = 3 steps × 32 · adamw 0.01 cosine, warm-up 2 · bf16-mixed · 1 GPU"),
        (["trainer.devices=2", "trainer.accumulate=2", "scheduler=constant"], Devices("cpu", 2, 1),
         "2 epochs = 8 steps × 32 (32 = 2 processes × 2 micro-batches × 8) · "
         "adamw 0.01 constant · fp32 · 2 processes × 1 thread"),
        (["~scheduler", "trainer.max_epochs=1"], Devices("cuda", 2, 1),
         "1 epoch = 4 steps × 32 (32 = 2 processes × 16) · adamw 0.01 · fp32 · 2 GPUs"),
    ],
)  # fmt: skip
def test_the_plan(overrides: list[str], devices: Devices, line: str) -> None:
    base = ["data=wine", "model=mlp", "trainer.max_epochs=2", "optimizer.lr=0.01"]
    warmup = [] if {"scheduler=constant", "~scheduler"} & set(overrides) else ["scheduler.warmup=2"]
    parts = built(*base, *warmup, *overrides)
    assert narrate.plan_line(parts, run_schedule(parts), devices) == line


def test_metrics_and_baseline() -> None:
    metrics = {name: Estimate(0.5, 0.4, 0.6, n=1200) for name in ("auroc", "balanced_accuracy", "c", "d")}
    assert narrate.metrics_text(metrics) == (
        "auroc 0.500 [0.400, 0.600] · balanced accuracy 0.500 [0.400, 0.600] · c 0.500 [0.400, 0.600] · n 1,200"
    )
    assert narrate.metrics_text({}) == "no test part"
    baseline = {
        "name": "logistic",
        "metrics": {"auroc": {"value": 0.8449}},
        "comparison": {"metric": "auroc", "text": "better (+0.1 [+0.0, +0.2])"},
    }
    assert narrate.baseline_text(Result("completed", None, baseline=baseline)) == (
        "logistic 0.845: better (+0.1 [+0.0, +0.2])"
    )
    assert narrate.check_line(DryBatch(0.6999, 0.6931)) == "dry batch ok · first loss 0.70 (chance 0.69)"
    assert narrate.check_line(DryBatch(0.6999, 0.6931), is_fresh=False) == "dry batch ok"
    assert narrate.check_line(DryBatch(0.6999, None)) == "dry batch ok · first loss 0.70"


def test_labels_stand_in_a_column() -> None:
    stream = io.StringIO()
    narrate.Narrator(stream).say("bar", "x")
    assert stream.getvalue() == "bar    x\n"
