"""Data, nets and callbacks with a fault each, as ``faulty.py`` of a user's."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from trainkit.data import ArrayData


class Vectors(ArrayData):
    def __init__(self, fault: str = "none", **common: Any) -> None:
        super().__init__(**{**common, "name": "vectors"})
        self.fault = fault

    def arrays(self) -> tuple[Any, Any, list[str]]:
        inputs, labels = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
        if self.fault == "hole":
            inputs[[3, 8], 1] = np.nan
        if self.fault == "infinite":
            inputs[5, 0] = -np.inf
        if self.fault == "label":
            labels[7] = 3
        if self.fault == "one class":
            labels[:] = 1
        if self.fault == "short":
            labels = labels[:-1]
        keep = slice(0, 0) if self.fault == "empty" else slice(None)
        return inputs[keep], labels[keep], ["a", "b", "c"]


class Samples(Dataset[Any]):
    def __init__(self, fault: str = "none") -> None:
        self.fault = fault

    def __len__(self) -> int:
        return {"empty": 0, "few": 4}.get(self.fault, 60)

    def __getitem__(self, index: int) -> Any:
        if self.fault == "triple":
            return torch.zeros(4), index % 3, 1.0
        inputs, label = torch.full((4,), float(index)), index % 3
        if self.fault in ("nan", "inf") and index == 9:
            inputs[2] = float(self.fault)
        if self.fault == "label" and index == 7:
            label = -1
        return inputs, 1 if self.fault == "one class" else label


class Net(nn.Module):
    def __init__(self, features: int = 64, outputs: int = 10, several: bool = False) -> None:
        super().__init__()
        self.layer, self.several = nn.Linear(features, outputs), several

    def forward(self, images: Tensor) -> Any:
        if images[0].numel() != self.layer.in_features:
            raise ValueError(f"{self.layer.in_features} features wanted")
        outputs = self.layer(images.flatten(1))
        return (outputs, outputs) if self.several else outputs


class Frozen(Net):
    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)


class Watcher(L.Callback):
    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
