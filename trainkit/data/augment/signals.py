"""Augmentations that need no picture: noise, and a shift in time."""

from __future__ import annotations

import torch
from torch import Tensor

from trainkit.data.augment.base import Augmentation, restored
from trainkit.data.augment.draws import Draws
from trainkit.errors import ConfigError


class Noise(Augmentation):
    """Adds normal noise to every value.

    Args:
        scale: Standard deviation of the noise, in the inputs' own unit, above 0.

    Raises:
        ConfigError: The scale is not above 0.
    """

    kinds = ("image", "signal", "vector")

    def __init__(self, scale: float) -> None:
        if not scale > 0:
            raise ConfigError(f"scale is {scale}", where="scale", expected="a number above 0")
        self.scale = scale

    def forward(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Adds noise to each of [B, ...]."""
        flat = inputs.reshape(len(inputs), -1)
        noise = draws.normal(flat.shape[1]).reshape(inputs.shape)
        return restored(inputs + self.scale * noise, inputs)

    def describe(self) -> str:
        """Name and scale."""
        return f"noise {self.scale:g}"


class Shift(Augmentation):
    """Moves signals in time; what leaves at one end comes in at the other.

    Args:
        share: Largest shift to either side, as a share of the length, above 0 to 0.5.

    Raises:
        ConfigError: The share is out of range.
    """

    kinds = ("signal",)

    def __init__(self, share: float = 0.1) -> None:
        if not 0 < share <= 0.5:
            raise ConfigError(f"share is {share}", where="share", expected="above 0 to 0.5")
        self.share = share

    def forward(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Moves each of [B, channels, length] by whole samples."""
        length = inputs.shape[-1]
        most = round(self.share * length)
        start = draws.integers(2 * most + 1) - most
        places = (torch.arange(length, device=inputs.device) - start[:, None]) % length
        return inputs.gather(2, places[:, None].expand(inputs.shape))

    def describe(self) -> str:
        """Name and share."""
        return f"shift {self.share:g}"
