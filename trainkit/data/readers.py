"""Readers turn a new file into samples as the model was trained on; they are saved with the model, as JSON."""

from __future__ import annotations

import abc
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trainkit.data.encoding import TableEncoder
from trainkit.data.reading import read_table
from trainkit.data.sources import tensor_of
from trainkit.errors import DataError
from trainkit.types import Inputs

if TYPE_CHECKING:
    import pandas as pd


BROKEN_FILE = (
    *(ValueError, OSError, EOFError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""What NumPy and zipfile raise for files that are damaged, encrypted, too large, or something else."""


class Reader(abc.ABC):
    """Reads new samples without a target."""

    @abc.abstractmethod
    def read(self, path: Path) -> tuple[Inputs, dict[str, int]]:
        """Inputs of all samples in a file, and how many values of each column were never seen in training.

        Raises:
            DataError: The file cannot be read, or is not what the model was trained on.
        """

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain data that ``reader_from_json`` takes back."""


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
    """Reads .npy files (or a .npz with one array, or one called ``inputs``) of samples of a known shape.

    Args:
        shape: Of one sample.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = tuple(shape)

    def read(self, path: Path) -> tuple[Inputs, dict[str, int]]:
        """Samples [N, ...] as they are in the file."""
        if path.suffix not in (".npy", ".npz"):
            raise DataError(
                f"cannot read '{path}'", where="FILE", expected=f"a .npy or .npz of shape {self._expected()}"
            )
        if not path.is_file():
            raise DataError(f"there is no file '{path}'", where="FILE")
        try:
            with path.open("rb") as file:  # NumPy would leave it open where it cannot read it
                loaded = np.load(file, allow_pickle=False)
                array = loaded if isinstance(loaded, np.ndarray) else self._pick(loaded, path)
        except BROKEN_FILE as error:
            raise DataError(f"'{path}' is not a readable array: {error}", where="FILE") from error
        if array.shape[1:] != self.shape or array.dtype.kind not in "biuf" or not len(array):
            found = f"{array.dtype} {list(array.shape)}"
            raise DataError(f"'{path}' holds {found}", where="FILE", expected=f"numbers of shape {self._expected()}")
        if not np.isfinite(array).all():
            raise DataError(f"'{path}' holds NaN or infinite values", where="FILE")
        return tensor_of(array), {}

    def _expected(self) -> str:
        return "[N, " + ", ".join(map(str, self.shape)) + "]"

    @staticmethod
    def _pick(archive: Any, path: Path) -> np.ndarray:
        names = list(archive.files)
        name = "inputs" if "inputs" in names else names[0] if len(names) == 1 else None
        if name is None:
            raise DataError(
                f"'{path}' holds {', '.join(names)}", where="FILE", expected="one array, or one called inputs"
            )
        array = archive[name]
        if not isinstance(array, np.ndarray):
            raise DataError(f"'{path}' holds no array", where="FILE", expected="a .npz as numpy.savez writes it")
        return array

    def to_json(self) -> dict[str, Any]:
        """The shape."""
        return {"kind": "array", "shape": list(self.shape)}


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
        return ArrayReader(tuple(values["shape"]))
    if values.get("kind") == "none":
        return NoReader()
    raise DataError(f"unknown reader '{values.get('kind')}' in the model's metadata", where="model.safetensors")
