"""A data set and nets as their users write them; a test may copy the file beside a script."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset


class Points(Dataset[Any]):
    """Three clouds of points, as pairs, as dicts, or as dicts with two inputs."""

    def __init__(self, size: int = 60, seed: int = 0, kind: str = "pair") -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels, self.kind = torch.arange(size) % 3, kind
        self.points = torch.randn(size, 4, generator=generator) + 2 * nn.functional.one_hot(self.labels, 4)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        point, label = self.points[index], self.labels[index]
        if self.kind == "dict":
            return {"point": point, "target": label}
        if self.kind == "named":
            return {"left": point[:2], "right": point[2:], "target": label}
        return point, label


class Net(nn.Sequential):
    def __init__(self, width: int = 8) -> None:
        super().__init__(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))


class NamedNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.layer(torch.cat([left, right], dim=1))
        return outputs
