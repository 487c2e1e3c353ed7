"""The containers that pass between the layers, and the legend of shape letters used in docstrings.

Shape letters: ``N`` rows of a split, ``B`` samples of a (micro-)batch, ``S`` samples of an execution (all its steps),
``F`` numeric columns, ``C`` categorical columns, ``D`` features of a flat input, ``K`` classes or labels (in ``tasks``
and ``evaluation``) or optimizer steps per execution (in ``training``), ``T`` targets, ``R`` resamples of a bootstrap.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Inputs: TypeAlias = "Tensor | dict[str, Tensor]"
"""What a net takes: one tensor [B, ...], or tensors passed by name."""

Batch: TypeAlias = "tuple[Inputs, Tensor]"
"""Inputs and targets of B samples; where rows are weighted, their weights float32 [B] come third."""

InputKind = Literal["table", "image", "signal", "vector", "other"]
TargetKind = Literal["class", "number", "multilabel"]


@dataclass(frozen=True)
class DataSpec:
    """What a model must know of the data; every size a model needs comes from here.

    Attributes:
        input_kind: ``table`` (numbers and codes), ``image`` [channels, height, width], ``signal`` [channels, length],
            ``vector`` [D], or ``other``.
        input_shape: Shape of one sample without the batch; for a table ``(D,)``, the width of the flat matrix.
        target_kind: ``class``, ``number`` (of several targets [N, T], NaN where one is missing), or ``multilabel``
            (targets float32 [N, K] of 0 and 1, NaN where a label is not known).
        class_names: Names of the classes (or of the K labels) in the order of the model's outputs; empty for numbers.
        feature_names: Columns of a table in the order of the encoded inputs; empty where the data has no columns.
        cardinalities: Codes per categorical column, the unknown bucket included; empty without categories.
        num_numbers: Numeric columns of a table.
        target_name: Column name of the target, or ``target``.
        target_names: Names of T > 1 numbers; empty for one.
    """

    input_kind: InputKind
    input_shape: tuple[int, ...]
    target_kind: TargetKind
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    cardinalities: tuple[int, ...] = ()
    num_numbers: int = 0
    target_name: str = "target"
    target_names: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """Number of classes or labels; 0 for a number."""
        return len(self.class_names)

    def sizes(self) -> dict[str, Any]:
        """Arguments that fill a config's ``???`` and ``${spec:…}``, by name."""
        num_outputs = (len(self.target_names) or 1) if self.target_kind == "number" else self.num_classes
        sizes: dict[str, Any] = {"num_outputs": num_outputs, "out_features": num_outputs}
        if self.target_kind != "number":
            sizes["num_classes"] = self.num_classes
        if self.target_kind == "multilabel":
            sizes["num_labels"] = self.num_classes
        if self.input_kind == "image":
            channels, height, width = self.input_shape
            sizes |= {"in_channels": channels, "image_size": height, "image_height": height, "image_width": width}
        if self.input_kind == "signal":
            channels, length = self.input_shape
            sizes |= {"in_channels": channels, "sequence_length": length}
        if self.input_shape:
            features = 1
            for size in self.input_shape:
                features *= size
            sizes |= {"in_features": features, "input_shape": list(self.input_shape)}
        if self.input_kind == "table":
            sizes |= {"num_numbers": self.num_numbers, "cardinalities": list(self.cardinalities)}
        return sizes

    def to_json(self) -> dict[str, Any]:
        """A plain dict that ``from_json`` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DataSpec:
        """The spec that ``to_json`` wrote (lists become tuples again)."""
        plain: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**plain)


class StepOutput(NamedTuple):
    """What a loss gives back for one (micro-)batch.

    The gradient of a step is that of the sum of ``loss_sum`` over all micro-batches and processes, divided by the sum
    of ``weight`` over all of them.

    Attributes:
        loss_sum: Scalar tensor with gradient: the loss summed over samples.
        weight: What the sum is to be divided by: samples, summed class weights, valid tokens.
        outputs: The net's outputs [B, ...]; metrics detach them.
        target: Targets [B, ...].
    """

    loss_sum: Tensor
    weight: Tensor | float
    outputs: Tensor
    target: Tensor


@dataclass(frozen=True)
class Predictions:
    """Predictions of one split, row by row, with what is needed to score them.

    Attributes:
        rows: int64 [N], row numbers in the source.
        target: int64 [N] class indices, float [N, K] of 0 and 1 for labels, or float64 [N] (of several targets [N, T])
            in the target's own unit; NaN where one of several is missing. None where it is not known.
        probabilities: float64 [N, K] for classes or labels, else None.
        values: float64 [N], of several targets [N, T], for numbers, else None.
        class_names: Names of the K classes or labels; empty for numbers.
        groups: Group of each row, int or text [N], where rows of one group are not independent; None where all are.
        files: object [N], names of the files; None where a row is no file.
        quantiles: float64 [N, Q], rising; None where only ``values`` are predicted.
        levels: Their Q levels.
        target_names: Names of T > 1 numbers; empty for one.
        is_multilabel: Whether probabilities are of labels, of which a row may have any number.
    """

    rows: np.ndarray
    target: np.ndarray | None
    probabilities: np.ndarray | None = None
    values: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    groups: np.ndarray | None = None
    files: np.ndarray | None = None
    quantiles: np.ndarray | None = None
    levels: tuple[float, ...] = ()
    target_names: tuple[str, ...] = ()
    is_multilabel: bool = False

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % confidence interval.

    Attributes:
        value: The point estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Rows it was computed from.
        method: How the interval was made, for example ``bootstrap``, ``bootstrap of 24 groups`` or ``wilson``.
    """

    value: float
    low: float
    high: float
    n: int
    method: str = field(default="bootstrap", compare=False)

    def __str__(self) -> str:
        decimals = decimals_for(self.value, self.low, self.high)
        if math.isnan(self.low) and math.isnan(self.high):
            return f"{self.value:,.{decimals}f}"
        return f"{self.value:,.{decimals}f} [{self.low:,.{decimals}f}, {self.high:,.{decimals}f}]"

    def __float__(self) -> float:
        return self.value


def of_each(metric: str, names: Sequence[str]) -> list[str]:
    """Names of a metric of each of several targets, such as ``rmse_height``: letters, digits and _ of the names only.

    Args:
        metric: Its name, such as ``rmse``.
        names: Of the targets; where two come out alike, their places are added.
    """
    plain = [re.sub(r"\W+", "_", name).strip("_") for name in names]
    unique = [f"{name}_{place}" if plain.count(name) > 1 or not name else name for place, name in enumerate(plain)]
    return [f"{metric}_{name}".replace("__", "_") for name in unique]


def decimals_for(*numbers: float) -> int:
    """Decimals with which numbers are printed side by side: about four digits of the largest, three below 10.

    Args:
        numbers: Those that are nan or infinite do not count.
    """
    largest = max((abs(number) for number in numbers if math.isfinite(number)), default=0.0)
    if largest >= 10:
        return max(0, 3 - int(math.log10(largest)))
    return 3 if largest >= 0.01 or not largest else min(6, 1 - math.floor(math.log10(largest)))
