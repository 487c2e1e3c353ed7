"""Augmentations that change colours: those of a jitter, and the base of all that take pictures from black to white."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from trainkit.data.augment import operations
from trainkit.data.augment.base import Augmentation, restored
from trainkit.data.augment.draws import Draws
from trainkit.errors import ConfigError

WHITE = 255.0
"""Value of white where pictures are bytes; of floats it is 1."""


class Coloring(Augmentation):
    """Base of what works on pictures from black to white: a subclass overrides ``colored``.

    Args:
        max_value: What white is in the data; None for 255 where pictures are integers, 1 where they are floats.

    Raises:
        ConfigError: It is not above 0.
    """

    def __init__(self, max_value: float | None = None) -> None:
        if max_value is not None and not max_value > 0:
            raise ConfigError(f"max_value is {max_value}", where="max_value", expected="above 0, or null")
        self.max_value = max_value

    def white(self, inputs: Tensor) -> float:
        """What white is."""
        return self.max_value or (1.0 if inputs.is_floating_point() else WHITE)

    def forward(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Brings [B, channels, height, width] to 0 (black) to 1 (white), changes them, and brings them back."""
        white = self.white(inputs)
        return restored(self.colored(inputs.float() / white, draws) * white, inputs)

    def colored(self, images: Tensor, draws: Draws) -> Tensor:
        """Changes pictures float32 [B, channels, height, width] of 0 to 1."""
        raise NotImplementedError

    def check(self, inputs: Tensor) -> None:
        """Raises ConfigError where pictures are not within 0 and what is taken for white."""
        white, low, high = self.white(inputs), float(inputs.min()), float(inputs.max())
        if low < 0 or high > white:
            raise ConfigError(
                f"pictures have values from {low:.4g} to {high:.4g}",
                where="max_value",
                expected=f"0 (black) to {white:g} (white)",
                hint=f"max_value={high:.4g}, if that is white"
                if low >= 0
                else "pictures as they are, not standardised",
            )


class ColorJitter(Coloring):
    """Changes brightness, contrast, saturation and hue, in this order, each by an amount of its own.

    Args:
        brightness: Largest change; the factor is drawn from 1 - it to 1 + it, but not below 0.
        contrast: Likewise.
        saturation: Likewise; without effect unless there are three channels.
        hue: Largest turn of the colours to either side, in whole turns, 0 to 0.5; likewise without effect.
        max_value: What white is in the data; None for 255 where pictures are integers, 1 where they are floats.

    Raises:
        ConfigError: An argument is out of range.
    """

    def __init__(
        self,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.0,
        max_value: float | None = None,
    ) -> None:
        super().__init__(max_value)
        self.amounts = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        for where, amount in self.amounts.items():
            if not 0 <= amount < float("inf"):
                raise ConfigError(f"{where} is {amount}", where=where, expected="a number ≥ 0")
        if not 0 <= hue <= 0.5:
            raise ConfigError(f"hue is {hue}", where="hue", expected="0 to 0.5")
        self.turn = hue

    def colored(self, images: Tensor, draws: Draws) -> Tensor:
        """Changes pictures float32 [B, channels, height, width] of 0 to 1."""
        changes: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "brightness": operations.brightness,
            "contrast": operations.contrast,
            "saturation": operations.saturation,
        }
        for name, change in changes.items():
            factor = draws.uniform(max(0.0, 1 - self.amounts[name]), 1 + self.amounts[name])
            images = change(images, factor) if self.amounts[name] else images
        turn = draws.uniform(-self.turn, self.turn)
        return operations.hue(images, turn) if self.turn else images

    def describe(self) -> str:
        """Name and amounts."""
        amounts = [*self.amounts.values(), *([self.turn] if self.turn else [])]
        return "jitter " + "/".join(f"{amount:g}" for amount in amounts)
