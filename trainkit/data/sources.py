"""Where samples come from: tensors in memory, or the user's own ``Dataset``; both are asked for whole batches."""

from __future__ import annotations

import abc
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from trainkit.errors import DataError
from trainkit.types import Batch, Inputs


class Source(abc.ABC):
    """A numbered pool of samples.

    Attributes:
        weight: Weights of the samples, float32 [N]; None where all count alike.
    """

    weight: Tensor | None = None

    @abc.abstractmethod
    def __len__(self) -> int:
        """Samples in the pool."""

    @abc.abstractmethod
    def fetch(self, rows: Tensor, key: int) -> Batch:
        """Inputs and targets of some samples, and their weights where they are weighted.

        Args:
            rows: int64 [B], sample numbers.
            key: Seeds whatever is random in fetching them, so that a batch does not depend on what was fetched before.
        """


class TensorSource(Source):
    """Samples in memory; a batch is one gather.

    Args:
        inputs: [N, ...], or a dict of such tensors.
        target: [N].
    """

    def __init__(self, inputs: Inputs, target: Tensor) -> None:
        self.inputs, self.target = inputs, target

    def __len__(self) -> int:
        return len(self.target)

    def fetch(self, rows: Tensor, key: int = 0) -> Batch:
        """Gathers rows; nothing is random."""
        inputs = map_inputs(self.inputs, lambda tensor: tensor.index_select(0, rows))
        target = self.target.index_select(0, rows)
        return batch_of(inputs, target, None if self.weight is None else self.weight.index_select(0, rows))


class DatasetSource(Source):
    """One or several map-style datasets, numbered one after the other.

    A sample is ``(inputs, target)``, or a dict in which ``target_name`` is the target; dict inputs are passed to the
    net by name, a lone one by position.

    Args:
        datasets: The parts of the pool.
        target_name: Key of the target in dict samples.
    """

    def __init__(self, datasets: Sequence[Dataset[Any]], target_name: str = "target") -> None:
        self.datasets, self.target_name = list(datasets), target_name
        self.offsets = np.cumsum([0, *(len(part) for part in self.datasets)])  # type: ignore[arg-type]

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def sample(self, row: int) -> Any:
        """One sample as the dataset gives it."""
        part = int(np.searchsorted(self.offsets, row, side="right")) - 1
        return self.datasets[part][row - int(self.offsets[part])]

    def fetch(self, rows: Tensor, key: int) -> Batch:
        """Reads samples one by one (or by ``__getitems__``) and collates them; random draws are seeded by ``key``."""
        return self.fetch_steps([rows], [key])

    def fetch_steps(self, rows_per_step: Sequence[Tensor], keys: Sequence[int]) -> Batch:
        """As ``fetch`` for the rows of several steps, each with its key, one after the other."""
        batches = []
        with seeded() as seed:
            for rows, key in zip(rows_per_step, keys, strict=True):
                seed(key)
                inputs, target = self.unpack(collate(self._samples(rows.tolist())))
                batches.append((inputs, _flat(target)))
        return _joined(batches)

    def _samples(self, rows: list[int]) -> list[Any]:
        if len(self.datasets) > 1:
            return [self.sample(row) for row in rows]
        dataset = self.datasets[0]
        if not hasattr(dataset, "__getitems__"):
            return [dataset[row] for row in rows]
        samples: list[Any] = dataset.__getitems__(rows)
        return samples

    def unpack(self, batch: Any) -> Batch:
        """Splits a sample or a collated batch into inputs and target.

        Raises:
            DataError: It is neither a pair nor a dict with the target.
        """
        if isinstance(batch, Mapping):
            if self.target_name not in batch:
                keys = ", ".join(map(str, batch))
                raise DataError(f"samples have no '{self.target_name}'", where="data.target", expected=f"one of {keys}")
            inputs = {name: value for name, value in batch.items() if name != self.target_name}
            if not inputs:
                raise DataError(f"samples have nothing but '{self.target_name}'", where="data.train")
            return (next(iter(inputs.values())) if len(inputs) == 1 else inputs), batch[self.target_name]
        if isinstance(batch, (tuple, list)) and len(batch) == 2:
            return batch[0], batch[1]
        count = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
        raise DataError(
            f"a sample is a {type(batch).__name__}{count}",
            where="data.train",
            expected="(inputs, target), or a dict with the target",
        )


def collate(samples: list[Any]) -> Any:
    """Samples as one batch, in the manner of a DataLoader.

    Raises:
        DataError: They hold something that is no tensor, array or number, or are of several shapes.
    """
    try:
        return default_collate(samples)
    except (TypeError, RuntimeError, ValueError, OverflowError) as error:
        raise DataError(
            f"samples do not make a batch: {str(error).splitlines()[0].removeprefix('default_collate: ')}",
            where="data.train",
            expected="tensors, arrays or numbers, of one shape in all samples",
        ) from error


def _joined(batches: list[tuple[Inputs, Tensor]]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    parts, targets = zip(*batches, strict=True)
    if isinstance(parts[0], Tensor):
        return torch.cat(parts), torch.cat(targets)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}, torch.cat(targets)


def _flat(target: Tensor) -> Tensor:
    """Targets as [B], integers as the int64 that losses take; several of a sample, [B, T], as floats."""
    if not isinstance(target, Tensor) or target.numel() != len(target):
        is_several = isinstance(target, Tensor) and target.ndim == 2 and not target.is_floating_point()
        return target.float() if is_several else target
    target = target.reshape(-1)
    return target if target.is_floating_point() else target.long()


class seeded:
    """Context in which Python's, NumPy's and torch's generators are seeded by a key, and put back afterwards.

    Args:
        key: The seed; None leaves that to calls of what the context gives.
    """

    def __init__(self, key: int | None = None) -> None:
        self.key = key

    def __enter__(self) -> Callable[[int], None]:
        self.states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        if self.key is not None:
            self.seed(self.key)
        return self.seed

    @staticmethod
    def seed(key: int) -> None:
        """Seeds the three by a key."""
        random.seed(key)
        np.random.seed(key % 2**32)
        torch.default_generator.manual_seed(key)

    def __exit__(self, *exc: object) -> None:
        random.setstate(self.states[0])
        np.random.set_state(self.states[1])
        torch.set_rng_state(self.states[2])


def tensor_of(array: np.ndarray) -> Tensor:
    """A tensor of an array's numbers, in a type that every operation knows: uint16 becomes int32, and so on."""
    wider = {"u2": np.int32, "u4": np.int64, "u8": np.float64, "f16": np.float64}
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    dtype = wider.get(kind, array.dtype.newbyteorder("="))
    return torch.from_numpy(np.require(array, dtype, ["C", "W"]))


def map_inputs(inputs: Inputs, function: Any) -> Inputs:
    """Applies a function to a tensor, or to each tensor of a dict."""
    if isinstance(inputs, Tensor):
        result: Tensor = function(inputs)
        return result
    return {name: function(tensor) for name, tensor in inputs.items()}


def row_hashes(inputs: Inputs) -> np.ndarray:
    """A hash of each row's bytes, int64 [N]; other processes give others."""
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    flat = [t.detach().cpu().contiguous().reshape(len(t), -1).view(torch.uint8).numpy() for t in tensors if t.numel()]
    joined = np.ascontiguousarray(np.concatenate(flat, axis=1))
    rows = joined.view(f"V{joined.shape[1]}").reshape(-1).tolist()
    return np.fromiter(map(hash, rows), dtype=np.int64, count=len(rows))


def batch_of(inputs: Inputs, target: Tensor, weight: Tensor | None) -> Batch:
    """(inputs, target), or (inputs, target, weight) where the rows have weights."""
    return (inputs, target) if weight is None else cast("Batch", (inputs, target, weight))


def slice_batch(batch: Batch, start: int, stop: int) -> Batch:
    """Some samples of a batch, with their weights where it has them."""
    weight: list[Tensor]
    inputs, target, *weight = batch
    cut = map_inputs(inputs, lambda tensor: tensor[start:stop])
    return batch_of(cut, target[start:stop], weight[0][start:stop] if weight else None)


def is_batch(batch: Any) -> bool:
    """Whether a batch is (inputs, target), or these with weights."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        return False
    return len(batch) == 2 or all(isinstance(tensor, Tensor) for tensor in batch[1:])


def mix(*numbers: int) -> int:
    """A 63-bit key from several integers, well spread (splitmix64; Steele et al., 2014)."""
    state = 0
    for number in numbers:
        state = (state ^ (number & (2**64 - 1))) + 0x9E3779B97F4A7C15 & (2**64 - 1)
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & (2**64 - 1)
        state ^= state >> 31
    return state >> 1
