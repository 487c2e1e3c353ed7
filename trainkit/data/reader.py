"""The base of what turns new data into samples; saved with the model, as JSON."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainkit.types import Inputs


class Samples(NamedTuple):
    """New samples.

    Attributes:
        inputs: Of all of them.
        unseen: Values of each column that were never seen in training.
        files: The name of the file of each, where they have one.
        skipped: Names and reasons of those that could not be read and were left out.
    """

    inputs: Inputs
    unseen: dict[str, int]
    files: Sequence[str] | None = None
    skipped: tuple[str, ...] = ()


class Reader(abc.ABC):
    """Reads new samples without a target."""

    @abc.abstractmethod
    def read(self, path: Path) -> tuple[Inputs, dict[str, int]]:
        """Inputs of all samples in a file, and how many values of each column were never seen in training.

        Raises:
            DataError: The file cannot be read, or is not what the model was trained on.
        """

    def read_named(self, source: Any) -> Samples | None:
        """Samples with the names of their files, of whatever kind of source this reader alone knows; None of others.

        Raises:
            DataError: As ``read``.
        """
        return None

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain data that ``reader_from_json`` takes back."""
