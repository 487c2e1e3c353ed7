from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import trainkit as tk
from trainkit.runs.build import build_parts
from trainkit.runs.check import check_batches, dry_batch, monitored
from trainkit.runs.parts import LiveObjects

CPU = torch.device("cpu")


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
