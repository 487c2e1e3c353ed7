"""Augmentations made of others: random policies, and a choice of one among several for each sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from trainkit.data.augment import operations
from trainkit.data.augment.base import Augmentation, Samples, per_sample
from trainkit.data.augment.color import Coloring
from trainkit.data.augment.draws import Draws
from trainkit.data.augment.warping import linear_maps, rotations, warped, windows
from trainkit.errors import ConfigError

MAX_MAGNITUDE = 30
"""Largest magnitude of RandAugment."""

Operation = Callable[[Tensor, Tensor], Tensor]
"""Takes pictures float32 [B, channels, height, width] of 0 to 1 and strengths [B] of -1 to 1; gives pictures."""


def _sheared(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    one = torch.ones_like(x)
    return warped(images, linear_maps(one, x, y, one, images))


def _moved(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    one = torch.ones_like(x)
    return warped(images, windows(2 * x, 2 * y, one, one))


def operations_of(shear: float, move: float, degrees: float, blend: float, bits: float) -> dict[str, Operation]:
    """The fourteen operations of random policies, by name; those without a direction take a strength's size alone.

    Args:
        shear: Largest shear, in pixels a pixel.
        move: Largest shift, as a share of the side.
        degrees: Largest angle.
        blend: Largest change of the factors of brightness, saturation, contrast and sharpness.
        bits: Most bits that posterizing takes away, of 8.
    """
    zero = torch.zeros_like
    return {
        "identity": lambda x, s: x,
        "shear_x": lambda x, s: _sheared(x, s * shear, zero(s)),
        "shear_y": lambda x, s: _sheared(x, zero(s), s * shear),
        "move_x": lambda x, s: _moved(x, s * move, zero(s)),
        "move_y": lambda x, s: _moved(x, zero(s), s * move),
        "rotate": lambda x, s: warped(x, rotations(s * math.radians(degrees), x)),
        "brightness": lambda x, s: operations.brightness(x, 1 + s * blend),
        "saturation": lambda x, s: operations.saturation(x, 1 + s * blend),
        "contrast": lambda x, s: operations.contrast(x, 1 + s * blend),
        "sharpness": lambda x, s: operations.sharpness(x, 1 + s * blend),
        "posterize": lambda x, s: operations.posterize(x, 8 - s.abs() * bits),
        "solarize": lambda x, s: operations.solarize(x, 1 - s.abs()),
        "autocontrast": lambda x, s: operations.autocontrast(x),
        "equalize": lambda x, s: operations.equalize(x),
    }


class _Policy(Coloring):
    """Base of random policies: rounds, in each of which every sample gets one operation."""

    operations: Mapping[str, Operation]
    rounds = 1

    def strengths(self, draws: Draws) -> Tensor:
        """Size of the operations, float32 [B], 0 to 1."""
        raise NotImplementedError

    def colored(self, images: Tensor, draws: Draws) -> Tensor:
        """Changes pictures float32 [B, channels, height, width] of 0 to 1."""
        for _ in range(self.rounds):
            chosen, is_negative = draws.integers(len(self.operations)), draws.chance(0.5)
            strength = self.strengths(draws)
            strength = torch.where(is_negative, -strength, strength)
            result = images.clone()
            for index, change in enumerate(self.operations.values()):
                places = (chosen == index).nonzero().flatten()
                if index and len(places):
                    result[places] = change(images[places], strength[places])
            images = result
        return images


class RandAugment(_Policy):
    """A few random operations of one magnitude (Cubuk et al., 2020, https://arxiv.org/abs/1909.13719).

    Args:
        num_ops: Operations one after the other, at least 1.
        magnitude: Strength of all, 0 to 30; at 30 a shear of 0.3, a shift by 0.45 of the side, 30°, a factor changed by
            0.9, 4 bits.
        max_value: What white is in the data; None for 255 where pictures are integers, 1 where they are floats.

    Raises:
        ConfigError: An argument is out of range.
    """

    def __init__(self, num_ops: int = 2, magnitude: float = 9.0, max_value: float | None = None) -> None:
        super().__init__(max_value)
        if num_ops < 1:
            raise ConfigError(f"num_ops is {num_ops}", where="num_ops", expected="at least 1")
        if not 0 <= magnitude <= MAX_MAGNITUDE:
            expected = f"0 to {MAX_MAGNITUDE}"
            raise ConfigError(f"magnitude is {magnitude}", where="magnitude", expected=expected)
        self.rounds, self.magnitude = num_ops, magnitude
        self.operations = operations_of(shear=0.3, move=0.45, degrees=30.0, blend=0.9, bits=4.0)

    def strengths(self, draws: Draws) -> Tensor:
        """The magnitude for all."""
        return torch.full(draws.keys.shape, self.magnitude / MAX_MAGNITUDE, device=draws.keys.device)

    def describe(self) -> str:
        """Name, operations and magnitude."""
        return f"randaugment {self.rounds}×{self.magnitude:g}"


class TrivialAugment(_Policy):
    """One random operation of random strength (Müller & Hutter, 2021, https://arxiv.org/abs/2103.10158): no settings.

    Args:
        max_value: What white is in the data; None for 255 where pictures are integers, 1 where they are floats.

    Raises:
        ConfigError: ``max_value`` is not above 0.
    """

    def __init__(self, max_value: float | None = None) -> None:
        super().__init__(max_value)
        self.operations = operations_of(shear=0.99, move=0.45, degrees=135.0, blend=0.99, bits=6.0)

    def strengths(self, draws: Draws) -> Tensor:
        """Equally often of every size."""
        return draws.uniform()

    def describe(self) -> str:
        """Name."""
        return "trivialaugment"


class OneOf(Augmentation):
    """Applies one of several augmentations to each sample, each equally often.

    Args:
        choices: Augmentations by name, at least one.

    Raises:
        ConfigError: There is none, or one is something else.
    """

    def __init__(self, choices: Mapping[str, Augmentation]) -> None:
        for name, choice in choices.items():
            if not isinstance(choice, Augmentation):
                found, where = f"{name} is a {type(choice).__name__}", f"choices.{name}"
                raise ConfigError(found, where=where, expected="a trainkit.data.augment.Augmentation")
        if not choices:
            raise ConfigError("there is nothing to choose from", where="choices", expected="at least one augmentation")
        self.choices = dict(choices)
        self.mixes = any(choice.mixes for choice in choices.values())  # type: ignore[misc]
        shared = [kind for kind in next(iter(choices.values())).kinds if all(kind in c.kinds for c in choices.values())]
        self.kinds = tuple(shared)  # type: ignore[misc]

    def forward(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Augments each of [B, ...]."""
        return self.apply(Samples(inputs, torch.zeros(len(inputs), device=inputs.device)), draws).inputs

    def apply(self, samples: Samples, draws: Draws) -> Samples:
        """Augments each sample with all that belongs to it."""
        chosen, result = draws.integers(len(self.choices)), samples
        for index, (name, choice) in enumerate(self.choices.items()):
            made, here = choice.apply(samples, draws.stream(name)), chosen == index
            inputs, target = _chosen(here, made.inputs, result.inputs), _chosen(here, made.target, result.target)
            result = result._replace(inputs=inputs, target=target)
            if made.weight is not None and result.weight is not None:
                result = result._replace(weight=_chosen(here, made.weight, result.weight))
        return result

    def describe(self) -> str:
        """What there is to choose from."""
        return " or ".join(choice.describe() for choice in self.choices.values())

    def check(self, inputs: Tensor) -> None:
        """Raises ConfigError where inputs [B, ...] do not suit one of them."""
        for name, choice in self.choices.items():
            try:
                choice.check(inputs)
            except ConfigError as error:
                error.where = f"choices.{name}.{error.where}" if error.where else f"choices.{name}"
                raise


def _chosen(here: Tensor, made: Tensor, before: Tensor) -> Tensor:
    return torch.where(per_sample(here, made), made, before)
