"""Regression on one number with the mean squared error."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection, R2Score

from trainkit.errors import ConfigError
from trainkit.tasks.base import Task, shape_of


class Regression(Task):
    """One number per sample. The net predicts the standardised target; predictions and metrics are in its own unit.

    Args:
        target_mean: Mean of the target in the training part, in its own unit.
        target_scale: Standard deviation of the target in the training part, in its own unit.

    Raises:
        ConfigError: The scale is not above 0.
    """

    name = "regression"
    monitor = "rmse"
    mode = "min"
    target_mean: Tensor
    target_scale: Tensor

    def __init__(self, target_mean: float = 0.0, target_scale: float = 1.0) -> None:
        super().__init__()
        if not target_scale > 0:
            raise ConfigError(f"target scale {target_scale}", where="task.target_scale", expected="a number above 0")
        self.register_buffer("target_mean", torch.tensor(target_mean, dtype=torch.float64))
        self.register_buffer("target_scale", torch.tensor(target_scale, dtype=torch.float64))

    def loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor | float]:
        """Squared error of the standardised target summed over samples, and the number of samples.

        Args:
            outputs: float [B] or [B, 1], standardised.
            target: float [B], in the target's own unit.
            weight: Row weights, float [B]: the sum is weighted by them, and their sum is given instead of the number.
        """
        dtype = torch.promote_types(outputs.dtype, torch.float32)  # the difference of near numbers in bf16 is noise
        scaled = ((target - self.target_mean) / self.target_scale).to(dtype)
        losses = (outputs.to(dtype).reshape(scaled.shape) - scaled).square()
        if weight is not None:
            return (losses * weight.reshape(losses.shape)).sum(), weight.sum()
        return losses.sum(), float(target.numel())

    def predictions(self, outputs: Tensor) -> Tensor:
        """Values float64 [B] in the target's own unit."""
        return outputs.double().reshape(len(outputs)) * self.target_scale + self.target_mean

    def metrics(self) -> MetricCollection:
        """Root mean squared error, mean absolute error, and R²."""
        metrics = MetricCollection({"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError(), "r2": _R2()})
        return metrics.set_dtype(torch.float64)

    def train_metrics(self) -> MetricCollection:
        """Root mean squared error."""
        return MetricCollection({"rmse": MeanSquaredError(squared=False)}).set_dtype(torch.float64)

    def chance(self) -> float:
        """Standardised squared error of predicting the mean: 1."""
        return 1.0

    def check(self, outputs: Tensor, target: Tensor) -> None:
        """Raises ConfigError where the net does not give one number per sample."""
        if outputs.ndim and outputs.numel() == len(outputs) == target.numel():
            return
        raise ConfigError(
            f"the model gives outputs of shape {shape_of(outputs, target)}",
            where="model",
            expected="[batch] or [batch, 1], one number each",
        )


class _R2(R2Score):
    """Not a number for a single row, where torchmetrics raises."""

    def compute(self) -> Tensor:
        return super().compute() if self.total > 1 else torch.full_like(self.residual, math.nan).squeeze()
