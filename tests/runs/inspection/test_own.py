"""A look at LightningModules of the user's own: what is planted is found, and healthy ones are left in peace."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, lr_scheduler
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import trainkit as tk
from tests.runs.inspection.conftest import generators
from tests.runs.own_modules import GAN, ByHand, Classifier, Pairs, Points, fixed, loader

LABELS = torch.arange(400) % 3
POINTS = torch.randn(400, 4, generator=torch.Generator().manual_seed(0)) + 2 * functional.one_hot(LABELS, 4)
WHOLE = TensorDataset(POINTS, LABELS)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Plain(L.LightningModule):
    """A classifier whose optimizer, schedule and net are given."""

    def __init__(
        self,
        lr: float = 1e-2,
        schedule: Callable[[Any], Any] | None = None,
        kind: Any = SGD,
        first: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.net = nn.Sequential(first or nn.Identity(), nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
        self.lr, self.schedule, self.kind = lr, schedule, kind

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer = self.kind(self.parameters(), lr=self.lr)
        return optimizer if self.schedule is None else [[optimizer], [self.schedule(optimizer)]]


class Autoencoder(Plain):
    """Learns its inputs."""

    def __init__(self) -> None:
        super().__init__(kind=Adam)
        self.net = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 4))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return functional.mse_loss(self.net(batch[0]), batch[0])


class Regression(Plain):
    """Learns a number."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return functional.mse_loss(self.net(batch[0])[:, 0], batch[1].float())


class Denoising(Plain):
    """Its loss is mostly noise that is drawn anew in each step."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return functional.mse_loss(self.net(batch[0]), 10 * torch.randn(len(batch[0]), 3))


class Careful(Plain):
    """Refuses to go on with a large loss."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        if loss > 1e3:
            raise ValueError("the loss is gone")
        return loss


class Slow(Dataset[Any]):
    """A hundredth of a second for each sample."""

    def __len__(self) -> int:
        return len(WHOLE)

    def __getitem__(self, index: int) -> Any:
        time.sleep(0.01)
        return WHOLE[index]


class Stream(IterableDataset[Any]):
    """Samples without an index."""

    def __iter__(self) -> Iterator[Any]:
        return iter([WHOLE[idx] for idx in range(64)])


class Doubling(L.LightningDataModule):
    """Unscaled inputs, which a hook scales."""

    def train_dataloader(self) -> Any:
        return batches(POINTS * 1e4)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch[0] / 1e4, batch[1]


def batches(points: Tensor = POINTS, labels: Tensor = LABELS) -> DataLoader[Any]:
    return DataLoader(TensorDataset(points, labels), 16, shuffle=True)


def step_lr(size: int, gamma: float = 0.1) -> Callable[[Any], Any]:
    return lambda optimizer: lr_scheduler.StepLR(optimizer, size, gamma)


class OneCycle(Plain):
    """Asks the Trainer for the length of the run, by step."""

    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=1e-2)
        total = int(self.trainer.estimated_stepping_batches)
        schedule = lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=total + 1)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


HEALTHY: dict[str, Callable[[], dict[str, Any]]] = {
    "a classifier": lambda: {"module": Plain(), "train": batches()},
    "a schedule by step": lambda: {"module": Classifier(), "train": loader(), "val": fixed()},
    "a schedule by epoch": lambda: {"module": Plain(schedule=step_lr(20)), "train": batches()},
    "a plateau": lambda: {"module": Classifier("plateau"), "train": loader(), "val": fixed()},
    "an autoencoder": lambda: {"module": Autoencoder(), "train": batches()},
    "a regression": lambda: {"module": Regression(), "train": batches()},
    "noise to learn": lambda: {"module": Denoising(), "train": batches()},
    "a GAN": lambda: {"module": GAN(), "train": loader()},
    "by hand": lambda: {"module": ByHand(), "train": loader(), "val": fixed()},
    "a dict of loaders": lambda: {"module": Pairs(), "train": {"a": loader(), "b": loader(60)}, "val": fixed()},
    "a data module": lambda: {"module": Classifier(), "data": Points()},
    "a hook that scales": lambda: {"module": Plain(), "data": Doubling()},
    "a net that scales": lambda: {"module": Plain(first=nn.BatchNorm1d(4)), "train": batches(POINTS * 1e4)},
    "subsets that share nothing": lambda: {
        "module": Plain(),
        "train": DataLoader(Subset(WHOLE, range(300)), 16),
        "val": DataLoader(Subset(WHOLE, range(300, 400)), 16),
    },
}

PLANTED: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "a rate of a million": ("diverges", lambda: {"module": Plain(1e6), "train": batches()}),
    "a rate that a module refuses": ("failing_step", lambda: {"module": Careful(1e9), "train": batches()}),
    "a rate of next to nothing": ("unlearned_batch", lambda: {"module": Plain(1e-9), "train": batches()}),
    "a rate gone after an epoch": (
        "decays_early",
        lambda: {"module": Plain(schedule=step_lr(1, 1e-6)), "train": batches()},
    ),
    "a step far beyond the run": ("no_decay", lambda: {"module": Plain(schedule=step_lr(999)), "train": batches()}),
    "inputs of tens of thousands": (
        "unscaled_inputs",
        lambda: {"module": Plain(1e-6), "train": batches(POINTS * 1e4)},
    ),
    "one label": ("constant_labels", lambda: {"module": Plain(), "train": batches(labels=LABELS * 0)}),
    "one object twice": (
        "same_dataset",
        lambda: {"module": Plain(), "train": DataLoader(WHOLE, 16), "val": DataLoader(WHOLE, 16)},
    ),
    "a part of the training": (
        "same_dataset",
        lambda: {"module": Plain(), "train": DataLoader(WHOLE, 16), "val": DataLoader(Subset(WHOLE, range(50)), 16)},
    ),
    "equal rows": (
        "shared_rows",
        lambda: {"module": Plain(), "train": batches(), "val": batches(POINTS[:99], LABELS[:99])},
    ),
    "dropout of nearly all": (
        "strong_dropout",
        lambda: {"module": Plain(first=nn.Dropout(0.97)), "train": batches()},
    ),
    "validation not scaled": (
        "other_scale",
        lambda: {"module": Plain(), "train": batches(), "val": batches(torch.randn(40, 4) * 255, LABELS[:40])},
    ),
    "a decay that pulls to zero": (
        "unlearned_batch",
        lambda: {"module": Plain(kind=functools.partial(SGD, weight_decay=90)), "train": batches()},
    ),
    "a rate of zero": ("unlearned_batch", lambda: {"module": Plain(0.0, step_lr(99)), "train": batches()}),
    "a slow dataset": ("slow_loader", lambda: {"module": Plain(), "train": DataLoader(Slow(), 16)}),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_found_in_a_healthy_module(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = tk.check(**HEALTHY[name]())
    assert result.ok, result.findings
    assert capsys.readouterr().out.splitlines()[-1] == "found  nothing to mend in what was looked at"
    assert result.is_own and result.trial is not None and result.trial.num_steps > 2 and result.seconds < 10


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found_and_nothing_else(name: str) -> None:
    found, given = PLANTED[name]
    result = tk.check(**given())
    assert {finding.name for finding in result.findings} == {found}, result.findings
    assert all(finding.hint for finding in result.findings) and result.seconds < 10


def test_the_module_and_random_generators_stay_as_they_are() -> None:
    module, before = Plain(), generators()
    weights = [p.clone() for p in module.parameters()]
    tk.check(module=module, train=batches())
    assert generators() == before
    assert all(torch.equal(p, q) and p.grad is None for p, q in zip(module.parameters(), weights, strict=True))


def test_the_schedule_is_that_of_the_whole_run() -> None:
    result = tk.check(module=OneCycle(), train=batches(), max_epochs=4)
    assert result.ok and result.plan is not None and result.trial is not None
    assert result.trial.num_steps > 102
    preview = result.plan.preview
    assert (preview.num_steps, preview.schedule) == (100, "OneCycleLR")
    assert preview.peak == pytest.approx(1e-2, rel=1e-3)
    assert preview.rates[-1] < 1e-5


def test_a_rate_by_epoch_falls_once_an_epoch() -> None:
    result = tk.check(module=Plain(schedule=step_lr(1, 0.5)), train=batches(), max_epochs=3)
    assert result.plan is not None
    assert result.plan.preview.rates.tolist() == [1e-2] * 25 + [5e-3] * 25 + [2.5e-3] * 25


class Once:
    """A stream that begins only once."""

    def __init__(self, items: list[Any]) -> None:
        self.items = iter(items)

    def __iter__(self) -> Iterator[Any]:
        return self.items


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda: {"module": GAN(), "train": loader()}, "the learning rate (optimized by hand)"),
        (
            lambda: {"module": Plain(), "train": Once([next(iter(batches()))]), "overrides": ["trainer.max_steps=20"]},
            "learning and learning rate (no batch of the stream is left)",
        ),
        (
            lambda: {"module": Plain(), "train": DataLoader(Stream(), 16), "overrides": ["trainer.max_steps=20"]},
            "rows of train (its loader does not go by index)",
        ),
        (
            lambda: {"module": Plain(), "train": DataLoader(Stream(), 16), "overrides": ["trainer.max_steps=20"]},
            "speed (fewer than two batches by index)",
        ),
    ],
)
def test_what_was_not_looked_at_is_said(
    given: Callable[[], dict[str, Any]], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tk.check(**given())
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note ")]
    assert line.startswith("note   of your own module, not looked at: ") and told in line


def test_data_of_trainkit_is_looked_at_under_an_own_module(cli: Callable[..., Any]) -> None:
    name = "module._target_=tests.runs.inspection.test_own.Digits"
    done = cli("check", "data=digits", "module=custom", name, "trainer.max_epochs=2")
    assert done.stderr == "" and done.code == 0
    labels = [line.split()[0] for line in done.stdout.splitlines()]
    assert {"fits", "speed", "rows", "note", "found"} <= set(labels)


class Digits(Plain):
    """For images of 8 × 8."""

    def __init__(self) -> None:
        super().__init__(kind=Adam)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
