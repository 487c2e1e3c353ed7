"""Regression on one number, with the squared, absolute or Huber error or a loss of the user's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, MetricCollection, R2Score

from trainkit.errors import ConfigError, did_you_mean, one_of
from trainkit.tasks.base import Task, shape_of
from trainkit.tasks.criterion import Criterion, check_criterion, per_sample, refuse_beside, summed
from trainkit.tasks.metrics import check_metrics, named_metrics, with_own

Loss = Literal["squared", "absolute", "huber"]


class Regression(Task):
    """One number per sample. The net predicts the standardised target; predictions and metrics are in its own unit.

    The monitor is the root mean squared error for the squared error, and the mean absolute error for the others, which
    are chosen where single large errors are to count less.

    Args:
        target_mean: Mean of the target in the training part, in its own unit.
        target_scale: Standard deviation of the target in the training part, in its own unit.
        loss: ``squared`` error, ``absolute`` error, or ``huber``: half the squared error up to ``huber_delta`` and
            linear beyond (Huber, 1964, https://doi.org/10.1214/aoms/1177703732).
        huber_delta: Where the Huber error becomes linear, in standard deviations of the target, above 0.
        criterion: A loss of the user's own, in training and evaluation: an ``nn.Module`` or function of standardised
            outputs and targets, both float [B]. It gives a loss per sample [B] (a module's ``reduction`` is set to
            ``"none"`` for that), or one number, taken as the mean over the batch. Its parameters are trained.
        metrics: Validation metrics of the user's own by name, ``{"mape": MeanAbsolutePercentageError()}``: curves
            (``val/mape``) and a monitor; the final score with its intervals does not hold them. They take predictions
            and targets float64 [B] in the target's own unit.

    Raises:
        ConfigError: The scale or ``huber_delta`` is not above 0, there is no such loss, ``huber_delta`` is
            changed for another loss, a loss is chosen beside a criterion, or something is no criterion or no metric.
    """

    name = "regression"
    mode = "min"
    target_mean: Tensor
    target_scale: Tensor

    def __init__(
        self,
        target_mean: float = 0.0,
        target_scale: float = 1.0,
        loss: Loss = "squared",
        huber_delta: float = 1.0,
        criterion: Criterion | None = None,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        super().__init__()
        if loss not in get_args(Loss):
            what, names = f"there is no loss '{loss}'", get_args(Loss)
            raise ConfigError(what, where="task.loss", expected=one_of(names), hint=did_you_mean(str(loss), names))
        for key, value in (("target_scale", target_scale), ("huber_delta", huber_delta)):
            if not value > 0:
                what = f"{key.replace('_', ' ')} {value}"
                raise ConfigError(what, where=f"task.{key}", expected="a number above 0")
        if huber_delta != 1.0 and loss != "huber":
            what = f"task.huber_delta has no effect on the {loss} error"
            raise ConfigError(what, where="task.huber_delta", hint="task.loss=huber")
        self.register_buffer("target_mean", torch.tensor(target_mean, dtype=torch.float64))
        self.register_buffer("target_scale", torch.tensor(target_scale, dtype=torch.float64))
        refuse_beside(criterion, loss=None if loss == "squared" else loss)
        self.loss_kind, self.huber_delta, self.criterion = loss, huber_delta, per_sample(criterion)
        self.monitor = "rmse" if loss == "squared" else "mae"
        self.own_metrics = named_metrics(metrics, builtin=self.metrics())

    def loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor | float]:
        """Error of the standardised target summed over samples, and the number of samples.

        Args:
            outputs: float [B] or [B, 1], standardised.
            target: float [B], in the target's own unit.
            weight: Row weights, float [B]: the sum is weighted by them, and their sum is given instead of the number.
        """
        outputs, scaled = self._standardised(outputs, target)
        if self.criterion is not None:
            return summed(self.criterion, outputs, scaled, weight)
        losses = self._losses(outputs, scaled)
        if weight is not None:
            return (losses * weight.reshape(losses.shape)).sum(), weight.sum()
        return losses.sum(), float(target.numel())

    def _standardised(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(outputs.dtype, torch.float32)  # the difference of near numbers in bf16 is noise
        scaled = ((target - self.target_mean) / self.target_scale).to(dtype)
        return outputs.to(dtype).reshape(scaled.shape), scaled

    def _losses(self, outputs: Tensor, scaled: Tensor) -> Tensor:
        if self.loss_kind == "huber":
            return functional.huber_loss(outputs, scaled, reduction="none", delta=self.huber_delta)
        return (outputs - scaled).square() if self.loss_kind == "squared" else (outputs - scaled).abs()

    def predictions(self, outputs: Tensor) -> Tensor:
        """Values float64 [B] in the target's own unit."""
        return outputs.double().reshape(len(outputs)) * self.target_scale + self.target_mean

    def metrics(self) -> MetricCollection:
        """Root mean squared error, mean absolute error, R², and the user's own."""
        metrics = MetricCollection({"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError(), "r2": _R2()})
        return with_own(metrics, self.own_metrics).set_dtype(torch.float64)

    def train_metrics(self) -> MetricCollection:
        """The monitored one of root mean squared error and mean absolute error."""
        metric = MeanSquaredError(squared=False) if self.monitor == "rmse" else MeanAbsoluteError()
        return MetricCollection({self.monitor: metric}).set_dtype(torch.float64)

    def chance(self) -> float | None:
        """Standardised squared error of predicting the mean: 1. Of other losses the mean and scale do not tell."""
        return 1.0 if self.criterion is None and self.loss_kind == "squared" else None

    def check(self, outputs: Tensor, target: Tensor) -> None:
        """Raises ConfigError where the net does not give one number per sample, or what is the user's does not take it.

        Args:
            outputs: Of the net [B, ...].
            target: float [B], in the target's own unit.
        """
        if not (outputs.ndim and outputs.numel() == len(outputs) == target.numel()):
            raise ConfigError(
                f"the model gives outputs of shape {shape_of(outputs, target)}",
                where="model",
                expected="[batch] or [batch, 1], one number each",
            )
        if self.criterion is not None:
            check_criterion(self.criterion, *self._standardised(outputs, target))
        check_metrics(self.metrics(), self.own_metrics, self.predictions(outputs.detach()), target)


class _R2(R2Score):
    """Not a number for a single row, where torchmetrics raises."""

    def compute(self) -> Tensor:
        return super().compute() if self.total > 1 else torch.full_like(self.residual, math.nan).squeeze()
