"""Views of the same samples, over which a final score averages its predictions; the same for every sample and batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainkit.data.augment.base import KIND_NAMES, Augment, Samples
from trainkit.data.augment.warping import warped, windows
from trainkit.errors import ConfigError
from trainkit.types import DataSpec

View = Callable[[Tensor], Tensor]
"""Takes and gives inputs [B, ...]."""

CROP = 0.875
"""Side of each of five crops, as a share of the picture's (224 of 256, as is usual on ImageNet)."""

WHERE = "evaluation.tta"


def make_views(tta: str | int | None, spec: DataSpec, augment: Augment | None = None) -> Sequence[View]:
    """The views of a setting of ``evaluation.tta``.

    Args:
        tta: ``flip`` for pictures and their mirror images; ``five_crop`` for their four corners and centre, enlarged;
            a number n for the samples as they are and n - 1 views of the run's own augmentation, without its mixing
            (of Shanmugam et al., 2021, https://arxiv.org/abs/2011.11156); None for the samples alone.
        spec: What is known of the data.
        augment: The run's own.

    Returns:
        The views; empty for the samples alone.

    Raises:
        ConfigError: The data is no pictures, or there is no augmentation to make views.
    """
    if tta is None:
        return ()
    if isinstance(tta, int):
        pieces = {} if augment is None else {name: p for name, p in augment.pieces.items() if not p.mixes}
        if augment is None or not pieces:
            what = f"{WHERE}={tta} draws views by the run's augmentation, and it has none that makes any"
            raise ConfigError(
                what, where=WHERE, expected="an augmentation that does not mix", hint="augment=flip_crop, or tta=flip"
            )
        drawn = Augment(pieces, augment.seed)
        return [_same, *(functools.partial(_drawn, drawn, number) for number in range(1, tta))]
    if spec.input_kind != "image":
        what = f"{WHERE}={tta} makes views of pictures, and the data is {KIND_NAMES[spec.input_kind]}"
        raise ConfigError(what, where=WHERE, expected="null", hint=f"{WHERE}=null")
    if tta == "flip":
        return [_same, _mirrored]
    edge = 1 - CROP
    corners = [(-edge, -edge), (edge, -edge), (-edge, edge), (edge, edge), (0.0, 0.0)]
    return [functools.partial(_cropped, x, y) for x, y in corners]


def _same(inputs: Tensor) -> Tensor:
    return inputs


def _mirrored(inputs: Tensor) -> Tensor:
    return inputs.flip(-1)


def _cropped(x: float, y: float, inputs: Tensor) -> Tensor:
    one = torch.ones(len(inputs), device=inputs.device)
    return warped(inputs, windows(one * x, one * y, one * CROP, one * CROP))


def _drawn(augment: Augment, number: int, inputs: Tensor) -> Tensor:
    """A view whose draws are the same for every sample: what is predicted of one does not depend on the others."""
    numbers = torch.full((len(inputs),), number)
    return augment(Samples(inputs, torch.zeros(len(inputs), device=inputs.device)), numbers, epoch=0).inputs
