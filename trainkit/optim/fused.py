"""Parameters of a group that lie side by side, and the one fused operation that steps them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

Update: TypeAlias = "Callable[[Bucket, float, Tensor | None], None]"
"""Steps a bucket with a decay; a third argument of 1, float [], leaves the step out."""


@dataclass
class Bucket:
    """Parameters of one group that have been stepped equally often, as slices of the buffers.

    Attributes:
        group: Of the optimizer; its learning rate and other settings are read at each step.
        params: The parameters.
        weights: float [n], all of them.
        grads: float [n], their gradients.
        moments: Running averages by the name that the optimizer's state has for them, float [n] each.
        step: Steps so far, float []; None for SGD.
        is_first: Whether SGD's momentum has seen no gradient yet.
    """

    group: dict[str, Any]
    params: list[nn.Parameter]
    weights: Tensor
    grads: Tensor
    moments: dict[str, Tensor]
    step: Tensor | None
    is_first: bool = False


def _step_adam(kernel: Callable[..., None]) -> Update:
    def step(bucket: Bucket, weight_decay: float, found_inf: Tensor | None) -> None:
        group, count = bucket.group, bucket.step
        assert count is not None
        beta1, beta2 = group["betas"]
        kernel(
            [bucket.weights],
            [bucket.grads],
            [bucket.moments["exp_avg"]],
            [bucket.moments["exp_avg_sq"]],
            [],
            [count],
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=weight_decay,
            eps=group["eps"],
            amsgrad=False,
            maximize=group["maximize"],
            grad_scale=None,
            found_inf=found_inf,
        )

    return step


def _step_sgd(bucket: Bucket, weight_decay: float, found_inf: Tensor | None) -> None:
    group = bucket.group
    torch._fused_sgd_(
        [bucket.weights],
        [bucket.grads],
        [bucket.moments["momentum_buffer"]] if group["momentum"] else [],
        weight_decay=weight_decay,
        momentum=group["momentum"],
        lr=group["lr"],
        dampening=group["dampening"],
        nesterov=group["nesterov"],
        maximize=group["maximize"],
        is_first_step=bucket.is_first,
        grad_scale=None,
        found_inf=found_inf,
    )
    bucket.is_first = False


UPDATES: dict[type[Optimizer], Update] = {
    AdamW: _step_adam(torch._fused_adamw_),
    Adam: _step_adam(torch._fused_adam_),
    SGD: _step_sgd,
}
