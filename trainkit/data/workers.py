"""Loader processes beside training: how many are asked for, and how many cores there are for them."""

from __future__ import annotations

import os
from typing import Literal, TypeAlias

from trainkit.errors import DataError

Workers: TypeAlias = int | Literal["auto"]
"""A number of processes; ``auto``, by how long reading takes (0 outside of ``fit``)."""


def checked(num_workers: Workers) -> Workers:
    """A number of processes as given.

    Raises:
        DataError: It is neither ``auto`` nor an integer ≥ 0.
    """
    is_number = isinstance(num_workers, int) and num_workers >= 0
    if num_workers != "auto" and not is_number:
        raise DataError(f"num_workers is {num_workers}", where="data.num_workers", expected="an integer ≥ 0, or auto")
    return num_workers


def settled(num_workers: Workers) -> int:
    """The number of processes; 0 of ``auto`` that nobody has settled."""
    return 0 if num_workers == "auto" else num_workers


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
