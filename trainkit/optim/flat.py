"""Parameters, gradients and moments of an optimizer as views into one buffer each, stepped by one operation a group.

To the outside the optimizer stays as it is: its parameters, groups, learning rates and state dicts are ordinary ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from trainkit.optim.fused import UPDATES, Bucket

LAYOUTS = (torch.contiguous_format, torch.channels_last, torch.channels_last_3d)

ALIKE = ("lr", "betas", "eps", "maximize")
"""Settings of AdamW without its decay."""

NO_LOOK = 2**20
"""Optimizer steps after which it is no longer looked whether every parameter has a gradient."""


class FlatParameters:
    """Takes the place of an optimizer's own step while training goes on.

    Where a parameter has no gradient an optimizer leaves it alone, which a buffer cannot tell from a gradient of 0. It
    is looked for at the first steps, and at each that is a power of two: ``looks_at``, ``begin_look``,
    ``end_look``.

    Args:
        optimizer: One that ``can_flatten`` takes.

    Attributes:
        weights: float [n] of each type and device.
        grads: Likewise.
        joint: float [n + 1], the gradients with room for a number behind them, which travels with them in a group.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.update = UPDATES[type(optimizer)]
        self.buckets: list[Bucket] = []
        self.spans: list[tuple[Bucket | None, list[Bucket]]] = []
        self.weights, self.grads, self.joint, self.counts = (list[Tensor]() for _ in range(4))
        self.trains = [p.requires_grad for p in _params(optimizer)]
        by_type: dict[tuple[torch.dtype, torch.device], list[tuple[dict[str, Any], list[nn.Parameter]]]] = {}
        for group, params in _alike(optimizer):
            by_type.setdefault((params[0].dtype, params[0].device), []).append((group, params))
        for groups in by_type.values():
            self._add(groups)
        self._hook = optimizer.register_state_dict_pre_hook(self._publish)
        optimizer._opt_called = True  # type: ignore[attr-defined]  # torch's schedules warn of one that is not stepped

    def _add(self, groups: list[tuple[dict[str, Any], list[nn.Parameter]]]) -> None:
        """Lays out the parameters of one type and device."""
        everyone = [p for _, params in groups for p in params]
        size = sum(p.numel() for p in everyone)
        weights, joint = everyone[0].new_zeros(size), everyone[0].new_zeros(size + 1)
        grads = joint[:-1]
        self.joint.append(joint)
        moments = {name: torch.zeros_like(weights) for name in _moments(self.optimizer)}
        self.weights.append(weights)
        self.grads.append(grads)
        buckets, end = list[Bucket](), 0
        for group, params in groups:
            start = end
            is_first = not any(self.optimizer.state.get(p) for p in params)
            step = self.optimizer.state[params[0]].get("step") if not is_first else None
            for p in params:
                state = self.optimizer.state[p]
                place = _view(weights, p, end)
                place.copy_(p.data)
                for name, moment in moments.items():
                    own = _view(moment, p, end)
                    if isinstance(state.get(name), Tensor):
                        own.copy_(state[name])
                    state[name] = own
                p.data = place
                end += p.numel()
            cut = slice(start, end)
            count = weights.new_zeros((), dtype=torch.float32) if step is None else step.float().clone()
            buckets.append(
                Bucket(
                    group,
                    params,
                    weights[cut],
                    grads[cut],
                    {name: moment[cut] for name, moment in moments.items()},
                    None if isinstance(self.optimizer, SGD) else count,
                    is_first,
                )
            )
        self.buckets += buckets
        self.spans.append((self._whole(buckets, weights, grads, moments), buckets))

    def _whole(
        self, buckets: list[Bucket], weights: Tensor, grads: Tensor, moments: dict[str, Tensor]
    ) -> Bucket | None:
        """All buckets of a type as one, which AdamW steps once it has decayed each by itself; None for others."""
        counts = [bucket.step for bucket in buckets if bucket.step is not None]
        is_one = type(self.optimizer) is AdamW and len({float(count) for count in counts}) == 1
        if is_one:
            counts = counts[:1]
            for bucket in buckets:
                bucket.step = counts[0]
        self.counts += counts
        params = [p for bucket in buckets for p in bucket.params]
        is_several = is_one and len(buckets) > 1
        return Bucket(buckets[0].group, params, weights, grads, moments, counts[0]) if is_several else None

    def contents(self) -> Iterator[tuple[Tensor, list[nn.Parameter]]]:
        """The weights of each type and device, float [n], and the parameters that lie in them, in order."""
        for weights, (_, buckets) in zip(self.weights, self.spans, strict=True):
            yield weights, [p for bucket in buckets for p in bucket.params]

    @staticmethod
    def looks_at(step: int) -> bool:
        """Whether gradients are looked for at an optimizer step, 0 for the first; it depends on nothing else."""
        return step & (step - 1) == 0 and step < NO_LOOK

    def begin_look(self) -> None:
        """Before a backward pass: parameters without a gradient are to stay without."""
        for bucket in self.buckets:
            for p in bucket.params:
                p.grad = None

    def end_look(self) -> bool:
        """After it: takes the gradients into the buffers; False, and nothing done, where one is missing or sparse."""
        if not self.has_all():
            return False
        self.attach(is_copied=True)
        return True

    def has_all(self) -> bool:
        """Whether every parameter has a dense gradient."""
        grads = [p.grad for bucket in self.buckets for p in bucket.params]
        return all(grad is not None and grad.layout == torch.strided for grad in grads)

    def attach(self, is_copied: bool = False) -> None:
        """Has every gradient be a view into the buffer, with what it holds or as it stands there."""
        for bucket in self.buckets:
            start = bucket.grads.storage_offset()
            for p in bucket.params:
                place = torch.as_strided(bucket.grads, p.size(), p.stride(), start)
                if is_copied and p.grad is not None:
                    place.copy_(p.grad)
                p.grad = place
                start += p.numel()

    def attach_lost(self) -> None:
        """Between steps, when all gradients are 0: attaches them again where a ``zero_grad()`` has set them to None."""
        if any(p.grad is None for bucket in self.buckets for p in bucket.params):
            self.attach()

    def step(self, found_inf: Tensor | None = None) -> None:
        """Steps all parameters; called under ``torch.no_grad``.

        Args:
            found_inf: float [], 1 to leave the step out; None makes it.
        """
        for count in self.counts:
            count += 1 if found_inf is None else 1 - found_inf
        for whole, buckets in self.spans:
            if whole is None or found_inf is not None or not _are_alike(buckets):
                for bucket in buckets:
                    self.update(bucket, bucket.group["weight_decay"], found_inf)
                continue
            for bucket in buckets:
                if bucket.group["weight_decay"]:
                    bucket.weights.mul_(1 - bucket.group["lr"] * bucket.group["weight_decay"])
            self.update(whole, 0.0, None)

    def zero_grad(self) -> None:
        """Sets the gradients to 0."""
        for grads in self.grads:
            grads.zero_()

    def is_current(self) -> bool:
        """Whether the same parameters train as when this was made, which with their state still lie in the buffers."""
        if self.trains != [p.requires_grad for p in _params(self.optimizer)] or _has_hooks(self.optimizer):
            return False
        return all(self._is_in_place(bucket, p) for bucket in self.buckets for p in bucket.params)

    def _is_in_place(self, bucket: Bucket, p: nn.Parameter) -> bool:
        start, end = bucket.weights.data_ptr(), bucket.weights.data_ptr() + bucket.weights.nbytes
        return start <= p.data_ptr() < end and self._has_our_state(bucket, p)

    def _has_our_state(self, bucket: Bucket, p: nn.Parameter) -> bool:
        """Whether its averages are those of the buffer, and nobody has loaded or dropped its state."""
        state = self.optimizer.state.get(p) or {}
        for name, moment in bucket.moments.items():
            own = state.get(name)
            if own is None or own.untyped_storage()._cdata != moment.untyped_storage()._cdata:
                return False
        return True

    def _publish(self, optimizer: Optimizer) -> None:
        """Gives each parameter's state a count of steps of its own, as an ordinary optimizer goes on from."""
        for bucket in self.buckets:
            if bucket.step is not None:
                for p in bucket.params:
                    if self._has_our_state(bucket, p):
                        optimizer.state[p]["step"] = bucket.step.clone()

    def release(self) -> None:
        """Gives every parameter and its state memory of their own again, and no gradient."""
        self._publish(self.optimizer)
        self._hook.remove()
        for bucket in self.buckets:
            for p in bucket.params:
                p.data = p.data.clone()
                p.grad = None
                if not self._has_our_state(bucket, p):
                    continue
                state = self.optimizer.state[p]
                for name in bucket.moments:
                    if bucket.is_first and bucket.step is None:
                        del state[name]  # SGD's momentum begins with the first gradient, and not from 0
                    else:
                        state[name] = state[name].clone()
        self.buckets, self.spans, self.counts = [], [], []


def can_flatten(optimizer: Optimizer) -> bool:
    """Whether an optimizer is AdamW, Adam or SGD with its fused step, over dense parameters, and nothing beside."""
    if type(optimizer) not in UPDATES or _has_hooks(optimizer):
        return False
    unusual = ("amsgrad", "capturable", "differentiable", "foreach")
    if not all(group.get("fused") and not any(group.get(name) for name in unusual) for group in optimizer.param_groups):
        return False
    if any(isinstance(group["lr"], Tensor) for group in optimizer.param_groups):
        return False
    return all(p.is_floating_point() and _is_dense(p) for p in _params(optimizer))


def _has_hooks(optimizer: Optimizer) -> bool:
    return bool(optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)


def _are_alike(buckets: list[Bucket]) -> bool:
    """Whether groups are stepped alike but for their decay; a schedule may give each a rate of its own."""
    first = buckets[0].group
    return all(bucket.group[name] == first[name] for bucket in buckets[1:] for name in ALIKE)


def _params(optimizer: Optimizer) -> Iterator[nn.Parameter]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _is_dense(p: Tensor) -> bool:
    """Whether its elements fill a stretch of memory."""
    dimensions = {torch.channels_last: 4, torch.channels_last_3d: 5}
    return p.layout == torch.strided and any(
        p.is_contiguous(memory_format=layout) for layout in LAYOUTS if dimensions.get(layout, p.ndim) == p.ndim
    )


def _alike(optimizer: Optimizer) -> Iterator[tuple[dict[str, Any], list[nn.Parameter]]]:
    """Parameters that train, by group, type, device, and how often they have been stepped."""
    for group in optimizer.param_groups:
        parts: dict[Any, list[nn.Parameter]] = {}
        for p in group["params"]:
            if p.requires_grad:
                state = optimizer.state.get(p) or {}
                count = (
                    float(state["step"]) if "step" in state else float(bool(state.get("momentum_buffer") is not None))
                )
                parts.setdefault((p.dtype, p.device, count), []).append(p)
        for params in parts.values():
            yield group, params


def _moments(optimizer: Optimizer) -> tuple[str, ...]:
    if isinstance(optimizer, SGD):
        has_momentum = any(group["momentum"] for group in optimizer.param_groups)
        return ("momentum_buffer",) if has_momentum else ()
    return ("exp_avg", "exp_avg_sq")


def _view(buffer: Tensor, p: Tensor, start: int) -> Tensor:
    """The part of a buffer that stands for a parameter, in its shape and its order of memory."""
    return torch.as_strided(buffer, p.size(), p.stride(), start)
