"""Metrics of several targets at once, in which a target that is missing (NaN) counts for nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc, binary_average_precision
from torchmetrics.utilities import dim_zero_cat

LabelFunction = Callable[[Tensor, Tensor], Tensor]


class MeanOverLabels(Metric):
    """A metric of one label, as its mean over those labels of which some samples have it and others have not.

    Shape:
        - Input: probabilities float [B, K], targets [B, K] of 0, 1 and NaN.
        - Output: float64 scalar; NaN where no label has both.

    Args:
        function: From scores float [N] and targets int64 [N] to a scalar.
    """

    full_state_update = False
    higher_is_better = True
    preds: list[Tensor]
    target: list[Tensor]

    def __init__(self, function: LabelFunction) -> None:
        super().__init__()
        self.function = function
        self.add_state("preds", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Keeps one batch."""
        self.preds.append(preds)
        self.target.append(target.to(torch.float32))

    def compute(self) -> Tensor:
        """The mean over labels."""
        preds, target = dim_zero_cat(self.preds), dim_zero_cat(self.target)
        values = []
        for scores, truth in zip(preds.T, target.T, strict=True):
            known = ~truth.isnan()
            scores, positive = scores[known], truth[known].long()
            if len(positive) and 0 < int(positive.sum()) < len(positive):
                values.append(self.function(scores, positive).double())
        return torch.stack(values).mean() if values else torch.full((), torch.nan, dtype=torch.float64)


def label_auroc() -> MeanOverLabels:
    """Area under the ROC curve, the mean over labels."""
    return MeanOverLabels(_auroc)


def label_average_precision() -> MeanOverLabels:
    """Average precision, the mean over labels."""
    return MeanOverLabels(_average_precision)


def _auroc(scores: Tensor, positive: Tensor) -> Tensor:
    return binary_auroc(scores, positive, validate_args=False)


def _average_precision(scores: Tensor, positive: Tensor) -> Tensor:
    return binary_average_precision(scores, positive, validate_args=False)


class MicroF1(Metric):
    """F1 of all labels together, a label being predicted from a probability above one half.

    Shape:
        - Input: probabilities float [B, K], targets [B, K] of 0, 1 and NaN.
        - Output: float64 scalar; NaN where no label is true or predicted.
    """

    full_state_update = False
    higher_is_better = True
    hits: Tensor
    named: Tensor

    def __init__(self) -> None:
        super().__init__()
        for state in ("hits", "named"):
            self.add_state(state, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Adds one batch."""
        positive, called = target == 1, (preds > 0.5) & ~target.isnan()
        self.hits += (positive & called).sum()
        self.named += positive.sum() + called.sum()

    def compute(self) -> Tensor:
        """The F1 so far."""
        return 2 * self.hits / self.named


class MeanR2(Metric):
    """Share of the variance explained (R²), the mean over targets; those of one value only are left out.

    Shape:
        - Input: predictions float64 [B, T] and targets float [B, T], NaN where missing.
        - Output: float64 scalar; NaN where no target has two values.

    Args:
        mean: About which squares are summed, T numbers in the targets' own units.
        scale: Their spread, T numbers above 0.
    """

    full_state_update = False
    higher_is_better = True
    mean: Tensor
    scale: Tensor
    count: Tensor
    first: Tensor
    second: Tensor
    errors: Tensor

    def __init__(self, mean: Sequence[float], scale: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64), persistent=False)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64), persistent=False)
        for state in ("count", "first", "second", "errors"):
            self.add_state(state, torch.zeros(len(mean), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Adds one batch."""
        known = ~target.isnan()
        scaled = torch.where(known, (target.double() - self.mean) / self.scale, 0.0)
        error = torch.where(known, (preds - target) / self.scale, 0.0)
        self.count += known.sum(dim=0)
        self.first += scaled.sum(dim=0)
        self.second += scaled.square().sum(dim=0)
        self.errors += error.square().sum(dim=0)

    def compute(self) -> Tensor:
        """The mean over targets."""
        spread = self.second - self.first.square() / self.count.clamp(min=1)
        defined = (self.count > 1) & (spread > 1e-12 * self.second)
        return torch.where(defined, 1 - self.errors / spread, torch.nan).nanmean()


class ErrorOf(Metric):
    """Root mean squared, or mean absolute, error of one of several targets.

    Shape:
        - Input: predictions float64 [B, T] and targets float [B, T], NaN where missing.
        - Output: float64 scalar.

    Args:
        place: Which target.
        is_squared: Whether errors are squared.
    """

    full_state_update = False
    higher_is_better = False
    total: Tensor
    count: Tensor

    def __init__(self, place: int, is_squared: bool) -> None:
        super().__init__()
        self.place, self.is_squared = place, is_squared
        for state in ("total", "count"):
            self.add_state(state, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Adds one batch."""
        truth = target[:, self.place].double()
        known = ~truth.isnan()
        error = torch.where(known, preds[:, self.place] - truth, 0.0)
        self.total += (error.square() if self.is_squared else error.abs()).sum()
        self.count += known.sum()

    def compute(self) -> Tensor:
        """The error so far."""
        mean = self.total / self.count
        return mean.sqrt() if self.is_squared else mean
