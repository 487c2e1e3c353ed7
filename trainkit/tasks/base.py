"""What is learned: the loss as a sum and a weight, the metrics, and how outputs become predictions."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from trainkit.tasks.metrics import direction

_LOWER_IS_BETTER = ("loss", "rmse", "mae", "pinball")


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
        own_metrics: Validation metrics of the user's own among ``metrics()``, by name.
        levels: Levels of the quantiles that ``predictions`` gives, [B, Q]; none where it gives a value a sample.
    """

    name: str
    monitor: str
    mode: Literal["min", "max"]
    own_metrics: Mapping[str, Metric] = MappingProxyType({})
    levels: tuple[float, ...] = ()

    def sizes(self) -> dict[str, Any]:
        """Sizes of a net that the task decides and not the data alone, by name, such as ``num_outputs``."""
        return {}

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

    def loss_and_gradient(
        self, outputs: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor | float, Tensor]:
        """``loss``, and the gradient of its quotient, the mean, by the outputs.

        Args:
            outputs: The net's outputs [B, ...], without a graph.
            target: Targets [B, ...].
            weight: Row weights, float [B], ≥ 0; None counts each sample once.

        Returns:
            The sum, the weight, and the gradient [B, ...].
        """
        leaf = outputs.detach().requires_grad_()
        with torch.enable_grad():
            loss_sum, total = self.loss(leaf, target) if weight is None else self.loss(leaf, target, weight)
        (gradient,) = torch.autograd.grad(loss_sum, leaf, torch.ones_like(loss_sum) / or_one(total))
        return loss_sum.detach(), total, gradient

    @abc.abstractmethod
    def predictions(self, outputs: Tensor) -> Tensor:
        """Outputs as predictions: float64 probabilities [B, K], or values [B] ([B, T]) in the target's own unit."""

    def metric_inputs(self, outputs: Tensor) -> Tensor:
        """What ``metrics`` take: ``predictions``, unless they do with less."""
        return self.predictions(outputs)

    def train_predictions(self, outputs: Tensor) -> Tensor:
        """What ``train_metrics`` take: ``predictions``, unless they do with less."""
        return self.predictions(outputs)

    def merge(self, outputs: Tensor) -> Tensor:
        """Outputs [B, ...] that stand for those of all members of a net, [B, M, ...]: their mean, unless overridden."""
        return outputs.to(torch.promote_types(outputs.dtype, torch.float32)).mean(dim=1)  # a mean in bf16 is noise

    @abc.abstractmethod
    def metrics(self) -> MetricCollection:
        """Fresh validation metrics; they take ``predictions(outputs)`` and targets in their own unit."""

    @abc.abstractmethod
    def train_metrics(self) -> MetricCollection:
        """Fresh metrics cheap enough to follow on every training batch."""

    def plain_target(self, target: Tensor) -> Tensor:
        """Targets as the metrics take them; of shares of classes, which mixing samples makes, the largest one's class.

        Args:
            target: As the loss takes them [B, ...].
        """
        return target

    @abc.abstractmethod
    def chance(self) -> float | None:
        """Loss of a net that knows nothing, to compare the first loss with; None where it is not known."""

    @abc.abstractmethod
    def check(self, outputs: Tensor, target: Tensor) -> None:
        """Raises ConfigError where the net's outputs do not fit the targets."""

    def metric_names(self) -> list[str]:
        """Names of what is logged, prefixed with ``train/`` and ``val/``."""
        train = [f"train/{name}" for name in ("loss", *self.train_metrics())]
        return train + [f"val/{name}" for name in ("loss", *self.metrics())]

    def mode_of(self, name: str) -> Literal["min", "max"]:
        """Which way a logged value is better.

        Args:
            name: As in ``metric_names``, with or without ``train/`` and ``val/``.

        Raises:
            ConfigError: A metric of the user's own does not say.
        """
        name = name.rpartition("/")[2]
        if name in self.own_metrics:
            return direction(name, self.own_metrics[name])
        if name == self.monitor:
            return self.mode
        return "min" if name.partition("_")[0] in _LOWER_IS_BETTER else "max"  # of one of several targets: rmse_height


def or_one(weight: Tensor | float) -> Tensor | float:
    """The weight to divide by; 1 for a batch of classes that weigh nothing, whose gradient is 0 and not 0 / 0."""
    return torch.where(weight > 0, weight, torch.ones_like(weight)) if isinstance(weight, Tensor) else weight or 1.0


def shape_of(outputs: Tensor, target: Tensor) -> str:
    """Shape of a net's outputs for an error: ``[batch, 4]``, or sizes where the first is not the batch's."""
    sizes = list(outputs.shape)
    if sizes and sizes[0] == len(target):
        return "[" + ", ".join(["batch", *map(str, sizes[1:])]) + "]"
    return f"{sizes} for a batch of {len(target)}"
