"""How many samples an optimizer step takes: as given, or by the size of the training part."""

from __future__ import annotations

from typing import Literal, TypeAlias

from trainkit.errors import DataError

BatchSize: TypeAlias = int | Literal["auto"] | None
"""A number of samples; ``auto``, or None as runs before 0.4.0 chose it, by the size of the training part."""

LARGEST_BATCH = 256
_BY_SIZE: dict[str | None, dict[int, int]] = {None: {2_000: 32}, "auto": {2_000: 32, 10_000: 64}}


def check_batch_sizes(batch_size: BatchSize, eval_batch_size: int) -> None:
    """Raises a ``DataError`` for a size that is no integer ≥ 1 and no choice."""
    for key, size, choices in (("batch_size", batch_size, [*_BY_SIZE]), ("eval_batch_size", eval_batch_size, [])):
        if size not in choices and not (isinstance(size, int) and size >= 1):
            raise DataError(f"{key} is {size}", where=f"data.{key}", expected="an integer ≥ 1")


def chosen_batch_size(given: Literal["auto"] | None, num_samples: int) -> int:
    """What suits ``num_samples`` of the training part."""
    return next((size for most, size in _BY_SIZE[given].items() if num_samples < most), LARGEST_BATCH)
