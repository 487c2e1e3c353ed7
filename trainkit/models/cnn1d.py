"""A small residual convolutional net along time; the default for signals."""

from __future__ import annotations

from torch import Tensor, nn

from trainkit.errors import ConfigError


class _Block(nn.Module):
    """Two convolutions with BatchNorm around a shortcut (He et al., 2016, https://arxiv.org/abs/1512.03385).

    A halving block pools its shortcut instead of skipping samples (He et al., 2019, https://arxiv.org/abs/1812.01187).
    """

    def __init__(self, in_channels: int, channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.conv1 = nn.Conv1d(in_channels, channels, kernel_size, stride, padding, bias=False)
        self.norm1 = nn.BatchNorm1d(channels)
        self.conv2 = nn.Conv1d(channels, channels, kernel_size, 1, padding, bias=False)
        self.norm2 = nn.BatchNorm1d(channels)
        self.act = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            pool = [nn.AvgPool1d(2, ceil_mode=True)] if stride != 1 else []
            project = nn.Conv1d(in_channels, channels, 1, bias=False)
            self.shortcut = nn.Sequential(*pool, project, nn.BatchNorm1d(channels))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.act(self.norm1(self.conv1(inputs)))
        hidden = self.norm2(self.conv2(hidden))
        outputs: Tensor = self.act(hidden + self.shortcut(inputs))
        return outputs


class CNN1d(nn.Module):
    """Residual stages, each after the first halving the length and doubling the channels, then global average pooling.

    Stages are added until the length is at most ``min_length``, ``max_stages`` at most: signals of 40 samples get two,
    of 100 four.

    Args:
        in_channels: Channels of the signals.
        num_outputs: Outputs per signal: classes, or 1 for a number.
        sequence_length: Samples of a signal, which decide the number of stages.
        width: Channels of the first stage.
        depth: Blocks per stage.
        kernel_size: Samples that a convolution sees, odd.
        dropout: Share of the pooled features dropped in training.
        min_length: A length of this many samples or fewer is not halved again.
        max_stages: Most stages.

    Raises:
        ConfigError: ``kernel_size`` is even.

    Shape:
        - Input: float [B, in_channels, length].
        - Output: float [B, num_outputs].

    Example:
        >>> import torch
        >>> CNN1d(1, 10, sequence_length=40)(torch.zeros(2, 1, 40)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        in_channels: int,
        num_outputs: int,
        sequence_length: int,
        width: int = 32,
        depth: int = 1,
        kernel_size: int = 5,
        dropout: float = 0.3,
        min_length: int = 20,
        max_stages: int = 4,
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ConfigError(f"a kernel of {kernel_size} samples", where="model.kernel_size", expected="an odd number")
        stem = nn.Conv1d(in_channels, width, kernel_size, 1, kernel_size // 2, bias=False)
        layers: list[nn.Module] = [stem, nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        layers += [_Block(width, width, kernel_size, 1) for _ in range(depth)]
        length, stages = sequence_length, 1
        while length > min_length and stages < max_stages:
            layers += [_Block(width, 2 * width, kernel_size, 2)]
            layers += [_Block(2 * width, 2 * width, kernel_size, 1) for _ in range(depth - 1)]
            width, length, stages = 2 * width, -(-length // 2), stages + 1
        self.trunk = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps signals [B, channels, length] to [B, num_outputs]."""
        pooled = self.trunk(inputs).mean(dim=2)
        outputs: Tensor = self.head(self.dropout(pooled))
        return outputs
