"""What the values of inputs look like: marks of missing values, and whether parts of the data look alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainkit.runs.inspection.leakage import Column

FAR = 1e3
"""Distance of a value from the others, over their spread, from which it is no measurement."""

SENTINEL_SHARE = 0.01
"""Share of the rows that have it, from which a far value is a habit and no slip."""

FEWEST_ROWS, FEWEST_VALUES = 50, 5
"""Rows of a column, and different values besides the far one, below which nothing is said."""


@dataclass(frozen=True)
class Sentinel:
    """A number that stands for something else, as a missing value.

    Attributes:
        feature: Where it stands.
        value: The number.
        share: Of the rows.
    """

    feature: str
    value: float
    share: float


@dataclass(frozen=True)
class PartLook:
    """What the inputs of a part look like.

    Attributes:
        shape: Of one sample; None where samples differ.
        mean, std: Over all values that are finite; nan without any.
    """

    shape: tuple[int, ...] | None
    mean: float
    std: float


def find_sentinels(columns: Sequence[Column]) -> Iterator[Sentinel]:
    """Largest and smallest values that are far from all others and stand in many rows."""
    for column in columns:
        values = column.values[np.isfinite(column.values)] if column.kind == "number" else column.values[:0]
        if len(values) < FEWEST_ROWS:
            continue
        for value in (values.min(), values.max()):
            others = values[values != value]
            share = 1 - len(others) / len(values)
            if share < SENTINEL_SHARE or len(np.unique(others)) < FEWEST_VALUES:
                continue
            if np.abs(others - value).min() > FAR * others.std() > 0:
                yield Sentinel(column.name, float(value), share)


def look_of(inputs: Tensor | Sequence[Tensor]) -> PartLook:
    """Shape, mean and deviation of samples.

    Args:
        inputs: Of any type [N, ...], or one by one.
    """
    shapes, sums = set(), np.zeros(3)
    for sample in inputs:
        shapes.add(tuple(sample.shape))
        flat = sample.detach().cpu().double().reshape(-1)
        flat = flat[flat.isfinite()]
        sums += [len(flat), float(flat.sum()), float(flat.square().sum())]
    mean, square = sums[1:] / sums[0] if sums[0] else (math.nan, math.nan)
    return PartLook(shapes.pop() if len(shapes) == 1 else None, mean, math.sqrt(max(square - mean**2, 0.0)))


def spread_rows(size: int, most: int) -> Tensor:
    """At most ``most`` rows spread evenly over ``size``, int64."""
    return torch.linspace(0, size - 1, min(size, most)).long()
