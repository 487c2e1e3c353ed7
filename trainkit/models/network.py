"""What is trained and saved: a net behind the preprocessing that the data asks for, so that raw inputs go in."""

from __future__ import annotations

from collections.abc import Callable

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
    """

    def __init__(
        self, net: nn.Module, inputs: nn.Module | None = None, merge: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.inputs = inputs if inputs is not None else nn.Identity()
        self.net = net
        self.merge = merge or mean_of_members

    @property
    def num_members(self) -> int | None:
        """Members on the second axis of what ``forward`` gives now; None where it has no such axis."""
        members: int | None = getattr(self.net, "num_members", None)
        return members if self.training else None

    def forward(self, inputs: Inputs) -> Tensor:
        """Maps raw inputs [B, ...] to outputs [B, ...]; in training [B, M, ...] where the net has M members."""
        prepared = self.inputs(inputs)
        outputs: Tensor = self.net(**prepared) if isinstance(prepared, dict) else self.net(prepared)
        if not self.training and getattr(self.net, "num_members", None) is not None:
            return self.merge(outputs)
        return outputs


def mean_of_members(outputs: Tensor) -> Tensor:
    """Mean [B, ...] of the outputs of all members [B, M, ...]."""
    return outputs.mean(dim=1)
