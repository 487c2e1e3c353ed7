"""What is learned: the loss as a sum and a weight, the metrics, and how outputs become predictions."""

from __future__ import annotations

import abc
from typing import Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection


class MeanLoss(Metric):
    """Mean of losses given as sums and weights, accumulated in float64 over batches and processes.

    Shape:
        - Input: ``loss_sum`` scalar, ``weight`` scalar.
        - Output: float64 scalar.
    """

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, loss_sum: Tensor, weight: Tensor | float) -> None:
        """Adds one batch."""
        self.total += loss_sum.double()
        self.weight += weight

    def compute(self) -> Tensor:
        """The mean so far."""
        return self.total / self.weight


class Task(nn.Module, abc.ABC):
    """Base of all tasks; buffers (class weights, the target's scale) are saved with the model.

    Attributes:
        name: Name in configs and printed lines.
        monitor: Validation metric by which the best epoch is chosen, without ``val/``.
        mode: ``max`` or ``min``: the better direction of ``monitor``.
    """

    name: str
    monitor: str
    mode: Literal["min", "max"]

    @abc.abstractmethod
    def loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor | float]:
        """Loss summed over the batch, and the weight to divide it by.

        Args:
            outputs: The net's outputs [B, ...].
            target: Targets [B, ...].
            weight: Row weights, float [B], ≥ 0: each sample's loss counts so many times; None counts each once.

        Returns:
            A scalar with gradient, and the weight (number of samples, or their summed weights).
        """

    @abc.abstractmethod
    def predictions(self, outputs: Tensor) -> Tensor:
        """Outputs as predictions: float64 probabilities [B, K], or values [B] in the target's own unit."""

    @abc.abstractmethod
    def metrics(self) -> MetricCollection:
        """Fresh validation metrics; they take ``predictions(outputs)`` and targets in their own unit."""

    @abc.abstractmethod
    def train_metrics(self) -> MetricCollection:
        """Fresh metrics cheap enough to follow on every training batch."""

    @abc.abstractmethod
    def chance(self) -> float:
        """Loss of a net that knows nothing, to compare the first loss with."""

    @abc.abstractmethod
    def check(self, outputs: Tensor, target: Tensor) -> None:
        """Raises ConfigError where the net's outputs do not fit the targets."""

    def metric_names(self) -> list[str]:
        """Names of what is logged, prefixed with ``train/`` and ``val/``."""
        train = [f"train/{name}" for name in ("loss", *self.train_metrics())]
        return train + [f"val/{name}" for name in ("loss", *self.metrics())]


def shape_of(outputs: Tensor, target: Tensor) -> str:
    """Shape of a net's outputs for an error: ``[batch, 4]``, or sizes where the first is not the batch's."""
    sizes = list(outputs.shape)
    if sizes and sizes[0] == len(target):
        return "[" + ", ".join(["batch", *map(str, sizes[1:])]) + "]"
    return f"{sizes} for a batch of {len(target)}"
