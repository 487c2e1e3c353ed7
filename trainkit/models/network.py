"""What is trained and saved: a net behind the preprocessing that the data asks for, so that raw inputs go in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from trainkit.types import Inputs


class Network(nn.Module):
    """A net behind its preprocessing: raw inputs in, outputs out.

    A net of several members (it has ``num_members`` M) gives [B, M, ...]. So does this in training, where each member
    has its own loss; in evaluation it gives the one output [B, ...] of all together.

    Args:
        net: The model; gets a tensor, or the entries of a dict as keyword arguments.
        inputs: Preprocessing with its statistics in buffers; passes everything through by default.
        merge: Makes outputs [B, ...] of those of all members [B, M, ...], as ``Task.merge`` does; the mean by
            default.

    Attributes:
        is_channels_last: Whether images are laid out so, for which the net's kernels are; see ``lay_channels_last``.
        dtype: Of the net's weights where it is narrower than float32; what goes into the net is cast to it, and outputs
            are float32. None for float32.
        still: Names of the net's modules that compute as in evaluation, even in training: frozen ones.
        head: Name of the module of the net that is computed alone, on inputs of its own; None for the whole net.
    """

    def __init__(
        self, net: nn.Module, inputs: nn.Module | None = None, merge: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.inputs = inputs if inputs is not None else nn.Identity()
        self.net = net
        self.merge = merge or mean_of_members
        self.is_channels_last = False
        self.dtype: torch.dtype | None = None
        self.still: tuple[str, ...] = ()
        self.head: str | None = None

    @property
    def num_members(self) -> int | None:
        """Members on the second axis of what ``forward`` gives now; None where it has no such axis."""
        members: int | None = getattr(self.net, "num_members", None)
        return members if self.training else None

    def train(self, mode: bool = True) -> Self:
        """Sets training mode, except for what stands still."""
        super().train(mode)
        for name in self.still:
            self.net.get_submodule(name).training = False
        return self

    def forward(self, inputs: Inputs) -> Tensor:
        """Maps raw inputs [B, ...] to outputs [B, ...]; in training [B, M, ...] where the net has M members."""
        net = self.net if self.head is None else self.net.get_submodule(self.head)
        if self.is_channels_last and isinstance(inputs, Tensor) and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        prepared = self.inputs(inputs) if self.head is None else inputs
        if self.dtype is not None:
            prepared = self._narrowed(prepared)
        outputs: Tensor = net(**prepared) if isinstance(prepared, dict) else net(prepared)
        if self.dtype is not None:
            outputs = outputs.float()
        if not self.training and getattr(self.net, "num_members", None) is not None:
            return self.merge(outputs)
        return outputs

    def _narrowed(self, inputs: Inputs) -> Inputs:
        if isinstance(inputs, dict):
            return {name: self._narrowed_one(tensor) for name, tensor in inputs.items()}
        return self._narrowed_one(inputs)

    def _narrowed_one(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def lay_channels_last(self) -> None:
        """Lays out the net's kernels with their channels last in memory, and from now on images too.

        The same numbers, up to rounding, 1.4 to 1.6 times as fast on a CPU (``benchmarks/results/channels_last.md``).
        """
        self.net.to(memory_format=torch.channels_last)
        self.is_channels_last = True


def mean_of_members(outputs: Tensor) -> Tensor:
    """Mean [B, ...] of the outputs of all members [B, M, ...]."""
    return outputs.mean(dim=1)
