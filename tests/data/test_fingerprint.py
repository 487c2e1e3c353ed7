"""Fingerprints of arrays and files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainkit.data.fingerprint import fingerprint_arrays, fingerprint_file
from trainkit.errors import DataError


def test_equal_arrays_have_one_fingerprint_whatever_their_layout() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    expected = fingerprint_arrays(array)
    assert len(expected) == 64
    assert fingerprint_arrays(np.asfortranarray(array)) == expected
    assert fingerprint_arrays(np.repeat(array, 2, axis=0)[::2]) == expected
    assert fingerprint_arrays(array.astype(">f4")) == expected


def test_the_fingerprint_is_the_same_for_ever() -> None:
    expected = hashlib.sha256(b"<i8(2,);" + np.array([1, 2], "<i8").tobytes() + b"|b1(1,);\x01").hexdigest()
    assert fingerprint_arrays(np.array([1, 2]), np.array([True])) == expected


def test_value_dtype_shape_order_and_number_of_arrays_count() -> None:
    array = np.arange(12, dtype=np.float32)
    changed = array.copy()
    changed[7] = np.nextafter(changed[7], np.float32(np.inf))
    variants: list[tuple[np.ndarray[Any, np.dtype[Any]], ...]] = [
        (array,),
        (changed,),
        (array.view(np.int32),),
        (array.reshape(3, 4),),
        (array.reshape(4, 3),),
        (array[:6], array[6:]),
        (array[6:], array[:6]),
        (array, array[:0]),
        (array.astype("datetime64[us]"),),
        (),
        (np.array(1, np.float32),),
        (np.array(["a", "bc"]),),
    ]
    assert len({fingerprint_arrays(*variant) for variant in variants}) == len(variants)


def test_objects_have_no_fingerprint() -> None:
    with pytest.raises(DataError) as caught:
        fingerprint_arrays(np.array(["a", None], dtype=object))
    assert str(caught.value) == (
        "an array of Python objects has no fingerprint\n  expected numbers, booleans, dates or fixed-width text"
    )


def test_fingerprint_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\n" * 100_000)
    assert fingerprint_file(path) == hashlib.sha256(b"a,b\n" * 100_000).hexdigest()
    with pytest.raises(DataError) as caught:
        fingerprint_file(tmp_path / "none.csv")
    assert str(caught.value).splitlines()[0] == f"{tmp_path / 'none.csv'} cannot be read: No such file or directory"


def test_large_arrays_are_read_in_parts_to_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(600.0).reshape(50, 4, 3)
    whole = [fingerprint_arrays(values) for values in (array, array.astype("u1"), np.float64(3.0) * np.ones(()))]
    monkeypatch.setattr("trainkit.data.fingerprint.BYTES_AT_ONCE", 700)
    again = [fingerprint_arrays(values) for values in (array, array.astype("u1"), np.float64(3.0) * np.ones(()))]
    assert again == whole
    moved = np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
    assert fingerprint_arrays(moved) == whole[0]
