"""The base of all augmentations, and the sequence of them that training applies to the samples of a step."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from trainkit.data.augment.draws import Draws
from trainkit.errors import ConfigError
from trainkit.types import Batch, DataSpec, InputKind, Inputs

_PORTION = 2**19
"""Values augmented at a time on a CPU: 2 MB as floats."""

KIND_NAMES: dict[InputKind, str] = {
    "table": "a table",
    "image": "pictures",
    "signal": "signals",
    "vector": "vectors",
    "other": "of a form of its own",
}
"""Kinds of inputs in words."""


class Samples(NamedTuple):
    """What is augmented together: this process's samples of one optimizer step.

    Attributes:
        inputs: [B, ...], as the data gives them: bytes, or floats before they are standardised.
        target: int64 classes [B], numbers [B], or [B, K]; where something mixes, shares of the classes float32 [B, K].
        weight: Row weights, float32 [B]; None where all count alike.
        has_classes: Whether ``target`` holds shares of classes, which row weights weigh.
    """

    inputs: Tensor
    target: Tensor
    weight: Tensor | None = None
    has_classes: bool = False


def samples_of(batch: Batch) -> Samples:
    """The samples of a batch (inputs, target) or (inputs, target, weight).

    Raises:
        ConfigError: The inputs are no tensor.
    """
    weight: list[Tensor]
    inputs, target, *weight = batch
    if not isinstance(inputs, Tensor):
        raise ConfigError("inputs of several tensors cannot be augmented", where="augment", expected="one tensor")
    return Samples(inputs, target, weight[0] if weight else None)


class Augmentation(abc.ABC):
    """Base of all augmentations: a new one overrides ``forward`` and ``describe``.

    Whatever is random comes from the draws, one number for each sample, so that results are reproducible.
    """

    kinds: ClassVar[tuple[InputKind, ...]] = ("image",)
    """Kinds of inputs that it takes."""

    mixes: ClassVar[bool] = False
    """Whether it changes targets, and needs each sample's partner in the step."""

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """As ``forward``."""
        return self.forward(inputs, draws)

    @abc.abstractmethod
    def forward(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Augments inputs.

        Args:
            inputs: [B, ...], bytes or floats; they are not changed.
            draws: Of these samples.

        Returns:
            The same shape and dtype.
        """

    def apply(self, samples: Samples, draws: Draws) -> Samples:
        """Augments samples with all that belongs to them; called of what ``mixes`` alone."""
        return samples._replace(inputs=self.forward(samples.inputs, draws))

    @abc.abstractmethod
    def describe(self) -> str:
        """A word or two for the line that a run prints."""

    def check(self, inputs: Tensor) -> None:  # noqa: B027
        """Raises ConfigError, whose ``where`` is the argument alone, where inputs [B, ...] do not suit it."""


class Augment:
    """Augmentations by name, applied one after the other.

    Each has draws of its own by its name, so that another one beside it leaves what it does as it is.

    Args:
        pieces: Augmentations by name, in order.
        seed: Of all draws, ≥ 0.

    Raises:
        ConfigError: There are none, or one is something else.
    """

    def __init__(self, pieces: Mapping[str, Augmentation], seed: int = 0) -> None:
        if not pieces:
            raise ConfigError("there is no augmentation in augment", where="augment", expected="at least one, or null")
        for name, piece in pieces.items():
            if not isinstance(piece, Augmentation):
                raise ConfigError(
                    f"augment.{name} is a {type(piece).__name__}, whose draws would not be repeatable",
                    where=f"augment.{name}",
                    expected="a trainkit.data.augment.Augmentation",
                )
        self.pieces, self.seed = dict(pieces), seed

    @property
    def mixes(self) -> bool:
        """Whether one of them mixes samples, and so makes shares of the classes of targets."""
        return any(piece.mixes for piece in self.pieces.values())

    def describe(self) -> str:
        """What there is, for people: ``flip, crop 4``."""
        return ", ".join(piece.describe() for piece in self.pieces.values())

    def check(self, spec: DataSpec, inputs: Inputs, has_classes_known: bool = True) -> None:
        """Raises ConfigError for an augmentation that does not suit the data.

        Args:
            spec: What is known of the data.
            inputs: Some of it [B, ...].
            has_classes_known: Whether the task says how many classes there are.
        """
        for name, piece in self.pieces.items():
            where = f"augment.{name}"
            if spec.input_kind not in piece.kinds or not isinstance(inputs, Tensor):
                what = f"{where} takes {' or '.join(KIND_NAMES[kind] for kind in piece.kinds)}"
                found = KIND_NAMES[spec.input_kind]
                raise ConfigError(f"{what}, and the data is {found}", where=where, hint=f"~{where} or augment=null")
            if piece.mixes and spec.target_kind == "class" and not has_classes_known:
                what = f"{where} makes shares of the classes of targets, and the task has no num_classes"
                raise ConfigError(what, where=where, expected="a task with num_classes")
            try:
                piece.check(inputs)
            except ConfigError as error:
                error.where = f"{where}.{error.where}" if error.where else where
                raise

    def __call__(self, samples: Samples, ids: Tensor, epoch: int, num_classes: int | None = None) -> Samples:
        """Augments the samples of a step.

        Args:
            samples: On any device.
            ids: int64 [B], numbers of the samples.
            epoch: From 0.
            num_classes: K; needed where classes are mixed.
        """
        with torch.no_grad(), torch.autocast(samples.inputs.device.type, enabled=False):  # places need all their bits
            return self._augmented(samples, ids, epoch, num_classes)

    def _augmented(self, samples: Samples, ids: Tensor, epoch: int, num_classes: int | None) -> Samples:
        samples = samples._replace(has_classes=samples.target.ndim == 2)
        if self.mixes and not samples.target.is_floating_point():
            if num_classes is None:
                raise ConfigError(
                    "classes cannot be mixed without their number", where="augment", expected="a task with num_classes"
                )
            shares = functional.one_hot(samples.target, num_classes).float()
            samples = samples._replace(target=shares, has_classes=True)
        draws = Draws.of(ids.to(samples.inputs.device), self.seed, epoch)
        streams = {name: draws.stream(name) for name in self.pieces}
        for mixes, group in itertools.groupby(self.pieces.items(), key=lambda item: item[1].mixes):
            if mixes:
                for name, piece in group:
                    samples = piece.apply(samples, streams[name])
            else:
                alone = [(piece, streams[name]) for name, piece in group]
                samples = samples._replace(inputs=_in_portions(samples.inputs, alone))
        return samples


def _in_portions(inputs: Tensor, pieces: list[tuple[Augmentation, Draws]]) -> Tensor:
    """Inputs [B, ...] after some augmentations; on a CPU a few samples at a time, which stay in its cache."""
    size = len(inputs)
    if inputs.device.type == "cpu" and inputs.numel() > _PORTION:
        size = max(1, _PORTION * size // inputs.numel())
    done = []
    for start in range(0, len(inputs), size):
        here = slice(start, start + size)
        portion = inputs[here]
        for piece, draws in pieces:
            portion = piece(portion, draws[here])
        done.append(portion)
    return torch.cat(done) if len(done) > 1 else done[0]


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Values [B] with as many axes as ``like`` [B, ...], for arithmetic with it."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def restored(values: Tensor, like: Tensor) -> Tensor:
    """Floats in the dtype of ``like``: bytes are rounded and stay within 0 and 255, other integers are rounded."""
    if like.is_floating_point():
        return values.to(like.dtype)
    rounded = values.round()
    return (rounded.clamp_(0, 255) if like.dtype == torch.uint8 else rounded).to(like.dtype)


def check_probability(value: Any, where: str = "p") -> None:
    """Raises ConfigError for what is no probability."""
    if not 0 <= value <= 1:
        raise ConfigError(f"{where} is {value}", where=where, expected="a probability, 0 to 1")


def check_range(values: Any, where: str, low: float, high: float) -> tuple[float, float]:
    """The two ends of a range.

    Raises:
        ConfigError: There are not two of them, rising, within ``low`` and ``high``.
    """
    ends = tuple(float(value) for value in values)
    if len(ends) != 2 or not low <= ends[0] <= ends[1] <= high:
        expected = f"[smallest, largest], within {low:g} and {high:g}"
        raise ConfigError(f"{where} is {list(values)}", where=where, expected=expected)
    return ends
