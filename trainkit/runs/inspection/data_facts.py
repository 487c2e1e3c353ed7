"""Plain facts about the data of a run, measured once; the rules in ``data_rules`` judge them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from trainkit.data import DataModule
from trainkit.data.further import target_keys
from trainkit.data.module import Part
from trainkit.data.readers import TableReader
from trainkit.data.sources import DatasetSource, TensorSource, row_hashes
from trainkit.runs.inspection.leakage import Column, Leak, find_leaks, identifiers
from trainkit.runs.inspection.values import PartLook, Sentinel, find_sentinels, look_of, spread_rows
from trainkit.types import DataSpec

PARTS: tuple[Part, ...] = ("test", "val", "train")
"""In the order in which they are read: a sample found in a small part is worth more than one of the training part."""

COMPARE_SECONDS = 1.5
"""For reading and hashing rows, over all parts: about a million rows of a table."""

LOOK_SECONDS, MOST_LOOKED_AT = 0.5, 128
"""For comparing the scale of the parts, and samples of each."""

ROWS_PER_READ, SAMPLES_PER_READ = 4_096, 32
"""Rows of tensors in memory, and samples of the user's own Dataset, between two looks at the clock."""

MOST_ROWS, MOST_SAMPLES = 10_000, 500
"""Training rows in memory, and samples of the user's own Dataset, in which columns are looked at one by one."""

READ_TWICE = 16
"""Validation samples that are read twice."""

MOST_COLUMNS = 300
"""Features of which each is held against the target."""


@dataclass(frozen=True)
class DataFacts:
    """What the rules on data look at; everything by part is for the parts that have rows.

    Attributes:
        sizes: Rows by part.
        targets: int64 classes or float64 numbers [N] by part; of several targets [N, T].
        class_names: Of the classes or labels; empty for numbers.
        several: Names of several targets, labels or numbers; empty for one.
        input_kind: As in ``DataSpec``.
        input_shape: Of one sample.
        keys: int64 hashes of the inputs [M] by part, of the rows that were compared (all, as a rule).
        key_targets: Their targets [M] by part.
        chance_share: Share of new rows that would equal a training row by chance; 0 for images and Datasets.
        same_dataset: Parts that read samples of the very object that training reads.
        num_changing: Validation samples that changed between two reads.
        num_read_twice: Validation samples that were read twice.
        leaks: Features that alone give the target.
        identifiers: Features that number the rows.
        sources: Column of the table by feature, where they differ, as of the parts of a date.
        sentinels: Features with a value far beyond all others.
        looks: What the inputs of each part look like, where they are one tensor.
        is_own: Whether the samples are those of the user's own loaders, of which no more is known.
    """

    sizes: dict[str, int]
    targets: dict[str, np.ndarray]
    class_names: tuple[str, ...] = ()
    several: tuple[str, ...] = ()
    input_kind: str = "vector"
    input_shape: tuple[int, ...] = ()
    keys: dict[str, np.ndarray] = field(default_factory=dict)
    key_targets: dict[str, np.ndarray] = field(default_factory=dict)
    chance_share: float = 0.0
    same_dataset: tuple[str, ...] = ()
    num_changing: int = 0
    num_read_twice: int = 0
    leaks: tuple[Leak, ...] = ()
    identifiers: tuple[str, ...] = ()
    sources: dict[str, str] = field(default_factory=dict)
    sentinels: tuple[Sentinel, ...] = ()
    looks: dict[str, PartLook] = field(default_factory=dict)
    is_own: bool = False

    def columns_of(self, features: Iterable[str]) -> str:
        """Columns of the table that features come from, as ``data.ignore`` takes them."""
        return ",".join(dict.fromkeys(self.sources.get(feature, feature) for feature in features))

    @property
    def num_compared(self) -> int:
        """Rows of all parts that were compared."""
        return sum(map(len, self.keys.values()))

    def shared(self, part: str) -> int:
        """Compared rows of a part that stand in the training part too, with the same target."""
        if part not in self.keys:
            return 0
        return int(np.isin(self._rows(part), self._rows("train")).sum())

    def _rows(self, part: str) -> np.ndarray:
        """Hashes of inputs and target together, int64 [M]; products wrap."""
        return self.keys[part] * 1_000_003 + target_keys(self.key_targets[part])


def data_facts(data: DataModule) -> DataFacts:
    """Measures the data of a run; a Dataset of the user's own is sampled.

    Args:
        data: Set up.
    """
    spec = data.spec
    parts = [part for part in PARTS if len(getattr(data.splits, part))]
    targets = {part: data.targets(part) for part in parts}
    most = MOST_ROWS if isinstance(data.source, TensorSource) else MOST_SAMPLES
    rows = np.linspace(0, len(targets["train"]) - 1, min(len(targets["train"]), most)).astype(np.int64)
    columns, sources = _columns(data, rows), _sources(data)
    changing, read_twice = _read_twice(data)
    keys, key_targets = _keys(data, parts)
    several = spec.class_names if spec.target_kind == "multilabel" else spec.target_names
    return DataFacts(
        sizes={part: len(getattr(data.splits, part)) for part in parts},
        targets={str(part): target for part, target in targets.items()},
        class_names=spec.class_names,
        several=several,
        input_kind=spec.input_kind,
        input_shape=tuple(spec.input_shape),
        keys=keys,
        key_targets=key_targets,
        chance_share=_chance_share(columns, targets["train"][rows], len(targets["train"])),
        same_dataset=_same_dataset(data),
        num_changing=changing,
        num_read_twice=read_twice,
        leaks=tuple(_leaks(columns, targets["train"][rows], spec)),
        identifiers=tuple(name for name in identifiers(columns) if name not in sources),
        sources=sources,
        sentinels=tuple(find_sentinels(columns)),
        looks=_looks(data, parts),
    )


def _leaks(columns: list[Column], target: np.ndarray, spec: DataSpec) -> Iterator[Leak]:
    """Features that alone give the target; of several targets one of them, each feature once."""
    if target.ndim == 1:
        yield from find_leaks(columns, target, spec.num_classes)
        return
    seen, num_classes = set[str](), 2 if spec.target_kind == "multilabel" else 0
    for values in target.T:
        known = ~np.isnan(values)
        rest = [Column(column.name, column.kind, column.values[known]) for column in columns if column.name not in seen]
        truth = values[known].astype(np.int64) if num_classes else values[known]
        for leak in find_leaks(rest, truth, num_classes) if len(truth) and truth.min() < truth.max() else ():
            seen.add(leak.feature)
            yield leak


def _sources(data: DataModule) -> dict[str, str]:
    numbers = data.reader.encoder.numbers if isinstance(data.reader, TableReader) else ()
    return {number.name: number.column for number in numbers if number.name != number.column}


def _looks(data: DataModule, parts: list[Part]) -> dict[str, PartLook]:
    if isinstance(data.reader, TableReader):
        return {}  # cut from one table
    read = {str(part): _some_inputs(data, part, LOOK_SECONDS / len(parts)) for part in parts}
    return {part: look_of(samples) for part, samples in read.items() if samples}


def _some_inputs(data: DataModule, part: Part, seconds: float) -> list[Tensor]:
    """Inputs of some rows of a part, as many as can be read in the time; none where they are no tensor."""
    rows, found, deadline = data.rows(part), list[Tensor](), time.perf_counter() + seconds
    for chosen in torch.split(rows[spread_rows(len(rows), MOST_LOOKED_AT)], SAMPLES_PER_READ):
        inputs = data.source.fetch(chosen, 0)[0]
        if not isinstance(inputs, Tensor):
            return []
        found.extend(inputs)
        if time.perf_counter() > deadline:
            break
    return found


def _keys(data: DataModule, parts: list[Part]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    keys = {str(part): _hashes_of_part(data, part, COMPARE_SECONDS / len(parts)) for part in parts}
    return keys, {str(part): data.targets(part)[: len(keys[part])] for part in parts}


def _hashes_of_part(data: DataModule, part: Part, seconds: float) -> np.ndarray:
    """Hashes of as many rows of a part as can be read in the time, int64 [M]."""
    size = ROWS_PER_READ if isinstance(data.source, TensorSource) else SAMPLES_PER_READ
    rows, found, deadline = data.rows(part), [], time.perf_counter() + seconds
    for start in range(0, len(rows), size):
        found.append(row_hashes(data.source.fetch(rows[start : start + size], 0)[0]))
        if time.perf_counter() > deadline:
            break
    return np.concatenate(found)


def _columns(data: DataModule, rows: np.ndarray) -> list[Column]:
    """Features of some training rows one by one; none for images, of which one pixel says little."""
    if data.spec.input_kind not in ("table", "vector"):
        return []
    inputs = data.source.fetch(data.rows("train")[torch.from_numpy(rows)], 0)[0]
    names = data.spec.feature_names
    if isinstance(inputs, Tensor):
        if isinstance(data.source, DatasetSource) and not inputs.is_floating_point():
            return []  # tokens, of which the position says nothing
        values = inputs.detach().cpu().double().numpy()
        return [Column(names[i] if names else f"feature {i}", "number", values[:, i]) for i in _first(values)]
    numbers, codes = inputs["numbers"].double().numpy(), inputs["codes"].numpy()
    columns = [Column(names[i], "number", numbers[:, i]) for i in _first(numbers)]
    return columns + [Column(names[numbers.shape[1] + i], "code", codes[:, i]) for i in _first(codes)]


def _first(matrix: np.ndarray) -> range:
    return range(min(matrix.shape[1], MOST_COLUMNS))


def _chance_share(columns: list[Column], target: np.ndarray, num_train: int) -> float:
    """Share of new rows that would equal one of the training rows if their columns were drawn independently."""
    if not columns:
        return 0.0
    same = float(np.prod([_same_value(column.values) for column in columns])) * _same_value(target_keys(target))
    return float(-np.expm1(num_train * np.log1p(-min(same, 1 - 1e-12))))


def _same_value(values: np.ndarray) -> float:
    """Probability that two different rows have the same value; missing values are one value."""
    counts = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1)).sum() / max(len(values) * (len(values) - 1), 1))


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
    """Parts given as datasets of their own that hold samples of the object given for training."""
    source: Any = data.source
    if not isinstance(source, DatasetSource):
        return ()
    first, others = source.datasets[0], list(enumerate(source.datasets))[1:]
    same = (_part_of(data, position) for position, part in others if shares_samples(part, first))
    return tuple(part for part in same if part is not None)


def shares_samples(one: Dataset[Any], other: Dataset[Any]) -> bool:
    """Whether two datasets are one object, or parts of one object that overlap."""
    if isinstance(one, Subset) and isinstance(other, Subset):
        return one.dataset is other.dataset and bool(set(one.indices) & set(other.indices))
    wholes = [dataset.dataset if isinstance(dataset, Subset) else dataset for dataset in (one, other)]
    return wholes[0] is wholes[1]


def _read_twice(data: DataModule) -> tuple[int, int]:
    """Validation samples that differ between two reads, and how many were read."""
    if not isinstance(data.source, DatasetSource) or not len(data.splits.val):
        return 0, 0
    rows = data.rows("val")[:READ_TWICE]
    first, second = (row_hashes(data.source.fetch(rows, key)[0]) for key in (1, 2))
    return int((first != second).sum()), len(rows)
