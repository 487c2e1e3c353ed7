"""A small residual convolutional net; the default for images."""

from __future__ import annotations

from torch import Tensor, nn

STEM_STRIDE_ABOVE = 16


class _Block(nn.Module):
    """Two 3×3 convolutions with BatchNorm around a shortcut (He et al., 2016, https://arxiv.org/abs/1512.03385).

    A halving block pools its shortcut instead of skipping pixels (He et al., 2019, https://arxiv.org/abs/1812.01187).
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.act = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            pool = [nn.AvgPool2d(2, ceil_mode=True)] if stride != 1 else []
            project = nn.Conv2d(in_channels, channels, 1, bias=False)
            self.shortcut = nn.Sequential(*pool, project, nn.BatchNorm2d(channels))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.act(self.norm1(self.conv1(inputs)))
        hidden = self.norm2(self.conv2(hidden))
        outputs: Tensor = self.act(hidden + self.shortcut(inputs))
        return outputs


class CNN(nn.Module):
    """Residual stages, each after the first halving the map and doubling the channels, then global average pooling.

    Images larger than 16 pixels are halved by the first convolution already. Stages are added until the map has at most
    ``min_size`` pixels a side, ``max_stages`` at most: 8×8 images get two, 28×28 two, 32×32 and larger three.

    Args:
        in_channels: Channels of the images.
        num_outputs: Outputs per image: classes, or 1 for a number.
        image_size: Height of the images in pixels, which decides the number of stages.
        width: Channels of the first stage.
        depth: Blocks per stage.
        dropout: Share of the pooled features dropped in training.
        min_size: A map of this many pixels a side or fewer is not halved again.
        max_stages: Most stages.

    Shape:
        - Input: float [B, in_channels, height, width].
        - Output: float [B, num_outputs].

    Example:
        >>> import torch
        >>> CNN(1, 10, image_size=8)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        in_channels: int,
        num_outputs: int,
        image_size: int,
        width: int = 32,
        depth: int = 1,
        dropout: float = 0.2,
        min_size: int = 7,
        max_stages: int = 3,
    ) -> None:
        super().__init__()
        stem_stride = 2 if image_size > STEM_STRIDE_ABOVE else 1
        stem = nn.Conv2d(in_channels, width, 3, stem_stride, 1, bias=False)
        layers: list[nn.Module] = [stem, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        layers += [_Block(width, width, 1) for _ in range(depth)]
        size, stages = -(-image_size // stem_stride), 1
        while size > min_size and stages < max_stages:
            layers += [_Block(width, 2 * width, 2), *(_Block(2 * width, 2 * width, 1) for _ in range(depth - 1))]
            width, size, stages = 2 * width, -(-size // 2), stages + 1
        self.trunk = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps images [B, channels, height, width] to [B, num_outputs]."""
        pooled = self.trunk(inputs).mean(dim=(2, 3))
        outputs: Tensor = self.head(self.dropout(pooled))
        return outputs
