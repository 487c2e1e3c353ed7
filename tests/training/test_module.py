"""``TrainModule`` under a bare Trainer: the loop one would write by hand, and the one big batch's gradient."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from trainkit.data.evaluation_loader import EvaluationLoader
from trainkit.data.loader import BatchLoader, Execution
from trainkit.data.plan import LoaderState
from trainkit.data.sources import TensorSource
from trainkit.errors import ConfigError
from trainkit.models import MLP
from trainkit.optim import adamw, constant, cosine, sgd
from trainkit.tasks import Classification, Regression
from trainkit.training import TrainModule
from trainkit.types import Batch, StepOutput

if TYPE_CHECKING:
    from tests.training.conftest import Job

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
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
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
