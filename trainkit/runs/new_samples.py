"""What ``Run.predict`` takes as new samples: files, frames, arrays and datasets; anything else is named and refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainkit.data.array_reading import as_array
from trainkit.data.reader import Reader
from trainkit.data.readers import ArrayReader, TableReader
from trainkit.data.sources import DatasetSource, tensor_of
from trainkit.errors import DataError
from trainkit.types import DataSpec, Inputs

WHERE = "predict"


def read_samples(source: Any, reader: Reader, spec: DataSpec, target: str) -> tuple[Inputs, dict[str, int]]:
    """Inputs of new samples as the model takes them, and unseen values by column.

    Args:
        source: A file, a DataFrame for a table; a file, an array or tensor [N, ...], or a map-style ``Dataset`` else.
        reader: Of the run's files.
        spec: What the model knows of the data.
        target: Key of the target where samples are dicts.

    Raises:
        DataError: It is something else, or not what the model was trained on.
    """
    if isinstance(source, (str, Path)):
        return reader.read(Path(source))
    is_frame = hasattr(source, "columns")
    if isinstance(reader, TableReader):
        if not is_frame:
            is_data = isinstance(source, (Mapping, list, np.ndarray, Tensor))
            raise _refused(source, reader, "pd.DataFrame(…, columns=…)" if is_data else None)
        return reader.encode(source)
    if is_frame:
        raise _refused(source, reader, f"frame.to_numpy(), of shape {_shape(spec)}" if spec.input_shape else None)
    if isinstance(source, (np.ndarray, Tensor)):
        return _of_array(source, reader, spec), {}
    is_rows = isinstance(source, (list, tuple)) and all(isinstance(row, (list, int, float)) for row in source)
    if is_rows:
        raise _refused(source, reader, "np.array(…, dtype=np.float32)")
    if isinstance(source, Mapping) or not (
        hasattr(source, "__getitem__") and hasattr(source, "__len__") and len(source)
    ):
        raise _refused(source, reader)
    try:
        return DatasetSource([source], target).fetch(torch.arange(len(source)), 0)[0], {}
    except DataError as error:
        error.where = WHERE
        raise


def _of_array(source: np.ndarray | Tensor, reader: Reader, spec: DataSpec) -> Tensor:
    array = as_array(source, "the source")
    if isinstance(reader, ArrayReader) and reader.shape == array.shape[1:]:
        return reader.arranged(array, "the array")
    if array.dtype.kind not in "biuf":
        raise DataError(f"inputs of {array.dtype}", where=WHERE, expected="numbers")
    if spec.input_shape and array.shape[1:] != spec.input_shape:
        raise DataError(f"inputs of shape {list(array.shape)}", where=WHERE, expected=_shape(spec))
    return source if isinstance(source, Tensor) else tensor_of(array)


def _refused(source: Any, reader: Reader, hint: str | None = None) -> DataError:
    expected = "a file or a DataFrame, with the columns of the training table"
    if not isinstance(reader, TableReader):
        files = "a file, " if isinstance(reader, ArrayReader) else ""
        expected = f"{files}an array or tensor [N, …], or a Dataset"
    empty = "empty " if isinstance(source, (Mapping, list, tuple)) and not source else ""
    found = f"{empty}{type(source).__name__}"
    article = "an" if found[0].lower() in "aeiou" else "a"
    return DataError(f"cannot predict {article} {found}", where=WHERE, expected=expected, hint=hint)


def _shape(spec: DataSpec) -> str:
    return f"[{', '.join(['N', *map(str, spec.input_shape)])}]"
