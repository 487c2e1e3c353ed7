"""How an array's axes are read: which of them are rows, channels and positions; called by the array sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np

from trainkit.errors import DataError, did_you_mean, one_of
from trainkit.types import InputKind

LayoutChoice: TypeAlias = Literal["auto", "channels_first", "channels_last", "signal", "flat"]
"""What a user may ask for."""

_ARRANGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as_is": lambda array: array,
    "channels_last": lambda array: np.moveaxis(array, -1, 1),
    "one_channel": lambda array: array[:, None],
    "flat": lambda array: array.reshape(len(array), -1),
}
KINDS: dict[int, InputKind] = {2: "vector", 3: "signal", 4: "image"}
"""Kind of input by the number of axes, once arranged."""

_CHANNELS = (1, 3, 4)
MOST_CHANNELS = 4
"""Length of a last axis up to which it is likelier channels than positions, where the one before is longer."""

_EXPECTED = "[N, D], [N, channels, length], [N, height, width] of uint8, or [N, channels, height, width]"


def find_layout(shape: Sequence[int], dtype: np.dtype, choice: LayoutChoice = "auto") -> str:
    """Name of the arrangement that brings an array [N, ...] into the form that nets take.

    Two axes are a vector per row (with ``signal`` a signal of one channel). Three are signals [N, channels, length],
    or grey images [N, height, width] where they are uint8 or a layout of images is asked for. Four are images, their
    channels last where the last axis has 1, 3 or 4 and the second has not.

    Args:
        shape: Of the array in the file.
        dtype: Its type.
        choice: ``auto``, ``channels_first``, ``channels_last``, ``signal``, or ``flat`` (one vector per row).

    Returns:
        ``as_is``, ``channels_last``, ``one_channel`` or ``flat``, for ``arrange``.

    Raises:
        DataError: There is no such choice, or it does not fit the number of axes.
    """
    names = get_args(LayoutChoice)
    if choice not in names:
        raise DataError(
            f"there is no layout '{choice}'",
            where="data.layout",
            expected=one_of(names),
            hint=did_you_mean(str(choice), names),
        )
    axes = len(shape)
    if choice == "flat" and axes >= 2:
        return "flat" if axes > 2 else "as_is"
    fitting = {"auto": (2, 3, 4), "signal": (2, 3)}.get(choice, (3, 4))
    if axes not in fitting:
        expected = _EXPECTED if choice == "auto" else f"{' or '.join(map(str, fitting))} axes for data.layout={choice}"
        raise DataError(f"the inputs have the shape {list(shape)}", where="data", expected=expected)
    if axes == 2:
        return "one_channel" if choice == "signal" else "as_is"
    if axes == 3:
        is_image = choice.startswith("channels") or (choice == "auto" and dtype == np.uint8)
        return "one_channel" if is_image else "as_is"
    looks_last = shape[-1] in _CHANNELS and shape[1] not in _CHANNELS
    return "channels_last" if choice == "channels_last" or (choice == "auto" and looks_last) else "as_is"


def doubt(shape: Sequence[int], kind: InputKind, choice: LayoutChoice) -> str | None:
    """What to say of an array of signals whose last axis looks like its channels; None where all is clear.

    Args:
        shape: Of one row as in the file.
        kind: What the array was taken for.
        choice: As asked for.
    """
    if choice != "auto" or kind != "signal" or len(shape) != 2 or not shape[1] <= min(MOST_CHANNELS, shape[0] - 1):
        return None
    taken = f"inputs of {shape[0]}×{shape[1]} are taken as {shape[0]} channels of length {shape[1]}"
    return f"{taken}; if {shape[1]} is the number of channels: x.transpose(0, 2, 1) (data.layout=signal if it is not)"


def arrange(array: np.ndarray, layout: str) -> np.ndarray:
    """A view [N, ...] of an array in the form that nets take.

    Args:
        array: [N, ...] as in the file.
        layout: As ``find_layout`` named it.
    """
    return _ARRANGE[layout](array)
