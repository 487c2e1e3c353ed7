"""How a net computes while it trains: memory format, precision, compilation, and activations computed anew."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.utils.checkpoint import checkpoint

from trainkit.errors import ConfigError, did_you_mean, first_line
from trainkit.models import Network
from trainkit.types import DataSpec

PRECISIONS = {"fp32": "32-true", "bf16-mixed": "bf16-mixed", "bf16-true": "bf16-true", "fp16-mixed": "16-mixed"}
"""Lightning's names of the precisions."""

OWN_SETTINGS = ("ema", "compile", "activation_checkpointing")
"""Settings of the trainer that a LightningModule of the user's own sees to itself."""

_NORMS = nn.modules.batchnorm._NormBase


def lay_out(network: Network, config: DictConfig, spec: DataSpec) -> None:
    """Lays out kernels and images with the channels last where the config asks for it, or leaves it to the net."""
    asked = OmegaConf.select(config, "trainer.channels_last")
    has_kernels = any(isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) for module in network.net.modules())
    if asked is True or (asked == "auto" and spec.input_kind == "image" and has_kernels):
        network.lay_channels_last()


def lightning_precision(precision: str) -> Any:
    """What Lightning is to see to; the net itself is cast for ``bf16-true``, and not metrics and statistics with it."""
    return PRECISIONS["fp32" if precision == "bf16-true" else precision]


def check_computing(network: Network, trainer: DictConfig, on_gpu: bool) -> None:
    """Raises for what does not work here or names nothing.

    Raises:
        ConfigError: fp16 without a GPU, no compiler for ``torch.compile``, or a pattern that no module's name matches.
    """
    if trainer.precision == "fp16-mixed" and not on_gpu:
        raise ConfigError(
            "fp16-mixed needs a GPU", where="trainer.precision", expected="bf16-mixed, bf16-true or fp32 on a CPU"
        )
    if trainer.compile and (missing := missing_compiler(on_gpu)):
        raise ConfigError(f"trainer.compile has {missing}", where="trainer.compile", expected="false on this machine")
    if isinstance(trainer.compile, DictConfig):
        try:
            torch.compile(nn.Identity(), **{str(key): value for key, value in trainer.compile.items()})
        except Exception as error:  # torch has kinds of its own for each part
            what = f"torch.compile does not take these settings: {first_line(error)}"
            raise ConfigError(what, where="trainer.compile") from error
    matching(network.net, trainer.activation_checkpointing or [])


def missing_compiler(on_gpu: bool) -> str | None:
    """What ``torch.compile`` lacks here: Triton on a GPU, a C++ compiler elsewhere; None if nothing."""
    if on_gpu:
        return None if find_spec("triton") else "no Triton"
    names = [name for name in (os.environ.get("CXX", ""), "g++", "clang++") if name]
    return None if any(shutil.which(name) for name in names) else "no C++ compiler"


def matching(net: nn.Module, patterns: Sequence[str]) -> dict[str, nn.Module]:
    """Modules of a net by name, for the patterns that name them; those within another of them are left out.

    Args:
        net: The net.
        patterns: Names as in ``named_modules``, with the wildcards of the shell: ``blocks.*``.

    Raises:
        ConfigError: A pattern that matches nothing.
    """
    names = {name: module for name, module in net.named_modules() if name}
    found: dict[str, nn.Module] = {}
    for pattern in patterns:
        matched = {name: module for name, module in names.items() if fnmatchcase(name, pattern)}
        if not matched:
            where = "trainer.activation_checkpointing"
            hint = did_you_mean(pattern, list(names)) or f"its modules are {', '.join(list(names)[:8])} …"
            raise ConfigError(f"no module of the net is called '{pattern}'", where=where, hint=hint)
        found |= matched
    return {name: module for name, module in found.items() if not any(name.startswith(f"{other}.") for other in found)}


@contextmanager
def computing(network: Network, trainer: DictConfig) -> Iterator[Callable[..., Any] | None]:
    """Has a network compute as the trainer's settings say; afterwards in float32 and by its own code again.

    Args:
        network: Its net may be changed: weights are cast for ``bf16-true``.
        trainer: The section of the config.

    Yields:
        The compiled forward pass, or None.
    """
    settings = trainer.compile
    with ExitStack() as stack:
        if trainer.precision == "bf16-true":
            stack.enter_context(_narrow(network, torch.bfloat16))
        for module in matching(network.net, trainer.activation_checkpointing or []).values():
            stack.enter_context(_recomputing(module))
        options = dict(settings) if isinstance(settings, (dict, DictConfig)) else {}
        yield torch.compile(network.forward, **options) if settings else None


@contextmanager
def _narrow(network: Network, dtype: torch.dtype) -> Iterator[None]:
    network.net.to(dtype)
    network.dtype = dtype
    try:
        yield
    finally:
        network.net.float()
        network.dtype = None


@contextmanager
def _recomputing(module: nn.Module) -> Iterator[None]:
    """Keeps no activations within a module (Chen et al., 2016, https://arxiv.org/abs/1604.06174).

    Gradients are the same: dropout draws the same again, and statistics of BatchNorm count once.
    """
    forward = module.forward
    contexts = functools.partial(_contexts, [norm for norm in module.modules() if isinstance(norm, _NORMS)])

    def recomputed(*inputs: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*inputs, **named)
        return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts, **named)

    module.forward = recomputed
    try:
        yield
    finally:
        del module.forward


def _contexts(norms: Sequence[Any]) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    return nullcontext(), _without_statistics(norms)


@contextmanager
def _without_statistics(norms: Sequence[Any]) -> Iterator[None]:
    """Has BatchNorm leave its running statistics to the bit as they are."""
    tracking = [norm for norm in norms if norm.training and norm.track_running_stats and norm.running_mean is not None]
    momenta = [norm.momentum for norm in tracking]
    for norm in tracking:
        norm.momentum = 0.0
        norm.num_batches_tracked.sub_(1)
    try:
        yield
    finally:
        for norm, momentum in zip(tracking, momenta, strict=True):
            norm.momentum = momentum
