"""Optimizers as callables: what a user hands over in Python, and how one is built on a module's parameters."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from trainkit.errors import ConfigError
from trainkit.optim.groups import parameter_groups

OptimizerFactory = Callable[..., Optimizer]
"""Takes parameter groups (or parameters), gives an optimizer; a ``functools.partial`` of an optimizer class is one."""

NO_CLOSURE = "LBFGS needs a closure, which step execution does not give"


def adamw(
    lr: float = 1e-3, *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01
) -> OptimizerFactory:
    """AdamW (Loshchilov & Hutter, 2019, https://arxiv.org/abs/1711.05101), to be built on a model's parameters.

    Args:
        lr: Peak learning rate.
        betas: Decay rates of the first and second moment.
        eps: Added to the denominator.
        weight_decay: Decoupled decay; not applied to norms, biases and embeddings.

    Returns:
        A callable that takes parameter groups.
    """
    return functools.partial(torch.optim.AdamW, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


def sgd(
    lr: float = 0.1, *, momentum: float = 0.9, nesterov: bool = True, weight_decay: float = 5e-4
) -> OptimizerFactory:
    """Stochastic gradient descent with momentum, to be built on a model's parameters.

    Args:
        lr: Peak learning rate.
        momentum: Momentum factor; 0 turns it off (then set ``nesterov=False``).
        nesterov: Whether the momentum looks ahead.
        weight_decay: L2 penalty; not applied to norms, biases and embeddings.

    Returns:
        A callable that takes parameter groups.
    """
    return functools.partial(torch.optim.SGD, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


def build_optimizer(factory: OptimizerFactory, module: nn.Module) -> Optimizer:
    """Builds the optimizer on a module's trainable parameters, fused where its class and the parameters allow.

    Args:
        factory: Takes a list of parameter groups; its class may have a ``split_groups(groups, module)`` that says which
            of them it treats in which way.
        module: Its trainable parameters are optimized.

    Returns:
        The optimizer.

    Raises:
        ConfigError: Nothing is trainable, or the factory gives something else than an optimizer or one that needs a
            closure (LBFGS).
    """
    if _target(factory) is torch.optim.LBFGS:  # which would only complain of the parameter groups
        raise ConfigError(NO_CLOSURE, where="optimizer")
    groups = parameter_groups(module)
    if not groups:
        raise ConfigError("the model has no trainable parameters", where="model")
    if split := getattr(_target(factory), "split_groups", None):
        groups = split(groups, module)
    optimizer = factory(groups, **_fused(factory, groups))
    if not isinstance(optimizer, Optimizer):
        raise ConfigError(
            f"the optimizer is a {type(optimizer).__name__}", where="optimizer", expected="a torch.optim.Optimizer"
        )
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ConfigError(NO_CLOSURE, where="optimizer")
    for group in optimizer.param_groups:
        if "lr_scale" in group:
            group["lr"] *= group["lr_scale"]
    return optimizer


def _target(factory: OptimizerFactory) -> Any:
    return factory.func if isinstance(factory, functools.partial) else factory


def _fused(factory: OptimizerFactory, groups: list[dict[str, Any]]) -> dict[str, bool]:
    settings = factory.keywords if isinstance(factory, functools.partial) else {}
    target = _target(factory)
    if not inspect.isclass(target) or settings.keys() & {"fused", "foreach", "capturable", "differentiable"}:
        return {}
    if "fused" not in inspect.signature(target).parameters:
        return {}
    plain = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for g in groups for p in g["params"])
    return {"fused": True} if plain else {}
