"""Arrays in memory: images and vectors with a target each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trainkit.data.fingerprint import fingerprint_arrays
from trainkit.data.layout import KINDS
from trainkit.data.module import DataModule
from trainkit.data.preprocessing import Standardize
from trainkit.data.readers import ArrayReader
from trainkit.data.roles import role_words
from trainkit.data.several import label_strata
from trainkit.data.sources import TensorSource, tensor_of
from trainkit.data.splits import EXTRA
from trainkit.errors import DataError
from trainkit.types import DataSpec, TargetKind

DTYPES = {"class": np.int64, "number": np.float64, "multilabel": np.float32}

CELLS_AT_ONCE = 2**22
"""Numbers that checks and statistics take at a time, 32 MiB as float64."""


class ArrayData(DataModule):
    """Base for arrays in memory; a subclass overrides ``arrays``.

    Images are [N, channels, height, width], signals [N, channels, length], vectors [N, D]; integer images stay integers
    in memory. Images and signals are standardised per channel inside the model, vectors per feature.

    Attributes:
        target_names: Names of several numbers; ``y0``, ``y1``, … by default.

    Args:
        common: Arguments of ``DataModule``.
    """

    target_names: tuple[str, ...] = ()

    def __init__(self, **common: Any) -> None:
        super().__init__(**common)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
        """Inputs [N, ...], targets [N] and class names (empty for a number); or several targets [N, T].

        With names these are labels, float of 0 and 1. NaN stands for a missing one of several.
        """
        raise TypeError(f"{type(self).__name__} must override arrays()")

    def load(self) -> int:
        """Takes in the arrays and checks them."""
        inputs, target, class_names = self.arrays()
        check_arrays(inputs, target, len(class_names), self.name, num_parts=len(self.sizes))
        self._inputs, self._class_names = inputs, tuple(class_names)
        self._kind: TargetKind = "number"
        if self._class_names:
            self._kind = "class" if target.ndim == 1 else "multilabel"
        self._target = target.astype(DTYPES[self._kind])
        count = self._target.shape[1] if self._target.ndim == 2 and self._kind == "number" else 0
        self.target_names = check_target_names(self.target_names, count)
        roles = [np.asarray(self._series(role, name)) for role, name in self.roles.items() if name is not None]
        texts = (values.astype(str) if values.dtype.hasobject else values for values in roles)
        self.fingerprint = fingerprint_arrays(inputs, self._target, *texts)
        return len(target)

    def strata(self) -> np.ndarray | None:
        """The classes, or combinations of labels; None for numbers."""
        if self._kind == "multilabel":
            return label_strata(self._target)
        return self._target if self._kind == "class" else None

    def prepare(self, train_rows: np.ndarray) -> None:
        """Makes tensors of the arrays; statistics are of the training part."""
        inputs = tensor_of(self._inputs)
        self._inputs = inputs.numpy()  # the one copy: what was given may be a file that changes
        self.source = TensorSource(inputs, torch.from_numpy(self._target))
        shape = tuple(self._inputs.shape[1:])
        self.spec = DataSpec(
            input_kind=KINDS[self._inputs.ndim],
            input_shape=shape,
            target_kind=self._kind,
            class_names=self._class_names,
            target_names=self.target_names,
        )
        self.reader = ArrayReader(shape)
        self._mean, self._scale = statistics(inputs, torch.from_numpy(train_rows))
        _check_not_constant(inputs, train_rows, self.name)

    def input_module(self, net: nn.Module) -> nn.Module:
        """Standardises per channel or feature."""
        kind = self.spec.input_kind
        return Standardize(self._mean, self._scale, image=kind == "image", signal=kind == "signal")

    def flat_arrays(self) -> np.ndarray:
        """The inputs, flattened."""
        return self._inputs.reshape(len(self._inputs), -1).astype(np.float32)

    def describe(self) -> str:
        """Name, size and shape."""
        shape = "×".join(map(str, self.spec.input_shape))
        own = sum(size for part, size in self.sizes.items() if not part.startswith(EXTRA)) or len(self.source)
        words = [f"{self.name} {own:,} {self.spec.input_kind}s {shape}", *role_words(self.roles)]
        return " · ".join(words)


def statistics(inputs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel or feature, float64, over some rows; 1 for the deviation of a constant.

    Args:
        inputs: [N, D], or [N, channels, ...]; read a few rows at a time.
        rows: int64, the training rows.
    """
    axes = (0, *range(2, inputs.ndim))
    parts = torch.split(rows, max(1, CELLS_AT_ONCE // max(inputs[0].numel(), 1)))
    count = len(rows) * inputs[0].numel() // inputs.shape[1]
    mean = torch.stack([inputs[part].double().sum(dim=axes) for part in parts]).sum(dim=0) / count
    shaped = mean.reshape(1, -1, *(1 for _ in axes[1:]))
    squares = [(inputs[part].double() - shaped).square().sum(dim=axes) for part in parts]
    scale = (torch.stack(squares).sum(dim=0) / count).sqrt()
    return mean, torch.where(scale > 0, scale, 1.0)


def _check_not_constant(inputs: Tensor, train_rows: np.ndarray, name: str) -> None:
    first = inputs[int(train_rows[0])] if len(train_rows) else None
    step = max(1, CELLS_AT_ONCE // inputs[0].numel())
    starts = range(0, len(train_rows), step)
    if first is not None and all(bool((inputs[train_rows[at : at + step]] == first).all()) for at in starts):
        what = f"all inputs of {name} to train on are the same"
        raise DataError(what, where="data", expected="samples that differ")


def check_arrays(inputs: np.ndarray, target: np.ndarray, num_classes: int, name: str, num_parts: int = 1) -> None:
    """Raises DataError for arrays that cannot be learned from.

    Args:
        inputs: [N, D], [N, channels, length] or [N, channels, height, width].
        target: [N], or [N, T] of several.
        num_classes: Classes or labels, or 0 for numbers.
        name: Of the data, for the message.
        num_parts: Parts that stand one after the other in the arrays.
    """
    if len(inputs) != len(target):
        raise DataError(f"{name} has {len(inputs):,} inputs and {len(target):,} targets", where="data")
    if not len(inputs):
        raise DataError(f"{name} is empty", where="data")
    expected = "[N, D], [N, channels, length] or [N, channels, height, width]"
    shapes = ("inputs", inputs, tuple(KINDS), expected), ("targets", target, (1, 2), "[N], or [N, T]")
    for label, array, axes, shape in shapes:
        if array.dtype.kind not in "biuf":
            found = "Python objects" if array.dtype == object else f"of type {array.dtype}"
            raise DataError(f"the {label} of {name} are {found}", where="data", expected="an array of numbers")
        is_column = array is target and array.shape[1:] == (1,)
        if array.ndim not in axes or is_column or 0 in array.shape[1:]:
            raise DataError(f"the {label} of {name} have the shape {list(array.shape)}", where="data", expected=shape)
        if np.issubdtype(array.dtype, np.floating):
            may_lack = array is target and target.ndim == 2
            _check_numbers(label, np.nan_to_num(array, nan=0.0) if may_lack else array, name, num_parts)
    if num_classes and target.ndim == 1:
        check_labels(target, num_classes, name)
    elif target.ndim == 1 and len(target) > 1 and (target == target[0]).all():
        raise DataError(f"every target of {name} is {target[0]:g}", where="data", expected="numbers that differ")


def _check_numbers(label: str, array: np.ndarray, name: str, num_parts: int) -> None:
    bad, fault, expected = unusable_rows(array), "NaN or infinite", "finite numbers"
    if not len(bad):
        bad, fault, expected = unusable_rows(array, np.float32), "too large for float32", "numbers up to 3.4e38"
    if not len(bad):
        return
    found = f"{len(bad):,} row{'s' if len(bad) > 1 else ''} of the {label} of {name}"
    where = f"data, row{'s' if len(bad) > 1 else ''} {', '.join(map(str, bad[:5]))}{', …' if len(bad) > 5 else ''}"
    hint = "rows are counted from 0" + ", on through all parts" * (num_parts > 1) + "; leave them out, or fill them in"
    what = f"{found} {'have' if len(bad) > 1 else 'has'} numbers that are {fault}"
    raise DataError(what, where=where, expected=expected, hint=hint)


def unusable_rows(array: np.ndarray, dtype: npt.DTypeLike | None = None) -> np.ndarray:
    """Rows with values that are NaN or infinite, as they are or as another type, int64.

    They are read a few at a time, for the array may stand on the disk.
    """
    step, found = max(1, CELLS_AT_ONCE // max(int(np.prod(array.shape[1:])), 1)), [np.empty(0, np.int64)]
    for start in range(0, len(array), step):
        with np.errstate(over="ignore"):
            finite = np.isfinite(array[start : start + step].astype(dtype or array.dtype, copy=False))
        found.append(start + np.flatnonzero(~finite.reshape(len(finite), -1).all(axis=1)))
    return np.concatenate(found)


def check_target_names(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Names of several numbers; ``y0``, ``y1``, … where none are given.

    Args:
        names: As the user gave them; empty for none.
        count: Numbers of a row; 0 for one, or for classes or labels.

    Raises:
        DataError: Another number of names, or one twice.
    """
    names = names or tuple(f"y{place}" for place in range(count))
    if len(names) != count or len(set(names)) < count:
        what = f"data.target_names are {', '.join(names)}"
        expected = f"{count} different ones" if count else "none, for a target that is not several numbers"
        raise DataError(what, where="data.target_names", expected=expected)
    return names


def check_labels(target: np.ndarray, num_classes: int, name: str) -> None:
    """Raises DataError for class indices out of range, or of one class only."""
    bad = np.flatnonzero((target < 0) | (target >= num_classes) | (target != np.floor(target)))
    if len(bad):
        raise DataError(
            f"label {target[bad[0]]} of {name} is out of range",
            where=f"data, row {bad[0]}",
            expected=f"an integer from 0 to {num_classes - 1}",
        )
    if len(np.unique(target)) < 2:
        raise DataError(f"every target of {name} is of one class ({target[0]})", where="data", expected="at least two")
