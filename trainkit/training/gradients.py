"""Gradients of several micro-batches and processes, as those of the one big batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def params_with_grad(optimizer: Optimizer) -> list[nn.Parameter]:
    """Parameters that the last backward pass reached."""
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def divide_by_weight(
    grads: Sequence[Tensor], weights: Sequence[Tensor | float], nominal: float, world_size: int
) -> None:
    """Turns gradients of sums over ``nominal`` samples into gradients of the sum over the summed weight, in place.

    Args:
        grads: Of all parameters that have one.
        weights: Of this process's micro-batches.
        nominal: Samples of a process that the sums were divided by.
        world_size: Processes of the group, whose gradients have been averaged.
    """
    if world_size == 1 and not any(isinstance(weight, Tensor) for weight in weights) and sum(weights) == nominal:
        return
    total = torch.as_tensor(sum(weights), dtype=torch.float64, device=grads[0].device)
    if world_size > 1:
        torch.distributed.all_reduce(total)
    factor = nominal * world_size / torch.where(total > 0, total, 1.0)
    torch._foreach_mul_(list(grads), factor.to(grads[0].dtype))


def unscale(optimizer: Optimizer, scaler: Any) -> None:
    """Divides by the loss scale of fp16 where the optimizer would do so itself, within its step: too late to clip.

    Args:
        optimizer: About to step; Lightning has unscaled the gradients of those that do not.
        scaler: A ``torch.amp.GradScaler``, or None.
    """
    if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
        scaler.unscale_(optimizer)
