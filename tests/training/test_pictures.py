"""When the pictures of a validation are drawn, what shows them, and that training is the same with and without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)
from torch.utils.data import DataLoader

import trainkit as tk
from trainkit.training import ConfusionMatrix, Histograms, MetricsCSV, Pictures, SamplePredictions, TensorBoard
from trainkit.training.pictures import show_table

if TYPE_CHECKING:
    from tests.training.conftest import Job

ALL = (ConfusionMatrix, SamplePredictions, Histograms)


def events(folder: Path) -> Any:
    return EventAccumulator(str(folder), {"images": 0, "histograms": 0, "tensors": 0, "scalars": 0}).Reload()


def loader(batches: Sequence[Any]) -> DataLoader[Any]:
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


def to_tensorboard(folder: Path) -> Sequence[TensorBoard]:
    return (TensorBoard(folder),)


def everything() -> Sequence[Callback]:
    return tuple(kind(every_n_validations=4) for kind in ALL)


class Drawn(Pictures):
    """Notes when it draws."""

    def __init__(self, every_n_validations: int | None = None) -> None:
        super().__init__(every_n_validations)
        self.steps: list[int] = []
        self.batches: list[int] = []

    def collect(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch_idx)

    def draw(self, trainer: L.Trainer, pl_module: L.LightningModule, step: int) -> None:
        self.steps.append(step)


@pytest.mark.parametrize(
    ("every", "val_every", "steps"),
    [
        (1, 10, [9, 19, 29, 39]),
        (2, 10, [19, 39]),
        (3, 10, [29]),
        (None, 10, [9, 19, 29, 39]),
        (None, 1, [3, 7, 11, 15, 19, 23, 27, 31, 35, 39]),
    ],
)
def test_every_nth_validation_is_drawn_at_the_x_of_its_curves(
    every: int | None, val_every: int, steps: list[int], job: Callable[..., Job]
) -> None:
    drawn = Drawn(every)
    settings = {"val_every_n_steps": val_every, "val_every_n_epochs": None, "steps_per_execution": 7}
    outcome = job(callbacks=lambda: [drawn], loggers=to_tensorboard, **settings).fit()
    assert outcome.error is None and drawn.steps == steps
    assert drawn.batches == [0, 1, 2] * len(steps)
    assert {x for x, _, _ in outcome.logged("val/loss")} >= set(steps)


@pytest.mark.parametrize("steps_per_execution", [1, 16])
def test_training_is_the_same_to_the_bit_with_and_without(
    steps_per_execution: int, job: Callable[..., Job], differences: Callable[[Any, Any], list[str]]
) -> None:
    plain = job("plain", steps_per_execution=steps_per_execution).fit()
    shown = job("shown", steps_per_execution=steps_per_execution, callbacks=everything, loggers=to_tensorboard).fit()
    assert plain.error is None and shown.error is None
    assert not differences(plain.weights, shown.weights)
    assert not differences(plain.optimizer_state, shown.optimizer_state)
    assert not differences(plain.random_state, shown.random_state)
    assert plain.csv_rows() == shown.csv_rows()


def test_a_resumed_run_is_the_same_and_draws_the_same_pictures(
    job: Callable[..., Job], differences: Callable[[Any, Any], list[str]]
) -> None:
    def sparse() -> Sequence[Callback]:
        return tuple(kind(every_n_validations=3) for kind in ALL)

    settings = {"callbacks": sparse, "loggers": to_tensorboard, "steps_per_execution": 7}
    whole = job("whole", **settings).fit()
    killed = job("killed", **settings)
    killed.fit(kill_after=20)
    resumed = killed.fit(resume=True, seed=5)
    assert whole.error is None and resumed.error is None
    assert not differences(whole.weights, resumed.weights)
    assert not differences(whole.random_state, resumed.random_state)
    one, other = events(whole.run.path), events(resumed.run.path)
    assert [image.step for image in one.Images("val/confusion_matrix")] == [17, 29]
    for tag in ("val/confusion_matrix", "watch/gradients/head.weight"):
        shown, again = (
            (found.Images(tag) if tag.startswith("val") else found.Histograms(tag))[-1] for found in (one, other)
        )
        assert vars(shown) | {"wall_time": 0} == vars(again) | {"wall_time": 0}


@pytest.mark.parametrize("kind", ALL)
def test_an_interval_below_one_is_refused(kind: type[Pictures]) -> None:
    with pytest.raises(tk.ConfigError) as caught:
        kind(every_n_validations=0)
    assert str(caught.value) == (
        f"every_n_validations is 0\n  where    {kind.__name__}.every_n_validations\n  expected an integer ≥ 1"
    )


class Own(MetricsCSV):
    """A logger of the user's own, with a writer of his own."""

    experiment = None


@pytest.mark.parametrize(
    ("loggers", "kind", "refused"),
    [
        ([TensorBoard], Histograms, None),
        ([WandbLogger], ConfusionMatrix, None),
        ([MetricsCSV, TensorBoard], ConfusionMatrix, None),
        ([Own], Histograms, None),
        ([WandbLogger], Histograms, "expected TensorBoard, not WandbLogger"),
        ([], ConfusionMatrix, "expected TensorBoard or Weights & Biases, not none"),
        ([CSVLogger, MetricsCSV], SamplePredictions, "not CSVLogger, MetricsCSV"),
    ],
)
def test_a_logger_must_be_there_to_show_them(loggers: list[Any], kind: type[Pictures], refused: str | None) -> None:
    if refused is None:
        kind().check_loggers(loggers)
        return
    with pytest.raises(tk.ConfigError) as caught:
        kind().check_loggers(loggers)
    assert refused in str(caught.value) and "logger=tensorboard" in str(caught.value)


def test_without_a_logger_the_user_trainer_is_refused_before_it_trains(job: Callable[..., Job]) -> None:
    outcome = job(callbacks=lambda: [ConfusionMatrix()]).fit()
    assert isinstance(outcome.error, tk.ConfigError)
    assert outcome.error.what == "ConfusionMatrix has no logger to show its pictures"
    assert outcome.trainer.global_step == 0


class Silent(tk.TrainModule):
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        super().validation_step(batch, batch_idx, dataloader_idx)


def test_a_module_that_returns_no_predictions(trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    data = [(torch.randn(8, 4), torch.arange(8) % 3)]
    module = Silent(torch.nn.Linear(4, 3), tk.Classification(3))
    mine = trainer(
        log_every_n_steps=1,
        max_epochs=1,
        logger=TensorBoard(tmp_path),
        callbacks=[ConfusionMatrix()],
        num_sanity_val_steps=0,
    )
    with pytest.raises(tk.ConfigError, match="ConfusionMatrix finds no predictions in what validation_step returns"):
        mine.fit(module, loader(data), loader(data))


class Shows(MetricsCSV):
    """Keeps the texts that it is given."""

    def log_text(self, key: str, columns: list[str], data: list[list[str]], step: int) -> None:
        self.shown = (key, columns, data, step)


def test_a_table_of_texts_in_every_logger(trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    own = Shows(tmp_path / "metrics.csv")
    mine = trainer(logger=[TensorBoard(tmp_path), own])
    show_table(mine, "val/t", ["a", "b|c"], [["x_y", "*1*"], ["two\nlines", "<b>"]], 7)
    mine.loggers[0].save()
    (tensor,) = events(tmp_path).Tensors("val/t/text_summary")
    lines = tensor.tensor_proto.string_val[0].decode().splitlines()
    assert lines == ["| a | b\\|c |", "| --- | --- |", "| x\\_y | \\*1\\* |", "| two lines | \\<b\\> |"]
    assert tensor.step == 7
    assert own.shown == ("val/t", ["a", "b|c"], [["x_y", "*1*"], ["two\nlines", "<b>"]], 7)


def test_pixels_have_the_size_of_the_figure() -> None:
    from trainkit.training.confusion import draw_confusion
    from trainkit.training.pictures import rendered

    figure = draw_confusion(np.eye(2, dtype=np.int64), ["a", "日本"])
    image = rendered(figure)
    assert image.dtype == np.uint8 and image.shape[2] == 3
    assert np.allclose(image.shape[:2], [100 * inches for inches in figure.get_size_inches()[::-1]], atol=1)
