"""The form that all images are brought to: what was asked for, else what they have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from trainkit.errors import ConfigError, DataError

Resize: TypeAlias = Literal["crop", "squash", "pad"]
"""How an image of another shape is fitted to the size."""

Channels: TypeAlias = Literal["auto", 1, 3]
"""Grey, or red, green and blue; ``auto`` is grey where no image has colours."""

USUAL_SIZE, SIZE_STEP = 224, 32
"""Pixels a side that are suggested: what most pretrained nets were trained on, or less in steps."""


class Header(NamedTuple):
    """What an image says of itself before it is decoded.

    Attributes:
        height: Pixels, as it is to be looked at.
        width: Likewise.
        is_grey: Whether it has no colours.
        is_deep: Whether it has 16 bits a channel, of which the upper 8 are used.
    """

    height: int
    width: int
    is_grey: bool
    is_deep: bool


@dataclass(frozen=True)
class ImageForm:
    """The form that every image is brought to.

    Attributes:
        height: Pixels.
        width: Pixels.
        channels: 1 (grey) or 3 (red, green, blue).
        resize: ``crop`` scales until the image covers the size and keeps the centre, ``squash`` changes its shape,
            ``pad`` scales until it fits and fills up with black.
    """

    height: int
    width: int
    channels: int
    resize: Resize = "crop"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.channels, self.height, self.width

    def to_json(self) -> dict[str, Any]:
        """A plain dict whose items are the arguments."""
        return asdict(self)


def check_form(image_size: int | Sequence[int] | None, resize: Resize, channels: Channels) -> None:
    """Raises ConfigError for settings of images that cannot be.

    Args:
        image_size: Pixels of both sides, or height and width; None for the images' own.
        resize: ``crop``, ``squash`` or ``pad``.
        channels: ``auto``, 1 or 3.
    """
    sides = [image_size] if isinstance(image_size, int) else list(image_size or [1])
    if len(sides) > 2 or any(not isinstance(side, int) or isinstance(side, bool) or side < 1 for side in sides):
        expected = "pixels ≥ 1 of both sides, or [height, width]"
        raise ConfigError(f"data.image_size is {image_size}", where="data.image_size", expected=expected)
    if resize not in ("crop", "squash", "pad"):
        raise ConfigError(f"data.resize is '{resize}'", where="data.resize", expected="one of crop, squash, pad")
    if channels not in ("auto", 1, 3) or isinstance(channels, bool):
        raise ConfigError(f"data.channels is {channels}", where="data.channels", expected="one of auto, 1, 3")


def choose_form(
    image_size: int | Sequence[int] | None, resize: Resize, channels: Channels, headers: Sequence[Header]
) -> ImageForm:
    """The form of all images.

    Args:
        image_size: Pixels of both sides, or height and width; None for the images' own.
        resize: How they are fitted to it.
        channels: ``auto``, 1 or 3.
        headers: Of all images.

    Raises:
        DataError: No size is asked for, and they have several.
    """
    number = channels if channels != "auto" else 1 if all(header.is_grey for header in headers) else 3
    if image_size is not None:
        sides = [image_size] * 2 if isinstance(image_size, int) else list(image_size)
        return ImageForm(sides[0], sides[-1], number, resize)
    sizes = Counter((header.height, header.width) for header in headers)
    if len(sizes) > 1:
        shorter = int(np.median([min(header.height, header.width) for header in headers]))
        usual = max(SIZE_STEP, min(USUAL_SIZE, shorter // SIZE_STEP * SIZE_STEP))
        listed = ", ".join(f"{width}×{height} ({count:,})" for (height, width), count in sizes.most_common(4))
        raise DataError(
            f"the images are of {len(sizes):,} sizes: {listed}" + ", …" * (len(sizes) > 4),
            where="data.image_size",
            expected="one size for all",
            hint=f"data.image_size={usual} scales and crops them (data.resize: crop, squash or pad)",
        )
    ((height, width),) = sizes
    return ImageForm(height, width, number, resize)
