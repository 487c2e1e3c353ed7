"""Training samples as augmentation leaves them, so that one sees what the net learns from."""

from __future__ import annotations

from collections.abc import Sequence

import lightning as L
import torch
from torch import Tensor

from trainkit.data import DataModule
from trainkit.data.augment import Augment, samples_of
from trainkit.data.sources import map_inputs
from trainkit.errors import ConfigError
from trainkit.training.confusion import shortened
from trainkit.training.pictures import Pictures, show_figure
from trainkit.training.samples import RIGHT, draw_grid

MOST_CLASSES = 2
"""Classes of a mixed target that are named."""


class AugmentedSamples(Pictures):
    """Shows a few training pictures as they are augmented in the epoch of a validation: TensorBoard's Images.

    The draws are those of training; only what mixes samples mixes the shown ones with each other.

    Args:
        num_samples: Pictures shown.
        every_n_validations: Validations from one grid to the next; None for about ten in a run.

    Raises:
        ConfigError: ``num_samples`` or ``every_n_validations`` is below 1.
    """

    def __init__(self, num_samples: int = 16, every_n_validations: int | None = None) -> None:
        super().__init__(every_n_validations)
        if num_samples < 1:
            where = "AugmentedSamples.num_samples"
            raise ConfigError(f"num_samples is {num_samples}", where=where, expected="an integer ≥ 1")
        self.num_samples = num_samples

    def attach(self, data: DataModule) -> None:
        """Takes the data.

        Raises:
            ConfigError: It is no pictures.
        """
        if data.spec.input_kind != "image":
            what = f"AugmentedSamples shows pictures, and the data is of kind {data.spec.input_kind}"
            raise ConfigError(what, where="callbacks", hint="leave it out")
        super().attach(data)

    def draw(self, trainer: L.Trainer, pl_module: L.LightningModule, step: int) -> None:
        """Shows the grid."""
        augment = getattr(pl_module, "augment", None)
        if not (trainer.is_global_zero and self.data is not None and isinstance(augment, Augment)):
            return
        rows = self.data.rows("train")[: self.num_samples]
        inputs, target = self.data.source.fetch(rows, 0)[:2]
        classes = getattr(getattr(pl_module, "task", None), "num_classes", None)
        on_device = map_inputs(inputs, lambda tensor: tensor.to(pl_module.device))
        made = augment(samples_of((on_device, target.to(pl_module.device))), rows, trainer.current_epoch, classes)
        titles = [(title_of(one, self.data.spec.class_names), RIGHT) for one in made.target.cpu()]
        show_figure(trainer, "train/augmented", draw_grid(made.inputs.float().cpu(), titles), step)


def title_of(target: Tensor, class_names: Sequence[str]) -> str:
    """A class, a number, or the largest shares of several classes, in words.

    Args:
        target: int64 class [], number [], or shares of the classes [K].
        class_names: Names of the classes; empty for numbers.
    """
    if target.ndim == 0:
        return shortened(class_names[int(target)]) if class_names else f"{float(target):.4g}"
    found = torch.argsort(target, descending=True)[:MOST_CLASSES].tolist()
    named = [f"{shortened(class_names[index])} {float(target[index]):.0%}" for index in found if target[index] > 0]
    return "\n".join(named)
