"""Nets of several members: each learns by its own loss, and all are judged by what they say together."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from trainkit.errors import ConfigError
from trainkit.tasks.base import Task
from trainkit.types import StepOutput


def step_output(task: Task, model: Any, outputs: Tensor, target: Tensor, weight: Tensor | None = None) -> StepOutput:
    """Loss and outputs of a batch, whether or not the model has members.

    In training the loss of a net of M members is the mean of the losses of its members (of TabM, Gorishniy et al.,
    2025, https://arxiv.org/abs/2410.24210); it is not that of their mean, which would let them all become one. What
    metrics see are the outputs of all together.

    Args:
        task: Gives the loss.
        model: Has ``num_members`` M, or None or nothing of that name where outputs have no axis of members.
        outputs: Of the model, [B, M, ...] in training, [B, ...] in evaluation or without members.
        target: Targets [B, ...].
        weight: Row weights, float [B].
    """
    weights = () if weight is None else (weight,)
    members: int | None = getattr(model, "num_members", None)
    if members is None or not model.training:
        return StepOutput(*task.loss(outputs, target, *weights), outputs, target)
    repeated = [tensor.repeat_interleave(members, dim=0) for tensor in (target, *weights)]
    loss_sum, total = task.loss(outputs.flatten(0, 1), *repeated)
    return StepOutput(loss_sum / members, total / members, task.merge(outputs), target)


def merged_outputs(task: Task, model: Any, outputs: Tensor) -> Tensor:
    """Outputs [B, ...] of all members of a model together, as the task merges them; as they are without members.

    Args:
        task: Merges them.
        model: Has ``num_members`` M, or None or nothing of that name where outputs have no axis of members.
        outputs: [B, M, ...], or [B, ...] without members.

    Raises:
        ConfigError: There are members, and the second axis is not theirs.
    """
    members: int | None = getattr(model, "num_members", None)
    if members is None:
        return outputs
    if outputs.ndim < 2 or outputs.shape[1] != members:
        found = f"the model gives outputs of shape {list(outputs.shape)}, and says it has {members} members"
        raise ConfigError(found, where="model.num_members", expected=f"[batch, {members}, …]")
    return task.merge(outputs)
