"""Loader for validation and scoring: batches of one size, so that a row's result does not depend on its part."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from trainkit.data.fetching import Fetcher, Request
from trainkit.data.sources import Source, batch_of, map_inputs, mix, slice_batch
from trainkit.data.workers import Workers
from trainkit.types import Batch, Inputs


@dataclass
class EvaluationBatch:
    """One or several padded batches; only the first ``num_real`` rows count.

    Attributes:
        inputs: [B, ...], or a dict of such tensors.
        target: [B].
        rows: int64 [num_real], sample numbers in the source.
        num_real: Rows that are not padding.
        weight: float32 [B], weights of the rows; None where all count alike.
        size: Rows that a net is to take at a time; None for all.
    """

    inputs: Inputs
    target: Tensor
    rows: Tensor
    num_real: int
    weight: Tensor | None = None
    size: int | None = None

    def to(self, device: torch.device) -> EvaluationBatch:
        """The same batch on another device."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=device.type == "cuda")  # which may take its time

        weight = None if self.weight is None else move(self.weight)
        return dataclasses.replace(self, inputs=map_inputs(self.inputs, move), target=move(self.target), weight=weight)

    def pieces(self) -> Iterator[EvaluationBatch]:
        """The batches that a net is to take, each padded to one size."""
        size = self.size or len(self.target)
        if size == len(self.target):
            yield self
            return
        whole = batch_of(self.inputs, self.target, self.weight)
        for start in range(0, len(self.target), size):
            rows = self.rows[start : start + size]
            yield _evaluation_batch(slice_batch(whole, start, start + size), rows, None)

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

    Attributes:
        at_once: Batches that are handed out as one, whose ``pieces`` a net takes.
    """

    def __init__(
        self,
        source: Source,
        rows: Tensor,
        *,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        num_workers: Workers = 0,
    ) -> None:
        self.source, self.rows, self.batch_size = source, rows, batch_size
        self.rank, self.world_size, self.fetcher = rank, world_size, Fetcher(source, num_workers)
        self.at_once = 1

    def __len__(self) -> int:
        return -(-len(list(self._shares())) // self.at_once)

    def __iter__(self) -> Iterator[EvaluationBatch]:
        for request, batch in self.fetcher.fetch_all(self._requests()):
            yield _evaluation_batch(batch, request.tag, self.batch_size)

    def _requests(self) -> Iterator[Request[Tensor]]:
        shares = self._shares()
        while group := list(itertools.islice(shares, self.at_once)):
            rows = torch.cat([self.rows[start:stop] for start, stop in group])
            padding = rows[:1].expand(-len(rows) % self.batch_size)
            yield Request([torch.cat([rows, padding])], [mix(group[0][0])], rows)

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


def _evaluation_batch(batch: Batch, rows: Tensor, size: int | None) -> EvaluationBatch:
    weight: list[Tensor]
    inputs, target, *weight = batch
    return EvaluationBatch(inputs, target, rows, len(rows), weight[0] if weight else None, size)
