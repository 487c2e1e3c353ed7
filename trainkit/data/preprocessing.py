"""Preprocessing with statistics of the training part in buffers: saved with the model, so that raw inputs go in."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainkit.types import Inputs


def takes_columns(net: nn.Module) -> bool:
    """Whether a net's ``forward`` takes a table as ``numbers`` and ``codes`` instead of one matrix."""
    return {"numbers", "codes"} <= set(inspect.signature(net.forward).parameters)


class AsFloat(nn.Module):
    """Passes inputs through; integers of images (uint8) become float32 in [0, 1].

    Shape:
        - Input: any tensor, or a dict of tensors, which is passed through untouched.
        - Output: as the input.
    """

    def settings(self) -> dict[str, Any]:
        """What ``build_inputs`` needs to build this module again."""
        return {"kind": "as_float"}

    def forward(self, inputs: Inputs) -> Inputs:
        """Scales uint8 tensors, passes everything else through."""
        if isinstance(inputs, Tensor) and inputs.dtype == torch.uint8:
            return inputs.float() / 255
        return inputs


class Standardize(nn.Module):
    """Subtracts a mean and divides by a scale, per channel of an image or a signal, or per feature of a vector.

    Args:
        mean: float [channels] or [D], from the training part.
        scale: The same shape; standard deviation, 1 for a constant.
        image: Whether inputs are [B, channels, height, width].
        signal: Whether inputs are [B, channels, length].

    Shape:
        - Input: [B, channels, height, width], [B, channels, length] or [B, D], any number type.
        - Output: float32, the same shape.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, image: bool, signal: bool = False) -> None:
        super().__init__()
        self.image, self.signal = image, signal
        shape = (1, -1, 1, 1) if image else (1, -1, 1) if signal else (1, -1)
        self.register_buffer("mean", mean.float().reshape(shape))
        self.register_buffer("scale", scale.float().reshape(shape))

    def settings(self) -> dict[str, Any]:
        """What ``build_inputs`` needs to build this module again."""
        return {"kind": "standardize", "image": self.image, "signal": self.signal, "size": self.mean.numel()}

    def forward(self, inputs: Tensor) -> Tensor:
        """Standardises float or integer inputs."""
        return (inputs.float() - self.mean) / self.scale


class TableInputs(nn.Module):
    """Turns a table's raw numbers and codes into what the net takes.

    Missing numbers (NaN) become the training mean (by quantiles, the median), with a column of 0/1 marks for each
    number that was missing in training. A net whose ``forward`` takes ``numbers`` and ``codes`` gets them; any other
    gets one matrix: scaled numbers, marks, one-hot categories. A category's unknown bucket is silent (all zeros) unless
    training filled it.

    Args:
        mean: float [F] of the training part.
        scale: float [F]; 1 for a constant.
        has_missing: bool [F], whether a number was missing in training.
        cardinalities: Codes per category, the unknown bucket 0 included.
        has_rare: bool [C], whether training filled the unknown bucket.
        as_matrix: Whether the net takes one matrix.
        quantiles: float [F, Q], rising quantiles of the training part: numbers become normally distributed by their
            rank in it. None scales them by mean and standard deviation.

    Shape:
        - Input: ``{"numbers": float32 [B, F], "codes": int64 [B, C]}``.
        - Output: float32 [B, D], or ``{"numbers": float32 [B, F + marks], "codes": int64 [B, C]}``.
    """

    mean: Tensor
    scale: Tensor
    has_missing: Tensor
    has_rare: Tensor
    quantiles: Tensor | None

    def __init__(
        self,
        mean: Tensor,
        scale: Tensor,
        has_missing: Tensor,
        cardinalities: tuple[int, ...],
        has_rare: Tensor,
        as_matrix: bool = True,
        quantiles: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.cardinalities, self.as_matrix = tuple(cardinalities), as_matrix
        self.register_buffer("mean", mean.float())
        self.register_buffer("scale", scale.float())
        self.register_buffer("has_missing", has_missing.bool())
        self.register_buffer("has_rare", has_rare.bool())
        self.register_buffer("quantiles", None if quantiles is None else quantiles.float())
        starts = [sum(cardinalities[:column]) for column in range(len(cardinalities))]
        self.register_buffer("_starts", torch.tensor(starts, dtype=torch.int64), persistent=False)

    def settings(self) -> dict[str, Any]:
        """What ``build_inputs`` needs to build this module again."""
        size, ranks = self.mean.numel(), 0 if self.quantiles is None else self.quantiles.shape[1]
        layout = {"cardinalities": list(self.cardinalities), "as_matrix": self.as_matrix}
        return {"kind": "table", "size": size, **layout, "quantiles": ranks}

    @property
    def width(self) -> int:
        """Columns D of the matrix."""
        return self.mean.numel() + int(self.has_missing.sum()) + sum(self.cardinalities)

    def forward(self, inputs: dict[str, Tensor]) -> Inputs:
        """Scales, marks and, where the net takes a matrix, one-hot encodes."""
        raw, codes = inputs["numbers"], inputs["codes"]
        missing = raw.isnan()
        scaled = (raw - self.mean) / self.scale if self.quantiles is None else to_normal(raw, self.quantiles)
        numbers = torch.where(missing, 0.0, scaled)
        numbers = torch.cat([numbers, missing[:, self.has_missing].float()], dim=1)
        if not self.as_matrix:
            return {"numbers": numbers, "codes": codes}
        one_hot = numbers.new_zeros(len(codes), sum(self.cardinalities))
        known = ((codes > 0) | self.has_rare).to(numbers.dtype)
        one_hot.scatter_(1, codes + self._buffers["_starts"], known)  # type: ignore[operator]
        return torch.cat([numbers, one_hot], dim=1)


def to_normal(values: Tensor, quantiles: Tensor) -> Tensor:
    """Numbers as the normal deviate of their rank among the quantiles of the training part.

    Between quantiles the rank is interpolated, of a value that several quantiles share it is their middle; beyond the
    training part's range it is that of the end. Nothing is random.

    Args:
        values: float [B, F].
        quantiles: float [F, Q], rising, Q ≥ 2.

    Returns:
        float [B, F], within ±3.3 for 1,000 quantiles.
    """
    size, columns = quantiles.shape[1], values.T.contiguous()
    first, behind = torch.searchsorted(quantiles, columns), torch.searchsorted(quantiles, columns, right=True)
    upper = first.clamp(1, size - 1)
    low, high = quantiles.gather(1, upper - 1), quantiles.gather(1, upper)
    between = upper - 1 + (columns - low) / (high - low)
    rank = torch.where(behind > first, (first + behind - 1) / 2, between) / (size - 1)
    margin = 0.5 / size
    normal: Tensor = torch.special.ndtri(rank.clamp(margin, 1 - margin))
    return normal.T


def column_quantiles(numbers: np.ndarray, most: int) -> Tensor:
    """Quantiles of each column from its least to its greatest value, for ``to_normal``.

    Args:
        numbers: float32 [N, F], NaN where missing; every column has a value.
        most: Quantiles at most; fewer rows give as many, and 2 at least.

    Returns:
        float32 [F, Q].
    """
    shares = np.linspace(0, 1, max(2, min(most, len(numbers))))
    if not numbers.shape[1]:
        return torch.zeros(0, len(shares))
    found = np.nanquantile(numbers.astype(np.float64), shares, axis=0).T
    return torch.from_numpy(np.maximum.accumulate(found.astype(np.float32), axis=1))


def build_inputs(settings: Mapping[str, Any]) -> nn.Module:
    """Builds a preprocessing module from its ``settings``; its buffers are then loaded from the saved weights.

    Raises:
        ValueError: The kind is unknown.
    """
    kind, size = settings["kind"], settings.get("size", 0)
    if kind == "as_float":
        return AsFloat()
    if kind == "standardize":
        return Standardize(torch.zeros(size), torch.ones(size), settings["image"], settings.get("signal", False))
    if kind == "table":
        cardinalities = tuple(settings["cardinalities"])
        marks, rare = torch.zeros(size), torch.zeros(len(cardinalities))
        ranks = settings.get("quantiles", 0)
        quantiles = torch.zeros(size, ranks) if ranks else None
        return TableInputs(marks, marks + 1, marks, cardinalities, rare, settings["as_matrix"], quantiles)
    raise ValueError(f"unknown preprocessing '{kind}'")
