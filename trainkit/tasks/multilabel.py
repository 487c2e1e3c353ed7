"""Several labels, of which a sample may have any number: a yes or no for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric, MetricCollection
from torchmetrics.wrappers.transformations import MetricInputTransformer

from trainkit.errors import ConfigError
from trainkit.tasks.base import Task, shape_of
from trainkit.tasks.criterion import Criterion, check_criterion, mean_of_known, per_sample, refuse_beside, summed_known
from trainkit.tasks.focal import FOCAL_GAMMA, ClassLoss, check_class_loss
from trainkit.tasks.metrics import check_metrics, named_metrics
from trainkit.tasks.several_metrics import MicroF1, label_auroc, label_average_precision

NOT_KNOWN = -1
"""What the user's own metrics get for a label that is not known; torchmetrics leaves it out by ``ignore_index=-1``."""


class Multilabel(Task):
    """Any number of K labels. The net gives a logit for each; labels that are not known (NaN) count for nothing.

    The loss of a sample is the mean over its labels; of a batch with labels that are not known it is the mean over
    those that are. The monitor is the area under the ROC curve, averaged over labels.

    Args:
        num_labels: Number of labels K, at least 2.
        pos_weight: How often a label that a sample has counts in the loss: K numbers, ``balanced`` (its samples
            without over those with it in the training part), or None for once.
        label_counts: Training samples without and with each label, K pairs; needed for ``balanced``.
        label_smoothing: Share of each target moved towards one half while training; evaluation measures the plain loss.
        loss: ``cross_entropy``, or ``focal``: each label's cross-entropy times ``(1 - p) ** focal_gamma`` of the
            probability p of the truth (Lin et al., 2017, https://arxiv.org/abs/1708.02002).
        focal_gamma: Of the focal loss, at least 0; 0 is the cross-entropy.
        criterion: A loss of the user's own, in training and evaluation: an ``nn.Module`` or function of logits and
            targets, both float [B, K]. It gives a loss per label [B, K] or sample [B] (a module's ``reduction`` is set
            to ``"none"``), or one number, taken as the mean over the batch. Labels that are not known need losses per
            label. Its parameters are trained.
        metrics: Validation metrics of the user's own by name; they take probabilities float64 [B, K] and targets int64
            [B, K], -1 where a label is not known.

    Raises:
        ConfigError: Fewer than two labels, weights that do not fit them, a setting out of range or without effect, or
            something that is no criterion or no metric.
    """

    name = "multilabel"
    monitor = "auroc_macro"
    mode = "max"
    pos_weight: Tensor | None

    def __init__(
        self,
        num_labels: int,
        pos_weight: Sequence[float] | Literal["balanced"] | None = None,
        label_counts: Sequence[Sequence[int]] | None = None,
        label_smoothing: float = 0.0,
        loss: ClassLoss = "cross_entropy",
        focal_gamma: float = FOCAL_GAMMA,
        criterion: Criterion | None = None,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        super().__init__()
        check_class_loss(loss, focal_gamma, label_smoothing)
        if num_labels < 2:
            raise ConfigError(f"a task of {num_labels} label", where="task.num_labels", expected="at least 2")
        self.num_labels, self.label_smoothing = num_labels, label_smoothing
        self.focal_gamma = focal_gamma if loss == "focal" else 0.0
        self.register_buffer("pos_weight", self._pos_weight(pos_weight, label_counts))
        kind = None if loss == "cross_entropy" else loss
        refuse_beside(criterion, pos_weight=pos_weight, label_smoothing=label_smoothing or None, loss=kind)
        self.criterion = per_sample(criterion)
        self.own_metrics = named_metrics(metrics, builtin=self.metrics())

    def _pos_weight(
        self, weight: Sequence[float] | Literal["balanced"] | None, counts: Sequence[Sequence[int]] | None
    ) -> Tensor | None:
        where = "task.pos_weight"
        if weight is None:
            return None
        if isinstance(weight, str):
            if weight != "balanced":
                raise ConfigError(f"positive weights '{weight}'", where=where, expected="balanced or numbers")
            seen = torch.tensor(counts if counts is not None else [[1, 1]] * self.num_labels).clamp(min=1)
            return (seen[:, 0] / seen[:, 1]).float()
        values = torch.tensor(list(weight), dtype=torch.float32)
        if len(values) != self.num_labels or not bool((values > 0).all() and values.isfinite().all()):
            what = f"positive weights {list(weight)} do not fit"
            raise ConfigError(what, where=where, expected=f"{self.num_labels} numbers above 0")
        return values

    def sizes(self) -> dict[str, Any]:
        """Outputs of the net: one for each label."""
        return {"num_outputs": self.num_labels, "out_features": self.num_labels}

    def loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor | float]:
        """Binary cross-entropy, the mean over labels summed over samples, and the number of samples.

        Args:
            outputs: Logits [B, K].
            target: 0 and 1, or between them where samples are mixed, float [B, K]; NaN where a label is not known,
                which then counts neither in the sum nor in the number.
            weight: Row weights, float [B]: each label's loss counts so many times.
        """
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        target = target.to(outputs.dtype)
        if self.criterion is not None:
            return summed_known(self.criterion, outputs, target, weight)
        known = ~target.isnan()
        target = torch.where(known, target, 0.0)
        smoothing = self.label_smoothing if self.training else 0.0
        smooth = target * (1 - smoothing) + smoothing / 2
        losses = functional.binary_cross_entropy_with_logits(
            outputs, smooth, reduction="none", pos_weight=self.pos_weight
        )
        if self.focal_gamma:
            probability = outputs.sigmoid()
            of_truth = target * probability + (1 - target) * (1 - probability)
            losses = losses * (1 - of_truth) ** self.focal_gamma
        return mean_of_known(losses, known, weight)

    def plain_target(self, target: Tensor) -> Tensor:
        """0 and 1, of mixed samples the nearer one; NaN where a label is not known."""
        target = target if target.is_floating_point() else target.float()
        return torch.where(target.isnan(), target, (target >= 0.5).to(target.dtype))

    def predictions(self, outputs: Tensor) -> Tensor:
        """Probabilities of the labels, float64 [B, K]."""
        return outputs.double().sigmoid()

    def merge(self, outputs: Tensor) -> Tensor:
        """Logits of the mean of the members' probabilities.

        Args:
            outputs: Logits [B, M, K].
        """
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))  # a mean in bf16 is noise
        return functional.logsigmoid(outputs).logsumexp(1) - functional.logsigmoid(-outputs).logsumexp(1)

    def metrics(self) -> MetricCollection:
        """Area under the ROC curve and average precision, means over labels; F1 of all labels; the user's own."""
        builtin: dict[str, Metric | MetricCollection] = {
            "auroc_macro": label_auroc(),
            "average_precision_macro": label_average_precision(),
            "f1_micro": MicroF1(),
        }
        own = {name: _WithLabels(metric.clone()) for name, metric in self.own_metrics.items()}
        return MetricCollection({**builtin, **own}, compute_groups=False)

    def train_metrics(self) -> MetricCollection:
        """F1 at one half over all labels."""
        return MetricCollection({"f1_micro": MicroF1()})

    def chance(self) -> float | None:
        """Loss of even odds, ln 2 (focal: times a power of one half); None with weights or a criterion."""
        if self.criterion is not None or self.pos_weight is not None:
            return None
        return float(0.5**self.focal_gamma * math.log(2))

    def check(self, outputs: Tensor, target: Tensor) -> None:
        """Raises ConfigError where the net does not give K logits per sample, or what is the user's does not take them.

        Args:
            outputs: Of the net [B, ...].
            target: 0, 1 or NaN, [B, K].
        """
        if outputs.ndim != 2 or outputs.shape != (len(target), self.num_labels):
            raise ConfigError(
                f"the model gives outputs of shape {shape_of(outputs, target)}",
                where="model",
                expected=f"[batch, {self.num_labels}], a logit for each label",
            )
        if self.criterion is not None:
            check_criterion(self.criterion, outputs, target.to(outputs.dtype))
        check_metrics(self.metrics(), self.own_metrics, self.predictions(outputs.detach()), target)


class _WithLabels(MetricInputTransformer):
    """Hands a metric of the user's own 0 and 1 as integers, and a label that is not known as a number of its own."""

    def transform_target(self, target: Tensor) -> Tensor:
        return torch.where(target.isnan(), NOT_KNOWN, target).long() if target.is_floating_point() else target.long()
