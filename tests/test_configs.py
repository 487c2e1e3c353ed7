"""Every YAML that trainkit ships, as an object: composed, checked, built, and each experiment trained a few steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers.logger import Logger
from omegaconf import OmegaConf
from torch.optim.lr_scheduler import LRScheduler

from tests.data.images.pictures import write_classes
from trainkit.config.check import check_config
from trainkit.config.compose import compose
from trainkit.config.shipped import groups
from trainkit.data import DataModule
from trainkit.errors import LaunchError
from trainkit.optim import build_optimizer, build_scheduler
from trainkit.runs.build import build, build_parts
from trainkit.runs.check import check_batches, dry_batch
from trainkit.runs.classical import check_classical
from trainkit.runs.devices import find_devices
from trainkit.runs.observers import build_callbacks
from trainkit.runs.schedule import run_schedule
from trainkit.tasks import Task

NEEDED = {
    "data=table": ["data.path=t.csv", "data.target=y", "model=mlp"],
    "data=arrays": ["data.path=t.npz", "model=mlp"],
    "data=images": ["data.path=pics", "model=mlp"],
    "data=dataset": [
        *("+data.train._target_=torchvision.datasets.FakeData", "+data.train.size=40"),
        *("+data.train.image_size=[3,8,8]", "+data.train.transform._target_=torchvision.transforms.ToTensor"),
    ],
    "task=multilabel": ["data.path=labels.npz"],
    "data=custom": ["data._target_=trainkit.data.Digits"],
    "model=cnn1d": [
        *("data=dataset", "+data.train._target_=torchvision.datasets.FakeData", "+data.train.size=40"),
        *("+data.train.image_size=[3,8,8]", "+data.train.transform._target_=torchvision.transforms.Compose"),
        "+data.train.transform.transforms=[{_target_:torchvision.transforms.ToTensor},{_target_:torch.nn.Flatten}]",
        *("model.in_channels=3", "model.sequence_length=64"),
    ],
    "callbacks=augmented": ["data=digits", "augment=digits"],
    "model=torchvision": ["model.name=squeezenet1_1", "model.input_size=64"],
    "model=timm": ["model.name=resnet10t", "model.input_size=64"],
    "model=pretrained": ["model.name=resnet18", "model.weights=null"],
    "model=vit_tiny": ["model.depth=2"],
    "model=custom": ["model._target_=torch.nn.Linear", "+model.in_features=???", "+model.out_features=???"],
}
OWN_BATCHES = ("data=loaders",)
"""Choices that only a LightningModule of the user's own can take."""

CLASSICAL = ("logistic", "linear", "random_forest", "knn", "hist_gradient_boosting")
IMAGE_MODELS = ("cnn", "pretrained", "resnet18", "timm", "torchvision", "vit_tiny")
DATA = {
    **{f"model={name}": "digits" for name in IMAGE_MODELS},
    "model=linear": "diabetes",
    "task=regression": "diabetes",
    "task=quantile": "diabetes",
    "task=multilabel": "arrays",
}


def chosen(group: str) -> list[str]:
    return [f"{group}={name}" for name in groups()[group] if f"{group}={name}" not in OWN_BATCHES]


def overrides(choice: str) -> list[str]:
    """A small job around one choice."""
    group = choice.partition("=")[0]
    data = [] if group == "data" else [f"data={DATA.get(choice, 'wine')}"]
    model = [] if group in ("data", "model") else ["model=mlp", "model.hidden=[4,4,4]"]
    return [*data, *model, choice, *NEEDED.get(choice, [])]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [f"{row},{row * row % 11},{'ab'[row % 2]}" for row in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["x,z,y", *rows]))
    write_classes(tmp_path)
    np.savez(tmp_path / "t.npz", x=np.random.default_rng(0).normal(size=(40, 3)), y=np.arange(40) % 2)
    labels = np.stack([np.arange(40) % 2, np.arange(40) % 3 == 0], axis=1)
    np.savez(tmp_path / "labels.npz", x=np.random.default_rng(0).normal(size=(40, 3)), y=labels)
    return tmp_path


def test_every_group_is_covered() -> None:
    assert set(groups()) == {
        *("data", "model", "task", "optimizer", "scheduler", "trainer", "callbacks", "logger", "module", "experiment"),
        *("finetune", "augment"),
    }


@pytest.mark.parametrize("choice", [c for group in ("data", "model", "task", "optimizer") for c in chosen(group)])
def test_data_models_and_tasks_are_built_and_take_a_batch(choice: str, folder: Path) -> None:
    parts = build_parts(check_config(compose(overrides(choice))))
    assert isinstance(parts.data, DataModule) and isinstance(parts.task, Task)
    if parts.network is None:
        assert choice.partition("=")[2] in CLASSICAL
        check_classical(parts)
        return
    check_batches(parts)
    dry = dry_batch(parts, torch.device("cpu"))
    assert (dry.chance is None) == (choice == "task=quantile")
    assert 0 < dry.loss < 3 * (dry.chance or 1.0) + 1
    assert "???" not in OmegaConf.to_yaml(parts.config[choice.partition("=")[0]])


@pytest.mark.parametrize("choice", [c for group in ("optimizer", "scheduler") for c in chosen(group)])
def test_optimizers_and_schedules_are_built(choice: str, folder: Path) -> None:
    parts = build_parts(check_config(compose(overrides(choice))))
    assert parts.network is not None and parts.optimizer is not None
    optimizer = build_optimizer(parts.optimizer, parts.network)
    peak = parts.config.optimizer.lr
    assert {group["lr"] for group in optimizer.param_groups} == {peak}
    assert isinstance(build_scheduler(parts.scheduler, optimizer, 100), LRScheduler)
    assert 0 < optimizer.param_groups[0]["lr"] <= peak


@pytest.mark.parametrize("choice", [*chosen("trainer"), *chosen("callbacks"), *chosen("logger")])
def test_trainers_callbacks_and_loggers_are_built(choice: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    parts = build_parts(check_config(compose(overrides(choice))))
    assert run_schedule(parts).total_steps > 0
    assert all(isinstance(callback, L.Callback) for callback in build_callbacks(parts))
    if choice == "trainer=gpu" and not torch.cuda.is_available():
        with pytest.raises(LaunchError):
            find_devices(parts.config)
    else:
        assert find_devices(parts.config).count == parts.config.trainer.devices
    for name, node in parts.config.logger.items():
        filled = {"save_dir": str(folder), "resume_step": 0, "id": "abc", "name": "run"}
        for key in [key for key in map(str, node) if OmegaConf.is_missing(node, key)]:
            node[key] = filled[key]
        build(node, f"logger.{name}", Logger).finalize("success")


@pytest.mark.parametrize("choice", chosen("finetune"))
def test_every_way_to_tune_leaves_something_to_train(choice: str, folder: Path) -> None:
    network = build_parts(check_config(compose(["data=digits", choice]))).network
    assert network is not None and any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("choice", chosen("experiment"))
def test_every_experiment_trains(choice: str, cli: Callable[..., Any], tmp_path: Path) -> None:
    small = ("trainer.max_steps=4", "evaluation.resamples=50", "logger=none")
    code, out, err = cli("fit", choice, "run.dir=run", *small)
    assert (code, err) == (0, "") and " 4 steps × " in out
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["status"], result["steps"]) == ("completed", 4)
    assert result["metrics"]["test"] and result["metrics"]["validation"] and result["baseline"]
