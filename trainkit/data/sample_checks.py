"""Looks at the samples of a user's own Dataset, whose code may raise or give anything; called by ``dataset``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainkit.data.sources import DatasetSource
from trainkit.errors import DataError, TrainkitError, first_line, place_of


def read_sample(source: DatasetSource, row: int) -> Any:
    """One sample as the Dataset gives it.

    Raises:
        DataError: The Dataset's own code raised something, which the error names.
    """
    try:
        return source.sample(row)
    except TrainkitError:
        raise
    except Exception as error:  # the user's own code may raise anything
        what = f"sample {row} cannot be read: {type(error).__name__}: {first_line(error)}"
        raise DataError(what, where=f"data{place_of(error)}") from error


def check_sample(inputs: Any, target: Any, row: int) -> None:
    """Raises DataError for a sample that cannot be learned from."""
    named = inputs.items() if isinstance(inputs, dict) else [("inputs", inputs)]
    for name, tensor in [*named, ("target", target)]:
        may_lack = name == "target" and isinstance(tensor, Tensor) and tensor.numel() > 1
        if not isinstance(tensor, Tensor):
            is_text = isinstance(tensor, (list, tuple)) and len(tensor) and isinstance(tensor[0], str)
            found = "text" if is_text else f"a {type(tensor).__name__}"
            raise DataError(f"{name} is {found}", where=f"data, sample {row}", expected="a tensor, array or number")
        fault = "complex" if tensor.is_complex() else "on no device (meta)" if tensor.is_meta else None
        fault = fault or ("empty" if not tensor[0].numel() and name != "target" else None)
        if fault:
            raise DataError(f"{name} is {fault}", where=f"data, sample {row}", expected="a tensor of real numbers")
        finite = torch.where(tensor.isnan(), 0.0, tensor.float()) if may_lack else tensor.float()
        if tensor.is_floating_point() and not bool(finite.isfinite().all()):
            is_large = bool(tensor.isfinite().all())
            found = "values too large for float32" if is_large else "NaN or infinite values"
            expected = "numbers up to 3.4e38" if is_large else "finite numbers"
            raise DataError(f"{name} has {found}", where=f"data, sample {row}", expected=expected)
    if (target.ndim > 2 and target.numel() != 1) or not target.numel():
        found = f"the target has shape {list(target.shape[1:])}"
        raise DataError(found, where=f"data, sample {row}", expected="one number, or several, [T]")


def length_of(part: Any, where: str) -> int:
    """The length of a Dataset; DataError where its own code gives none."""
    try:
        return len(part)
    except Exception as error:  # the user's own code may raise anything
        what = f"the length of {type(part).__name__} cannot be had: {type(error).__name__}: {first_line(error)}"
        raise DataError(what, where=where, expected="a number of samples") from error


def shapes_of(inputs: Any) -> dict[str, list[int]]:
    """Shapes of the inputs of a sample by name; of one without a name under the empty text."""
    named = inputs if isinstance(inputs, dict) else {"": inputs}
    return {name: list(tensor.shape[1:]) for name, tensor in named.items()}


def shown(shapes: dict[str, list[int]]) -> str:
    """Shapes in words."""
    return ", ".join(f"{name} {shape}".strip() for name, shape in shapes.items())
