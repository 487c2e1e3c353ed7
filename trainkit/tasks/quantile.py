"""Quantiles of one number: a prediction with its range (Koenker & Bassett, 1978, https://doi.org/10.2307/1913643)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, Metric, MetricCollection
from torchmetrics.wrappers.transformations import MetricInputTransformer

from trainkit.errors import ConfigError
from trainkit.tasks.base import MeanLoss, Task, shape_of
from trainkit.tasks.metrics import check_metrics, named_metrics


class Quantile(Task):
    """Several quantiles of one number per sample; their median is the prediction.

    The net gives Q outputs of the standardised target. Each learns by the pinball loss of its level; a sample's loss is
    the mean of them. Predictions are put in order, so that no quantile lies below a lower one, which brings each
    nearer to the truth (Chernozhukov et al., 2010, https://doi.org/10.3982/ECTA7880).

    Args:
        target_mean: Mean of the target in the training part, in its own unit.
        target_scale: Standard deviation of the target in the training part, in its own unit.
        quantiles: Rising levels between 0 and 1, 0.5 among them; the outermost are the range whose coverage is told.
        metrics: Validation metrics of the user's own by name; they take the medians and targets float64 [B].

    Attributes:
        levels: The levels.

    Raises:
        ConfigError: Levels that do not rise, are not between 0 and 1, or lack the median; a scale that is not above 0.
    """

    name = "quantile"
    monitor = "pinball"
    mode = "min"
    target_mean: Tensor
    target_scale: Tensor
    _levels: Tensor

    def __init__(
        self,
        target_mean: float = 0.0,
        target_scale: float = 1.0,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        super().__init__()
        levels = [float(level) for level in quantiles]
        rises = all(one < other for one, other in zip([0.0, *levels], [*levels, 1.0], strict=True))
        if not rises or 0.5 not in levels or len(levels) < 2:
            expected = "rising levels between 0 and 1, 0.5 among them"
            raise ConfigError(f"quantiles are {levels}", where="task.quantiles", expected=expected)
        if not target_scale > 0:
            what = f"target scale {target_scale}"
            raise ConfigError(what, where="task.target_scale", expected="a number above 0")
        self.levels = tuple(levels)
        self.own_metrics = {}
        self.register_buffer("target_mean", torch.tensor(target_mean, dtype=torch.float64))
        self.register_buffer("target_scale", torch.tensor(target_scale, dtype=torch.float64))
        self.register_buffer("_levels", torch.tensor(levels, dtype=torch.float64), persistent=False)
        self.own_metrics = named_metrics(metrics, builtin=self.metrics())

    def sizes(self) -> dict[str, Any]:
        """Outputs of the net: one for each level."""
        return {"num_outputs": len(self.levels), "out_features": len(self.levels)}

    def loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor | float]:
        """Pinball loss of the standardised target summed over samples, and the number of samples.

        Args:
            outputs: float [B, Q], standardised.
            target: float [B], in the target's own unit.
            weight: Row weights, float [B]: the sum is weighted by them, and their sum is given instead of the number.
        """
        dtype = torch.promote_types(outputs.dtype, torch.float32)
        scaled = ((target - self.target_mean) / self.target_scale).to(dtype)
        losses = pinball(outputs.to(dtype), scaled, self._levels.to(dtype))
        if weight is not None:
            return (losses * weight).sum(), weight.sum()
        return losses.sum(), float(target.numel())

    def predictions(self, outputs: Tensor) -> Tensor:
        """Quantiles float64 [B, Q] in the target's own unit, in order."""
        return outputs.double().sort(dim=1).values * self.target_scale + self.target_mean

    def metrics(self) -> MetricCollection:
        """Pinball loss in the target's own unit, coverage of the outermost quantiles, and error of the median."""
        builtin = {
            "pinball": _Pinball(self.levels),
            "coverage": _Coverage(),
            "mae": _MedianColumn(MeanAbsoluteError(), self._median),
        }
        own = {name: _MedianColumn(metric.clone(), self._median) for name, metric in self.own_metrics.items()}
        return MetricCollection({**builtin, **own}, compute_groups=False).set_dtype(torch.float64)

    @property
    def _median(self) -> int:
        return self.levels.index(0.5)

    def train_metrics(self) -> MetricCollection:
        """Pinball loss."""
        return MetricCollection({"pinball": _Pinball(self.levels)}).set_dtype(torch.float64)

    def chance(self) -> float | None:
        """Not known: it depends on the distribution of the target."""
        return None

    def check(self, outputs: Tensor, target: Tensor) -> None:
        """Raises ConfigError where the net does not give Q numbers per sample."""
        if outputs.ndim != 2 or outputs.shape != (len(target), len(self.levels)):
            raise ConfigError(
                f"the model gives outputs of shape {shape_of(outputs, target)}",
                where="model",
                expected=f"[batch, {len(self.levels)}], a number for each quantile",
            )
        check_metrics(self.metrics(), self.own_metrics, self.predictions(outputs.detach()), target)


def pinball(quantiles: Tensor, target: Tensor, levels: Tensor) -> Tensor:
    """Pinball loss [B], the mean over levels: a level q costs q for each unit below the target, 1 - q above.

    Args:
        quantiles: float [B, Q].
        target: float [B].
        levels: float [Q].
    """
    short = target[:, None] - quantiles
    return torch.maximum(levels * short, (levels - 1) * short).mean(dim=1)


class _Pinball(MeanLoss):
    """Takes quantiles [B, Q] and targets [B]."""

    levels: Tensor

    def __init__(self, levels: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float64), persistent=False)

    def update(self, preds: Tensor, target: Tensor) -> None:  # type: ignore[override]
        super().update(pinball(preds, target.double(), self.levels).sum(), float(len(target)))


class _Coverage(MeanLoss):
    """Share of targets within the outermost quantiles."""

    def update(self, preds: Tensor, target: Tensor) -> None:  # type: ignore[override]
        super().update(((preds[:, 0] <= target) & (target <= preds[:, -1])).sum(), float(len(target)))


class _MedianColumn(MetricInputTransformer):
    """Takes quantiles [B, Q] and hands on the median [B]."""

    def __init__(self, metric: Metric, column: int) -> None:
        super().__init__(metric)
        self.column = column

    def transform_pred(self, pred: Tensor) -> Tensor:
        return pred[:, self.column].contiguous()
