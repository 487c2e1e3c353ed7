"""The images on which a run errs most, as a section of its report."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainkit.reports.page import Markup, element, section
from trainkit.reports.values import SPLIT_TITLES, format_number
from trainkit.types import Predictions, decimals_for

if TYPE_CHECKING:
    from trainkit.data import DataModule

MOST = 12
SIDE = 112
"""Pixels of a thumbnail at most, in the file and on the page."""


class Example(NamedTuple):
    """An image with what was made of it.

    Attributes:
        split: ``test`` or ``validation``.
        name: Of its file.
        true: Class, or number.
        predicted: Likewise.
        detail: The probability of the predicted class, or the error.
        pixels: uint8 [channels, height, width], of 1 or 3 channels.
    """

    split: str
    name: str
    true: str
    predicted: str
    detail: str
    pixels: np.ndarray


def worst_rows(made: Predictions, most: int = MOST) -> np.ndarray:
    """Positions of the worst predictions, int64 [M]: wrong classes by their probability, numbers by their error."""
    if made.target is None or made.target.ndim != 1:
        return np.empty(0, np.int64)
    if made.probabilities is None:
        error = np.abs(np.asarray(made.values) - made.target)
        return np.argsort(-error, kind="stable")[:most]
    predicted = made.probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != made.target)
    return wrong[np.argsort(-made.probabilities[wrong, predicted[wrong]], kind="stable")[:most]]


def examples_of(data: DataModule, predictions: Mapping[str, Predictions]) -> list[Example]:
    """The worst predictions of the test part, or else of the validation part, where rows are image files.

    Args:
        data: Set up.
        predictions: By split, as the run made them.
    """
    split = next((name for name in ("test", "validation") if name in predictions), None)
    if split is None or predictions[split].files is None or data.spec.input_kind != "image":
        return []
    made = predictions[split]
    at = worst_rows(made)
    if not len(at):
        return []
    inputs = data.source.fetch(data.rows("test" if split == "test" else "val")[torch.from_numpy(at)], 0)[0]
    assert isinstance(inputs, Tensor)
    return [_example(split, made, int(row), pixels.numpy()) for row, pixels in zip(at, inputs, strict=True)]


def _example(split: str, made: Predictions, row: int, pixels: np.ndarray) -> Example:
    assert made.target is not None and made.files is not None
    if made.probabilities is not None:
        best = int(made.probabilities[row].argmax())
        true, predicted = made.class_names[int(made.target[row])], made.class_names[best]
        return Example(split, made.files[row], true, predicted, f"{made.probabilities[row, best]:.3f}", pixels)
    target, value = float(made.target[row]), float(np.asarray(made.values)[row])
    decimals = decimals_for(target, value)
    true, predicted, error = (format_number(number, decimals) for number in (target, value, value - target))
    return Example(split, made.files[row], true, predicted, error, pixels)


def examples_section(examples: Sequence[Example]) -> Markup:
    """Thumbnails with names; empty without examples."""
    if not examples:
        return Markup()
    figures = []
    for example in examples:
        said = f"{example.true} → {example.predicted} ({example.detail})"
        caption = element("figcaption", element("b", said), element("small", example.name))
        image = Markup(f'<img alt="" src="data:image/png;base64,{thumbnail(example.pixels)}">')
        figures.append(element("figure", image, caption))
    split = SPLIT_TITLES.get(examples[0].split, examples[0].split)
    note = f"{split} images, the worst first: true → predicted (probability of the predicted class, or error)."
    return section("Largest errors", element("div", *figures, class_="thumbnails"), note=note)


def thumbnail(pixels: np.ndarray) -> str:
    """A PNG of an image, shrunk if need be, in base64.

    Args:
        pixels: uint8 [channels, height, width], of 1 or 3 channels.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)))
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
