"""The norm of a step's gradient: clipped by, logged, and looked at for numbers that are none."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class GradientNorm:
    """Clips gradients, and tells whether they are finite where a ``FiniteGuard`` is to know.

    On a CPU it is known at once. Elsewhere nothing waits for it: a flag on the device has the fused optimizer leave the
    step out, and is asked for once the execution is done.

    Args:
        module: The TrainModule, with ``clip_value``, ``clip_norm`` and ``guard``.

    Attributes:
        value: Norm before clipping of the last gradient that was clipped or asked for, float [].
        flag: float [], 1 where the last gradient is not finite; None where that is known already.
        flags: Of the execution's steps.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.value: Tensor | None = None
        self.flag: Tensor | None = None
        self.flags: list[Tensor] = []

    def clip(self, grads: list[Tensor], is_last: bool, is_flat: bool) -> bool:
        """Clips; False where the gradient is known not to be finite, and was left as it is.

        Args:
            grads: Of a step.
            is_last: Whether the norm is to be logged.
            is_flat: Whether they are few buffers, which are clipped by a number.
        """
        module, guard = self.module, self.module.guard
        if module.clip_value is not None:
            for grad in grads:
                grad.clamp_(-module.clip_value, module.clip_value)
        if module.clip_norm is None and not is_last and guard is None:
            return True
        norm = nn.utils.get_total_norm(grads) if len(grads) > 1 else torch.linalg.vector_norm(grads[0])
        is_here = not waits(norm.device)
        length = norm.item() if is_here and (guard is not None or is_flat) else 0.0
        if guard is not None and not is_here:
            self.flag = (~torch.isfinite(norm)).float()
            self.flags.append(self.flag)
        elif guard is not None and not math.isfinite(length):
            return False
        self.value = norm
        if module.clip_norm is None:
            return True
        if not (is_flat and is_here):
            torch._foreach_mul_(grads, (module.clip_norm / (norm + 1e-6)).clamp(max=1.0))
        elif not length + 1e-6 <= module.clip_norm:  # nan goes on
            torch._foreach_mul_(grads, module.clip_norm / (length + 1e-6))
        return True

    def left_out(self) -> list[int]:
        """Which steps of the execution a flag has left out, from 0; the next execution begins."""
        if not self.flags:
            return []
        found = torch.stack(self.flags).nonzero()[:, 0].tolist()
        self.flags = []
        return [int(place) for place in found]


def waits(device: torch.device) -> bool:
    """Whether asking a device for a number has this process wait for it."""
    return device.type != "cpu"
