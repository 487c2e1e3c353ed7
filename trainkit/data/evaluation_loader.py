"""Loader for validation and scoring: batches of one size, so that a row's result does not depend on its part."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from trainkit.data.fetching import Fetcher, Request
from trainkit.data.sources import Source, batch_of, map_inputs, mix, slice_batch
from trainkit.types import Batch, Inputs


@dataclass
class EvaluationBatch:
    """A padded batch; only its first ``num_real`` rows count.

    Attributes:
        inputs: [B, ...], or a dict of such tensors.
        target: [B].
        rows: int64 [num_real], sample numbers in the source.
        num_real: Rows that are not padding.
        weight: float32 [B], weights of the rows; None where all count alike.
    """

    inputs: Inputs
    target: Tensor
    rows: Tensor
    num_real: int
    weight: Tensor | None = None

    def to(self, device: torch.device, non_blocking: bool = False) -> EvaluationBatch:
        """The same batch on another device."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=non_blocking)

        weight = None if self.weight is None else move(self.weight)
        return dataclasses.replace(self, inputs=map_inputs(self.inputs, move), target=move(self.target), weight=weight)

    def real(self) -> Batch:
        """The rows that are not padding, as (inputs, target) or (inputs, target, weight)."""
        return slice_batch(batch_of(self.inputs, self.target, self.weight), 0, self.num_real)


class EvaluationLoader:
    """Yields rows in order, in batches of one fixed size, the last one padded with its first row.

    Processes share whole batches among them, so that no row is seen twice and batches are the same for any number of
    processes. Where there are fewer batches than processes, they share the rows: metrics are computed by all of them
    together, and one without a row would hold up the others. On a CPU a net then gives a row the same bits wherever it
    stands in a batch, if the batch size is a multiple of 32: elementwise functions otherwise compute the last values of
    a batch one by one, by another formula.

    Args:
        source: Where samples come from.
        rows: int64 [N], the samples to evaluate.
        batch_size: Rows of a batch, padding included.
        rank: This process.
        world_size: Processes.
        num_workers: Worker processes that read a user's ``Dataset``; 0 reads in this one.
    """

    def __init__(
        self, source: Source, rows: Tensor, *, batch_size: int, rank: int = 0, world_size: int = 1, num_workers: int = 0
    ) -> None:
        self.source, self.rows, self.batch_size = source, rows, batch_size
        self.rank, self.world_size, self.fetcher = rank, world_size, Fetcher(source, num_workers)

    def __len__(self) -> int:
        return len(list(self._shares()))

    def __iter__(self) -> Iterator[EvaluationBatch]:
        weight: list[Tensor]
        for request, (inputs, target, *weight) in self.fetcher.fetch_all(self._requests()):
            yield EvaluationBatch(inputs, target, request.tag, len(request.tag), *weight)

    def _requests(self) -> Iterator[Request[Tensor]]:
        for start, stop in self._shares():
            rows = self.rows[start:stop]
            padding = rows[:1].expand(self.batch_size - len(rows))
            yield Request([torch.cat([rows, padding])], [mix(start)], rows)

    def _shares(self) -> Iterator[tuple[int, int]]:
        """First row, and the one after the last, of each batch of this process."""
        count, size = len(self.rows), self.batch_size
        if count > size * (self.world_size - 1):
            for start in range(self.rank * size, count, self.world_size * size):
                yield start, min(start + size, count)
            return
        start, stop = count * self.rank // self.world_size, count * (self.rank + 1) // self.world_size
        if stop > start:
            yield start, stop
