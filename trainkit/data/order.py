"""The order in which an epoch goes through the training rows; called by the batch loader."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from trainkit.errors import DataError, did_you_mean, one_of

Sampling: TypeAlias = Literal["shuffle", "balanced"]
"""Each row once an epoch, or each class equally often."""


def check_sampling(sampling: str) -> None:
    """Raises DataError where there is no such sampling."""
    names = get_args(Sampling)
    if sampling not in names:
        hint = did_you_mean(str(sampling), names)
        raise DataError(f"there is no sampling '{sampling}'", where="data.sampling", expected=one_of(names), hint=hint)


def occurrences(rows: Tensor) -> Tensor:
    """How often each entry came before, int64 [N].

    Args:
        rows: int64 [N].
    """
    ordered, places = rows.sort(stable=True)
    counts = torch.arange(len(rows)) - torch.searchsorted(ordered, ordered)
    return torch.empty_like(counts).index_copy_(0, places, counts)


def balanced_order(classes: Tensor, generator: torch.Generator) -> Tensor:
    """As many positions as there are rows, each class equally often (to one), in random order.

    A class goes through its rows in random permutations, one after the other: of a small class each row comes equally
    often (to one), of a large one a random choice comes once.

    Args:
        classes: int64 [N], class of each training row.
        generator: Of all draws.

    Returns:
        int64 [N], positions in ``classes``.
    """
    present = torch.unique(classes)
    lucky = present[torch.randperm(len(present), generator=generator)][: len(classes) % len(present)]
    drawn = []
    for label in present:
        rows = torch.nonzero(classes == label).flatten()
        wanted = len(classes) // len(present) + int((lucky == label).any())
        rounds = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(-(-wanted // len(rows)))]
        drawn += [torch.cat(rounds)[:wanted]] if rounds else []
    joined = torch.cat(drawn)
    return joined[torch.randperm(len(joined), generator=generator)]
