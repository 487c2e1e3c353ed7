"""Facts about the samples behind the loaders of a user's own ``LightningModule``, as far as samples can be read."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import Dataset

from trainkit.data import LoaderData
from trainkit.data.loaders import PARTS
from trainkit.data.replay import as_combined, is_ordered
from trainkit.data.sources import seeded
from trainkit.runs.inspection.data_facts import MOST_LOOKED_AT, DataFacts, shares_samples
from trainkit.runs.inspection.values import PartLook, look_of

MOST_EVALUATED, MOST_TRAINING = 500, 20_000
"""Samples of a part that are read at most: a row of validation is found in training only if that row is read too."""

SECONDS = {"train": 0.6, "val": 0.3, "test": 0.3}
"""For reading samples of each part."""


def loader_facts(data: LoaderData) -> tuple[DataFacts, tuple[str, ...]]:
    """Reads some samples of each part; random generators stay as they are.

    Returns:
        What the rules on data look at, a whole sample being its ``key``; and the parts that cannot be read by index.
    """
    sizes: dict[str, int] = {}
    keys: dict[str, np.ndarray] = {}
    targets: dict[str, np.ndarray] = {}
    looks: dict[str, PartLook] = {}
    unseen = []
    for part in PARTS:
        datasets = _datasets(data, part)
        if datasets is None:
            unseen.append(f"rows of {part} (its loader does not go by index)")
        elif datasets:
            with seeded(0):
                samples, inputs = _samples(
                    datasets, MOST_TRAINING if part == "train" else MOST_EVALUATED, SECONDS[part]
                )
            if inputs:
                looks[part] = look_of(inputs)
            sizes[part] = sum(map(len, datasets))  # type: ignore[arg-type]
            keys[part] = np.asarray([key for key, _ in samples], dtype=np.int64)
            labels = [label for _, label in samples if label is not None]
            if len(labels) == len(samples):
                targets[part] = np.asarray(labels)
    if "train" not in keys:
        keys = {}
    facts = DataFacts(
        sizes=sizes,
        targets=targets,
        input_kind="other",
        keys=keys,
        key_targets={part: np.zeros(len(key)) for part, key in keys.items()},
        same_dataset=_same(data),
        looks=looks,
        is_own=True,
    )
    return facts, tuple(unseen)


def _datasets(data: LoaderData, part: str) -> list[Dataset[Any]] | None:
    """Datasets behind the loaders of a part, none where there is no part; None where they have no order."""
    if data.loaders[part] is None:
        return []
    loaders = as_combined(data.loaders[part]).flattened
    if not all(is_ordered(loader) and hasattr(loader.dataset, "__len__") for loader in loaders):
        return None
    return [loader.dataset for loader in loaders]


def _same(data: LoaderData) -> tuple[str, ...]:
    of_train = _datasets(data, "train") or []
    return tuple(
        part
        for part in ("val", "test")
        if any(shares_samples(one, other) for one in _datasets(data, part) or [] for other in of_train)
    )


def _samples(
    datasets: list[Dataset[Any]], most: int, seconds: float
) -> tuple[list[tuple[int, float | None]], list[Tensor]]:
    """Hash and label of samples spread over datasets, as many as can be read in the time, and some of their inputs."""
    found, inputs, deadline = list[tuple[int, float | None]](), list[Tensor](), time.perf_counter() + seconds
    for rank, dataset in enumerate(datasets, start=1):
        size = len(dataset)  # type: ignore[arg-type]
        until = deadline - seconds * (len(datasets) - rank) / len(datasets)
        for row in _spread(size, most // len(datasets)):
            leaves = tree_leaves(dataset[row])
            found.append(_looked_at(leaves))
            first = leaves[0] if leaves else None
            if isinstance(first, Tensor) and len(inputs) < MOST_LOOKED_AT:
                inputs.append(first)
            if time.perf_counter() > until:
                break
    return found, inputs


def _spread(size: int, most: int) -> list[int]:
    """Rows in an order of which every beginning is spread over all of them."""
    order = torch.randperm(size, generator=torch.Generator().manual_seed(0))
    return order[:most].tolist()


def _looked_at(leaves: list[Any]) -> tuple[int, float | None]:
    parts = []
    for leaf in leaves:
        value = leaf.detach().cpu().numpy() if isinstance(leaf, Tensor) else leaf
        is_array = isinstance(value, np.ndarray) and not value.dtype.hasobject
        parts.append((value.shape, np.ascontiguousarray(value).tobytes()) if is_array else repr(value))
    return hash(tuple(parts)), _label(leaves[-1]) if leaves else None


def _label(leaf: Any) -> float | None:
    """A last leaf that is one number."""
    if isinstance(leaf, (Tensor, np.ndarray)):
        return float(leaf.reshape(-1)[0]) if tuple(leaf.shape) in ((), (1,)) else None
    return float(leaf) if isinstance(leaf, (bool, int, float, np.number, np.bool_)) else None
