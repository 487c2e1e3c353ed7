"""Further validation sets, which are scored beside the others and choose nothing: names, and rows that are not new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import pandas as pd
import torch

from trainkit.data.drawing import RowFacts
from trainkit.data.sources import Source, TensorSource, row_hashes
from trainkit.data.splits import EXTRA, PARTS, Splits, Values
from trainkit.data.values import Ints
from trainkit.errors import DataError

MOST_COMPARED = 200_000
"""Rows up to which those of a further set are looked for in training and test; a second's work for a table."""

ROWS_PER_READ = 4_096

Given = TypeVar("Given")


def extra_parts(given: Mapping[str, Given] | None) -> dict[str, Given]:
    """Further validation sets by the names of their parts, ``val/<name>``.

    Args:
        given: By the user's names; None for no such set.

    Raises:
        DataError: One is called like a part.
    """
    for name in given or {}:
        if name in PARTS:
            what, expected = f"a further validation set is called '{name}'", "another name than train, val and test"
            raise DataError(what, where="data.extra_val", expected=expected, hint="data.extra_val.NAME=FILE")
    return {f"{EXTRA}{name}": part for name, part in (given or {}).items()}


def further_notes(splits: Splits, facts: RowFacts, source: Source) -> list[str]:
    """What of each further set is not new: rows and groups of training and test, and moments of training.

    Args:
        splits: The parts.
        facts: Of every row.
        source: The encoded rows; those of a ``Dataset``, which would all have to be read, are not compared.
    """
    if not splits.extra:
        return []
    is_small = isinstance(source, TensorSource) and len(source) <= MOST_COMPARED
    keys, notes = _row_keys(source) if is_small else None, []
    for name, rows in splits.extra.items():
        if keys is not None:
            notes += _shared(name, "rows", keys[rows], keys, splits)
        if facts.groups is not None:
            notes += _shared(name, "groups", pd.unique(facts.groups[rows]), facts.groups, splits)
        if facts.times is not None:
            count = int((facts.times[rows] <= facts.times[splits.train].max()).sum())
            notes += [f"{name} has {count:,} of its {len(rows):,} rows no later than the end of train"] if count else []
    return notes


def _shared(name: str, kind: str, mine: Values, values: Values, splits: Splits) -> list[str]:
    parts = {"train": splits.train, "test": splits.test}
    counts = {part: int(pd.Series(mine).isin(values[rows]).sum()) for part, rows in parts.items()}
    found = [f"{count:,} with {part}" for part, count in counts.items() if count]
    return [f"{name} shares {' and '.join(found)} of its {len(mine):,} {kind}"] if found else []


def target_keys(target: np.ndarray) -> Ints:
    """A number for each target, int64 [N], such that equal ones have the same; of several [N, T] together."""
    bits = np.ascontiguousarray(target, dtype=np.float64).view(np.int64).reshape(len(target), -1)
    if bits.shape[1] == 1:
        return bits[:, 0]
    with np.errstate(over="ignore"):
        factors = np.cumprod(np.full(bits.shape[1], 1_000_003, dtype=np.int64))  # products wrap
        return np.asarray((bits * factors).sum(axis=1))


def _row_keys(source: Source) -> Ints:
    """A hash of each row's inputs and target, int64 [N]; products wrap."""
    keys = []
    for rows in torch.split(torch.arange(len(source)), ROWS_PER_READ):
        inputs, target, *_ = source.fetch(rows, 0)
        keys.append(row_hashes(inputs) * 1_000_003 + target_keys(target.numpy()))
    return np.concatenate(keys)
