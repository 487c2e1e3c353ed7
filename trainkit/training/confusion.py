"""The confusion matrix of each validation, as a picture: which classes the net takes for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from trainkit.data import DataModule
from trainkit.errors import ConfigError
from trainkit.training.pictures import Pictures, evaluated, gathered, show_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SHARES, MOST_COUNTS = 16, 40
"""Classes up to which cells hold a count and a share, or a count alone; beyond, colour and the list of confusions."""
LONGEST_NAME = 20
"""Letters of a class name that are drawn."""
INCHES_PER_LETTER = 0.0092
"""Width of a letter, per point of its size."""
TITLE_INCHES = 0.5
NUM_WORST = 3
"""Pairs of classes, most often confused, that the title names."""


class ConfusionMatrix(Pictures):
    """Draws how many validation samples of each class (rows) were taken for which class (columns).

    Colours are (square roots of) shares of a row; a cell holds the count, and the share up to 16 classes. From 41
    classes on cells are colour alone, with recall and count beside the class names.

    Args:
        every_n_validations: Validations from one picture to the next; None for about ten pictures in a run.
        skip_numbers: Whether it stays away where the target is no class, instead of refusing it.

    Raises:
        ConfigError: ``every_n_validations`` is below 1.
    """

    def __init__(self, every_n_validations: int | None = None, skip_numbers: bool = False) -> None:
        super().__init__(every_n_validations)
        self.skip_numbers, self._is_away = skip_numbers, False
        self._counts: Tensor | None = None

    def attach(self, data: DataModule) -> None:
        """Takes the class names.

        Raises:
            ConfigError: The target is no class, and ``skip_numbers`` is off.
        """
        super().attach(data)
        is_class = data.spec.target_kind == "class"
        self._is_away = self.skip_numbers and not is_class
        if not is_class and not self.skip_numbers:
            kind = "a number" if data.spec.target_kind == "number" else "several labels"
            what = f"ConfusionMatrix shows classes, and '{data.spec.target_name}' is {kind}"
            raise ConfigError(what, where="callbacks", hint="callbacks=samples draws predicted against true numbers")

    def is_shown(self, trainer: L.Trainer, number: int, step: int) -> bool:
        """Never, where it stays away."""
        return super().is_shown(trainer, number, step) and not self._is_away

    def collect(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Counts a batch."""
        found = evaluated(outputs, type(self).__name__)
        num_classes = found["predictions"].shape[1]
        cells = found["target"].long() * num_classes + found["predictions"].argmax(dim=1)
        counts = torch.bincount(cells, minlength=num_classes**2)
        self._counts = counts if self._counts is None else self._counts + counts

    def draw(self, trainer: L.Trainer, pl_module: L.LightningModule, step: int) -> None:
        """Adds up the counts of all processes and draws them."""
        mine, self._counts = self._counts, None
        parts = [part for part in gathered(trainer, None if mine is None else mine.cpu()) if part is not None]
        if trainer.is_global_zero and parts:
            counts = torch.stack(parts).sum(dim=0).numpy()
            num_classes = round(len(counts) ** 0.5)
            names = self.data.spec.class_names if self.data else [str(index) for index in range(num_classes)]
            figure = draw_confusion(counts.reshape(num_classes, num_classes), names)
            show_figure(trainer, "val/confusion_matrix", figure, step)


def draw_confusion(counts: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draws a confusion matrix.

    Args:
        counts: int64 [K, K], samples by true class (rows) and predicted class (columns).
        class_names: Names of the K classes.

    Returns:
        A figure of about 4 to 18 inches a side.
    """
    from matplotlib.figure import Figure

    num_classes, totals = len(counts), counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    names = [shortened(name) for name in class_names]
    is_large = num_classes > MOST_COUNTS
    side = min(15.0, max(2.2, num_classes * (0.42 if num_classes <= MOST_SHARES else 0.3)))
    size = 8.0 if not is_large else max(4.5, 8 * 50 / num_classes)
    upright = num_classes > MOST_SHARES or max(map(len, names)) > 5
    rows = _row_names(names, counts) if is_large else names
    letter = size * INCHES_PER_LETTER
    left, bottom = (0.4 + letter * max(map(len, labels)) for labels in (rows, names if upright else [""]))
    bottom += 0.0 if upright else 0.2
    width, height = max(4.4, left + side + 0.15), bottom + side + TITLE_INCHES
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)  # the root lets rare confusions be seen
    axes.set_xticks(range(num_classes), names, rotation=90 if upright else 0, fontsize=size, parse_math=False)
    axes.set_yticks(range(num_classes), rows, fontsize=size, parse_math=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if not is_large:
        _write_cells(axes, counts, shares)
    figure.text(0.1 / width, bottom / height + side / height / 2, "true", rotation=90, va="center")
    figure.text((left + side / 2) / width, 0.06 / height, "predicted", ha="center")
    figure.text(0.1 / width, 1 - 0.08 / height, _title(counts, names), va="top", fontsize=9, parse_math=False)
    return figure


def _row_names(names: list[str], counts: np.ndarray) -> list[str]:
    """Names with the class's samples and recall, where cells are too small for them."""
    totals = counts.sum(axis=1)
    recalls = np.diag(counts) / np.maximum(totals, 1)
    triples = zip(names, totals, recalls, strict=True)
    return [f"{name}  {recall:.0%} of {total:,}" for name, total, recall in triples]


def _write_cells(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    has_shares = len(counts) <= MOST_SHARES
    for row, column in np.argwhere(counts > 0):
        share = shares[row, column]
        text = f"{counts[row, column]:,}" + (f"\n{share:.0%}" if has_shares else "")
        color = "white" if share > 0.3 else "black"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8 if has_shares else 6.5)


def _title(counts: np.ndarray, names: list[str]) -> str:
    total, right = counts.sum(), np.trace(counts)
    text = f"{right:,} of {total:,} right ({right / max(total, 1):.1%})"
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    worst = [np.unravel_index(flat, counts.shape) for flat in np.argsort(-wrong, axis=None, kind="stable")[:NUM_WORST]]
    pairs = [f"{names[row]} → {names[column]}: {wrong[row, column]:,}" for row, column in worst if wrong[row, column]]
    return text + ("\nmost confused  " + ", ".join(pairs) if pairs else "")


def shortened(name: str) -> str:
    """A name that fits beside a picture."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
