"""Targets of arrays: what is a class, what a number, and what neither."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainkit.data.array_targets import encode_target
from trainkit.errors import DataError


@pytest.mark.parametrize(
    ("target", "codes", "names"),
    [
        (np.array([0, 1, 2, 1]), [0, 1, 2, 1], ("0", "1", "2")),
        (np.array([-1, 1, 1], np.int8), [0, 1, 1], ("-1", "1")),
        (np.array([[4], [2], [4]], np.uint8), [1, 0, 1], ("2", "4")),
        (np.array([True, False, True]), [1, 0, 1], ("False", "True")),
        (np.array(["dog", "cat", "dog"]), [1, 0, 1], ("cat", "dog")),
        (np.array([b"dog", b"cat"]), [1, 0], ("cat", "dog")),
    ],
)
def test_integers_booleans_and_texts_are_classes(target: np.ndarray, codes: list[int], names: tuple[str, ...]) -> None:
    encoded, found = encode_target(target)
    assert (encoded.tolist(), found, str(encoded.dtype)) == (codes, names, "int64")


def test_floats_are_numbers_unless_told_otherwise() -> None:
    values, names = encode_target(np.array([0.0, 2.0, 2.0], np.float32))
    assert (values.tolist(), names, str(values.dtype)) == ([0.0, 2.0, 2.0], (), "float64")
    codes, names = encode_target(np.array([0.0, 2.0, 2.0]), "class")
    assert (codes.tolist(), names) == ([0, 1, 1], ("0", "2"))
    values, names = encode_target(np.arange(100), "number")
    assert (str(values.dtype), names) == ("float64", ())
    codes, names = encode_target(np.arange(100), "class")
    assert len(names) == 100


def test_names_decide_the_order() -> None:
    codes, names = encode_target(np.array(["dog", "cat", "dog"]), class_names=["dog", "cat", "cow"])
    assert (codes.tolist(), names) == ([0, 1, 0], ("dog", "cat", "cow"))
    for dtype in ("i8", "f4"):
        codes, names = encode_target(np.array([2, 0], dtype), class_names=["a", "b", "c"])
        assert (codes.tolist(), names) == ([2, 0], ("a", "b", "c"))


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (
            np.ones((3, 1, 1)),
            {},
            "the targets have the shape [3, 1, 1]\n  where    data.target\n  expected [N], or [N, T] of several",
        ),
        (
            np.array([{}, {}]),
            {},
            "the targets are Python objects\n  where    data.target\n  expected numbers, booleans or texts\n"
            "  hint     target.astype(str), or target.astype(int)",
        ),
        (
            np.array([1j, 2j]),
            {},
            "the targets are of type complex128\n  where    data.target\n  expected numbers, booleans or texts",
        ),
        (
            np.array(["a", "b"]),
            {"kind": "number"},
            "the target is 'a' in row 0\n  where    data.target_kind\n  expected numbers, where the target is a number",
        ),
        (
            np.array([1.0, 1.5]),
            {"kind": "number", "class_names": ["a", "b"]},
            "a number has no class names\n  where    data.class_names\n  hint     leave out data.class_names",
        ),
        (
            np.array([1.0, 1.5]),
            {"kind": "class"},
            "the target is 1.5 in row 1\n  where    data.target_kind\n"
            "  expected whole numbers, where the target is a class",
        ),
        (
            np.array(["dog", "cta"]),
            {"class_names": ["dog", "cat"]},
            "the target has a class 'cta'\n  where    data.class_names\n  expected one of dog, cat\n"
            "  hint     did you mean 'cat'?",
        ),
        (
            np.arange(60),
            {},
            "the target has 60 different integers in 60 rows\n  where    data.target\n"
            "  expected classes of several rows each\n"
            "  hint     data.target_kind=number, or data.target_kind=class",
        ),
    ],
)
def test_other_targets_are_refused(target: np.ndarray, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        encode_target(target, **options)
    assert str(caught.value) == message
