from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trainkit as tk
from tests.runs.inspection.conftest import generators, net, parts
from trainkit.runs.build import build_parts
from trainkit.runs.inspection.plan_facts import plan_facts
from trainkit.runs.inspection.trial import Learner, training_batch, try_one_batch
from trainkit.runs.live import put_objects
from trainkit.runs.parts import Parts

CPU = torch.device("cpu")


@functools.cache
def composed(*overrides: str) -> Any:
    return tk.compose(overrides)


def built(*overrides: str, model: nn.Module | None = None) -> Parts:
    config = composed("data=dataset", *overrides).copy()
    live = put_objects(
        config, model=model or net(), datasets=parts(), data=None, task=None, optimizer=None, scheduler=None
    )
    return build_parts(config, live)


def test_a_trial_learns_a_copy_and_leaves_everything_as_it_was() -> None:
    model = nn.Sequential(net(), nn.BatchNorm1d(10))
    made = built(model=model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    states = generators()
    trial = try_one_batch(made, CPU)
    assert trial.first_loss > 2 > 0.2 > trial.last_loss
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training and all(p.grad is None for p in model.parameters())
    assert generators() == states


def test_a_trial_is_the_same_each_time() -> None:
    made = built(model=nn.Sequential(net(), nn.Dropout(0.5)))
    first, second = (try_one_batch(made, CPU, seconds=60) for _ in range(2))
    assert first.last_loss == second.last_loss and first.num_steps == second.num_steps


def test_it_ends_when_the_batch_is_learned_or_the_time_is_over() -> None:
    made = built("optimizer.lr=0.01")
    learned, cut = try_one_batch(made, CPU, seconds=60), try_one_batch(made, CPU, seconds=0)
    assert 20 <= learned.num_steps < 150 and learned.last_loss <= 0.02 * learned.first_loss
    assert cut.num_steps == 3


def test_facts_of_a_trial() -> None:
    trial = try_one_batch(built("trainer.clip_norm=0.5"), CPU, peaks=(1e-3, 1e-3))
    assert (trial.num_samples, trial.clip_norm, trial.peak, trial.is_class) == (64, 0.5, 1e-3, True)
    assert trial.chance == pytest.approx(np.log(10)) and trial.highest_loss >= trial.first_loss
    assert len(trial.norms) == trial.num_steps and (trial.norms > 0).all()
    assert trial.lowest[1] < trial.lowest[0] < 0 < trial.highest[0] < trial.highest[1]
    assert 0.3 < trial.input_spread < 0.5 and trial.input_mean < 1


@pytest.mark.parametrize(
    ("overrides", "size"),
    [([], 64), (["data.batch_size=32", "trainer.accumulate=4"], 8), (["data.batch_size=400"], 256)],
)
def test_the_batch_is_one_micro_batch_in_the_order_of_training(overrides: list[str], size: int) -> None:
    made = built(*overrides)
    inputs, target = training_batch(made, CPU)
    order = made.data.train_loader(seed=0).order(0)[:size]
    expected = made.data.source.fetch(order, 0)
    assert torch.equal(inputs, expected[0]) and torch.equal(target, expected[1])  # type: ignore[arg-type]


def test_a_slow_net_gets_a_smaller_batch() -> None:
    class Slow(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            time.sleep(0.002 * len(images))
            outputs: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
            return outputs

    trial = try_one_batch(built(model=Slow(*net())), CPU, seconds=0.6)
    assert 8 <= trial.num_samples <= 15 and trial.num_steps < 150
    assert try_one_batch(built(model=Slow(*net())), CPU, seconds=0).num_samples == 8


def test_dropout_is_off_and_the_rest_trains() -> None:
    learner = Learner(built(model=nn.Sequential(net(), nn.BatchNorm1d(10), nn.Dropout(0.9))), CPU, "fp32")
    modes = {type(module).__name__: module.training for module in learner.network.modules()}
    assert (modes["Dropout"], modes["BatchNorm1d"], modes["Linear"]) == (False, True, True)


class Sleeper(nn.Module):
    """A second layer behind a gate that is 0 at the first step."""

    def __init__(self, is_learned: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 10), nn.Linear(64, 10)
        self.gate = nn.Parameter(torch.zeros(()), requires_grad=is_learned)

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        outputs: Tensor = self.first(flat) + self.gate * self.second(flat)
        return outputs


def test_parameters_behind_a_gate_that_opens_do_move() -> None:
    assert try_one_batch(built(model=Sleeper(True)), CPU).never_moved == ()
    assert try_one_batch(built(model=Sleeper(False)), CPU).never_moved == ("second.weight", "second.bias")


def test_a_loss_without_a_graph_moves_nothing() -> None:
    class Detached(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            outputs: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
            return outputs.detach()

    trial = try_one_batch(built(model=Detached(*net())), CPU)
    assert trial.num_steps == 0 and trial.never_moved == ("1.weight", "1.bias", "3.weight", "3.bias")


def test_the_peak_of_each_group_is_used() -> None:
    made = built("scheduler=cosine", "optimizer.lr=0.02")
    peaks = plan_facts(made).preview.peaks
    assert len(peaks) == 2 and peaks == pytest.approx((0.02, 0.02))
    assert try_one_batch(made, CPU, peaks).peak == pytest.approx(0.02)


def test_bf16_is_learned_in_bf16() -> None:
    made = built("trainer.precision=bf16-mixed")
    learner = Learner(made, CPU, "bf16-mixed")
    assert learner.outputs(training_batch(made, CPU)[0]).dtype == torch.bfloat16
    assert try_one_batch(made, CPU).last_loss < 0.5
