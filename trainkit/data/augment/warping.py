"""Pictures seen through a moved, scaled or turned window, bilinear between pixels; called by what moves pictures."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from trainkit.data.augment.base import restored


def warped(images: Tensor, matrix: Tensor) -> Tensor:
    """Pictures through a window of their own size each; black outside of them.

    Args:
        images: [B, channels, height, width], bytes or floats.
        matrix: float32 [B, 2, 3], from places (x, y, 1) of the result to places of the picture; x and y run from -1 to
            1 over its width and height.
    """
    plain = images if images.dtype in (torch.float32, torch.float64) else images.float()
    grid = functional.affine_grid(matrix.to(plain.dtype), list(plain.shape), align_corners=False)
    return restored(
        functional.grid_sample(plain, grid, mode="bilinear", padding_mode="zeros", align_corners=False), images
    )


def windows(center_x: Tensor, center_y: Tensor, width: Tensor, height: Tensor) -> Tensor:
    """Matrices of windows that are moved and scaled.

    Args:
        center_x: float32 [B], from -1 (left) to 1.
        center_y: float32 [B], from -1 (top) to 1.
        width: float32 [B], as a share of the picture's.
        height: float32 [B], likewise.
    """
    zero = torch.zeros_like(width)
    return torch.stack([torch.stack([width, zero, center_x], 1), torch.stack([zero, height, center_y], 1)], 1)


def linear_maps(xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor, images: Tensor) -> Tensor:
    """Matrices of maps about the centre that are given in pixels: of turns and shears.

    Args:
        xx: float32 [B], what a pixel to the right in the result is to the right in the picture.
        xy: float32 [B], what a pixel down is to the right.
        yx: float32 [B], what a pixel to the right is down.
        yy: float32 [B], what a pixel down is down.
        images: [B, channels, height, width], for their sides.
    """
    height, width = images.shape[-2:]
    zero = torch.zeros_like(xx)
    first = torch.stack([xx, xy * (height / width), zero], 1)
    return torch.stack([first, torch.stack([yx * (width / height), yy, zero], 1)], 1)


def rotations(radians: Tensor, images: Tensor) -> Tensor:
    """Matrices that turn pictures about their centre.

    Args:
        radians: float32 [B], counter-clockwise.
        images: [B, channels, height, width], for their sides.
    """
    cos, sin = radians.cos(), radians.sin()
    return linear_maps(cos, -sin, sin, cos, images)
