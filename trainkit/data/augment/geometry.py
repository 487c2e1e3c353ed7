"""Augmentations that move pixels: flip, crop, resized crop, rotation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from trainkit.data.augment.base import Augmentation, check_probability, check_range, per_sample
from trainkit.data.augment.draws import Draws
from trainkit.data.augment.warping import rotations, warped, windows
from trainkit.errors import ConfigError, did_you_mean, one_of

Direction = Literal["horizontal", "vertical"]
Padding = Literal["zeros", "edge", "reflect"]
_LARGE = 2**13
"""Values of a picture above which a CPU cuts out windows faster one by one."""
_MODES = {"zeros": "constant", "edge": "replicate", "reflect": "reflect"}


class Flip(Augmentation):
    """Mirrors pictures.

    Args:
        p: Probability.
        direction: ``horizontal`` swaps left and right, ``vertical`` top and bottom.

    Raises:
        ConfigError: An argument is out of range.
    """

    def __init__(self, p: float = 0.5, direction: Direction = "horizontal") -> None:
        check_probability(p)
        _check_name(direction, "direction", get_args(Direction))
        self.p, self.direction = p, direction

    def forward(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Mirrors each of [B, channels, height, width] or not."""
        mirrored = inputs.flip(-1 if self.direction == "horizontal" else -2)
        chosen = draws.chance(self.p)
        if inputs.device.type == "cpu":  # whole pictures are copied faster there
            return torch.stack([(mirrored if flip else inputs)[place] for place, flip in enumerate(chosen.tolist())])
        return torch.where(per_sample(chosen, inputs), mirrored, inputs)

    def describe(self) -> str:
        """Direction, and the probability where it is unusual."""
        kind = "flip" if self.direction == "horizontal" else "vertical flip"
        return kind if self.p == 0.5 else f"{kind} {self.p:g}"


class Crop(Augmentation):
    """Pads pictures and cuts a window of their own size out of them: moves them by whole pixels.

    Args:
        padding: Pixels on each side, at least 1: the largest shift.
        mode: What comes in from outside: ``zeros``, the ``edge`` repeated, or the picture ``reflect``-ed.

    Raises:
        ConfigError: An argument is out of range.
    """

    def __init__(self, padding: int = 4, mode: Padding = "zeros") -> None:
        if padding < 1:
            raise ConfigError(f"padding is {padding}", where="padding", expected="at least 1 pixel")
        _check_name(mode, "mode", get_args(Padding))
        self.padding, self.mode = padding, mode

    def forward(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Moves each of [B, channels, height, width]."""
        down, right = draws.integers(2 * self.padding + 1), draws.integers(2 * self.padding + 1)
        padded = functional.pad(inputs, [self.padding] * 4, mode=_MODES[self.mode])
        height, width = inputs.shape[-2:]
        if inputs.device.type == "cpu" and inputs[0].numel() > _LARGE:
            corners = enumerate(zip(down.tolist(), right.tolist(), strict=True))
            return torch.stack([padded[place, :, y : y + height, x : x + width] for place, (y, x) in corners])
        shifts = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: [B, channels, down, right, height, width]
        return shifts[torch.arange(len(inputs), device=inputs.device), :, down, right]

    def describe(self) -> str:
        """Name and padding."""
        return f"crop {self.padding}"

    def check(self, inputs: Tensor) -> None:
        """Raises ConfigError where the padding is as large as the pictures."""
        smallest = min(inputs.shape[-2:])
        if self.padding >= smallest:
            found = f"padding {self.padding} of pictures with a side of {smallest}"
            raise ConfigError(found, where="padding", expected=f"below {smallest} pixels")


class ResizedCrop(Augmentation):
    """Enlarges a random part of each picture to the whole (of Szegedy et al., 2015, https://arxiv.org/abs/1409.4842).

    The part is drawn once; where its sides come out longer than the picture's, they are shortened to them.

    Args:
        scale: Smallest and largest area of the part, as shares of the picture's.
        ratio: Smallest and largest width over height of the part, in relation to the picture's own, above 0.

    Raises:
        ConfigError: A range is none.
    """

    def __init__(self, scale: Sequence[float] = (0.25, 1.0), ratio: Sequence[float] = (0.75, 4 / 3)) -> None:
        self.scale = check_range(scale, "scale", 1e-3, 1.0)
        self.ratio = check_range(ratio, "ratio", 1e-2, 1e2)

    def forward(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Enlarges a part of each of [B, channels, height, width]."""
        area = draws.uniform(*self.scale)
        stretch = draws.uniform(*(math.log(end) for end in self.ratio)).exp()
        width, height = (area * stretch).sqrt().clamp(max=1.0), (area / stretch).sqrt().clamp(max=1.0)
        x, y = draws.uniform(-1.0, 1.0), draws.uniform(-1.0, 1.0)
        return warped(inputs, windows(x * (1 - width), y * (1 - height), width, height))

    def describe(self) -> str:
        """Name and range of areas."""
        return f"resized crop {self.scale[0]:g}–{self.scale[1]:g}"


class Rotate(Augmentation):
    """Turns pictures about their centre; the corners become black.

    Args:
        degrees: Largest angle to either side, above 0 to 180.
        p: Probability.

    Raises:
        ConfigError: An argument is out of range.
    """

    def __init__(self, degrees: float = 15.0, p: float = 1.0) -> None:
        if not 0 < degrees <= 180:
            raise ConfigError(f"degrees is {degrees}", where="degrees", expected="above 0 to 180")
        check_probability(p)
        self.degrees, self.p = degrees, p

    def forward(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Turns each of [B, channels, height, width]."""
        radians = draws.uniform(-1.0, 1.0) * math.radians(self.degrees)
        is_turned = draws.chance(self.p)
        turned = warped(inputs, rotations(radians, inputs))
        return turned if self.p == 1 else torch.where(per_sample(is_turned, inputs), turned, inputs)

    def describe(self) -> str:
        """Name and angle."""
        return f"rotate {self.degrees:g}°"


def _check_name(value: str, where: str, names: Sequence[str]) -> None:
    if value not in names:
        near = did_you_mean(str(value), names)
        raise ConfigError(f"{where} is '{value}'", where=where, expected=one_of(names), hint=near)
