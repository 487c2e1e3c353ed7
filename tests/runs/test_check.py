from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import trainkit as tk
from trainkit.runs.build import build_parts
from trainkit.runs.check import check_batches, dry_batch, monitored
from trainkit.runs.observers import build_callbacks
from trainkit.runs.parts import LiveObjects

CPU = torch.device("cpu")

F1 = [
    "+task.metrics.f1._target_=torchmetrics.classification.MulticlassF1Score",
    *("+task.metrics.f1.num_classes=???", "+task.metrics.f1.average=macro"),
]
MEAN = ["+task.metrics.mean._target_=torchmetrics.MeanMetric"]
HINGE = [
    "+task.metrics.hinge._target_=torchmetrics.classification.MulticlassHingeLoss",
    "+task.metrics.hinge.num_classes='${spec:num_classes}'",
]


def built(*overrides: str, model: nn.Module | None = None) -> Any:
    return build_parts(tk.compose(["data=wine", "model=mlp", *overrides]), LiveObjects(model=model))


@pytest.mark.parametrize(
    ("overrides", "name", "mode"),
    [
        ([], "val/accuracy", "max"),
        (["trainer.monitor=val/loss"], "val/loss", "min"),
        (["trainer.monitor=val/loss", "trainer.mode=max"], "val/loss", "max"),
        (["data=diabetes"], "val/rmse", "min"),
        (["data=diabetes", "trainer.monitor=val/mae"], "val/mae", "min"),
        (["data=diabetes", "trainer.monitor=val/r2"], "val/r2", "max"),
        (["data=breast_cancer"], "val/auroc", "max"),
        (["data.val_share=0"], None, "max"),
        (["data=diabetes", "task=regression", "task.loss=huber"], "val/mae", "min"),
        ([*F1, "trainer.monitor=val/f1"], "val/f1", "max"),
        ([*F1, "trainer.monitor=val/f1", "trainer.mode=min"], "val/f1", "min"),
        ([*HINGE, "trainer.monitor=val/hinge"], "val/hinge", "min"),
    ],
)
def test_what_is_monitored_and_which_way(overrides: list[str], name: str | None, mode: str) -> None:
    assert monitored(built(*overrides)) == (name, mode)


def test_the_dry_batch_changes_nothing() -> None:
    parts = built("model.norm=batch")
    before = {name: tensor.clone() for name, tensor in parts.network.state_dict().items()}
    state = torch.get_rng_state()
    first = dry_batch(parts, CPU)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in parts.network.state_dict().items())
    assert all(p.grad is None for p in parts.network.parameters()) and parts.network.training
    assert dry_batch(parts, CPU) == first
    assert first.chance == pytest.approx(1.0986, abs=1e-4) and 0.5 < first.loss < 3


class Constant(nn.Module):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.weight, self.value = nn.Parameter(torch.ones(3)), value

    def forward(self, matrix: torch.Tensor) -> Any:
        return self.value(matrix, self.weight)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (lambda m, w: w.expand(len(m), 3) * float("nan"), "the first loss is nan"),
        (lambda m, w: [w], "the model gives a list"),
        (lambda m, w: w, "the model gives outputs of shape [3] for a batch of 32"),
        (lambda m, w: m[0, 99], "Constant does not take a batch: IndexError: index 99 is out of bounds"),
        (lambda m, w: {"y": m}["x"], "Constant does not take a batch: KeyError: 'x'"),
    ],
)
def test_outputs_that_cannot_be_learned_from(value: Any, text: str) -> None:
    with pytest.raises(tk.ConfigError) as caught:
        dry_batch(built(model=Constant(value)), CPU)
    assert caught.value.what.startswith(text)


def test_a_table_is_described_as_it_reaches_the_net() -> None:
    with pytest.raises(tk.ConfigError) as caught:
        dry_batch(built(model=nn.Linear(3, 3)), CPU)
    assert caught.value.expected == "a net for inputs float32 [32, 13]"


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        (["data.batch_size=123"], True),  # 124 training rows leave one for the last batch
        (["data.batch_size=123", "data.drop_last=true"], False),
        (["data.batch_size=123", "model.norm=layer"], False),
        (["data.batch_size=8", "trainer.accumulate=8"], True),
        (["data.batch_size=31", "trainer.accumulate=2"], False),
    ],
)
def test_batch_norm_needs_more_than_one_sample(overrides: list[str], refused: bool) -> None:
    parts = built("model.norm=batch", *overrides)
    if refused:
        with pytest.raises(tk.DataError, match="BatchNorm would get a micro-batch of one sample"):
            check_batches(parts)
    else:
        check_batches(parts)


def test_every_process_needs_a_row_of_the_validation() -> None:
    check_batches(built("trainer.devices=27"))
    with pytest.raises(tk.DataError, match="a validation part of 27 cannot be shared by 28 processes"):
        check_batches(built("trainer.devices=28"))


@pytest.mark.parametrize(
    ("overrides", "monitor", "mode"),
    [
        ([], "val/accuracy", "max"),
        (["callbacks.early_stopping.monitor=val/loss"], "val/loss", "min"),
        (["trainer.monitor=val/loss", "callbacks.early_stopping.monitor=val/accuracy"], "val/accuracy", "max"),
        ([*F1, "callbacks.early_stopping.monitor=val/f1", "trainer.monitor=val/loss"], "val/f1", "max"),
        ([*HINGE, "trainer.monitor=val/hinge"], "val/hinge", "min"),
        (["trainer.mode=min"], "val/accuracy", "min"),
        ([*MEAN, "callbacks.early_stopping.monitor=val/mean", "callbacks.early_stopping.mode=min"], "val/mean", "min"),
    ],
)
def test_early_stopping_goes_the_way_of_what_it_watches(overrides: list[str], monitor: str, mode: str) -> None:
    (callback,) = build_callbacks(built("callbacks=early_stopping", *overrides))
    assert (callback.monitor, callback.mode) == (monitor, mode)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (
            ["+task.criterion._target_=torch.nn.BCELoss"],
            "BCELoss does not take a batch: ValueError: Using a target size (torch.Size([32])) that is different",
        ),
        (
            ["+task.metrics.f1._target_=torchmetrics.classification.BinaryF1Score"],
            "BinaryF1Score does not take a batch: RuntimeError: Predictions and targets are expected to have the same",
        ),
    ],
)
def test_the_dry_batch_tries_what_is_the_users(overrides: list[str], text: str) -> None:
    with pytest.raises(tk.ConfigError) as caught:
        dry_batch(built(*overrides), CPU)
    assert caught.value.what.startswith(text)


def test_a_metric_that_does_not_say_which_way_is_better_needs_a_mode() -> None:
    with pytest.raises(tk.ConfigError, match="MeanMetric does not say whether higher is better"):
        build_callbacks(built("callbacks=early_stopping", *MEAN, "callbacks.early_stopping.monitor=val/mean"))


def test_the_dry_batch_of_a_criterion_has_no_chance_to_compare_with() -> None:
    assert dry_batch(built("+task.criterion._target_=torch.nn.CrossEntropyLoss"), CPU).chance is None
