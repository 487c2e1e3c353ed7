"""Readers turn a new file into samples as the model was trained on; they are saved with the model, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trainkit.data.array_reading import EXTENSIONS, INPUT_NAMES, ArrayFile, open_arrays
from trainkit.data.encoding import TableEncoder
from trainkit.data.images.reader import ImageReader
from trainkit.data.layout import arrange
from trainkit.data.reader import Reader
from trainkit.data.reading import read_table
from trainkit.data.sources import tensor_of
from trainkit.errors import DataError
from trainkit.types import Inputs

if TYPE_CHECKING:
    import pandas as pd


class TableReader(Reader):
    """Reads .csv and .parquet files with the columns of the training table.

    Args:
        encoder: Fitted on the training part.
    """

    def __init__(self, encoder: TableEncoder) -> None:
        self.encoder = encoder

    def read(self, path: Path) -> tuple[Inputs, dict[str, int]]:
        """Numbers and codes of every row."""
        try:
            return self.encode(read_table(path))
        except DataError as error:
            error.where = "FILE" if error.where == "data.path" else error.where
            raise

    def encode(self, frame: pd.DataFrame) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Numbers float32 [N, F] and codes int64 [N, C] of a frame, and its unseen values by column."""
        encoded = self.encoder.transform(frame)
        inputs = {"numbers": torch.from_numpy(encoded.numbers), "codes": torch.from_numpy(encoded.codes)}
        return inputs, encoded.unseen

    def to_json(self) -> dict[str, Any]:
        """The encoder's columns and vocabularies."""
        return {"kind": "table", "encoder": self.encoder.to_json()}


class ArrayReader(Reader):
    """Reads arrays of samples of a known shape: a .npy, or a file of several with one called as in training.

    Args:
        shape: Of one sample as it is in a file.
        layout: How files are arranged for the net, as ``find_layout`` named it.
        key: Key of the inputs in the training file.
    """

    def __init__(self, shape: tuple[int, ...], layout: str = "as_is", key: str = "inputs") -> None:
        self.shape, self.layout, self.key = tuple(shape), layout, key

    def read(self, path: Path) -> tuple[Inputs, dict[str, int]]:
        """Samples [N, ...] of a file, arranged as in training."""
        if path.suffix not in EXTENSIONS:
            expected = f"{', '.join(EXTENSIONS)} of shape {self._expected()}"
            raise DataError(f"cannot read '{path}'", where="FILE", expected=expected)
        arrays = open_arrays(path, "FILE")
        return self.arranged(arrays[self._pick(arrays)], f"'{path}'"), {}

    def arranged(self, array: np.ndarray, name: str) -> Tensor:
        """Samples as the net takes them, of raw ones.

        Args:
            array: [N, ...], of the shape of a file's samples.
            name: Of the array, for errors.

        Raises:
            DataError: Another shape, no numbers, or NaN.
        """
        if array.shape[1:] != self.shape or array.dtype.kind not in "biuf" or not len(array):
            found = f"{array.dtype} {list(array.shape)}"
            raise DataError(f"{name} holds {found}", where="FILE", expected=f"numbers of shape {self._expected()}")
        if not np.isfinite(array).all():
            raise DataError(f"{name} holds NaN or infinite values", where="FILE")
        return tensor_of(arrange(array, self.layout))

    def _expected(self) -> str:
        return "[N, " + ", ".join(map(str, self.shape)) + "]"

    def _pick(self, arrays: ArrayFile) -> str:
        names = list(arrays)
        if len(names) == 1:
            return names[0]
        for name in (self.key, *INPUT_NAMES):
            if name in names:
                return name
        expected = f"one array, or one called {self.key}"
        raise DataError(f"'{arrays.path}' holds {', '.join(names)}", where="FILE", expected=expected)

    def to_json(self) -> dict[str, Any]:
        """Shape, layout and key."""
        return {"kind": "array", "shape": list(self.shape), "layout": self.layout, "key": self.key}


class NoReader(Reader):
    """Stands where the data came from a user's own ``Dataset``, which no file can be read into."""

    def read(self, path: Path) -> tuple[Inputs, dict[str, int]]:
        """Raises DataError."""
        raise DataError(
            f"cannot read '{path}': this model was trained on a Dataset of your own",
            where="FILE",
            hint="use trainkit.load_run(RUN).predict(dataset) in Python",
        )

    def to_json(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {"kind": "none"}


def reader_from_json(values: dict[str, Any]) -> Reader:
    """The reader that ``to_json`` described.

    Raises:
        DataError: The description is of no known kind.
    """
    if values.get("kind") == "table":
        return TableReader(TableEncoder.from_json(values["encoder"]))
    if values.get("kind") == "array":
        return ArrayReader(tuple(values["shape"]), values.get("layout", "as_is"), values.get("key", "inputs"))
    if values.get("kind") == "image":
        return ImageReader.from_json(values)
    if values.get("kind") == "none":
        return NoReader()
    raise DataError(f"unknown reader '{values.get('kind')}' in the model's metadata", where="model.safetensors")
