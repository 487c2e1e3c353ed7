"""What a run of a LightningModule of the user's own says: of its loaders, its plan, its scores and its mistakes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import trainkit as tk
from trainkit.data import LoaderData
from trainkit.rundir import read_json
from trainkit.training import read_metrics

Cli = Callable[..., Any]
QUIET = ["logger=none", "trainer.threads=1", "run.dir=run"]


def loader(size: int, batch_size: int = 4) -> DataLoader[Any]:
    """Points whose target is their sum."""
    points = torch.linspace(-1, 1, 3 * size).reshape(size, 3)
    return DataLoader(TensorDataset(points, points.sum(1, keepdim=True)), batch_size)


class Stream(IterableDataset[Any]):
    """Five points, of which nobody knows how many there are."""

    def __iter__(self) -> Iterator[Any]:
        return iter(loader(5).dataset)


class Line(L.LightningModule):
    """A linear regression."""

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.net, self.lr = nn.Linear(3, 1), lr

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("val_loss", nn.functional.mse_loss(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), self.lr)


class Whole(Line):
    """Logs a value of all loaders together."""

    def on_validation_epoch_end(self) -> None:
        self.log("val_all", 1.0)


class ByHand(Line):
    """Optimizes by hand, with two rates."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) * math.nan

    def configure_optimizers(self) -> Any:
        groups = [{"params": [self.net.weight], "lr": 0.25}, {"params": [self.net.bias], "lr": 0.5}]
        return torch.optim.SGD(groups)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("options", "steps"), [({}, range(7, 240, 8)), ({"overrides": ["trainer.accumulate=4"]}, None)]
)
def test_every_epoch_logs_a_point_and_lightning_warns_of_nothing(options: dict[str, Any], steps: Any) -> None:
    overrides = [*QUIET, *options.get("overrides", ())]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        tk.fit(module=Line(), train=loader(32), max_epochs=30, overrides=overrides)
    assert not [str(warning.message) for warning in caught if "logging interval" in str(warning.message)]
    rows = [row for row in read_metrics(Path("run/metrics.csv")) if row["name"] == "loss" and row["split"] == "train"]
    assert {int(row["epoch"]) for row in rows} == set(range(30))
    assert steps is None or [int(row["step"]) for row in rows] == list(steps)


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        (Line(1e30), "a smaller learning rate in Line.configure_optimizers (now 1e+30), or trainer.clip_norm=1"),
        (ByHand(), "a smaller learning rate in ByHand.configure_optimizers (now 0.25, 0.5), or clipped gradients"),
    ],
)
def test_a_loss_that_is_no_number_names_the_learning_rate_of_the_module(module: L.LightningModule, advice: str) -> None:
    with pytest.raises(tk.RunError) as caught:
        tk.fit(module=module, train=loader(32), max_epochs=4, overrides=QUIET)
    assert caught.value.hint == advice


def test_each_of_two_validation_sets_has_its_own_number_of_samples(capsys: pytest.CaptureFixture[str]) -> None:
    sets = [loader(8), loader(20)]
    result = tk.fit(module=Whole(), train=loader(12), val=sets, test=None, max_epochs=1, overrides=QUIET)
    counts = {name: estimate.n for name, estimate in result.validation.items()}
    assert counts == {"loss/dataloader_idx_0": 8, "loss/dataloader_idx_1": 20, "all": 28}
    assert read_json(Path("run/result.json"))["metrics"]["validation"]["all"]["n"] == 28
    assert "train 12 samples in 3 batches · val 28 samples in 7 batches\n" in capsys.readouterr().out


def test_a_validation_of_unknown_samples_counts_none() -> None:
    result = tk.fit(module=Line(), train=loader(12), val=DataLoader(Stream(), 4), max_epochs=1, overrides=QUIET)
    assert result.validation["loss"].n == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_epochs": 2}, "2 epochs of unknown length, in batches of 4 · fp32"),
        ({"max_steps": 3}, "3 batches × 4 · fp32"),
        ({"max_epochs": 1, "max_steps": 9}, "1 epoch of unknown length or 9 batches × 4 · fp32"),
    ],
)
def test_the_plan_of_a_loader_without_a_length(
    options: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tk.fit(module=Line(), train=DataLoader(Stream(), 4), overrides=QUIET, **options)
    out = capsys.readouterr().out
    assert f"plan   {told}" in out and "data   stream · train of unknown length\n" in out


def test_the_plan_of_a_loader_with_a_length(capsys: pytest.CaptureFixture[str]) -> None:
    tk.fit(module=Line(), train=loader(12), max_steps=4, overrides=QUIET)
    assert "plan   4 batches × 4 · fp32" in capsys.readouterr().out


def test_the_batches_of_a_dict_of_training_loaders_are_those_of_the_longest() -> None:
    data = LoaderData({"a": loader(8), "b": loader(20)}, val={"a": loader(8), "b": DataLoader(Stream(), 4)})
    assert data.describe() == "tensordataset · train 28 samples in 5 batches · val of unknown length"


OWN = '''"""A user's own file."""
import importlib.util
spec = importlib.util.spec_from_file_location("told", {file!r})
told = importlib.util.module_from_spec(spec)
spec.loader.exec_module(told)


class Line(told.Line):
    pass


def loader(size):
    return told.loader(size)
'''


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments that train the user's ``ownline.Line``."""
    (tmp_path / "ownline.py").write_text(OWN.format(file=__file__))
    monkeypatch.syspath_prepend(str(tmp_path))
    module = ["module=custom", "module._target_=ownline.Line", "data=loaders", "trainer.max_epochs=1"]
    return [*module, "data.train._target_=ownline.loader", "+data.train.size=8", *QUIET[:2]]


def test_a_part_that_is_not_scored_says_what_would_be(cli: Cli, words: list[str]) -> None:
    val = ["+data.val._target_=ownline.loader", "+data.val.size=8"]
    assert cli("fit", *words, *val, "run.dir=run").code == 0
    assert cli("evaluate", "run", "--trust", "ownline").stderr == (
        "the module scores no test part\n  where    split\n"
        "  expected a test part of the data, and a test_step that logs\n"
        "  hint     trainkit evaluate run --split validation\n"
    )
    assert cli("fit", *words, "run.dir=bare").code == 0
    assert cli("evaluate", "bare", "--trust", "ownline").stderr.endswith("and a test_step that logs\n")


def test_a_sweep_is_called_as_its_module(cli: Cli, words: list[str], tmp_path: Path) -> None:
    assert cli("fit", "-m", *words, "seed=0,1").code == 0
    assert len(list((tmp_path / "runs" / "line").glob("*/result.json"))) == 2
