"""Gradients of all processes of a group put together by one all-reduce, with the weight that they are divided by."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import ReduceOp

from trainkit.optim.flat import FlatParameters


def reduce_flat(flat: FlatParameters, weights: Sequence[Tensor | float], nominal: float) -> None:
    """Makes flat gradients of sums over ``nominal`` samples those of the sum over all processes and their weights.

    Args:
        flat: Holds the gradients, and room for the weight behind them.
        weights: Of this process's micro-batches.
        nominal: Samples that the sums were divided by.
    """
    first, total = flat.joint[0], torch.as_tensor(sum(weights), device=flat.joint[0].device)
    is_exact = first.dtype in (torch.float32, torch.float64)  # bf16 counts to 256
    first[-1] = total if is_exact else 0.0
    for joint in flat.joint:
        torch.distributed.all_reduce(joint)
    if is_exact:
        total = first[-1]
    else:
        total = total.double()
        torch.distributed.all_reduce(total)
    factor = nominal / torch.where(total > 0, total, 1.0)
    for grads in flat.grads:
        grads.mul_(factor.to(grads.dtype))


def reduce_own(params: Sequence[nn.Parameter], weights: Sequence[Tensor | float], nominal: float) -> None:
    """As ``reduce_flat`` for gradients of their own; what no process has a gradient of stays without.

    Args:
        params: That train, in the same order in all processes.
        weights: Of this process's micro-batches.
        nominal: Samples that the sums were divided by.
    """
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
    dtype = functools.reduce(torch.promote_types, (grad.dtype for grad in grads), torch.float32)
    facts = [*(float(p.grad is not None) for p in params), float(sum(weights))]
    found = torch.tensor(facts, dtype=dtype, device=params[0].device)
    joint = torch.cat([found, *(grad.reshape(-1).to(dtype) for grad in grads)])
    torch.distributed.all_reduce(joint)
    found, *values = torch.split(joint, [len(found), *(grad.numel() for grad in grads)])
    factor = nominal / torch.where(found[-1] > 0, found[-1], 1.0)
    for p, grad, value, is_there in zip(params, grads, values, found.tolist(), strict=False):
        if is_there:
            grad.copy_((value * factor).view(grad.shape))
            p.grad = grad


def lacks_anywhere(lacks: bool, device: Any) -> bool:
    """Whether any process lacks something."""
    flag = torch.tensor(float(lacks), device=device)
    torch.distributed.all_reduce(flag, ReduceOp.MAX)
    return bool(flag)
