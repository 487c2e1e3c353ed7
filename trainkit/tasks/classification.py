"""Binary and multi-class classification, with cross-entropy or a loss of the user's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC, MulticlassAccuracy

from trainkit.errors import ConfigError
from trainkit.tasks.base import Task, shape_of
from trainkit.tasks.criterion import Criterion, check_criterion, per_sample, refuse_beside, summed
from trainkit.tasks.focal import FOCAL_GAMMA, ClassLoss, check_class_loss
from trainkit.tasks.metrics import check_metrics, named_metrics, with_own


class Classification(Task):
    """One class out of K. The net gives K logits, or a single logit for the second of two classes.

    Args:
        num_classes: Number of classes K, at least 2.
        class_weights: Weight of each class in the loss: K numbers, ``balanced`` (inversely proportional to the counts
            in the training part, 1 on average over its samples), or None for equal weights.
        class_counts: Training samples per class; needed for ``balanced``.
        label_smoothing: Share of each target spread evenly over all classes while training (Szegedy et al., 2016,
            https://arxiv.org/abs/1512.00567); evaluation measures the plain loss.
        criterion: A loss of the user's own, in training and evaluation: an ``nn.Module`` or function of logits [B, K]
            and classes int64 [B] (of one logit a sample: [B], and 0.0 or 1.0 [B]); where training mixes samples, of
            shares of the classes float32 [B, K] (of the second class: [B]). It gives a loss per sample [B] (a module's
            ``reduction`` is set to ``"none"`` for that), or one number, taken as the mean over the batch. Losses are
            averaged over samples, also where it weighs classes. Its parameters are trained.
        metrics: Validation metrics of the user's own by name, ``{"f1": MulticlassF1Score(10)}``: curves (``val/f1``)
            and a monitor; the final score with its intervals does not hold them. They take probabilities float64 [B, K]
            and classes int64 [B]; the binary metrics of torchmetrics get the second class's probabilities [B].
        loss: ``cross_entropy``, or ``focal``: each sample's cross-entropy times ``(1 - p) ** focal_gamma`` of the
            probability p of its class, so that samples that are easy count little (Lin et al., 2017,
            https://arxiv.org/abs/1708.02002). It is what is measured too, and its probabilities are less sharp.
        focal_gamma: Of the focal loss, at least 0; 0 is the cross-entropy.

    Raises:
        ConfigError: Fewer than two classes, weights that do not fit them, a loss setting beside a criterion, or
            something that is no criterion or no metric.
    """

    name = "classification"
    mode = "max"
    class_weights: Tensor | None

    def __init__(
        self,
        num_classes: int,
        class_weights: Sequence[float] | Literal["balanced"] | None = None,
        class_counts: Sequence[int] | None = None,
        label_smoothing: float = 0.0,
        criterion: Criterion | None = None,
        metrics: Mapping[str, Metric] | None = None,
        loss: ClassLoss = "cross_entropy",
        focal_gamma: float = FOCAL_GAMMA,
    ) -> None:
        super().__init__()
        check_class_loss(loss, focal_gamma, label_smoothing)
        self.focal_gamma = focal_gamma if loss == "focal" else 0.0
        self.label_smoothing = label_smoothing
        if num_classes < 2:
            raise ConfigError(f"classification of {num_classes} class", where="task.num_classes", expected="at least 2")
        self.num_classes = num_classes
        self.monitor = "auroc" if num_classes == 2 else "accuracy"
        self.register_buffer("class_weights", self._weights(class_weights, class_counts))
        kind = None if loss == "cross_entropy" else loss
        refuse_beside(criterion, class_weights=class_weights, label_smoothing=label_smoothing or None, loss=kind)
        self.criterion = per_sample(criterion)
        self.own_metrics = named_metrics(metrics, builtin=self.metrics())

    def _weights(
        self, weights: Sequence[float] | Literal["balanced"] | None, counts: Sequence[int] | None
    ) -> Tensor | None:
        if weights is None:
            return None
        if isinstance(weights, str):
            if weights != "balanced":
                raise ConfigError(
                    f"class weights '{weights}'", where="task.class_weights", expected="balanced or numbers"
                )
            seen = torch.tensor(counts if counts is not None else [1] * self.num_classes).clamp(min=1)
            return (seen.sum() / (self.num_classes * seen)).float()
        values = torch.tensor(list(weights), dtype=torch.float32)
        is_valid = bool((values >= 0).all() and values.isfinite().all() and values.sum() > 0)
        if len(values) != self.num_classes or not is_valid:
            raise ConfigError(
                f"class weights {list(weights)} do not fit",
                where="task.class_weights",
                expected=f"{self.num_classes} numbers ≥ 0, not all 0",
            )
        return values

    def _single(self, outputs: Tensor) -> bool:
        return self.num_classes == 2 and (outputs.ndim == 1 or (outputs.ndim == 2 and outputs.shape[1] == 1))

    def loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor | float]:
        """Cross-entropy summed over samples, weighted by class and row; the weight is the sum of these weights.

        Args:
            outputs: Logits [B, K], or [B] or [B, 1] for two classes.
            target: int64 class indices [B], or shares of the classes float [B, K] that sum to 1.
            weight: Row weights, float [B], which multiply the class weights; None counts each row once.
        """
        if self.criterion is not None:
            return summed(self.criterion, *self._for_criterion(outputs, target), weight)
        smoothing = self.label_smoothing if self.training else 0.0
        if self._single(outputs):
            logits = outputs.reshape(len(outputs))
            outputs = torch.stack([torch.zeros_like(logits), logits], dim=1)
        if target.is_floating_point():
            target = target.to(outputs.dtype)
        if weight is not None or self.focal_gamma:
            losses = functional.cross_entropy(
                outputs, target, self.class_weights, reduction="none", label_smoothing=smoothing
            )
            if self.focal_gamma:
                losses = losses * (1 - self._probability_of(outputs, target)) ** self.focal_gamma
            weight = torch.ones_like(losses) if weight is None else weight
            by_class = 1.0 if self.class_weights is None else self._weight_of(self.class_weights, target)
            return (losses * weight).sum(), (weight * by_class).sum()
        total = float(len(target)) if self.class_weights is None else self._weight_of(self.class_weights, target).sum()
        loss = functional.cross_entropy(outputs, target, self.class_weights, reduction="sum", label_smoothing=smoothing)
        return loss, total

    def loss_and_gradient(
        self, outputs: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor | float, Tensor]:
        """As ``Task`` has it; of the plain cross-entropy by the operations that autograd would call."""
        if weight is not None or not self._is_plain(outputs, target):
            return super().loss_and_gradient(outputs, target, weight)
        aten, total, nothing = torch.ops.aten, float(len(target)), -100
        log_p = torch.log_softmax(outputs, 1)
        loss_sum, counted = aten.nll_loss_forward(log_p, target, None, 2, nothing)
        share = loss_sum.new_full((), 1 / total)
        by_log_p = aten.nll_loss_backward(share, log_p, target, None, 2, nothing, counted)
        return loss_sum, total, aten._log_softmax_backward_data(by_log_p, log_p, 1, outputs.dtype)

    def _is_plain(self, outputs: Tensor, target: Tensor) -> bool:
        """Whether the loss is the cross-entropy of logits [B, K] and nothing else."""
        is_own = type(self).loss is not Classification.loss or "loss" in self.__dict__ or self.criterion is not None
        is_shaped = is_own or bool(self.label_smoothing or self.focal_gamma) or self.class_weights is not None
        return not is_shaped and outputs.ndim == 2 and outputs.shape[1] > 1 and target.dtype == torch.int64

    @staticmethod
    def _probability_of(outputs: Tensor, target: Tensor) -> Tensor:
        """Probability of each sample's class, or of its shares of several, float [B]."""
        probabilities = outputs.softmax(dim=1)
        if target.is_floating_point():
            return (probabilities * target).sum(dim=1)
        return probabilities.gather(1, target[:, None])[:, 0]

    @staticmethod
    def _weight_of(weights: Tensor, target: Tensor) -> Tensor:
        return target.to(weights.dtype) @ weights if target.is_floating_point() else weights[target]

    def plain_target(self, target: Tensor) -> Tensor:
        """Classes int64 [B]: of shares of the classes [B, K] the largest one's."""
        return target.argmax(dim=1) if target.is_floating_point() else target

    def _for_criterion(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        if self._single(outputs):
            target = target[:, 1] if target.ndim == 2 else target
            return outputs.reshape(len(outputs)), target.to(outputs.dtype)
        return outputs, target

    def predictions(self, outputs: Tensor) -> Tensor:
        """Probabilities float64 [B, K]."""
        if self._single(outputs):
            positive = outputs.reshape(len(outputs)).double().sigmoid()
            return torch.stack([1 - positive, positive], dim=1)
        return outputs.double().softmax(dim=1)

    def metric_inputs(self, outputs: Tensor) -> Tensor:
        """Logits of more than two classes where accuracy, which takes the largest, is the only metric."""
        is_ours = type(self).metrics is Classification.metrics and not self.own_metrics
        return self.train_predictions(outputs) if is_ours else self.predictions(outputs)

    def train_predictions(self, outputs: Tensor) -> Tensor:
        """Logits of more than two classes, of which accuracy takes the largest."""
        is_ours = type(self).train_metrics is Classification.train_metrics
        return outputs if is_ours and self.num_classes > 2 else self.predictions(outputs)

    def merge(self, outputs: Tensor) -> Tensor:
        """Logits of the mean of the members' probabilities.

        Args:
            outputs: Logits [B, M, K]; or [B, M] or [B, M, 1] for two classes.
        """
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))  # a mean in bf16 is noise
        if self.num_classes == 2 and outputs.shape[2:] in ((), (1,)):
            return functional.logsigmoid(outputs).logsumexp(1) - functional.logsigmoid(-outputs).logsumexp(1)
        return functional.log_softmax(outputs, dim=2).logsumexp(1) - math.log(outputs.shape[1])

    def metrics(self) -> MetricCollection:
        """Accuracy, the area under the ROC curve for two classes, and the user's own."""
        if self.num_classes == 2:
            both = MetricCollection({"auroc": _PositiveAUROC(), "accuracy": _PositiveAccuracy()})
            return with_own(both, self.own_metrics, is_binary=True)
        return with_own(self.train_metrics(), self.own_metrics)

    def train_metrics(self) -> MetricCollection:
        """Accuracy."""
        if self.num_classes == 2:
            return MetricCollection({"accuracy": _PositiveAccuracy()})
        return MetricCollection(
            {"accuracy": MulticlassAccuracy(self.num_classes, average="micro", validate_args=False)}
        )

    def chance(self) -> float | None:
        """Loss of equal odds, ln K (focal: times a power of 1 - 1/K); None for a criterion of the user's own."""
        easiness = (1 - 1 / self.num_classes) ** self.focal_gamma
        return easiness * math.log(self.num_classes) if self.criterion is None else None

    def check(self, outputs: Tensor, target: Tensor) -> None:
        """Raises ConfigError where the net does not give K logits per sample, or what is the user's does not take them.

        Args:
            outputs: Of the net [B, ...].
            target: int64 class indices [B].
        """
        fits = self._single(outputs) or (outputs.ndim == 2 and outputs.shape[1] == self.num_classes)
        if not fits or len(outputs) != len(target):
            raise ConfigError(
                f"the model gives outputs of shape {shape_of(outputs, target)}",
                where="model",
                expected=f"[batch, {self.num_classes}], a logit for each class"
                + (", or [batch]" * (self.num_classes == 2)),
            )
        if self.criterion is not None:
            check_criterion(self.criterion, *self._for_criterion(outputs, target))
        check_metrics(self.metrics(), self.own_metrics, self.predictions(outputs.detach()), target)


class _PositiveAUROC(BinaryAUROC):
    """Takes probabilities [B, 2] of both classes."""

    def __init__(self) -> None:
        super().__init__(validate_args=False)

    def update(self, preds: Tensor, target: Tensor) -> None:
        super().update(preds[:, 1], target)


class _PositiveAccuracy(BinaryAccuracy):
    """Takes probabilities [B, 2] of both classes."""

    def __init__(self) -> None:
        super().__init__(validate_args=False)

    def update(self, preds: Tensor, target: Tensor) -> None:
        super().update(preds[:, 1], target)
