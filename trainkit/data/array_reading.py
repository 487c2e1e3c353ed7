"""Reads the arrays of a file (.npy, .npz, .safetensors, .pt), never unpickling; called by array sources and readers."""

from __future__ import annotations

import pickle
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainkit.errors import DataError, near_file

ONE_ARRAY = "array"
"""The key of the array in a file that holds one without a name."""

INPUT_NAMES = ("inputs", "x", "X", "images", "data")
TARGET_NAMES = ("target", "y", "labels", "targets")
"""Keys that are taken for inputs and targets where none is given."""

EXTENSIONS = (".npy", ".npz", ".safetensors", ".pt")

BROKEN_FILE = (
    *(ValueError, OSError, EOFError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""What NumPy and zipfile raise for files that are damaged, encrypted, too large, or something else."""


class ArrayFile(Mapping[str, np.ndarray]):
    """The arrays of a file by key; each is read when it is asked for.

    Args:
        path: The file.
        keys: Its keys.
        get: Reads one.
    """

    def __init__(self, path: Path, keys: list[str], get: Callable[[str], Any]) -> None:
        self.path, self._keys, self._get = path, keys, get

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self._keys:
            raise KeyError(key)
        with refused_if_broken(self.path):
            return as_array(self._get(key), f"'{key}' of {self.path}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def open_arrays(path: str | Path, where: str = "data.path") -> ArrayFile:
    """Opens a file of arrays. A .npy stays on the disk until its rows are copied.

    Args:
        path: A .npy, .npz or .safetensors, or a .pt with a tensor or a dict of tensors.
        where: The config key or argument that names it, for errors.

    Raises:
        DataError: There is no such file, it is damaged or pickled, or has another extension.
    """
    path = Path(path)
    if path.suffix not in EXTENSIONS:
        raise DataError(f"cannot read '{path}'", where=where, expected=f"a file: {', '.join(EXTENSIONS)}")
    if path.is_dir():
        raise DataError(f"'{path}' is a folder", where=where, expected=f"a file: {', '.join(EXTENSIONS)}")
    if not path.is_file():
        raise DataError(f"there is no file '{path}'", where=where, hint=near_file(path))
    with refused_if_broken(path, where):
        if path.suffix == ".npy":
            array = np.lib.format.open_memmap(path, mode="r")
            return ArrayFile(path, [ONE_ARRAY], lambda key: array)
        if path.suffix == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                keys = list(archive.files)
            return ArrayFile(path, keys, lambda key: _from_archive(path, key))
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, "pt") as tensors:
                keys = list(tensors.keys())
            return ArrayFile(path, keys, lambda key: _from_safetensors(path, key))
        loaded = _load_tensors(path)
    tensors = {ONE_ARRAY: loaded} if isinstance(loaded, torch.Tensor) else loaded
    if not isinstance(tensors, dict):
        raise DataError(f"'{path}' holds a {type(loaded).__name__}", where=where, expected="a tensor or a dict of them")
    named = {str(key): tensor for key, tensor in tensors.items()}
    return ArrayFile(path, list(named), named.__getitem__)


def _load_tensors(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        raise ValueError("no file as torch.save writes it since 1.6")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Validating sparse tensor")  # these are refused by ``as_array``
            return torch.load(path, map_location="cpu", weights_only=True)
    except (KeyError, IndexError, AttributeError, TypeError, AssertionError) as error:  # its pickle makes no sense
        raise pickle.UnpicklingError(str(error)) from error


def _from_archive(path: Path, key: str) -> Any:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return archive[key]


def _from_safetensors(path: Path, key: str) -> Any:
    from safetensors import safe_open

    with safe_open(path, "pt") as tensors:
        return tensors.get_tensor(key)


@contextmanager
def refused_if_broken(path: Path, where: str | None = None) -> Iterator[None]:
    """Turns what a damaged or pickled file raises into a DataError."""
    from safetensors import SafetensorError

    try:
        yield
    except (*BROKEN_FILE, pickle.UnpicklingError, SafetensorError) as error:
        text = str(error).strip() or type(error).__name__
        pickled = isinstance(error, pickle.UnpicklingError) or "allow_pickle" in text or "Python objects" in text
        reason = "damaged, or Python objects, which are not unpickled" if pickled else text.splitlines()[0]
        reason = "its header makes no sense" if "malformed node" in reason else reason
        hint = "save numbers, or texts of a fixed width: array.astype(float), array.astype(str)" if pickled else None
        raise DataError(f"'{path}' is not a readable array: {reason}", where=where or str(path), hint=hint) from error


def as_array(values: Any, name: str) -> np.ndarray:
    """An array of what a file or a script gave: an array as it is, a tensor without a copy where that can be.

    Raises:
        DataError: It is neither.
    """
    if isinstance(values, torch.Tensor):
        if values.layout != torch.strided or values.is_quantized or values.is_nested:
            kind = "quantized" if values.is_quantized else "nested" if values.is_nested else "sparse"
            raise DataError(f"{name} is a {kind} tensor", where="data", expected="a dense one")
        values = values.detach().cpu()
        return np.asarray((values.float() if values.dtype == torch.bfloat16 else values).numpy())
    if isinstance(values, np.ndarray):
        return values
    raise DataError(f"{name} is a {type(values).__name__}", where="data", expected="an array or a tensor")
