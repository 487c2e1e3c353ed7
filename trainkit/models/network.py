"""What is trained and saved: a net behind the preprocessing that the data asks for, so that raw inputs go in."""

from __future__ import annotations

from torch import Tensor, nn

from trainkit.types import Inputs


class Network(nn.Module):
    """A net behind its preprocessing: raw inputs in, outputs out.

    Args:
        net: The model; gets a tensor, or the entries of a dict as keyword arguments.
        inputs: Preprocessing with its statistics in buffers; passes everything through by default.
    """

    def __init__(self, net: nn.Module, inputs: nn.Module | None = None) -> None:
        super().__init__()
        self.inputs = inputs if inputs is not None else nn.Identity()
        self.net = net

    def forward(self, inputs: Inputs) -> Tensor:
        """Maps raw inputs [B, ...] to outputs [B, ...]."""
        prepared = self.inputs(inputs)
        outputs: Tensor = self.net(**prepared) if isinstance(prepared, dict) else self.net(prepared)
        return outputs
