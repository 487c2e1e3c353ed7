"""The images that a report shows: the worst predictions, with their names, in the page itself."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainkit.data import ImageData
from trainkit.reports.examples import Example, examples_of, examples_section, thumbnail, worst_rows
from trainkit.types import Predictions

CLASSES = Predictions(
    np.arange(4),
    np.array([0, 1, 1, 0]),
    np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.05, 0.95]]),
    class_names=("cat", "dog"),
    files=np.array(["a.png", "b.png", "c.png", "d&.png"], dtype=object),
)
NUMBERS = Predictions(np.arange(3), np.array([1.0, 2.0, 3.0]), values=np.array([1.5, 2.0, 1.0]), files=CLASSES.files)


def test_wrong_classes_by_probability_and_numbers_by_error() -> None:
    assert worst_rows(CLASSES).tolist() == [3, 1]
    assert worst_rows(CLASSES, 1).tolist() == [3]
    assert worst_rows(NUMBERS, 2).tolist() == [2, 0]
    assert len(worst_rows(Predictions(np.arange(2), None))) == 0
    several = Predictions(np.arange(2), np.zeros((2, 3)), probabilities=np.zeros((2, 3)), class_names=("a", "b", "c"))
    assert len(worst_rows(several)) == 0


def test_a_thumbnail_is_a_small_png() -> None:
    for channels, mode in ((1, "L"), (3, "RGB")):
        pixels = np.random.default_rng(0).integers(0, 256, (channels, 300, 150)).astype(np.uint8)
        image = Image.open(io.BytesIO(base64.b64decode(thumbnail(pixels))))
        assert (image.mode, image.size) == (mode, (56, 112))
    small = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    np.testing.assert_array_equal(Image.open(io.BytesIO(base64.b64decode(thumbnail(small)))), small[0])


def test_the_section_escapes_names_and_is_empty_without_examples() -> None:
    assert examples_section([]) == ""
    page = examples_section([Example("test", "d&.png", "cat", "<dog>", "0.950", np.zeros((1, 2, 2), np.uint8))])
    assert "cat → &lt;dog&gt; (0.950)" in page and "d&amp;.png" in page and "Test images, the worst first" in page
    assert page.count("<img") == 1


class Data(ImageData):
    """Images whose rows are the numbers of the pool."""

    def __init__(self) -> None:
        pass

    class source:
        @staticmethod
        def fetch(rows: Any, key: int) -> Any:
            import torch

            return torch.stack([torch.full((1, 2, 2), row, dtype=torch.uint8) for row in rows.tolist()]), rows

    class spec:
        input_kind = "image"

    def rows(self, part: str) -> Any:
        import torch

        return torch.tensor([40, 41, 42, 43]) if part == "test" else torch.tensor([50, 51, 52])


@pytest.mark.parametrize(("split", "first", "made"), [("test", 43, CLASSES), ("validation", 52, NUMBERS)])
def test_examples_are_rows_of_the_part(split: str, first: int, made: Predictions) -> None:
    found = examples_of(Data(), {split: made})
    assert found[0].pixels.tolist() == [[[first] * 2] * 2]
    assert (found[0].split, found[0].name) == (split, "d&.png" if split == "test" else "c.png")
    said = (found[0].true, found[0].predicted, found[0].detail)
    assert said == (("cat", "dog", "0.950") if split == "test" else ("3.000", "1.000", "−2.000")), said


def test_no_examples_without_predictions_or_files() -> None:
    assert examples_of(Data(), {}) == []
    assert examples_of(Data(), {"test": Predictions(np.arange(1), np.array([1.0]), values=np.array([2.0]))}) == []
