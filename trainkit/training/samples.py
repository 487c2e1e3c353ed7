"""The same few validation samples each time, with what the net makes of them: as images, a table, a scatter plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from trainkit.data import DataModule
from trainkit.data.evaluation_loader import EvaluationBatch
from trainkit.data.readers import TableReader
from trainkit.data.sources import map_inputs
from trainkit.errors import ConfigError
from trainkit.training.confusion import shortened
from trainkit.training.pictures import DOTS_PER_INCH, Pictures, evaluated, gathered, show_figure, show_table
from trainkit.training.sample_texts import Sample, detail_columns, joined, number_text, outcome_texts
from trainkit.types import Inputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_FEATURES = 12
"""Features of a sample that a table shows at most."""
MAX_POINTS = 2_000
"""Points of a scatter plot; of more an even choice is drawn."""
CELL, GAP, TITLE = 140, 10, 34
"""Pixels of an image's width, between images, and above each for its title."""
RIGHT, WRONG = "#1a1a1a", "#c62828"


class SamplePredictions(Pictures):
    """Shows what the net makes of a few validation samples, the same ones each time, so that one sees them change.

    Images come as a grid, wrong ones in red; tables and vectors as a table under Text, wrong ones marked. Where the
    target is a number, predicted against true values of the whole validation are drawn as well. The samples are an even
    choice of the validation part, or the first of the user's own DataLoader.

    Args:
        num_samples: Samples shown.
        every_n_validations: Validations from one picture to the next; None for about ten pictures in a run.

    Raises:
        ConfigError: ``num_samples`` or ``every_n_validations`` is below 1.
    """

    def __init__(self, num_samples: int = 16, every_n_validations: int | None = None) -> None:
        super().__init__(every_n_validations)
        if num_samples < 1:
            where = "SamplePredictions.num_samples"
            raise ConfigError(f"num_samples is {num_samples}", where=where, expected="an integer ≥ 1")
        self.num_samples = num_samples
        self._chosen: Tensor | None = None
        self._samples: list[Sample] = []
        self._pairs: list[tuple[Tensor, Tensor]] = []
        self._num_seen = 0

    def attach(self, data: DataModule) -> None:
        """Chooses the samples."""
        super().attach(data)
        rows = data.rows("val")
        count = min(self.num_samples, len(rows))
        self._chosen = rows[torch.linspace(0, len(rows) - 1, count, dtype=torch.float64).round().long()]

    def collect(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Takes the chosen samples out of a batch."""
        found = evaluated(outputs, type(self).__name__)
        predictions, target = found["predictions"], found["target"]
        if predictions.ndim == 1:
            self._pairs.append((target.detach(), predictions.detach()))
        is_ours = isinstance(batch, EvaluationBatch)
        rows = batch.rows if is_ours else torch.arange(self._num_seen, self._num_seen + len(target))
        self._num_seen += len(target)
        if self._chosen is not None and is_ours:
            places = torch.isin(rows, self._chosen).nonzero().flatten().tolist()
        else:
            places = list(range(max(0, min(self.num_samples - len(self._samples), len(target)))))
        inputs = batch.inputs if is_ours else batch[0]
        for place in places:
            one = map_inputs(inputs, lambda tensor, place=place: tensor[place])
            self._samples.append(Sample(int(rows[place]), one, predictions[place], target[place]))

    def draw(self, trainer: L.Trainer, pl_module: L.LightningModule, step: int) -> None:
        """Brings the samples of all processes together and shows them."""
        samples, pairs = self._samples, self._pairs
        self._samples, self._pairs, self._num_seen = [], [], 0
        mine = [
            Sample(s.row, map_inputs(s.inputs, torch.Tensor.cpu), s.predicted.cpu(), s.target.cpu()) for s in samples
        ]
        points = torch.cat([torch.stack([a.double(), b.double()]) for a, b in pairs], dim=1).cpu() if pairs else None
        everyone = gathered(trainer, (mine, points))
        if not trainer.is_global_zero:
            return
        shown = sorted((sample for part, _ in everyone for sample in part), key=lambda sample: sample.row)
        shown = shown[: self.num_samples]
        if shown and is_image(shown[0].inputs):
            show_figure(trainer, "val/samples", draw_images(shown, self._class_names(shown)), step)
        elif shown:
            show_table(trainer, "val/samples", *self._table(shown), step)
        all_points = [points for _, points in everyone if points is not None]
        if all_points:
            true, predicted = torch.cat(all_points, dim=1).numpy()
            name = self.data.spec.target_name if self.data else "target"
            show_figure(trainer, "val/predicted_vs_true", draw_scatter(true, predicted, name), step)

    def _class_names(self, samples: Sequence[Sample]) -> Sequence[str]:
        if self.data is not None:
            return self.data.spec.class_names
        return [str(index) for index in range(samples[0].predicted.numel())]

    def _table(self, samples: Sequence[Sample]) -> tuple[list[str], list[list[str]]]:
        class_names = self._class_names(samples) if samples[0].predicted.ndim else ()
        columns = ["row", "true", "predicted", *detail_columns(samples[0], class_names), "features"]
        rows = [[str(s.row), *outcome_texts(s, class_names), joined(self._features(s.inputs))] for s in samples]
        return columns, rows

    def _features(self, inputs: Inputs) -> dict[str, str]:
        """Values of a sample by name, as texts."""
        reader = self.data.reader if self.data is not None else None
        if isinstance(reader, TableReader) and isinstance(inputs, dict):
            encoder = reader.encoder
            texts = dict(zip(encoder.number_names, map(number_text, inputs["numbers"].tolist()), strict=True))
            for category, code in zip(encoder.categories, inputs["codes"].tolist(), strict=True):
                texts[category.column] = ["(rare or unknown)", *category.values, "(missing)"][code]
            return texts
        texts = {}
        for name, tensor in (inputs if isinstance(inputs, dict) else {"x": inputs}).items():
            values = tensor.reshape(-1)[: MAX_FEATURES + 1].tolist()
            texts |= {f"{name}{index}": number_text(value) for index, value in enumerate(values)}
        return texts


def is_image(inputs: Inputs) -> bool:
    """Whether a sample is [channels, height, width]."""
    return isinstance(inputs, Tensor) and inputs.ndim == 3


def draw_images(samples: Sequence[Sample], class_names: Sequence[str]) -> Figure:
    """Draws images in a grid, each with the truth and the prediction above it; wrong ones in red.

    Args:
        samples: Their inputs are [channels, height, width].
        class_names: Names of the classes; empty for numbers.
    """
    images = torch.stack([sample.inputs.float() for sample in samples if isinstance(sample.inputs, Tensor)])
    return draw_grid(images, [_title(sample, class_names) for sample in samples])


def draw_grid(images: Tensor, titles: Sequence[tuple[str, str]]) -> Figure:
    """Draws images in a grid, each with a title above it.

    Brightness runs from the lowest to the highest value among them. Three channels are red, green and blue, one (or
    the first of any other number) is grey.

    Args:
        images: float [B, channels, height, width].
        titles: Text and colour for each.
    """
    from matplotlib.figure import Figure

    finite = images[images.isfinite()]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    images = ((images - low) / max(high - low, 1e-12)).nan_to_num(0.0).clamp(0, 1)
    images = images if images.shape[1] == 3 else images[:, :1].expand(-1, 3, -1, -1)
    pixels = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    width = CELL
    height = round(CELL * min(2.5, max(0.4, pixels.shape[1] / pixels.shape[2])))
    columns = math.ceil(math.sqrt(len(titles)))
    rows = math.ceil(len(titles) / columns)
    total_width, total_height = columns * (width + GAP) + GAP, rows * (height + GAP + TITLE)
    figure = Figure(figsize=(total_width / DOTS_PER_INCH, total_height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    for place, ((title, color), image) in enumerate(zip(titles, pixels, strict=True)):
        left, top = GAP + place % columns * (width + GAP), place // columns * (height + GAP + TITLE) + TITLE
        figure.figimage(_resized(image, height, width), left, total_height - top - height, origin="upper")
        x, y = (left + width / 2) / total_width, 1 - (top - 3) / total_height
        figure.text(x, y, title, ha="center", va="bottom", fontsize=8, color=color, parse_math=False)
    return figure


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The nearest pixel of [h, w, 3] for each of [height, width, 3]."""
    down, right = (np.arange(size) * old // size for size, old in zip((height, width), image.shape[:2], strict=True))
    resized: np.ndarray = image[down][:, right]
    return resized


def _title(sample: Sample, class_names: Sequence[str]) -> tuple[str, str]:
    texts = [shortened(text) for text in outcome_texts(sample, class_names)]
    is_class = sample.predicted.ndim > 0 and sample.target.ndim == 0
    if not is_class:
        is_wrong = sample.target.ndim > 0 and bool(texts[2]) and bool(class_names)
        return f"true {texts[0]}\npredicted {texts[1]}", WRONG if is_wrong else RIGHT
    return f"true {texts[0]}\n{texts[1]}  {texts[2]}", WRONG if texts[3] else RIGHT


def draw_scatter(true: np.ndarray, predicted: np.ndarray, name: str) -> Figure:
    """Draws predicted against true numbers, with the line on which both agree.

    Args:
        true: float64 [N].
        predicted: float64 [N].
        name: Of the target.
    """
    from matplotlib.figure import Figure

    keep = np.isfinite(true) & np.isfinite(predicted)
    true, predicted = true[keep], predicted[keep]
    chosen = np.unique(np.linspace(0, max(len(true) - 1, 0), min(len(true), MAX_POINTS)).round().astype(int))
    figure = Figure(figsize=(6, 5.6), layout="constrained")
    axes = figure.add_subplot()
    if len(chosen):
        ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        axes.plot(ends, ends, color="#9e9e9e", linewidth=1, linestyle=(0, (3, 3)), label="equal")
        axes.plot(true[chosen], predicted[chosen], linestyle="", marker="o", markersize=4, alpha=0.5, color="#1565c0")
    axes.set_xlabel(f"true {name}", parse_math=False)
    axes.set_ylabel(f"predicted {name}", parse_math=False)
    axes.grid(color="#e0e0e0", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_aspect("equal", adjustable="datalim")
    return figure
