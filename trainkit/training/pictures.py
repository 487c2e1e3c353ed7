"""Base of the callbacks that show something of a validation, and what each kind of logger offers to show it with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger

from trainkit.data import DataModule
from trainkit.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Mine = TypeVar("Mine")

DOTS_PER_INCH = 100
NUM_PICTURES = 10
"""Pictures of a run unless told otherwise: as many as TensorBoard shows of one tag."""
OWN = ("trainkit", "lightning", "pytorch_lightning")
"""Packages whose loggers are known; one of another is asked once it is there."""


class Pictures(L.Callback):
    """Base of the callbacks that show every n-th validation of a run in its loggers.

    They look at what ``validation_step`` gave and at nothing else, so that a run with them trains to the same bits as
    one without. Of several validation loaders the first is shown. A subclass overrides ``collect`` and ``draw``.

    Args:
        every_n_validations: Validations from one picture to the next; None for about ten pictures in a run.

    Raises:
        ConfigError: ``every_n_validations`` is below 1.
    """

    needs_writer: ClassVar[bool] = False
    """Whether nothing but a TensorBoard writer can show it."""

    def __init__(self, every_n_validations: int | None = None) -> None:
        if every_n_validations is not None and every_n_validations < 1:
            where = f"{type(self).__name__}.every_n_validations"
            raise ConfigError(f"every_n_validations is {every_n_validations}", where=where, expected="an integer ≥ 1")
        self.every_n_validations = every_n_validations
        self.data: DataModule | None = None
        self._num_validations, self._is_due = 0, False
        self._interval = every_n_validations or 0

    def state_dict(self) -> dict[str, Any]:
        """Validations so far, and from one picture to the next."""
        return {"num_validations": self._num_validations, "interval": self._interval}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting."""
        self._num_validations = state_dict["num_validations"]
        self._interval = self.every_n_validations or state_dict["interval"]

    def is_shown(self, trainer: L.Trainer, number: int, step: int) -> bool:
        """Whether a validation is shown.

        Args:
            trainer: Knows how long the run will be.
            number: Of the validation, from 1.
            step: Optimizer steps before it; those before the first tell how many validations there will be.
        """
        if not self._interval:
            self._interval = max(1, round(_num_validations(trainer, step) / NUM_PICTURES))
        return number % self._interval == 0

    def attach(self, data: DataModule) -> None:
        """Takes the data whose validation part is shown: names of classes and features come from it.

        Raises:
            ConfigError: There is nothing to show of it.
        """
        if not len(data.splits.val):
            name = type(self).__name__
            hint = "data.val_share=0.15 draws one"
            raise ConfigError(
                f"{name} shows validations, and there is no validation part", where="callbacks", hint=hint
            )
        self.data = data

    def check_loggers(self, kinds: Sequence[type[Logger]]) -> None:
        """Raises ConfigError where no logger of these classes can show it."""
        if any(_may_show(kind, self.needs_writer) for kind in kinds):
            return
        name, given = type(self).__name__, ", ".join(kind.__name__ for kind in kinds) or "none"
        raise ConfigError(
            f"{name} has no logger to show its pictures",
            where="logger",
            expected=("TensorBoard" if self.needs_writer else "TensorBoard or Weights & Biases") + f", not {given}",
            hint="logger=tensorboard",
        )

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Under the user's own Trainer: takes its data module, and looks for a logger."""
        datamodule = getattr(trainer, "datamodule", None)
        if stage == "fit":
            if self.data is None and isinstance(datamodule, DataModule):
                self.attach(datamodule)
            self.check_loggers([type(logger) for logger in trainer.loggers])

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Decides whether this validation is shown."""
        is_training = trainer.state.fn == "fit" and not trainer.sanity_checking
        self._num_validations += is_training
        self._is_due = is_training and self.is_shown(trainer, self._num_validations, trainer.global_step)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Hands on what a batch of a shown validation gave."""
        if self._is_due and dataloader_idx == 0:
            self.collect(outputs, batch, batch_idx)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Shows the validation, at the x-value of its curves."""
        if self._is_due:
            self.draw(trainer, pl_module, trainer.global_step - 1)
            self._is_due = False

    def collect(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Takes in a validation batch, without a wait for the device.

        Args:
            outputs: What ``validation_step`` returned; of a ``TrainModule`` see there.
            batch: The batch.
            batch_idx: Its number.
        """

    def draw(self, trainer: L.Trainer, pl_module: L.LightningModule, step: int) -> None:
        """Shows what was collected; every process comes here.

        Args:
            trainer: Has the loggers.
            pl_module: What is trained.
            step: x-value.
        """


def _num_validations(trainer: L.Trainer, step: int) -> float:
    """Validations of a whole run, the first of which is after ``step`` steps; 0 for a run without an end."""
    if trainer.max_steps > 0:
        return trainer.max_steps / max(step, 1)
    return max(trainer.max_epochs or 0, 0) / (trainer.current_epoch + 1)


def evaluated(outputs: Any, name: str) -> Mapping[str, Any]:
    """Predictions and targets that ``validation_step`` returned.

    Raises:
        ConfigError: It returned something else.
    """
    if isinstance(outputs, Mapping) and "predictions" in outputs and "target" in outputs:
        return outputs
    raise ConfigError(
        f"{name} finds no predictions in what validation_step returns",
        where="callbacks",
        expected="a dict with predictions and target, as TrainModule.validation_step returns it",
    )


def gathered(trainer: L.Trainer, mine: Mine) -> list[Mine]:
    """What each process has, in the order of their ranks; every process must call it."""
    if trainer.world_size == 1:
        return [mine]
    everyone: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(everyone, mine)
    return everyone


def _may_show(kind: type[Logger], needs_writer: bool) -> bool:
    if issubclass(kind, TensorBoardLogger) or (not needs_writer and hasattr(kind, "log_image")):
        return True
    return kind.__module__.partition(".")[0] not in OWN and hasattr(kind, "experiment")


def writers(trainer: L.Trainer) -> list[Any]:
    """The TensorBoard writers among the loggers' experiments."""
    experiments = [getattr(logger, "experiment", None) for logger in trainer.loggers]
    return [experiment for experiment in experiments if hasattr(experiment, "add_histogram")]


def show_figure(trainer: L.Trainer, name: str, figure: Figure, step: int) -> None:
    """Shows a figure in every logger that takes images.

    Args:
        trainer: Has the loggers.
        name: Tag of the picture.
        figure: Drawn, and not used again.
        step: x-value.
    """
    image = rendered(figure)
    for writer in writers(trainer):
        writer.add_image(name, image, step, dataformats="HWC")
    for logger in trainer.loggers:
        if hasattr(logger, "log_image"):
            logger.log_image(name, [image], step=step)


def show_table(trainer: L.Trainer, name: str, columns: Sequence[str], rows: Sequence[Sequence[str]], step: int) -> None:
    """Shows a table of texts in every logger that takes texts.

    Args:
        trainer: Has the loggers.
        name: Tag of the table.
        columns: Its head.
        rows: As many texts each as there are columns.
        step: x-value.
    """
    lines = [columns, ["---"] * len(columns), *rows]
    markdown = "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)
    for writer in writers(trainer):
        writer.add_text(name, markdown, step)
    for logger in trainer.loggers:
        if hasattr(logger, "log_text"):
            logger.log_text(name, columns=list(columns), data=[list(row) for row in rows], step=step)


def _cell(text: str) -> str:
    """A text that neither ends its cell of a Markdown table nor is read as markup."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]|<>" else letter for letter in " ".join(text.split()))


def rendered(figure: Figure) -> np.ndarray:
    """Pixels of a figure, uint8 [height, width, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # drawn as a box
        canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
