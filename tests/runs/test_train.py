from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from trainkit.rundir import RunDirectory, read_json
from trainkit.training import read_metrics

Cli = Callable[..., Any]


def test_tensorboard_has_the_curves(digits: RunDirectory) -> None:
    events = EventAccumulator(str(digits.path)).Reload()
    logged, validated = [9, 19, 29, 39, 49], [19, 39, 49]
    curves = {name: events.Scalars(name) for name in events.Tags()["scalars"] if not name.startswith("hp/")}
    assert {name: [point.step for point in points] for name, points in curves.items()} == {
        **{f"train/{name}": logged for name in ("loss", "accuracy", "samples_per_second")},
        **{f"val/{name}": validated for name in ("loss", "accuracy")},
        **{"lr": logged, "grad_norm": logged},
    }
    assert all(point.value > 0 for points in curves.values() for point in points)
    peak, warmup = yaml.safe_load(digits.config.read_text())["optimizer"]["lr"], round(0.05 * 50)
    expected = [peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (50 - warmup))) for step in logged]
    assert [point.value for point in curves["lr"]] == pytest.approx(expected, rel=1e-5)
    rows = read_metrics(digits.metrics)
    for name, points in curves.items():
        split, _, key = name.rpartition("/")
        table = [float(r["value"]) for r in rows if (r["split"], r["name"]) == (split or "train", key)]
        assert table == pytest.approx([point.value for point in points], rel=1e-5)


def test_the_weights_to_use_are_those_of_the_best_epoch(digits: RunDirectory) -> None:
    best = read_json(digits.best)
    state = torch.load(digits.checkpoints / best["file"], weights_only=True)["state_dict"]
    weights = load_file(digits.weights)
    assert {name for name in weights if name.startswith("net.")} == {
        name.removeprefix("model.") for name in state if name.startswith("model.net.")
    }
    for name, tensor in weights.items():
        assert torch.equal(tensor, state[name if name.startswith("task.") else f"model.{name}"])
    values = {int(r["step"]): float(r["value"]) for r in read_metrics(digits.metrics) if r["split"] == "val"
              and r["name"] == "accuracy"}  # fmt: skip
    assert values[best["step"] - 1] == max(values.values()) == best["monitor"]["value"]


def test_two_runs_are_equal_to_the_bit_whatever_is_logged(
    cli: Cli, digits: RunDirectory, assert_same_run: Callable[..., None], tmp_path: Any
) -> None:
    options = ("trainer.max_steps=50", "checkpoint.every_n_steps=15", "trainer.log_every_n_steps=10", "model=mlp")
    again = ("evaluation.resamples=50", "trainer.threads=1", "logger=none", "trainer.steps_per_execution=1")
    assert cli("fit", "run.dir=again", *options, *again).code == 0
    assert_same_run(digits, RunDirectory(tmp_path / "again"))
    assert not list((tmp_path / "again").glob("events*"))


def test_early_stopping_ends_a_run(cli: Cli, tmp_path: Any) -> None:
    stop = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1", "optimizer.lr=1e-9")
    code, out, err = cli("fit", "run.dir=run", "data=wine", "model=mlp", "evaluation.resamples=20", *stop)
    assert (code, err) == (0, "")
    result = read_json(tmp_path / "run" / "result.json")
    assert result["status"] == "completed" and 2 <= result["epochs"] < 30
    assert f"train  {result['steps']}/120 · " in out


@pytest.mark.parametrize(
    "options", [["trainer.precision=bf16-mixed"], ["trainer.accumulate=3"], ["optimizer=sgd"], ["trainer.clip_value=1"]]
)
def test_settings_of_the_trainer_lead_to_a_finished_run(options: list[str], cli: Cli, tmp_path: Any) -> None:
    small = ("data=wine", "model=mlp", "trainer.max_steps=8", "evaluation.resamples=20", "logger=none")
    code, out, err = cli("fit", "run.dir=run", *small, *options)
    assert (code, err) == (0, "") and "train  8/8 · " in out
    last = [float(r["value"]) for r in read_metrics(tmp_path / "run/metrics.csv") if r["name"] == "loss"]
    assert last[-1] < last[0]


def test_without_validation_the_last_weights_are_used(cli: Cli, tmp_path: Any) -> None:
    small = ("data=wine", "model=mlp", "trainer.max_steps=8", "evaluation.resamples=20", "logger=none")
    code, out, err = cli("fit", "run.dir=run", "data.val_share=0", *small)
    assert (code, err) == (0, "") and "no validation part" in out
    run = RunDirectory(tmp_path / "run")
    result = read_json(run.result)
    assert result["objective"] == {"name": None, "mode": None, "value": None}
    assert set(result["metrics"]) == {"test"} and not run.best.exists()
    state = torch.load(run.checkpoints / "step-8.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(state[f"model.{n}"], t) for n, t in load_file(run.weights).items() if n.startswith("net."))


OWN = (
    *("data=wine", "model=mlp", "trainer.max_steps=24", "checkpoint.every_n_steps=5", "evaluation.resamples=20"),
    *("logger=none", "evaluation.baseline=false", "trainer.val_every_n_epochs=2"),
    "+task.criterion._target_=torch.nn.MultiMarginLoss",
    "+task.metrics.f1._target_=torchmetrics.classification.MulticlassF1Score",
    *("+task.metrics.f1.num_classes=???", "+task.metrics.f1.average=macro", "trainer.monitor=val/f1"),
)


def test_a_run_with_a_loss_and_metrics_of_ones_own_resumes_to_the_bit(
    cli: Cli, stop_at: Callable[..., None], assert_same_run: Callable[..., None], tmp_path: Any
) -> None:
    assert cli("fit", "run.dir=whole", *OWN).code == 0
    stop_at(13)
    assert cli("fit", "run.dir=cut", *OWN).code != 0
    stop_at(None)
    assert cli("fit", "run.dir=cut").code == 0
    assert_same_run(RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "cut"))
    rows = [row for row in read_metrics(tmp_path / "cut/metrics.csv") if row["name"] == "f1"]
    assert [(row["split"], row["step"]) for row in rows] == [("val", "7"), ("val", "15"), ("val", "23")]
    assert read_json(tmp_path / "cut/result.json")["objective"]["name"] == "val/f1"


def test_smoothed_labels_are_trained_on_and_plain_ones_evaluated(cli: Cli, tmp_path: Any) -> None:
    """A net that does not move: its training loss is smoothed, its validation loss is not."""
    still = ("data=wine", "model=mlp", "model.dropout=0", "model.input_dropout=0", "optimizer.lr=1e-12")
    short = ("trainer.max_epochs=1", "evaluation.resamples=20", "logger=none", "task=classification")
    found = {}
    for smoothing in (0.0, 0.5):
        assert cli("fit", f"run.dir={smoothing}", *still, *short, f"task.label_smoothing={smoothing}").code == 0
        rows = read_metrics(tmp_path / f"{smoothing}/metrics.csv")
        found[smoothing] = {row["split"]: float(row["value"]) for row in rows if row["name"] == "loss"}
    assert found[0.5]["val"] == pytest.approx(found[0.0]["val"], rel=1e-6)
    assert abs(found[0.5]["train"] - found[0.0]["train"]) > 1e-3
