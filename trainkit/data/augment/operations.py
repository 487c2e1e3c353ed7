"""What is done to the colours of pictures, each by a strength of its own; called by jitter and by policies.

Pictures are float32 [B, channels, height, width] from 0 (black) to 1 (white), and so are the results; strengths are
[B]. The operations are those of Pillow's ``ImageEnhance`` and ``ImageOps``, on floats.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from trainkit.data.augment.base import per_sample

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in brightness (ITU-R BT.601)."""
LEVELS = 256


def grey(images: Tensor) -> Tensor:
    """Brightness of each pixel, [B, 1, height, width]; the mean of channels that are not red, green and blue."""
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    red, green, blue = images[:, :1], images[:, 1:2], images[:, 2:]
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def _blended(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    factor = per_sample(factor, images)
    return (factor * images + (1 - factor) * other).clamp_(0, 1)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Factor 0 is black, 1 leaves a picture as it is."""
    return (images * per_sample(factor, images)).clamp_(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Factor 0 is the mean brightness everywhere, 1 leaves a picture as it is."""
    return _blended(images, grey(images).mean(dim=(2, 3), keepdim=True), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Factor 0 is grey, 1 leaves a picture as it is; without effect unless there are three channels."""
    return _blended(images, grey(images), factor) if images.shape[1] == 3 else images


def hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turns colours about the axis of greys, by shares of a whole turn; without effect unless there are three channels.

    As in the augmentations of Karras et al. (2020, https://arxiv.org/abs/2006.06676): linear in the colours.
    """
    if images.shape[1] != 3:
        return images
    angle = per_sample(turn * (2 * torch.pi), images)
    cos, sin = angle.cos(), angle.sin()
    mean = images.mean(dim=1, keepdim=True)
    red, green, blue = images[:, :1], images[:, 1:2], images[:, 2:]
    across = torch.cat([blue - green, red - blue, green - red], dim=1) / 3**0.5
    return (cos * images + sin * across + (1 - cos) * mean).clamp_(0, 1)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Factor 0 is smoothed, 1 leaves a picture as it is, more sharpens; the outermost pixels stay."""
    if min(images.shape[-2:]) < 3:
        return images
    channels = images.shape[1]
    kernel = images.new_ones(channels, 1, 3, 3)
    kernel[:, :, 1, 1] = 5
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = functional.conv2d(images, kernel / 13, groups=channels)
    return _blended(images, smooth, factor)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keeps the upper bits, float 1 to 8, of 8."""
    step = per_sample(2.0 ** (8 - bits.round()), images)
    return (torch.floor((images * (LEVELS - 1)).round() / step) * step / (LEVELS - 1)).clamp_(0, 1)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Inverts what is at least as bright as the threshold, 0 to 1."""
    return torch.where(images >= per_sample(threshold, images), 1 - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretches each channel from black to white; one of a single value stays."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-12), images).clamp_(0, 1)


def equalize(images: Tensor) -> Tensor:
    """Makes all of 256 levels of brightness equally frequent in each channel; one of a single level stays."""
    count, channels, height, width = images.shape
    levels = (images * (LEVELS - 1)).round().long().reshape(count * channels, -1)
    places = (levels + LEVELS * torch.arange(len(levels), device=images.device)[:, None]).flatten()
    # Flat, and of integers: there are deterministic kernels for these alone on a GPU.
    histogram = torch.zeros(len(levels) * LEVELS, dtype=torch.long, device=images.device)
    below = histogram.scatter_add_(0, places, torch.ones_like(places)).reshape(-1, LEVELS).cumsum(dim=1)
    first = torch.gather(below, 1, levels.amin(dim=1, keepdim=True))
    table = (below - first) / (height * width - first).clamp(min=1)
    spread = torch.gather(table, 1, levels).clamp_(0, 1).reshape(images.shape)
    is_flat = images.amin(dim=(2, 3), keepdim=True) == images.amax(dim=(2, 3), keepdim=True)
    return torch.where(is_flat, images, spread)
