"""The user's own loss in place of a task's: any callable of outputs and targets, made a sum and a weight."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from trainkit.errors import ConfigError, TrainkitError, first_line, place_of

Criterion: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Takes outputs and targets; gives a loss per sample [B], or one number that is the mean over the batch."""

WHERE = "task.criterion"
_REDUCTIONS = ("mean", "sum")


def per_sample(criterion: Criterion | None) -> Criterion | None:
    """A criterion that gives a loss per sample where it can: a module with a ``reduction`` gets ``"none"``.

    Args:
        criterion: The user's; a module is changed in place.

    Raises:
        ConfigError: It cannot be called with outputs and targets.
    """
    if criterion is None:
        return None
    if not callable(criterion) or inspect.isclass(criterion):
        found = f"the class {criterion.__name__}" if inspect.isclass(criterion) else f"a {type(criterion).__name__}"
        expected = "an nn.Module or function of (outputs, target)"
        raise ConfigError(f"the criterion is {found}", where=WHERE, expected=expected)
    if isinstance(criterion, nn.Module) and getattr(criterion, "reduction", None) in _REDUCTIONS:
        criterion.reduction = "none"  # type: ignore[assignment]
    return criterion


def summed(
    criterion: Criterion, outputs: Tensor, target: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor | float]:
    """A criterion's loss summed over the batch, and the weight to divide it by.

    Args:
        criterion: The user's. One number is taken as the mean over the batch: its sum is that times B.
        outputs: What it takes as outputs [B, ...].
        target: What it takes as targets [B, ...].
        weight: Row weights, float [B]; None counts each row once.

    Raises:
        ConfigError: It gives neither a loss per sample nor one number, or one number that row weights cannot weigh.
    """
    losses = criterion(outputs, target)
    size = len(target)
    _check_shape(criterion, losses, size)
    if losses.ndim == 0:
        if weight is not None:
            what = f"{_name(criterion)} gives one number for a batch, in which rows cannot be weighed"
            raise ConfigError(what, where=WHERE, expected="a loss for each sample, [batch]")
        return losses * size, float(size)
    if weight is not None:
        return (losses * weight).sum(), weight.sum()
    return losses.sum(), float(size)


def summed_known(
    criterion: Criterion, outputs: Tensor, target: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor | float]:
    """As ``summed``, of several targets, of which some may be missing.

    Args:
        criterion: The user's. It may also give a loss per target [B, T]; a missing one then counts for nothing.
            Otherwise a sample with a missing target makes the loss NaN.
        outputs: float [B, T].
        target: float [B, T], NaN where one is missing.
        weight: Row weights, float [B]; None counts each row once.
    """
    known = ~target.isnan()
    losses = criterion(outputs, torch.where(known, target, 0.0))
    if isinstance(losses, Tensor) and losses.shape == outputs.shape:
        return mean_of_known(losses, known, weight)
    return summed(criterion, outputs, target, weight)


def mean_of_known(losses: Tensor, known: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Losses of several targets, for each sample their mean, summed over samples; and the weight to divide by.

    Args:
        losses: float [B, T], finite.
        known: bool [B, T]; what is not known counts neither in the sum nor in the weight.
        weight: Row weights, float [B]; None counts each row once.
    """
    shares = known.to(losses.dtype) if weight is None else known * weight[:, None].to(losses.dtype)
    return (losses * shares).sum() / losses.shape[1], shares.sum() / losses.shape[1]


def check_criterion(criterion: Criterion, outputs: Tensor, target: Tensor) -> None:
    """Tries a criterion on a batch.

    Args:
        criterion: The user's.
        outputs: What it takes as outputs [B, ...].
        target: What it takes as targets [B]; of several targets [B, T], NaN where one is missing.

    Raises:
        ConfigError: It fails, gives something else than a loss per sample or one number, or a loss without gradient;
            what it warned of on the way is the hint.
    """
    with _warnings_as_hint():
        known = ~target.isnan() if target.ndim == 2 else None
        _try(criterion, outputs, target if known is None else torch.where(known, target, 0.0), known)


def _try(criterion: Criterion, outputs: Tensor, target: Tensor, known: Tensor | None) -> None:
    try:
        losses = criterion(outputs, target)
    except TrainkitError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{_name(criterion)} does not take a batch: {type(error).__name__}: {first_line(error)}",
            where=WHERE + place_of(error),
            expected=f"a loss of outputs {_described(outputs)} and targets {_described(target)}",
        ) from error
    is_each = known is not None and isinstance(losses, Tensor) and losses.shape == outputs.shape
    if not is_each:
        _check_shape(criterion, losses, len(target))
    if known is not None and not is_each and not bool(known.all()):
        what = f"{_name(criterion)} gives no loss per target, and some targets are missing"
        raise ConfigError(what, where=WHERE, expected="a loss for each target, [batch, targets], reduction='none'")
    if outputs.requires_grad and not losses.requires_grad:
        what = f"the loss of {_name(criterion)} has no gradient"
        raise ConfigError(what, where=WHERE, expected="a loss computed from the outputs by torch, not detached")


@contextmanager
def _warnings_as_hint() -> Iterator[None]:
    """Keeps warnings back: an error is told alone, with the first of them as its hint; without one they follow."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except TrainkitError as error:
            if caught and error.hint is None:
                error.hint = f"it warned: {str(caught[0].message).splitlines()[0]}"
            raise
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def refuse_beside(criterion: Criterion | None, **settings: Any) -> None:
    """Raises ConfigError for a setting of the built-in loss that a criterion would leave without effect.

    Args:
        criterion: The user's, or None for the built-in loss.
        settings: Of the built-in loss; those that are None are not set.
    """
    for name, value in settings.items():
        if criterion is not None and value is not None:
            what = f"task.{name} has no effect on a criterion of your own"
            raise ConfigError(what, where=f"task.{name}", hint=f"give it to {_name(criterion)}, or leave it out")


def _check_shape(criterion: Criterion, losses: Any, size: int) -> None:
    expected = "a loss for each sample, [batch], or the mean over the batch as one number"
    if not isinstance(losses, Tensor):
        raise ConfigError(f"{_name(criterion)} gives a {type(losses).__name__}", where=WHERE, expected=expected)
    if losses.ndim and losses.shape != (size,):
        found = f"{list(losses.shape)} for a batch of {size}"
        raise ConfigError(f"{_name(criterion)} gives losses of shape {found}", where=WHERE, expected=expected)


def _name(criterion: Any) -> str:
    if isinstance(criterion, functools.partial):
        criterion = criterion.func
    return getattr(criterion, "__name__", type(criterion).__name__)


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
