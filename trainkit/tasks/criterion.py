"""The user's own loss in place of a task's: any callable of outputs and targets, made a sum and a weight."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

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


def check_criterion(criterion: Criterion, outputs: Tensor, target: Tensor) -> None:
    """Tries a criterion on a batch.

    Raises:
        ConfigError: It fails, gives something else than a loss per sample or one number, or a loss without gradient;
            what it warned of on the way is the hint.
    """
    with _warnings_as_hint():
        _try(criterion, outputs, target)


def _try(criterion: Criterion, outputs: Tensor, target: Tensor) -> None:
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
    _check_shape(criterion, losses, len(target))
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
