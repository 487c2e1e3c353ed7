"""How the axes of an array are read, and how it is arranged for a net."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainkit.data import GivenArrays
from trainkit.data.layout import KINDS, arrange, find_layout
from trainkit.errors import DataError


@pytest.mark.parametrize(
    ("shape", "dtype", "choice", "layout", "arranged"),
    [
        ((5, 7), "f4", "auto", "as_is", (5, 7)),
        ((5, 7), "u1", "auto", "as_is", (5, 7)),
        ((5, 7), "f4", "signal", "one_channel", (5, 1, 7)),
        ((5, 7), "f4", "flat", "as_is", (5, 7)),
        ((5, 2, 7), "f8", "auto", "as_is", (5, 2, 7)),
        ((5, 2, 7), "i2", "auto", "as_is", (5, 2, 7)),
        ((5, 6, 7), "u1", "auto", "one_channel", (5, 1, 6, 7)),
        ((5, 6, 7), "u1", "signal", "as_is", (5, 6, 7)),
        ((5, 6, 7), "f4", "channels_first", "one_channel", (5, 1, 6, 7)),
        ((5, 6, 7), "f4", "channels_last", "one_channel", (5, 1, 6, 7)),
        ((5, 2, 7), "f4", "flat", "flat", (5, 14)),
        ((5, 6, 7, 3), "u1", "auto", "channels_last", (5, 3, 6, 7)),
        ((5, 6, 7, 1), "f4", "auto", "channels_last", (5, 1, 6, 7)),
        ((5, 6, 7, 4), "f4", "auto", "channels_last", (5, 4, 6, 7)),
        ((5, 3, 7, 3), "u1", "auto", "as_is", (5, 3, 7, 3)),
        ((5, 3, 6, 7), "u1", "auto", "as_is", (5, 3, 6, 7)),
        ((5, 6, 7, 2), "u1", "auto", "as_is", (5, 6, 7, 2)),
        ((5, 6, 7, 2), "u1", "channels_last", "channels_last", (5, 2, 6, 7)),
        ((5, 6, 7, 3), "u1", "channels_first", "as_is", (5, 6, 7, 3)),
        ((5, 3, 6, 7), "u1", "flat", "flat", (5, 126)),
    ],
)
def test_axes(shape: tuple[int, ...], dtype: str, choice: Any, layout: str, arranged: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    assert find_layout(shape, array.dtype, choice) == layout
    assert arrange(array, layout).shape == arranged
    assert len(arranged) in KINDS


def test_channels_are_moved_and_not_mixed() -> None:
    array = np.arange(5 * 6 * 7 * 3).reshape(5, 6, 7, 3)
    np.testing.assert_array_equal(arrange(array, "channels_last")[2, 1], array[2, :, :, 1])
    np.testing.assert_array_equal(arrange(array, "flat")[2], array[2].ravel())


ANY = "[N, D], [N, channels, length], [N, height, width] of uint8, or [N, channels, height, width]"


@pytest.mark.parametrize(
    ("shape", "choice", "expected"),
    [
        ((5,), "auto", ANY),
        ((5, 2, 2, 2, 2), "auto", ANY),
        ((5, 7), "channels_last", "3 or 4 axes for data.layout=channels_last"),
        ((5, 3, 6, 7), "signal", "2 or 3 axes for data.layout=signal"),
        ((5,), "flat", "3 or 4 axes for data.layout=flat"),
    ],
)
def test_other_numbers_of_axes_are_refused(shape: tuple[int, ...], choice: Any, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        find_layout(shape, np.dtype("f4"), choice)
    assert str(caught.value) == f"the inputs have the shape {list(shape)}\n  where    data\n  expected {expected}"


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        find_layout((5, 7), np.dtype("f4"), "signals")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "there is no layout 'signals'\n  where    data.layout\n"
        "  expected one of auto, channels_first, channels_last, signal, flat\n  hint     did you mean 'signal'?"
    )


@pytest.mark.parametrize(
    ("shape", "options", "is_told"),
    [
        ((50, 3), {}, True),
        ((50, 1), {}, True),
        ((5, 4), {}, True),
        ((3, 50), {}, False),
        ((4, 4), {}, False),
        ((50, 5), {}, False),
        ((50, 3), {"layout": "signal"}, False),
        ((50, 3), {"layout": "flat"}, False),
        ((50, 3), {"layout": "channels_last"}, False),
        ((8, 8, 3), {}, False),
        ((3,), {}, False),
    ],
)
def test_signals_whose_channels_may_stand_last_are_told(
    shape: tuple[int, ...], options: dict[str, Any], is_told: bool
) -> None:
    inputs = np.random.default_rng(0).normal(size=(40, *shape))
    data = GivenArrays((inputs, np.arange(40) % 2), **options)
    data.setup()
    told = f"inputs of {shape[0]}×{shape[-1]} are taken as {shape[0]} channels of length {shape[-1]}"
    hint = f"if {shape[-1]} is the number of channels: x.transpose(0, 2, 1) (data.layout=signal if it is not)"
    assert data.notes() == ([f"{told}; {hint}"] if is_told else [])
