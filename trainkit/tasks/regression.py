"""Regression on a number or several, with the squared, absolute or Huber error or a loss of the user's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, MetricCollection, R2Score

from trainkit.errors import ConfigError, did_you_mean, one_of
from trainkit.tasks.base import Task, shape_of
from trainkit.tasks.criterion import (
    Criterion,
    check_criterion,
    mean_of_known,
    per_sample,
    refuse_beside,
    summed,
    summed_known,
)
from trainkit.tasks.metrics import check_metrics, named_metrics, with_own
from trainkit.tasks.several_metrics import ErrorOf, MeanR2
from trainkit.types import of_each

Loss = Literal["squared", "absolute", "huber"]

MOST_CURVES = 20
"""Targets up to which the error of each is logged."""


class Regression(Task):
    """One number per sample, or several. The net predicts the standardised target; metrics are in its own unit.

    The monitor is the root mean squared error for the squared error, and the mean absolute error for the others, which
    are chosen where single large errors are to count less. Of several targets each is standardised by itself, the loss
    is the mean over them (over those that are not missing), and the monitor is the mean of their R².

    Args:
        target_mean: Mean of the target in the training part, in its own unit; of T targets a list.
        target_scale: Standard deviation of the target in the training part, in its own unit; of T targets a list.
        target_names: Of T > 1 targets, by which metrics are called; ``y0``, ``y1``, … by default.
        loss: ``squared`` error, ``absolute`` error, or ``huber``: half the squared error up to ``huber_delta`` and
            linear beyond (Huber, 1964, https://doi.org/10.1214/aoms/1177703732).
        huber_delta: Where the Huber error becomes linear, in standard deviations of the target, above 0.
        criterion: A loss of the user's own, in training and evaluation: an ``nn.Module`` or function of standardised
            outputs and targets, both float [B] (of several targets [B, T]). It gives a loss per sample [B] or target
            [B, T] (a module's ``reduction`` is set to ``"none"`` for that), or one number, taken as the mean over the
            batch. Its parameters are trained.
        metrics: Validation metrics of the user's own by name, ``{"mape": MeanAbsolutePercentageError()}``: curves
            (``val/mape``) and a monitor; the final score with its intervals does not hold them. They take predictions
            and targets float64 [B] ([B, T]) in the target's own unit.

    Raises:
        ConfigError: Means, scales and names are not as many as each other, a scale or ``huber_delta`` is not above 0,
            there is no such loss, ``huber_delta`` is changed for another loss, a loss is chosen beside a criterion, or
            something is no criterion or no metric.
    """

    name = "regression"
    mode: Literal["min", "max"] = "min"
    target_mean: Tensor
    target_scale: Tensor

    def __init__(
        self,
        target_mean: float | Sequence[float] = 0.0,
        target_scale: float | Sequence[float] = 1.0,
        loss: Loss = "squared",
        huber_delta: float = 1.0,
        criterion: Criterion | None = None,
        metrics: Mapping[str, Metric] | None = None,
        target_names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if loss not in get_args(Loss):
            what, names = f"there is no loss '{loss}'", get_args(Loss)
            raise ConfigError(what, where="task.loss", expected=one_of(names), hint=did_you_mean(str(loss), names))
        scales = [target_scale] if isinstance(target_scale, (int, float)) else list(target_scale)
        for key, values in (("target_scale", scales), ("huber_delta", [huber_delta])):
            if not all(value > 0 for value in values):
                what = f"{key.replace('_', ' ')} {', '.join(map(str, values))}"
                raise ConfigError(what, where=f"task.{key}", expected="a number above 0")
        if huber_delta != 1.0 and loss != "huber":
            what = f"task.huber_delta has no effect on the {loss} error"
            raise ConfigError(what, where="task.huber_delta", hint="task.loss=huber")
        self.register_buffer("target_mean", torch.tensor(target_mean, dtype=torch.float64))
        self.register_buffer("target_scale", torch.tensor(target_scale, dtype=torch.float64))
        refuse_beside(criterion, loss=None if loss == "squared" else loss)
        self.loss_kind, self.huber_delta, self.criterion = loss, huber_delta, per_sample(criterion)
        self.target_names = self._names(target_names)
        self.monitor = "rmse" if loss == "squared" else "mae"
        if self.target_names:
            self.monitor, self.mode = "r2_macro", "max"
        self.own_metrics = named_metrics(metrics, builtin=self.metrics())

    def _names(self, names: Sequence[str]) -> tuple[str, ...]:
        count = self.target_mean.numel() if self.target_mean.ndim else 0
        names = tuple(names) or tuple(f"y{place}" for place in range(count))
        if self.target_mean.shape != self.target_scale.shape or len(names) != count or count == 1:
            sizes = f"{list(self.target_mean.shape)} means, {list(self.target_scale.shape)} scales, {len(names)} names"
            raise ConfigError(sizes, where="task", expected="one number each, or lists of as many as there are targets")
        return names

    def sizes(self) -> dict[str, Any]:
        """Outputs of the net: one for each target."""
        count = len(self.target_names) or 1
        return {"num_outputs": count, "out_features": count}

    def loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor | float]:
        """Error of the standardised target summed over samples, and the number of samples.

        Args:
            outputs: float [B] or [B, 1], standardised; of several targets [B, T].
            target: float [B], in the target's own unit; of several [B, T], NaN where one is missing, which then counts
                neither in the sum nor in the number.
            weight: Row weights, float [B]: the sum is weighted by them, and their sum is given instead of the number.
        """
        outputs, scaled = self._standardised(outputs, target)
        if self.target_names:
            return self._several(outputs, scaled, weight)
        if self.criterion is not None:
            return summed(self.criterion, outputs, scaled, weight)
        losses = self._losses(outputs, scaled)
        if weight is not None:
            return (losses * weight.reshape(losses.shape)).sum(), weight.sum()
        return losses.sum(), float(target.numel())

    def _several(self, outputs: Tensor, scaled: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | float]:
        if self.criterion is not None:
            return summed_known(self.criterion, outputs, scaled, weight)
        known = ~scaled.isnan()
        return mean_of_known(self._losses(outputs, torch.where(known, scaled, 0.0)), known, weight)

    def _standardised(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(outputs.dtype, torch.float32)  # the difference of near numbers in bf16 is noise
        scaled = ((target - self.target_mean) / self.target_scale).to(dtype)
        return outputs.to(dtype).reshape(scaled.shape), scaled

    def _losses(self, outputs: Tensor, scaled: Tensor) -> Tensor:
        if self.loss_kind == "huber":
            return functional.huber_loss(outputs, scaled, reduction="none", delta=self.huber_delta)
        return (outputs - scaled).square() if self.loss_kind == "squared" else (outputs - scaled).abs()

    def predictions(self, outputs: Tensor) -> Tensor:
        """Values float64 [B] in the target's own unit; of several targets [B, T]."""
        shape = (len(outputs), *self.target_mean.shape)
        return outputs.double().reshape(shape) * self.target_scale + self.target_mean

    def metrics(self) -> MetricCollection:
        """Root mean squared error, mean absolute error, R², and the user's own.

        Of several targets the mean of their R², and the error of each of the first twenty.
        """
        if self.target_names:
            names = of_each("rmse" if self.loss_kind == "squared" else "mae", self.target_names)[:MOST_CURVES]
            errors = {name: ErrorOf(place, self.loss_kind == "squared") for place, name in enumerate(names)}
            builtin: dict[str, Metric | MetricCollection] = {"r2_macro": self._mean_r2(), **errors}
            return with_own(MetricCollection(builtin, compute_groups=False), self.own_metrics)
        metrics = MetricCollection({"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError(), "r2": _R2()})
        return with_own(metrics, self.own_metrics).set_dtype(torch.float64)

    def train_metrics(self) -> MetricCollection:
        """The monitored one of root mean squared error and mean absolute error; of several targets R²."""
        if self.target_names:
            return MetricCollection({"r2_macro": self._mean_r2()})
        metric = MeanSquaredError(squared=False) if self.monitor == "rmse" else MeanAbsoluteError()
        return MetricCollection({self.monitor: metric}).set_dtype(torch.float64)

    def _mean_r2(self) -> MeanR2:
        return MeanR2(self.target_mean.tolist(), self.target_scale.tolist())

    def chance(self) -> float | None:
        """Standardised squared error of predicting the mean: 1. Of other losses the mean and scale do not tell."""
        return 1.0 if self.criterion is None and self.loss_kind == "squared" else None

    def check(self, outputs: Tensor, target: Tensor) -> None:
        """Raises ConfigError where the net does not give one number per sample, or what is the user's does not take it.

        Args:
            outputs: Of the net [B, ...].
            target: float [B], in the target's own unit; of several [B, T].
        """
        count = len(self.target_names)
        one = bool(outputs.ndim and outputs.numel() == len(outputs) == target.numel())
        if not (outputs.shape == (len(target), count) if count else one):
            expected = (
                f"[batch, {count}], a number for each target" if count else "[batch] or [batch, 1], one number each"
            )
            what = f"the model gives outputs of shape {shape_of(outputs, target)}"
            raise ConfigError(what, where="model", expected=expected)
        if self.criterion is not None:
            check_criterion(self.criterion, *self._standardised(outputs, target))
        check_metrics(self.metrics(), self.own_metrics, self.predictions(outputs.detach()), target)


class _R2(R2Score):
    """Not a number for a single row, where torchmetrics raises."""

    def compute(self) -> Tensor:
        return super().compute() if self.total > 1 else torch.full_like(self.residual, math.nan).squeeze()
