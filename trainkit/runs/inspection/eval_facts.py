"""What a net does in eval mode: whether its answer to a sample is always the same, whatever stands beside it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from trainkit.data.sources import map_inputs
from trainkit.types import Inputs

STRONG_DROPOUT = 0.95
"""Share left out, from which too little is left to learn from; 0.5 and 0.8 are the most in common use."""

ROUNDING = 1e-3
"""Relative difference of outputs that other sizes of a matrix product may make."""

FEWEST_SAMPLES = 4
"""Of a batch that is halved."""


def eval_facts(network: nn.Module, inputs: Inputs) -> dict[str, Any]:
    """Fields of a ``Trial``: ``eval_noise`` and ``eval_dependence``.

    Args:
        network: Is put into eval mode; the caller puts it back.
        inputs: Of a batch.
    """
    network.eval()
    with torch.no_grad():
        first, second = network(inputs), network(inputs)
        noise = _difference(first, second)
        dependence = 0.0 if noise else _dependence(network, inputs, first)
    return {"eval_noise": noise, "eval_dependence": dependence}


def silence_dropout(net: nn.Module) -> None:
    """Leaves out noise that a batch learned by heart must not have."""
    for module in _dropouts(net):
        module.eval()


def has_dropout(net: nn.Module) -> bool:
    """Whether a net leaves out values at random in training."""
    return any(module.p > 0 for module in _dropouts(net))


def _dropouts(net: nn.Module) -> list[nn.modules.dropout._DropoutNd]:
    return [module for module in net.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]


def layer_facts(net: nn.Module) -> dict[str, Any]:
    """Fields of a ``Trial``: names of layers that leave out nearly all, or never gather their statistics."""
    layers = list(net.named_modules())
    dropouts = [(name, m) for name, m in layers if isinstance(m, nn.modules.dropout._DropoutNd)]
    norms = [(name, m) for name, m in layers if isinstance(m, nn.modules.batchnorm._NormBase)]
    return {
        "strong_dropouts": tuple(f"{name} ({m.p:g})" for name, m in dropouts if m.p >= STRONG_DROPOUT),
        "still_norms": tuple(name for name, m in norms if m.track_running_stats and m.momentum == 0),
    }


def _dependence(network: nn.Module, inputs: Inputs, whole: Tensor) -> float:
    """How far outputs change when half of the batch is missing; infinite where the net does not take half a batch."""
    size = len(whole) // 2
    if len(whole) < FEWEST_SAMPLES:
        return 0.0
    try:
        # The second half: a recurrent net over the batch would not miss the samples that follow.
        half = network(map_inputs(inputs, lambda tensor: tensor[size:]))
    except Exception:
        return math.inf  # told by the rule on it
    return math.inf if half.shape != whole[size:].shape else _difference(half, whole[size:])


def _difference(one: Tensor, other: Tensor) -> float:
    """Largest difference, relative to the largest output; below rounding it is 0."""
    one, other = one.double(), other.double()
    scale = max(float(one.abs().max()), 1e-12)
    found = float((one - other).abs().max()) / scale
    return found if found > ROUNDING else 0.0
