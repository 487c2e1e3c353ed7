"""Random erasing: a rectangle of each picture is painted over."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from trainkit.data.augment.base import Augmentation, check_probability, check_range, restored
from trainkit.data.augment.draws import Draws
from trainkit.data.augment.mixing import rectangles


class Erase(Augmentation):
    """Paints over a rectangle (Zhong et al., 2020, https://arxiv.org/abs/1708.04896).

    Args:
        p: Probability.
        scale: Smallest and largest area of the rectangle, as shares of the picture's; what lies beyond the picture's
            edge counts as well.
        ratio: Smallest and largest width over height of the rectangle, above 0.
        value: What is painted, in the pictures' own unit; None for each picture's mean by channel.

    Raises:
        ConfigError: An argument is out of range.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | None = None,
    ) -> None:
        check_probability(p)
        self.p, self.value = p, value
        self.scale, self.ratio = check_range(scale, "scale", 0.0, 1.0), check_range(ratio, "ratio", 1e-2, 1e2)

    def forward(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Paints over a part of each of [B, channels, height, width] or not."""
        height, width = inputs.shape[-2:]
        area = draws.uniform(*self.scale) * (height * width)
        ratio = draws.uniform(*(math.log(end) for end in self.ratio)).exp()
        area = torch.where(draws.chance(self.p), area, 0.0)
        x, y = draws.uniform() * width, draws.uniform() * height
        inside = rectangles(x, y, (area * ratio).sqrt(), (area / ratio).sqrt(), inputs)
        if self.value is None:
            painted = restored(inputs.float().mean(dim=(2, 3), keepdim=True), inputs)
        else:
            painted = torch.full((), self.value, device=inputs.device).to(inputs.dtype)
        return torch.where(inside, painted, inputs)

    def describe(self) -> str:
        """Name and probability."""
        return f"erase {self.p:g}"
