"""Random numbers by counter: what a sample gets depends on (seed, epoch, sample, piece, draw) and on nothing else.

So it is the same for any batch size, number of steps per execution, workers and processes, and after a resume; the
global generators are left alone. The mix is that of splitmix64 (Steele et al., 2014,
https://doi.org/10.1145/2660193.2660195) in int64 arithmetic, whose products wrap, on any device.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

_BITS = 24
"""Bits of a number: as many as float32 holds exactly, so that no device rounds."""


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST, _SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def _shifted(z: Tensor, places: int) -> Tensor:
    """Logical shift to the right; that of int64 tensors copies the sign."""
    return (z >> places) & ((1 << (64 - places)) - 1)


def _mixed(z: Tensor) -> Tensor:
    z = (z ^ _shifted(z, 30)) * _FIRST
    z = (z ^ _shifted(z, 27)) * _SECOND
    return z ^ _shifted(z, 31)


class Draws:
    """Numbers in [0, 1) for each of B samples, one after the other.

    Args:
        keys: int64 [B], one for each sample.

    Example:
        >>> import torch
        >>> draws = Draws.of(torch.tensor([7, 3]), seed=0, epoch=1)
        >>> again = Draws.of(torch.tensor([3]), seed=0, epoch=1)
        >>> bool(draws.uniform()[1] == again.uniform()[0])
        True
    """

    def __init__(self, keys: Tensor) -> None:
        self.keys, self._num_drawn = keys, 0

    @classmethod
    def of(cls, samples: Tensor, seed: int, epoch: int) -> Draws:
        """The draws of some samples in an epoch.

        Args:
            samples: int64 [B], numbers of the samples.
            seed: Of the run.
            epoch: From 0.
        """
        start = _mixed(_mixed(torch.tensor(_signed(seed))) + _signed(epoch * _GOLDEN))
        return cls(_mixed(samples * _GOLDEN + int(start)))

    def stream(self, name: str) -> Draws:
        """Draws of their own for a piece of that name, which the others' numbers do not depend on."""
        return Draws(_mixed(self.keys ^ _signed(zlib.crc32(name.encode()) * _GOLDEN)))

    def __getitem__(self, index: Tensor | slice) -> Draws:
        """The draws to come of some of the samples."""
        chosen = Draws(self.keys[index])
        chosen._num_drawn = self._num_drawn
        return chosen

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """float32 [B], uniform in [low, high)."""
        self._num_drawn += 1
        z = _mixed(self.keys + _signed(self._num_drawn * _GOLDEN))
        unit = _shifted(z, 64 - _BITS).to(torch.float32) * 2.0**-_BITS
        return unit if (low, high) == (0.0, 1.0) else low + (high - low) * unit

    def integers(self, count: int) -> Tensor:
        """int64 [B], each of 0 to ``count`` - 1 equally often."""
        return (self.uniform() * count).long().clamp_(max=count - 1)  # a product may be rounded up to count

    def chance(self, p: float) -> Tensor:
        """Bool [B], true with probability ``p``."""
        return self.uniform() < p

    def normal(self, count: int) -> Tensor:
        """float32 [B, count], standard normal, by the transform of Box and Muller (1958)."""
        keys = _mixed(self.stream("normal").keys + _signed((self._num_drawn + 1) * _GOLDEN))
        self._num_drawn += 1
        pairs = Draws(keys[:, None] + torch.arange(count, device=keys.device) * _GOLDEN)
        length = (-2 * (1 - pairs.uniform()).log()).sqrt()
        return length * (2 * torch.pi * pairs.uniform()).cos()
