from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import pytest
import torch
from torch import nn

import trainkit as tk
from tests.training.conftest import NUM_CLASSES, NUM_FEATURES
from tests.training.test_pictures import events, loader, to_tensorboard
from trainkit.training import Histograms, TensorBoard
from trainkit.training.histograms import MAX_VALUES, _thinned

if TYPE_CHECKING:
    from tests.training.conftest import Job


def net() -> nn.Module:
    dead = nn.Linear(NUM_FEATURES, 8)
    with torch.no_grad():
        dead.bias[:2] = -1e6  # two units that never fire
    return nn.Sequential(dead, nn.ReLU(), nn.Linear(8, NUM_CLASSES))


class Gradients(L.Callback):
    """Keeps the gradient of the first layer at each step."""

    def __init__(self) -> None:
        self.by_step: dict[int, torch.Tensor] = {}

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        grad = next(pl_module.parameters()).grad
        assert grad is not None
        self.by_step[trainer.global_step] = grad.clone()


@pytest.mark.parametrize("steps_per_execution", [1, 7])
def test_what_is_shown_is_what_was_there(steps_per_execution: int, job: Callable[..., Job]) -> None:
    kept, shown = Gradients(), Histograms(every_n_validations=1)
    outcome = job(
        callbacks=lambda: [kept, shown], loggers=to_tensorboard, model=net, steps_per_execution=steps_per_execution
    ).fit()
    assert outcome.error is None
    found = events(outcome.run.path)
    assert sorted(found.Tags()["histograms"]) == sorted(
        [f"watch/{kind}/{name}" for kind in ("weights", "gradients") for name in dict(net().named_parameters())]
        + [f"watch/activations/{index}" for index in range(3)]
    )
    gradients = found.Histograms("watch/gradients/0.weight")
    assert [item.step for item in gradients] == sorted({x for x, _, _ in outcome.logged("val/loss") if x is not None})
    for item in gradients:
        true = kept.by_step[item.step]
        assert item.histogram_value.num == true.numel()
        assert item.histogram_value.sum == pytest.approx(float(true.double().sum()), abs=1e-5)
    last = found.Histograms("watch/weights/0.weight")[-1]
    assert last.step == 39
    weight = outcome.module.state_dict()["model.0.weight"]
    assert last.histogram_value.sum == pytest.approx(float(weight.double().sum()), abs=1e-4)
    assert {item.value for item in found.Scalars("watch/dead_units/1")} == {0.25}


def test_activations_are_those_of_the_first_batch_in_eval_mode_without_its_padding(job: Callable[..., Job]) -> None:
    modes = []

    class Watched(nn.Dropout):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            if not self.training:
                modes.append(torch.is_grad_enabled())
            return super().forward(inputs)

    def small() -> nn.Module:
        return nn.Sequential(Watched(0.5), nn.Linear(NUM_FEATURES, NUM_CLASSES))

    shown = Histograms(1, weights=False, gradients=False)
    made = job(callbacks=lambda: [shown], loggers=to_tensorboard, model=small, max_steps=10)
    outcome = made.fit()
    found = events(outcome.run.path)
    assert found.Tags()["histograms"] == ["watch/activations/0", "watch/activations/1"]
    first = made.source.fetch(torch.arange(103, 119), 0)[0]
    for item in found.Histograms("watch/activations/0"):
        assert item.histogram_value.num == first.numel()  # type: ignore[union-attr]
        assert item.histogram_value.sum == pytest.approx(float(first.double().sum()), abs=1e-4)  # type: ignore[union-attr]
    assert modes and not any(modes)
    assert not any(module._forward_hooks for module in outcome.module.modules())


def test_under_the_users_own_trainer(trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    batches: Sequence[Any] = [(torch.randn(8, NUM_FEATURES), torch.arange(8) % NUM_CLASSES) for _ in range(6)]
    kept = Gradients()
    mine = trainer(
        log_every_n_steps=1,
        max_epochs=2,
        val_check_interval=3,
        logger=TensorBoard(tmp_path),
        callbacks=[Histograms(1), kept],
    )
    mine.fit(tk.TrainModule(net(), tk.Classification(NUM_CLASSES)), loader(batches), loader(batches[:2]))
    gradients = events(tmp_path).Histograms("watch/gradients/0.weight")
    assert [item.step for item in gradients] == [2, 5, 8, 11]
    for item in gradients:
        assert item.histogram_value.sum == pytest.approx(float(kept.by_step[item.step].double().sum()), abs=1e-5)


def test_dead_channels_of_images() -> None:
    shown = Histograms()
    images = torch.rand(5, 3, 4, 4)
    images[:, 1] = 0
    images[0, 2] = 0
    shown._listener("act", 4)(nn.ReLU(), (), images)
    assert shown._dead["act"].tolist() == [False, True, False]
    assert len(shown._found["act"]) == 4 * 3 * 4 * 4


@pytest.mark.parametrize(("count", "kept"), [(3, 3), (MAX_VALUES, MAX_VALUES), (MAX_VALUES + 1, MAX_VALUES // 2 + 1)])
def test_of_many_values_an_even_choice_is_taken(count: int, kept: int) -> None:
    assert len(_thinned(torch.arange(count))) == kept


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(tk.ConfigError, match="weights, gradients and activations are all off"):
        Histograms(weights=False, gradients=False, activations=False)
