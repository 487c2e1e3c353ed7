"""Two processes against one: the same weights, metrics and validation, from one group and from the command line."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import trainkit as tk
from trainkit.rundir import RunDirectory, read_json
from trainkit.runs.build import build_parts
from trainkit.runs.devices import Devices
from trainkit.runs.directory import begin
from trainkit.runs.launch import surroundings
from trainkit.runs.train import train
from trainkit.training import read_metrics

PLAIN = (
    *("data=breast_cancer", "data.batch_size=32", "data.eval_batch_size=32", "trainer.max_steps=20"),
    *("trainer.log_every_n_steps=10", "checkpoint.every_n_steps=5", "logger=none", "evaluation.resamples=50"),
    "trainer.threads=1",
)
MLP = ("model=mlp", "model.hidden=[16]", "model.dropout=0", "model.input_dropout=0")
MEMBERS = ("model=tabular", "model.width=16", "model.num_members=4", "model.dropout=0")
PICTURES = ("data=digits", "data.batch_size=31", "data.sampling=balanced", "augment=[digits,mixup_cutmix]")
JOBS: dict[str, tuple[str, ...]] = {
    "K16": (),
    "K1": ("trainer.steps_per_execution=1",),
    "weighted": ("task=classification", "task.class_weights=[1.0,5.0]"),
    "accumulated": ("trainer.accumulate=3",),
    "row weights": ("data.weight='worst smoothness'", "trainer.accumulate=2"),
    "one batch": ("data.eval_batch_size=96",),
    "unfreezing": ("finetune=gradual", "finetune.unfreeze_every=5", "trainer.accumulate=2"),
    "members": (*MEMBERS, "data.weight='worst smoothness'", "trainer.accumulate=2"),
    "own parameters": ("trainer.flat_parameters=false", "task=classification", "task.class_weights=[1.0,5.0]"),
    "muon": ("optimizer=muon", "model.hidden=[16,16]"),
    "augmented": (*PICTURES, "trainer.accumulate=2"),
    "random": ("model.dropout=0.3", "model.norm=batch"),
    "stopped": ("model.dropout=0.3", "model.norm=batch"),
    "pictures": ("callbacks=[confusion,samples]", "logger=tensorboard"),
}
WORKER = """
import os, signal, sys
from pathlib import Path
from trainkit.runs.worker import leave_group, main
from trainkit.training import TrainModule

root, names = Path(sys.argv[1]), sys.argv[2:]
step = TrainModule.training_step

def stopped(self, batch, batch_idx):
    step(self, batch, batch_idx)
    if os.environ["RANK"] == "1" and self.trainer.global_step == 15:
        os.kill(os.getpid(), signal.SIGTERM)

for name in names:
    if name == "stopped":
        TrainModule.training_step = stopped
        main(str(root / name), str(root))
        TrainModule.training_step = step
        assert not (root / name / "model.safetensors").exists()
    main(str(root / name), str(root))
leave_group()
"""


class Trained(NamedTuple):
    """Weights, and logged values by step and name (without throughput, which no two runs share)."""

    weights: dict[str, torch.Tensor]
    logged: dict[tuple[int, str], float]


def trained(run: RunDirectory) -> Trained:
    rows = [row for row in read_metrics(run.metrics) if row["name"] != "samples_per_second"]
    logged = {(int(row["step"]), f"{row['split']}/{row['name']}"): float(row["value"]) for row in rows}
    return Trained(load_file(run.weights), logged)


def whole(overrides: tuple[str, ...]) -> list[str]:
    plain = PLAIN[1:] if overrides[:1] == PICTURES[:1] else PLAIN
    return [*plain, *(() if overrides[:1] == MEMBERS[:1] else MLP), *overrides]


def begun(directory: Path, devices: int, *overrides: str) -> RunDirectory:
    config = tk.compose([*whole(overrides), f"trainer.devices={devices}", f"run.dir={directory}"])
    return begin(build_parts(config), Devices("cpu", devices, 1), [])


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every job, trained by one group of two processes."""
    root = tmp_path_factory.mktemp("group")
    for name, overrides in JOBS.items():
        begun(root / name, 2, *overrides)
    (root / "jobs.py").write_text(WORKER)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    with surroundings(Devices("cpu", 2, 1)):
        elastic_launch(config, sys.executable)(str(root / "jobs.py"), str(root), *JOBS)
    return root


def alone(folder: Path, *overrides: str) -> Trained:
    """The same job in this process, on the joined batch."""
    run = begun(folder / "alone", 1, *overrides)
    parts = build_parts(tk.compose(whole(overrides)))
    assert train(parts, run, Devices("cpu", 1, 1)).steps == 20
    return trained(run)


def assert_close(one: Trained, other: Trained) -> None:
    torch.testing.assert_close(one.weights, other.weights, rtol=1e-5, atol=1e-5)
    assert one.logged == pytest.approx(other.logged, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    "job",
    ["K16", "weighted", "accumulated", "row weights", "one batch", "members", "unfreezing", "own parameters", "muon"],
)
def test_two_processes_learn_what_one_does_on_the_joined_batch(job: str, group: Path, tmp_path: Path) -> None:
    one = alone(tmp_path, *JOBS[job])
    assert {name for _, name in one.logged} >= {"train/loss", "train/accuracy", "train/grad_norm", "val/auroc"}
    assert_close(trained(RunDirectory(group / job)), one)


def test_two_processes_augment_and_mix_as_one_does(group: Path, tmp_path: Path) -> None:
    one = alone(tmp_path, *JOBS["augmented"])
    assert_close(trained(RunDirectory(group / "augmented")), one)


def test_steps_per_execution_make_no_difference(group: Path) -> None:
    one, sixteen = trained(RunDirectory(group / "K1")), trained(RunDirectory(group / "K16"))
    torch.testing.assert_close(one.weights, sixteen.weights, rtol=0, atol=0)
    assert one.logged == sixteen.logged


def test_class_weights_make_a_difference(group: Path) -> None:
    plain, weighted = trained(RunDirectory(group / "K16")), trained(RunDirectory(group / "weighted"))
    first = next(name for name in plain.weights if name.startswith("net.") and name.endswith("weight"))
    assert not torch.allclose(plain.weights[first], weighted.weights[first], atol=1e-3)


def test_a_group_that_one_signal_stopped_goes_on_to_the_same_bits(group: Path) -> None:
    whole, stopped = RunDirectory(group / "random"), RunDirectory(group / "stopped")
    assert trained(whole).logged == trained(stopped).logged
    torch.testing.assert_close(trained(whole).weights, trained(stopped).weights, rtol=0, atol=0)
    states = [torch.load(run.checkpoints / "step-20.ckpt", weights_only=True) for run in (whole, stopped)]
    assert [len(state["trainkit"]["processes"]) for state in states] == [2, 2]
    for key in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(states[0][key], states[1][key], rtol=0, atol=0)


def test_pictures_show_the_validation_of_all_processes(group: Path, tmp_path: Path) -> None:
    alone(tmp_path, *JOBS["pictures"])
    one, two = (EventAccumulator(str(folder)).Reload() for folder in (tmp_path / "alone", group / "pictures"))
    pictures = [found.Images("val/confusion_matrix") for found in (one, two)]
    assert [image.step for image in pictures[0]] == [image.step for image in pictures[1]] == [12, 19]
    assert pictures[0][-1].encoded_image_string == pictures[1][-1].encoded_image_string
    tables = [found.Tensors("val/samples/text_summary")[-1].tensor_proto.string_val[0].decode() for found in (one, two)]
    rows = [[line.split("|")[1:4] for line in table.splitlines()] for table in tables]
    assert rows[0] == rows[1] and len(rows[0]) == 2 + 16


def test_the_command_line_trains_with_two_processes(cli: Callable[..., Any], tmp_path: Path) -> None:
    code, out, err = cli("fit", "run.dir=two", *PLAIN, *MLP, "trainer.devices=2")
    assert (code, err) == (0, "")
    assert "steps × 32 (32 = 2 processes × 16) · " in out and "2 processes × 1 thread\n" in out
    assert out.count("train  20/20 · ") == 1
    assert cli("fit", "run.dir=one", *PLAIN, *MLP).code == 0
    one, two = RunDirectory(tmp_path / "one"), RunDirectory(tmp_path / "two")
    assert_close(trained(two), trained(one))
    frames = [pd.read_parquet(run.predictions) for run in (one, two)]
    pd.testing.assert_frame_equal(frames[0], frames[1], rtol=1e-4, atol=1e-6)
    results = [read_json(run.result) for run in (one, two)]
    assert results[0]["objective"]["value"] == pytest.approx(results[1]["objective"]["value"])
    for key in ("status", "steps", "epochs", "best_checkpoint", "data_fingerprint"):
        assert results[0][key] == results[1][key]


STOPS = """
import os, signal
import lightning as L


class StopsItsParent(L.Callback):
    def on_train_batch_end(self, trainer, *args):
        if trainer.global_rank == 1 and trainer.global_step == 7:
            os.kill(os.getppid(), signal.SIGTERM)
"""


@pytest.mark.slow
def test_a_signal_to_the_command_stops_its_processes_and_it_goes_on_to_the_same_bits(
    cli: Callable[..., Any], group: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stops_its_parent.py").write_text(STOPS)
    monkeypatch.syspath_prepend(str(tmp_path))
    command = ("fit", "run.dir=run", *PLAIN, *MLP, *JOBS["random"], "trainer.devices=2")
    callback = "+callbacks.stop._target_=stops_its_parent.StopsItsParent"
    code, out, _ = cli(*command, callback)
    run = RunDirectory(tmp_path / "run")
    assert code == 128 + signal.SIGTERM and "stop   saved at step " in out
    stopped_at = read_json(run.result)["steps"]
    assert (run.status(), 7 <= stopped_at < 20) == ("interrupted", True)
    code, out, err = cli(*command, callback)
    assert (code, err) == (0, "") and f"continues from step-{stopped_at}.ckpt\n" in out
    whole = trained(RunDirectory(group / "random"))
    assert trained(run).logged == whole.logged
    torch.testing.assert_close(trained(run).weights, whole.weights, rtol=0, atol=0)
