"""Mistakes in nets and datasets that are made on purpose, each of which has to be found, and nothing else with it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.utils.data import Dataset, Subset, TensorDataset

import trainkit as tk
from tests.runs.inspection.conftest import DIGITS, IMAGES, net, parts
from trainkit.runs.inspection.eval_facts import eval_facts


class Noisy(Dataset[Any]):
    """Samples with noise that is drawn anew each time, read slowly if asked."""

    def __init__(self, base: Any, noise: float = 1.0, seconds: float = 0.0) -> None:
        self.base, self.noise, self.seconds = base, noise, seconds
        self.targets = base.tensors[1]

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> Any:
        time.sleep(self.seconds)
        image, digit = self.base[index]
        return image + self.noise * torch.randn_like(image), digit


class Odd(nn.Module):
    """Two layers, between which something goes wrong."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.between = nn.Linear(64, 32), nn.Linear(32, 10), between

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.second(self.between(self.first(images.flatten(1))).relu())
        return outputs


def scaled(layer: int, weight: float = 1.0, bias: float = 0.0) -> nn.Sequential:
    model = net()
    linear: Any = model[layer]
    with torch.no_grad():
        linear.weight *= weight
        linear.bias += bias
    return model


def with_spare() -> nn.Module:
    model = net()
    model[0].register_module("spare", nn.Linear(3, 3))
    return model


def normalised() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))


def sorted_parts() -> dict[str, Any]:
    order = DIGITS.argsort()
    return parts(IMAGES[order], DIGITS[order])


def conflicting() -> dict[str, Any]:
    """Sixty training images that stand there twice, under two names."""
    given = parts()
    images, digits = given["train"].tensors
    given["train"] = TensorDataset(torch.cat([images, images[:60]]), torch.cat([digits, (digits[:60] + 1) % 10]))
    return given


def scheduler(name: str, **settings: Any) -> Any:
    return functools.partial(getattr(lr_scheduler, name), **settings)


HEALTHY: dict[str, Callable[[], dict[str, Any]]] = {
    "three datasets": lambda: {"model": net(), **parts()},
    "one dataset": lambda: {"model": net(), "train": TensorDataset(IMAGES, DIGITS)},
    "pixels from 0 to 16": lambda: {"model": net(), "train": TensorDataset(IMAGES * 16, DIGITS)},
    "noise in training": lambda: {"model": net(), **parts(), "train": Noisy(parts()["train"], 0.1)},
    "batch norm and dropout": lambda: {"model": nn.Sequential(normalised(), nn.Dropout(0.5)), **parts()},
    "sgd": lambda: {"overrides": ["optimizer=sgd"]},
    "a constant rate": lambda: {"model": net(), **parts(), "overrides": ["scheduler=constant"]},
    "one cycle": lambda: {
        "model": net(),
        **parts(),
        "scheduler": scheduler("OneCycleLR", max_lr=3e-3, total_steps=210),
    },
    "warm restarts": lambda: {"model": net(), **parts(), "scheduler": scheduler("CosineAnnealingWarmRestarts", T_0=14)},
    "early stopping": lambda: {"model": net(), **parts(), "overrides": ["callbacks=early_stopping"]},
    "log-probabilities": lambda: {"model": net(nn.LogSoftmax(1)), **parts()},
    "no validation": lambda: {"overrides": ["data.val_share=0", "model=mlp"]},
}

PLANTED: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "training rows in validation": ("shared_rows", lambda: {"model": net(), **parts(val=(300, 500))}),
    "one object twice": ("same_dataset", lambda: {"model": net(), **parts(), "val": None} | _twice()),
    "overlapping subsets": ("same_dataset", lambda: {"model": net(), **_overlapping()}),
    "labels that conflict": ("conflicting_labels", lambda: {"model": net(), **conflicting()}),
    "parts cut from sorted rows": ("missing_class", lambda: {"model": net(), **sorted_parts()}),
    "twelve rows for validation": ("small_part", lambda: {"model": net(), **parts(val=(400, 412))}),
    "noise in validation": ("changing_validation", lambda: {"model": net(), **parts(), "val": Noisy(parts()["val"])}),
    "channels last": ("swapped_axes", lambda: {"model": net(), **parts(IMAGES.permute(0, 2, 3, 1))}),
    "pixels from 0 to 255": ("unscaled_inputs", lambda: {"model": net(), **parts(IMAGES * 255)}),
    "pixels divided twice": ("flat_inputs", lambda: {"model": net(), **parts(IMAGES / 255)}),
    "a large last layer": ("exploding_loss", lambda: {"model": scaled(3, weight=100), **parts()}),
    "a rate far too high": ("diverges", lambda: {"model": net(), **parts(), "optimizer": tk.sgd(lr=100.0)}),
    "a rate too high for Adam": ("diverges", lambda: {"model": net(), **parts(), "optimizer": tk.adamw(lr=10.0)}),
    "a rate far too low": ("unlearned_batch", lambda: {"model": net(), **parts(), "optimizer": tk.adamw(lr=1e-7)}),
    "a detached layer": ("detached", lambda: {"model": Odd(lambda hidden: hidden.detach()), **parts()}),
    "a layer not used": ("detached", lambda: {"model": with_spare(), **parts()}),
    "an input not used": ("constant_outputs", lambda: {"model": Odd(torch.ones_like), **parts()}),
    "dead units": ("constant_outputs", lambda: {"model": scaled(1, bias=-1e4), **parts()}),
    "softmax before the loss": ("squashed_outputs", lambda: {"model": net(nn.Softmax(1)), **parts()}),
    "sigmoid before the loss": ("squashed_outputs", lambda: {"model": net(nn.Sigmoid()), **parts()}),
    "the root of zero": ("bad_gradients", lambda: {"model": Odd(lambda h: h + (h * 0).sqrt()), **parts()}),
    "clipping to a thousandth": (
        "heavy_clipping",
        lambda: {"model": net(), **parts(), "overrides": ["trainer.clip_norm=1e-3"]},
    ),
    "a step far beyond the run": (
        "no_decay",
        lambda: {"model": net(), **parts(), "scheduler": scheduler("StepLR", step_size=10_000)},
    ),
    "a step meant in epochs": (
        "decays_early",
        lambda: {"model": net(), **parts(), "scheduler": scheduler("StepLR", step_size=10)},
    ),
    "a period meant in epochs": (
        "many_cycles",
        lambda: {"model": net(), **parts(), "scheduler": scheduler("CosineAnnealingLR", T_max=7)},
    ),
    "a warm-up beyond the run": (
        "long_warm_up",
        lambda: {"model": net(), **parts(), "scheduler": tk.cosine(warmup=10**5)},
    ),
    "a batch above the data": ("single_step", lambda: {"model": net(), **parts(), "batch_size": 2_000}),
    "batch norm over four": (
        "small_normalised",
        lambda: {"model": normalised(), **parts(), "batch_size": 32, "overrides": ["trainer.accumulate=8"]},
    ),
    "a rate of zero": ("zero_rate", lambda: {"model": net(), **parts(), "overrides": ["optimizer.lr=0"]}),
    "a decay that pulls to zero": (
        "unlearned_batch",
        lambda: {"model": net(), **parts(), "optimizer": tk.adamw(lr=1e-3, weight_decay=900)},
    ),
    "validation not scaled": (
        "other_scale",
        lambda: {"model": net(), **parts(), "val": TensorDataset(IMAGES[400:500] * 255, DIGITS[400:500])},
    ),
    "height and width swapped": (
        "other_shape",
        lambda: {"model": net(), **parts(IMAGES.reshape(-1, 1, 4, 16)), **_turned()},
    ),
    "dropout of nearly all": ("strong_dropout", lambda: {"model": Odd(nn.Dropout(0.97)), **parts()}),
    "dropout in eval mode": ("noisy_evaluation", lambda: {"model": Odd(functional.dropout), **parts()}),
    "samples that see each other": (
        "batch_dependence",
        lambda: {"model": Odd(lambda hidden: hidden - hidden.mean(0)), **parts()},
    ),
    "statistics that never move": (
        "still_norm",
        lambda: {"model": Odd(nn.BatchNorm1d(32, momentum=0.0)), **parts()},
    ),
    "a slow dataset": (
        "slow_loader",
        lambda: {
            "model": net(),
            **parts(),
            "train": Noisy(parts()["train"], 0.0, 0.001),
            "overrides": ["data.num_workers=0"],
        },
    ),
}  # fmt: skip


def _twice() -> dict[str, Any]:
    train = parts()["train"]
    return {"train": train, "val": train}


def _turned() -> dict[str, Any]:
    return {"val": TensorDataset(IMAGES[400:500].reshape(-1, 1, 16, 4), DIGITS[400:500])}


def _overlapping() -> dict[str, Any]:
    whole = TensorDataset(IMAGES, DIGITS)
    bounds = {"train": range(400), "val": range(300, 500), "test": range(500, 600)}
    return {name: Subset(whole, rows) for name, rows in bounds.items()}


@functools.cache
def composed(*overrides: str) -> Any:
    return tk.compose(overrides)


def look(given: dict[str, Any]) -> tk.CheckResult:
    """A check whose config is composed once for all that share it."""
    overrides = ["data=dataset"] * ("train" in given) + given.pop("overrides", [])
    return tk.check(composed(*overrides), **given)


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_found_on_a_healthy_run(name: str) -> None:
    result = look(HEALTHY[name]())
    assert result.ok, result.findings


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found_and_nothing_else(name: str) -> None:
    found, given = PLANTED[name]
    result = look(given())
    assert {finding.name for finding in result.findings} == {found}, result.findings
    assert not result.ok and all(finding.hint for finding in result.findings)


def test_a_heavy_decay_is_named() -> None:
    (found,) = look({"model": net(), **parts(), "optimizer": tk.adamw(lr=1e-3, weight_decay=900)}).findings
    assert found.hint == "a smaller weight_decay: 900 pulls the weights to 0"


def test_a_net_that_takes_whole_batches_only_is_told() -> None:
    facts = eval_facts(Odd(lambda hidden: hidden.reshape(32, 32)), IMAGES[:32])
    assert facts == {"eval_noise": 0.0, "eval_dependence": float("inf")}
