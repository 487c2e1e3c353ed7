"""Every data module under the user's own Trainer, with a bare ``TrainModule``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import Dataset

from trainkit.data.bundled import BundledTable, Digits
from trainkit.data.dataset import DatasetData
from trainkit.data.loader import Execution, FollowingLoader
from trainkit.data.module import DataModule
from trainkit.data.plan import LoaderState
from trainkit.data.readers import ArrayReader
from trainkit.data.sources import TensorSource
from trainkit.models import MLP, Network
from trainkit.optim import adamw, cosine
from trainkit.tasks import Classification
from trainkit.training import TrainModule
from trainkit.types import Batch, DataSpec, StepOutput

NUM_ROWS, NUM_FEATURES, BATCH_SIZE = 100, 4, 16


class Numbers(DataModule):
    """Numbers around 0, and whether the first of each row is above it."""

    def load(self) -> int:
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(NUM_ROWS, NUM_FEATURES, generator=generator)
        return NUM_ROWS

    def prepare(self, train_rows: np.ndarray) -> None:
        self.source = TensorSource(self.inputs, (self.inputs[:, 0] > 0).long())
        self.reader = ArrayReader((NUM_FEATURES,))
        self.spec = DataSpec("vector", (NUM_FEATURES,), "class", ("low", "high"))


def set_up(**options: Any) -> Numbers:
    data = Numbers(**{"batch_size": BATCH_SIZE, **options})
    data.setup()
    return data


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options = {**quiet, "enable_checkpointing": False, "accelerator": "cpu", "default_root_dir": tmp_path}
    return lambda **given: L.Trainer(**{**options, "max_epochs": 2, **given})


class Watched(TrainModule):
    """Keeps the samples of every micro-batch it trains on, and the learning rates it ends with."""

    seen: list[list[float]]
    rates: list[float]

    def loss(self, batch: Batch) -> StepOutput:
        assert isinstance(batch[0], Tensor)
        if self.training:
            self.seen.append(batch[0][:, 0].tolist())
        return super().loss(batch)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_end(outputs, batch, batch_idx)
        self.rates.append(float(self.trainer.optimizers[0].param_groups[0]["lr"]))


def make_module(**options: Any) -> Watched:
    torch.manual_seed(0)
    net = MLP(NUM_FEATURES, 2, [8], dropout=0.0, input_dropout=0.0)
    module = Watched(net, Classification(2), adamw(lr=0.05), **options)
    module.seen, module.rates = [], []
    return module


def expected_samples(num_epochs: int) -> list[list[float]]:
    """The batches that a loader of our own gives."""
    loader = set_up().train_loader()
    return [execution.inputs[:, 0].tolist() for _ in range(num_epochs) for execution in loader]  # type: ignore[index]


def weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_a_bare_module_trains_validates_tests_and_predicts(make_trainer: Callable[..., L.Trainer]) -> None:
    data, module, trainer = Numbers(batch_size=BATCH_SIZE, eval_batch_size=4), make_module(), make_trainer()
    trainer.fit(module, datamodule=data)
    assert (trainer.global_step, trainer.current_epoch) == (10, 2)
    assert module.seen == expected_samples(2)
    assert "val/loss" in trainer.callback_metrics
    (validated,) = trainer.validate(module, datamodule=data, verbose=False)
    (tested,) = trainer.test(module, datamodule=data, verbose=False)
    predicted: Any = trainer.predict(module, datamodule=data)
    probabilities = torch.cat(predicted)
    assert [len(batch) for batch in predicted] == [4, 4, 4, 3]
    with torch.no_grad():
        outputs = module.eval()(data.inputs[data.rows("test")]).double()
    torch.testing.assert_close(probabilities, outputs.softmax(1))
    target = torch.from_numpy(data.targets("test"))
    assert tested["test/accuracy"] == pytest.approx(float((outputs.argmax(1) == target).double().mean()))
    assert tested["test/loss"] == pytest.approx(float(nn.functional.cross_entropy(outputs, target)), abs=1e-6)
    assert validated["val/loss"] != tested["test/loss"]


@pytest.mark.parametrize(
    "data", [Digits(batch_size=256), BundledTable("wine"), "dataset"], ids=["images", "table", "own"]
)
def test_every_kind_of_data_under_the_users_own_trainer(
    data: DataModule | str, make_trainer: Callable[..., L.Trainer]
) -> None:
    class Vectors(Dataset[tuple[Tensor, int]]):
        def __len__(self) -> int:
            return 80

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return torch.tensor([float(index), 1.0]), index % 2

    data = DatasetData(Vectors()) if isinstance(data, str) else data
    data.setup()
    net = MLP(data.spec.sizes()["in_features"], data.spec.num_classes, [16])
    module = TrainModule(Network(net, data.input_module(net)), Classification(data.spec.num_classes))
    trainer = make_trainer(max_epochs=1, num_sanity_val_steps=0)
    trainer.fit(module, datamodule=data)
    assert trainer.global_step == data.steps_per_epoch()
    (tested,) = trainer.test(module, datamodule=data, verbose=False)
    assert math.isfinite(tested["test/loss"])
    assert sum(map(len, trainer.predict(module, datamodule=data))) == len(data.splits.test)  # type: ignore[arg-type]


def test_a_schedule_gets_the_true_number_of_steps(make_trainer: Callable[..., L.Trainer]) -> None:
    module = make_module(scheduler=cosine(warmup=0.0))
    make_trainer().fit(module, datamodule=Numbers(batch_size=BATCH_SIZE))
    expected = [0.05 * 0.5 * (1 + math.cos(math.pi * step / 10)) for step in range(1, 11)]
    assert module.rates == pytest.approx(expected, abs=1e-9)


def test_a_module_that_accumulates_gets_micro_batches(make_trainer: Callable[..., L.Trainer]) -> None:
    whole, cut = make_module(), make_module(accumulate=3)
    for module in (whole, cut):
        trainer = make_trainer()
        trainer.fit(module, datamodule=Numbers(batch_size=BATCH_SIZE))
        assert trainer.global_step == 10
    assert [len(samples) for samples in cut.seen[:6]] == [5, 5, 6, 5, 5, 6]
    assert list(chain(*cut.seen)) == list(chain(*whole.seen))
    torch.testing.assert_close(weights(cut), weights(whole), atol=1e-5, rtol=1e-5)


class SaveEachStep(Checkpoint):
    """Saves a checkpoint after each step, as a user's own callback may."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        trainer.save_checkpoint(self.folder / f"step={trainer.global_step}.ckpt")


def each_epoch(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(folder, filename="{step}", save_top_k=-1, enable_version_counter=False)


# The folder is the one that the resumed run goes on in.
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty:UserWarning")
@pytest.mark.parametrize(
    ("saving", "step"), [(SaveEachStep, 3), (SaveEachStep, 5), (SaveEachStep, 7), (each_epoch, 5), (each_epoch, 10)]
)
def test_a_run_under_the_users_own_trainer_resumes_exactly(
    saving: Callable[[Path], L.Callback], step: int, tmp_path: Path, make_trainer: Callable[..., L.Trainer]
) -> None:
    def fit(module: Watched, path: Path | None = None) -> L.Trainer:
        trainer = make_trainer(max_epochs=3, enable_checkpointing=True, callbacks=[saving(tmp_path)])
        trainer.fit(module, datamodule=Numbers(batch_size=BATCH_SIZE), ckpt_path=path, weights_only=True)
        return trainer

    whole, rest = make_module(scheduler=cosine()), make_module(scheduler=cosine())
    fit(whole)
    trainer = fit(rest, tmp_path / f"step={step}.ckpt")
    assert trainer.global_step == 15
    assert rest.seen == whole.seen[step:]
    assert torch.equal(weights(rest), weights(whole))


@pytest.mark.parametrize(
    ("limit", "expected"), [({"limit_train_batches": 2}, [0, 1, 5, 6, 10, 11]), ({"overfit_batches": 2}, [0, 1] * 3)]
)
def test_limits_of_batches_are_kept(
    limit: dict[str, int], expected: list[int], make_trainer: Callable[..., L.Trainer]
) -> None:
    module, batches = make_module(), expected_samples(3)
    trainer = make_trainer(max_epochs=3, limit_val_batches=0, **limit)
    trainer.fit(module, datamodule=Numbers(batch_size=BATCH_SIZE))
    assert module.seen == [batches[number] for number in expected]
    assert trainer.global_step == 6


def test_validation_within_an_epoch(make_trainer: Callable[..., L.Trainer]) -> None:
    class Steps(L.Callback):
        validated: list[int]

        def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            self.validated.append(trainer.global_step)

    for options, expected in (({"val_check_interval": 2}, [2, 4, 7, 9]), ({"val_check_interval": 0.6}, [3, 8])):
        steps = Steps()
        steps.validated = []
        trainer = make_trainer(callbacks=[steps], num_sanity_val_steps=0, **options)
        trainer.fit(make_module(), datamodule=Numbers(batch_size=BATCH_SIZE))
        assert steps.validated == expected


def test_a_second_fit_goes_on(make_trainer: Callable[..., L.Trainer]) -> None:
    module, data, trainer = make_module(), Numbers(batch_size=BATCH_SIZE), make_trainer(max_epochs=1)
    trainer.fit(module, datamodule=data)
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module, datamodule=data)
    assert trainer.global_step == 15
    assert module.seen == expected_samples(3)
    other, fresh = make_module(), make_trainer(max_epochs=1)
    fresh.fit(other, datamodule=data)
    assert other.seen == expected_samples(1)


def test_a_run_ends_at_max_steps_and_at_a_fast_dev_run(make_trainer: Callable[..., L.Trainer]) -> None:
    for options, expected in (({"max_steps": 7, "max_epochs": -1}, 7), ({"fast_dev_run": True}, 1)):
        module, trainer = make_module(), make_trainer(**options)
        trainer.fit(module, datamodule=Numbers(batch_size=BATCH_SIZE))
        assert trainer.global_step == expected
        assert module.seen == expected_samples(2)[:expected]


def test_the_processes_of_the_users_own_trainer_share_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stand:
        """What is read of a Trainer with two processes."""

        global_rank, world_size, overfit_batches, current_epoch, global_step = 1, 2, 0.0, 3, 17
        lightning_module = make_module(accumulate=2)

        class fit_loop:
            class epoch_loop:
                class batch_progress:
                    class current:
                        completed = 2

    data = set_up()
    monkeypatch.setattr(data, "trainer", Stand())
    loader = data.train_dataloader()
    assert isinstance(loader, FollowingLoader)
    assert (loader.rank, loader.world_size, loader.accumulate, len(loader)) == (1, 2, 2, 5)
    executions: Iterator[Execution] = iter(loader)
    assert next(executions).state == LoaderState(3, 3, 18)
    for evaluation in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        assert (evaluation.rank, evaluation.world_size) == (1, 2)
