"""Augmentations that mix each sample with its neighbour in the step, and their targets with them.

The partner of a step's first sample is the second, that of the third the fourth, and vice versa; the last of an odd
number stays as it is. The order of an epoch being random, so are the pairs; and as processes share a step in whole
pairs, they depend neither on the processes nor on micro-batches or steps per execution.
"""

from __future__ import annotations

import abc

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor

from trainkit.data.augment.base import Augmentation, Samples, check_probability, per_sample, restored
from trainkit.data.augment.draws import Draws
from trainkit.errors import ConfigError

_KNOTS = 4097
"""Quantiles of a beta distribution between which is interpolated."""


class Mixing(Augmentation):
    """Base of what mixes pairs: a subclass says how the inputs are mixed.

    Args:
        alpha: Of the beta distribution (alpha, alpha) of a sample's own share, above 0: small values leave most
            samples nearly as they are, 1 draws every share equally often.
        p: Probability that a sample is mixed.

    Raises:
        ConfigError: An argument is out of range.
    """

    mixes = True

    def __init__(self, alpha: float, p: float = 1.0) -> None:
        if not alpha > 0:
            raise ConfigError(f"alpha is {alpha}", where="alpha", expected="a number above 0")
        check_probability(p)
        self.alpha, self.p = alpha, p
        self._quantiles = torch.from_numpy(betaincinv(alpha, alpha, np.linspace(0, 1, _KNOTS)).astype(np.float32))

    def shares(self, draws: Draws) -> Tensor:
        """Each sample's own share, float32 [B]; 1 where it is not mixed."""
        self._quantiles = quantiles = self._quantiles.to(draws.keys.device)
        place = draws.uniform() * (_KNOTS - 1)
        left = place.long().clamp(max=_KNOTS - 2)
        share = quantiles[left] + (quantiles[left + 1] - quantiles[left]) * (place - left)
        return torch.where(draws.chance(self.p), share, 1.0)

    @abc.abstractmethod
    def mixed(self, inputs: Tensor, partners: Tensor, share: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Inputs mixed with their partners', and the shares float32 [B] that are really a sample's own."""

    def apply(self, samples: Samples, draws: Draws) -> Samples:
        """Mixes inputs, targets and row weights of pairs."""
        partner = partners(len(samples.inputs), samples.inputs.device)
        alone = partner == torch.arange(len(partner), device=partner.device)
        share = torch.where(alone, 1.0, self.shares(draws))
        inputs, share = self.mixed(samples.inputs, samples.inputs[partner], share, draws)
        own = share.to(samples.target.dtype)
        if samples.weight is None:
            return samples._replace(inputs=inputs, target=_between(samples.target, samples.target[partner], own))
        weight = _between(samples.weight, samples.weight[partner], share)
        if samples.has_classes:  # the loss is then that of both samples, each by its weight
            own = torch.where(weight > 0, share * samples.weight / weight, share)
        return samples._replace(
            inputs=inputs, target=_between(samples.target, samples.target[partner], own), weight=weight
        )

    def forward(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Mixes inputs alone."""
        return self.apply(Samples(inputs, torch.zeros(len(inputs), device=inputs.device)), draws).inputs


class Mixup(Mixing):
    """Adds a share of another sample (Zhang et al., 2018, https://arxiv.org/abs/1710.09412).

    Args:
        alpha: Of the beta distribution (alpha, alpha) of a sample's own share, above 0.
        p: Probability that a sample is mixed.

    Raises:
        ConfigError: An argument is out of range.
    """

    kinds = ("image", "signal", "vector")

    def __init__(self, alpha: float = 0.2, p: float = 1.0) -> None:
        super().__init__(alpha, p)

    def mixed(self, inputs: Tensor, partners: Tensor, share: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """The sum by shares."""
        own = per_sample(share, inputs)
        return restored(own * inputs + (1 - own) * partners, inputs), share

    def describe(self) -> str:
        """Name and alpha."""
        return f"mixup {self.alpha:g}"


class CutMix(Mixing):
    """Puts a rectangle of another picture in its place (Yun et al., 2019, https://arxiv.org/abs/1905.04899).

    Args:
        alpha: Of the beta distribution (alpha, alpha) of a sample's own share, above 0.
        p: Probability that a sample is mixed.

    Raises:
        ConfigError: An argument is out of range.
    """

    def __init__(self, alpha: float = 1.0, p: float = 1.0) -> None:
        super().__init__(alpha, p)

    def mixed(self, inputs: Tensor, partners: Tensor, share: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """The other picture in a rectangle about a random pixel; the shares are those of the pixels."""
        height, width = inputs.shape[-2:]
        side = (1 - share).clamp(min=0.0).sqrt()
        inside = rectangles(draws.uniform() * width, draws.uniform() * height, side * width, side * height, inputs)
        return torch.where(inside, partners, inputs), 1 - inside.float().mean(dim=(1, 2, 3))

    def describe(self) -> str:
        """Name and alpha."""
        return f"cutmix {self.alpha:g}"


def rectangles(x: Tensor, y: Tensor, width: Tensor, height: Tensor, images: Tensor) -> Tensor:
    """Which pixels lie in a rectangle, bool [B, 1, height, width].

    Args:
        x: float32 [B], centre, in pixels from the left.
        y: float32 [B], centre, in pixels from the top.
        width: float32 [B], in pixels; what is beyond the picture is cut off.
        height: float32 [B], likewise.
        images: [B, channels, height, width], for their sides.
    """
    rows = torch.arange(images.shape[-2], device=images.device) + 0.5
    columns = torch.arange(images.shape[-1], device=images.device) + 0.5
    down = (rows - y[:, None]).abs() < height[:, None] / 2
    across = (columns - x[:, None]).abs() < width[:, None] / 2
    return (down[:, :, None] & across[:, None, :])[:, None]


def partners(count: int, device: torch.device) -> Tensor:
    """The place of each sample's partner, int64 [B]; its own for the last of an odd number."""
    places = torch.arange(count, device=device)
    return torch.where((places ^ 1) < count, places ^ 1, places)


def _between(own: Tensor, other: Tensor, share: Tensor) -> Tensor:
    share = per_sample(share, own)
    return torch.where(share == 1, own, share * own + (1 - share) * other)  # a target that is missing stays the other's
