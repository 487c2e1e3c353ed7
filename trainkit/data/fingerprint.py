"""Fingerprints of data, by which a run recognises the data it was trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.errors import DataError

BYTES_AT_ONCE = 2**25


def fingerprint_arrays(*arrays: np.ndarray[Any, np.dtype[Any]]) -> str:
    """SHA-256 over dtype, shape and bytes of arrays, in the order given.

    The result depends on values only, not on memory layout or byte order; NaNs count by their bits.

    Args:
        *arrays: Arrays of any shape and any dtype but ``object``.

    Returns:
        64 hexadecimal digits.

    Raises:
        DataError: An array holds Python objects, whose bytes are addresses.
    """
    digest = hashlib.sha256()
    for array in arrays:
        if array.dtype.hasobject:
            raise DataError(
                "an array of Python objects has no fingerprint", expected="numbers, booleans, dates or fixed-width text"
            )
        dtype = array.dtype.newbyteorder("<")
        digest.update(f"{dtype.str}{array.shape};".encode())
        step = max(1, BYTES_AT_ONCE // max(array[:1].nbytes, 1)) if array.ndim else 1
        for start in range(0, len(array) if array.ndim else 1, step):  # it may stand on the disk, or be a view
            part = array[start : start + step] if array.ndim else array
            digest.update(np.ascontiguousarray(part, dtype=dtype).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def fingerprint_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", where=str(path)) from error
