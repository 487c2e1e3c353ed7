"""Plain facts about the data of a run, measured once; the rules in ``data_rules`` judge them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from trainkit.data import DataModule
from trainkit.data.module import Part
from trainkit.data.sources import DatasetSource, TensorSource
from trainkit.runs.inspection.leakage import Column, Leak, find_leaks, identifiers
from trainkit.types import Inputs

PARTS: tuple[Part, ...] = ("test", "val", "train")
"""In the order in which they are read: a sample found in a small part is worth more than one of the training part."""

MOST_HASHED = 200_000
"""Rows of a part that are compared; a second's work."""

READ_SECONDS = 1.0
"""For reading samples of the user's own Dataset."""

READ_TWICE = 16
"""Validation samples that are read twice."""

MOST_COLUMNS = 300
"""Features of which each is held against the target."""


@dataclass(frozen=True)
class DataFacts:
    """What the rules on data look at; everything by part is for the parts that have rows.

    Attributes:
        sizes: Rows by part.
        targets: int64 classes or float64 numbers [N] by part.
        class_names: Of the classes; empty for a number.
        input_kind: As in ``DataSpec``.
        input_shape: Of one sample.
        keys: int64 hashes of the inputs [M] by part, of the rows that were compared (all, as a rule).
        key_targets: Their targets [M] by part.
        num_combinations: Different rows that the values of each column allow; infinite for images and Datasets.
        same_dataset: Parts that are the very object that training reads.
        num_changing: Validation samples that changed between two reads.
        num_read_twice: Validation samples that were read twice.
        leaks: Features that alone give the target.
        identifiers: Features that number the rows.
    """

    sizes: dict[str, int]
    targets: dict[str, np.ndarray]
    class_names: tuple[str, ...] = ()
    input_kind: str = "vector"
    input_shape: tuple[int, ...] = ()
    keys: dict[str, np.ndarray] = field(default_factory=dict)
    key_targets: dict[str, np.ndarray] = field(default_factory=dict)
    num_combinations: float = float("inf")
    same_dataset: tuple[str, ...] = ()
    num_changing: int = 0
    num_read_twice: int = 0
    leaks: tuple[Leak, ...] = ()
    identifiers: tuple[str, ...] = ()

    @property
    def num_compared(self) -> int:
        """Rows of all parts that were compared."""
        return sum(map(len, self.keys.values()))

    def shared(self, part: str) -> int:
        """Compared rows of a part whose inputs stand in the training part too."""
        if part not in self.keys or "train" not in self.keys:
            return 0
        return int(np.isin(self.keys[part], self.keys["train"]).sum())


def data_facts(data: DataModule) -> DataFacts:
    """Measures the data of a run; a Dataset of the user's own is sampled.

    Args:
        data: Set up.
    """
    spec = data.spec
    parts = [part for part in PARTS if len(getattr(data.splits, part))]
    targets = {part: data.targets(part) for part in parts}
    columns = _columns(data) if isinstance(data.source, TensorSource) else []
    changing, read_twice = _read_twice(data)
    keys, key_targets = _keys(data, parts)
    return DataFacts(
        sizes={part: len(getattr(data.splits, part)) for part in parts},
        targets=targets,
        class_names=spec.class_names,
        input_kind=spec.input_kind,
        input_shape=tuple(spec.input_shape),
        keys=keys,
        key_targets=key_targets,
        num_combinations=_combinations(columns),
        same_dataset=_same_dataset(data),
        num_changing=changing,
        num_read_twice=read_twice,
        leaks=tuple(find_leaks(columns, targets["train"], spec.num_classes)),
        identifiers=tuple(identifiers(columns)),
    )


def _keys(data: DataModule, parts: list[Part]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    keys: dict[str, np.ndarray] = {}
    key_targets: dict[str, np.ndarray] = {}
    for part in parts:
        rows = data.rows(part)[:MOST_HASHED]
        if isinstance(data.source, TensorSource):
            keys[part] = _hashes(data.source.fetch(rows)[0])
        else:
            keys[part] = _hashes_of_samples(data, rows, READ_SECONDS / len(parts))
        key_targets[part] = data.targets(part)[: len(keys[part])]
    return keys, key_targets


def _hashes(inputs: Inputs) -> np.ndarray:
    """A hash of each row's bytes, int64 [N]."""
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    flat = [t.detach().cpu().contiguous().reshape(len(t), -1).view(torch.uint8).numpy() for t in tensors if t.numel()]
    joined = np.ascontiguousarray(np.concatenate(flat, axis=1))
    rows = joined.view(f"V{joined.shape[1]}").reshape(-1).tolist()
    return np.fromiter(map(hash, rows), dtype=np.int64, count=len(rows))


def _hashes_of_samples(data: DataModule, rows: Tensor, seconds: float) -> np.ndarray:
    """Hashes of as many samples as can be read in the time."""
    deadline, found = time.perf_counter() + seconds, []
    for chunk in rows.split(32):
        found.append(_hashes(data.source.fetch(chunk, 0)[0]))
        if time.perf_counter() > deadline:
            break
    return np.concatenate(found)


def _columns(data: DataModule) -> list[Column]:
    """Features of the training rows one by one; none for images, of which one pixel says little."""
    if data.spec.input_kind not in ("table", "vector"):
        return []
    inputs, _ = data.source.fetch(data.rows("train"), 0)
    names = data.spec.feature_names
    if isinstance(inputs, Tensor):
        values = inputs.double().numpy()
        return [Column(names[i] if names else f"feature {i}", "number", values[:, i]) for i in _first(values)]
    numbers, codes = inputs["numbers"].double().numpy(), inputs["codes"].numpy()
    columns = [Column(names[i], "number", numbers[:, i]) for i in _first(numbers)]
    return columns + [Column(names[numbers.shape[1] + i], "code", codes[:, i]) for i in _first(codes)]


def _first(matrix: np.ndarray) -> range:
    return range(min(matrix.shape[1], MOST_COLUMNS))


def _combinations(columns: list[Column]) -> float:
    """Different rows that the columns' different values allow."""
    if not columns:
        return float("inf")
    with np.errstate(over="ignore"):
        return float(np.prod([float(len(np.unique(column.values))) for column in columns]))


def _part_of(data: DataModule, position: int) -> Part | None:
    """The part that all of a dataset's samples are in, or None."""
    source = data.source
    assert isinstance(source, DatasetSource)
    start, stop = source.offsets[position], source.offsets[position + 1]
    for part in PARTS:
        rows = getattr(data.splits, part)
        if len(rows) and start <= rows[0] and rows[-1] < stop:
            return part
    return None


def _same_dataset(data: DataModule) -> tuple[str, ...]:
    """Parts given as datasets of their own that are the object given for training."""
    source: Any = data.source
    if not isinstance(source, DatasetSource):
        return ()
    first, others = source.datasets[0], list(enumerate(source.datasets))[1:]
    same = (_part_of(data, position) for position, part in others if _is_same(part, first))
    return tuple(part for part in same if part is not None)


def _is_same(one: Dataset[Any], other: Dataset[Any]) -> bool:
    return one is other


def _read_twice(data: DataModule) -> tuple[int, int]:
    """Validation samples that differ between two reads, and how many were read."""
    if not isinstance(data.source, DatasetSource) or not len(data.splits.val):
        return 0, 0
    rows = data.rows("val")[:READ_TWICE]
    first, second = (_hashes(data.source.fetch(rows, key)[0]) for key in (1, 2))
    return int((first != second).sum()), len(rows)
