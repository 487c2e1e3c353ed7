"""Parameter groups: weight decay for matrices and kernels, none for norms, biases and embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
    nn.CrossMapLRN2d,
)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Splits the trainable parameters into those that decay and those that do not.

    Biases, vectors and scalars, and everything in normalisation and embedding layers are left out of weight decay, as
    is usual (He et al., 2019, https://arxiv.org/abs/1812.01187). A module leaves out all that is in it with
    ``no_decay = True``, and some of its own parameters by their names, ``no_decay = ("bias",)``. A shared parameter is
    listed once; it does not decay if any of its owners exempts it.

    Args:
        module: The module whose parameters with ``requires_grad`` are to be optimized.

    Returns:
        One or two groups for a ``torch.optim.Optimizer``: the first with the optimizer's own weight decay, the second
        with ``weight_decay`` 0. Groups keep the order of ``module.parameters()``. Where parameters have an attribute
        ``lr_scale``, a share of the optimizer's learning rate, or ``lr``, a rate of their own, a group for each.
    """
    exempt = exempt_from_decay(module)
    trainable = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trainable if id(p) not in exempt]},
        {"params": [p for p in trainable if id(p) in exempt], "weight_decay": 0.0},
    ]
    return [part for group in groups if group["params"] for part in _by_rate(group)]


def _by_rate(group: dict[str, Any]) -> list[dict[str, Any]]:
    """A group for each learning rate that its parameters ask for: ``lr_scale`` of the optimizer's, or an ``lr``."""
    parts: dict[tuple[float | None, float | None], dict[str, Any]] = {}
    for p in group["params"]:
        scale, lr = getattr(p, "lr_scale", None), getattr(p, "lr", None)
        own = {"lr_scale": scale} if lr is None and scale is not None else {} if lr is None else {"lr": lr}
        parts.setdefault((scale, lr), {**group, **own, "params": []})["params"].append(p)
    return list(parts.values())


def exempt_from_decay(module: nn.Module) -> set[int]:
    """Identities of the parameters that do not decay; see ``parameter_groups``."""
    exempt: set[int] = set()
    for owner in module.modules():
        whole = isinstance(owner, (*_NORMS, *_EMBEDDINGS))
        left_out: bool | Sequence[str] = getattr(owner, "no_decay", False)
        for name, p in owner.named_parameters(recurse=left_out is True):
            if whole or p.ndim < 2 or left_out is True or (left_out and name in left_out):
                exempt.add(id(p))
    return exempt
