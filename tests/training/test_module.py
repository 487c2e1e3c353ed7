"""``TrainModule`` under a bare Trainer: the loop one would write by hand, and the one big batch's gradient."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from trainkit.data.loader import BatchLoader
from trainkit.data.sources import TensorSource
from trainkit.errors import ConfigError
from trainkit.models import MLP
from trainkit.optim import adamw, cosine, sgd
from trainkit.tasks import Classification, Regression
from trainkit.training import TrainModule
from trainkit.types import StepOutput

# A user's own loader with no workers and no validation, which Lightning has hints about.
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

MakeTrainer = Callable[..., L.Trainer]
LR, EPOCHS, SAMPLES, BATCH = 0.02, 3, 100, 16
STEPS = EPOCHS * math.ceil(SAMPLES / BATCH)


def dataset(source: TensorSource) -> TensorDataset:
    inputs, target = source.fetch(torch.arange(SAMPLES))
    assert isinstance(inputs, Tensor)
    return TensorDataset(inputs, target)


def shuffled(source: TensorSource) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(dataset(source), BATCH, shuffle=True, generator=torch.Generator().manual_seed(5))


def net() -> MLP:
    return MLP(6, 3, [16, 8], 0.3, norm="batch")


def plain_loop(model: nn.Module, batches: DataLoader[tuple[Tensor, ...]]) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, weight_decay=0.01, fused=True)
    step = 0
    for _ in range(EPOCHS):
        for inputs, target in batches:
            for group in optimizer.param_groups:
                group["lr"] = LR * 0.5 * (1 + math.cos(math.pi * step / STEPS))
            loss = functional.cross_entropy(model(inputs), target)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_([*matrices, *vectors], 0.5)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    return optimizer


def test_equals_a_plain_torch_loop_bit_for_bit(trainer: MakeTrainer, toy: TensorSource) -> None:
    torch.manual_seed(3)
    by_hand = net()
    optimizer = plain_loop(by_hand, shuffled(toy))
    torch.manual_seed(3)
    module = TrainModule(net(), Classification(3), adamw(lr=LR), cosine(warmup=0), clip_norm=0.5)
    fit = trainer(max_epochs=EPOCHS)
    fit.fit(module, shuffled(toy))
    assert fit.global_step == STEPS
    for name, value in by_hand.state_dict().items():
        assert torch.equal(module.model.state_dict()[name], value), name
    mine, plain = fit.optimizers[0].state_dict()["state"], optimizer.state_dict()["state"]
    assert all(torch.equal(mine[i][key], plain[i][key]) for i in plain for key in ("exp_avg", "exp_avg_sq", "step"))


class Gradients(L.Callback):
    """Keeps the gradient of every optimizer step, before clipping."""

    def __init__(self) -> None:
        self.seen: list[list[Tensor]] = []

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        assert isinstance(pl_module, TrainModule)
        self.seen.append([p.grad.clone() for p in pl_module.model.parameters() if p.grad is not None])


WEIGHTS = [1.0, 3.0, 0.2]


@pytest.mark.parametrize("accumulate", [1, 3, 16])
@pytest.mark.parametrize("class_weights", [None, WEIGHTS], ids=["equal", "weighted"])
@pytest.mark.parametrize("own_loader", [True, False], ids=["DataLoader", "BatchLoader"])
def test_accumulation_is_the_one_big_batchs_gradient(
    trainer: MakeTrainer, toy: TensorSource, accumulate: int, class_weights: list[float] | None, own_loader: bool
) -> None:
    """Without BatchNorm and dropout; the last of seven batches has four samples."""
    model = MLP(6, 3, [16], 0.0, 0.0, norm="layer")
    task, gradients = Classification(3, class_weights=class_weights), Gradients()
    module = TrainModule(model, task, sgd(lr=0.0), accumulate=accumulate)
    rows = torch.arange(SAMPLES)
    loader = BatchLoader(toy, rows, batch_size=BATCH, accumulate=accumulate)
    order = rows if own_loader else loader.order(0)
    fit = trainer(max_epochs=1, callbacks=[gradients])
    fit.fit(module, DataLoader(dataset(toy), BATCH) if own_loader else loader)
    batches = [order[start : start + BATCH] for start in range(0, SAMPLES, BATCH)]
    assert len(gradients.seen) == len(batches) == 7
    for rows, mine in zip(batches, gradients.seen, strict=True):
        inputs, target = toy.fetch(rows)
        big = functional.cross_entropy(model(inputs), target, task.class_weights)
        for expected, grad in zip(torch.autograd.grad(big, list(model.parameters())), mine, strict=True):
            torch.testing.assert_close(grad, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_batch_that_weighs_nothing_teaches_nothing(trainer: MakeTrainer, toy: TensorSource, accumulate: int) -> None:
    inputs, target = dataset(toy).tensors
    model = MLP(6, 3, [8], 0.0, 0.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    module = TrainModule(
        model,
        Classification(3, class_weights=[0.0, 1.0, 1.0]),
        sgd(weight_decay=0),
        accumulate=accumulate,
        clip_norm=1.0,
    )
    trainer(max_epochs=1).fit(module, DataLoader(TensorDataset(inputs[target == 0], target[target == 0]), BATCH))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_inputs_by_name_are_cut_too(trainer: MakeTrainer, toy: TensorSource) -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(6, 3)
            self.sizes: list[int] = []

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            self.sizes.append(len(left))
            outputs: Tensor = self.net(torch.cat([left, right], dim=1))
            return outputs

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.named = Named()

        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            outputs: Tensor = self.named(**inputs)
            return outputs

    inputs, target = dataset(toy).tensors
    samples = [({"left": x[:2], "right": x[2:]}, y) for x, y in zip(inputs[:10], target[:10], strict=True)]
    network = Network()
    module = TrainModule(network, Classification(3), accumulate=3)
    trainer(max_epochs=1).fit(module, DataLoader(samples, 8))  # type: ignore[arg-type]
    assert network.named.sizes == [2, 3, 3, 1, 1]


class Reconstruction(TrainModule):
    """A subclass whose batches are tensors without a target."""

    def loss(self, batch: Any) -> StepOutput:
        outputs = self(batch)
        error = (outputs - batch.sum(dim=1, keepdim=True)).square().sum()
        return StepOutput(error, float(len(batch)), outputs, batch.sum(dim=1))


def test_a_subclass_may_take_other_batches(trainer: MakeTrainer, toy: TensorSource) -> None:
    module = Reconstruction(nn.Linear(6, 1), Regression(), adamw(lr=0.1))
    inputs = dataset(toy).tensors[0]
    fit = trainer(max_epochs=10, log_every_n_steps=1)
    fit.fit(module, DataLoader(inputs, BATCH), DataLoader(inputs, BATCH))  # type: ignore[arg-type]
    assert fit.global_step == 70
    assert float(fit.callback_metrics["val/loss"]) < 0.1


def test_other_batches_cannot_be_cut(trainer: MakeTrainer, toy: TensorSource) -> None:
    module = Reconstruction(nn.Linear(6, 1), Regression(), accumulate=2)
    with pytest.raises(ConfigError) as error:
        trainer(max_epochs=1).fit(module, DataLoader(dataset(toy).tensors[0], BATCH))  # type: ignore[arg-type]
    assert str(error.value) == "only batches of (inputs, target) can be cut into micro-batches\n  where    accumulate"


def test_no_micro_batches() -> None:
    with pytest.raises(ConfigError) as error:
        TrainModule(nn.Linear(6, 3), Classification(3), accumulate=0)
    assert str(error.value) == "accumulate is 0\n  where    trainer.accumulate\n  expected an integer ≥ 1"


def test_adamw_without_a_schedule_is_the_default(trainer: MakeTrainer, toy: TensorSource) -> None:
    module, fit = TrainModule(nn.Linear(6, 3), Classification(3)), trainer(max_epochs=1)
    fit.fit(module, shuffled(toy))
    optimizer = fit.optimizers[0]
    assert isinstance(optimizer, torch.optim.AdamW)
    assert (optimizer.param_groups[0]["lr"], fit.lr_scheduler_configs) == (1e-3, [])


@pytest.mark.parametrize(
    ("limits", "total"),
    [
        ({"max_epochs": 3}, 21),
        ({"max_steps": 5}, 5),
        ({"max_epochs": 3, "max_steps": 50}, 21),
        ({"max_epochs": 3, "max_steps": 8}, 8),
    ],
)
def test_the_schedule_spans_the_run(
    trainer: MakeTrainer, toy: TensorSource, limits: dict[str, int], total: int
) -> None:
    module = TrainModule(nn.Linear(6, 3), Classification(3), sgd(lr=0.1), cosine(warmup=0, final=0.5))
    fit = trainer(**limits)
    fit.fit(module, shuffled(toy))
    assert fit.global_step == total
    assert fit.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.05)


class Endless(IterableDataset[tuple[Tensor, Tensor]]):
    def __init__(self, source: TensorSource) -> None:
        self.samples = dataset(source)

    def __iter__(self) -> Any:
        return iter([self.samples[i] for i in range(BATCH * 2)])


@pytest.mark.parametrize("limits", [{"max_epochs": 1}, {"max_epochs": -1, "max_time": "00:00:10:00"}])
def test_a_schedule_over_data_without_a_length(trainer: MakeTrainer, toy: TensorSource, limits: dict[str, Any]) -> None:
    module = TrainModule(nn.Linear(6, 3), Classification(3), sgd(), cosine())
    with pytest.raises(ConfigError) as error:
        trainer(**limits).fit(module, DataLoader(Endless(toy), BATCH))
    assert error.value.what == "the number of steps of the run is not known"


@pytest.mark.parametrize("factory", [None, functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1)])
def test_data_without_a_length(trainer: MakeTrainer, toy: TensorSource, factory: Any) -> None:
    module, fit = TrainModule(nn.Linear(6, 3), Classification(3), sgd(lr=0.1), factory), trainer(max_epochs=2)
    fit.fit(module, DataLoader(Endless(toy), BATCH))
    assert fit.global_step == 4
    assert fit.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1 * (0.1**4 if factory else 1))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_what_is_kept_for_the_metrics_holds_no_graph(
    trainer: MakeTrainer, toy: TensorSource, monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    kept: list[StepOutput] = []
    module = TrainModule(net(), Classification(3), accumulate=accumulate)
    monkeypatch.setattr(module.window, "update", lambda outputs, *counts: kept.extend(outputs))
    trainer(max_steps=2, log_every_n_steps=0).fit(module, shuffled(toy))
    assert len(kept) == 2 * accumulate
    assert not any(output.loss_sum.requires_grad or output.outputs.requires_grad for output in kept)


def test_hooks_before_zeroing_are_called_at_every_step(toy: TensorSource, trainer: Callable[..., L.Trainer]) -> None:
    """Lightning calls them in automatic optimization only."""

    class Counts(L.Callback):
        def on_before_zero_grad(self, *args: Any) -> None:
            seen.append(("callback", args[0].global_step))

    class Own(TrainModule):
        def on_before_zero_grad(self, optimizer: torch.optim.Optimizer) -> None:
            assert all(p.grad is not None for p in self.parameters())
            seen.append(("module", self.global_step))

    seen: list[tuple[str, int]] = []
    fit = trainer(max_steps=2, callbacks=[Counts()])
    fit.fit(Own(nn.Linear(6, 3), Classification(3)), shuffled(toy))
    assert seen == [("callback", 1), ("module", 1), ("callback", 2), ("module", 2)]
