"""A multi-layer perceptron for flat inputs; the default net for tables and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor, nn

from trainkit.errors import ConfigError, did_you_mean, one_of

Norm = Literal["batch", "layer", "none"]


def _norm(norm: Norm, width: int) -> list[nn.Module]:
    if norm == "batch":
        return [nn.BatchNorm1d(width)]
    return [nn.LayerNorm(width)] if norm == "layer" else []


class MLP(nn.Module):
    """Linear layers with normalisation, activation and dropout between them.

    Args:
        in_features: Features of one sample; inputs with more axes are flattened.
        num_outputs: Outputs per sample: classes, or 1 for a number.
        hidden: Widths of the hidden layers; empty gives a linear model.
        dropout: Share of hidden units dropped in training.
        input_dropout: Share of inputs dropped in training.
        norm: Normalisation before each activation: ``batch``, ``layer`` or ``none``.

    Raises:
        ConfigError: There is no such ``norm``, or a layer without units.

    Shape:
        - Input: float [B, D], or [B, ...] with D values a sample.
        - Output: float [B, num_outputs].

    Example:
        >>> import torch
        >>> MLP(8, 3, hidden=[16])(torch.zeros(4, 8)).shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        in_features: int,
        num_outputs: int,
        hidden: Sequence[int] = (128, 64),
        dropout: float = 0.3,
        input_dropout: float = 0.1,
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        if norm not in get_args(Norm):
            names = get_args(Norm)
            what, hint = f"there is no norm '{norm}'", did_you_mean(str(norm), names)
            raise ConfigError(what, where="model.norm", expected=one_of(names), hint=hint)
        if any(size < 1 for size in hidden):
            what = f"hidden layers of {list(hidden)} units"
            raise ConfigError(what, where="model.hidden", expected="widths of at least 1; [] for a linear model")
        layers: list[nn.Module] = [nn.Dropout(input_dropout)] if input_dropout else []
        width = in_features
        for size in hidden:
            layers += [nn.Linear(width, size, bias=norm == "none"), *_norm(norm, size), nn.SiLU(inplace=True)]
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = size
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps [B, ...] to [B, num_outputs]."""
        outputs: Tensor = self.head(self.trunk(inputs.flatten(1)))
        return outputs
