"""Fetching whole executions from a source, in this process or ahead of it in workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainkit.data.sources import DatasetSource, Source, map_inputs
from trainkit.data.workers import Workers, settled
from trainkit.errors import TrainkitError
from trainkit.types import Batch

Tag = TypeVar("Tag")


class Request(NamedTuple, Generic[Tag]):
    """What to fetch.

    Attributes:
        rows_per_step: int64 [B] sample numbers of each step.
        keys: Seed of whatever is random in fetching, per step.
        tag: Handed back with the batch.
    """

    rows_per_step: list[Tensor]
    keys: list[int]
    tag: Tag


class Fetcher:
    """Fetches requests of one source; loader processes, where there are any, outlive an epoch.

    Args:
        source: Where samples come from.
        num_workers: Processes that read a ``DatasetSource``; ``auto`` is 0. Tensors in memory are gathered here.

    Attributes:
        pins: Whether batches come in memory that a GPU copies from by itself.
    """

    def __init__(self, source: Source, num_workers: Workers) -> None:
        self.source, self.num_workers, self.pins = source, settled(num_workers), False
        self._asked = _Asked()
        self._loader: DataLoader[Any] | None = None

    def fetch_all(self, requests: Iterable[Request[Tag]]) -> Iterator[tuple[Request[Tag], Batch]]:
        """Pairs each request with its batch, in order.

        Args:
            requests: Drawn lazily; with workers, a few ahead of what has been yielded.
        """
        for request, batch in self._fetch_all(requests):
            yield request, pinned(batch) if self.pins else batch

    def _fetch_all(self, requests: Iterable[Request[Tag]]) -> Iterator[tuple[Request[Tag], Batch]]:
        if not (self.num_workers and isinstance(self.source, DatasetSource)):
            for request in requests:
                yield request, fetch(self.source, request.rows_per_step, request.keys)
            return
        self._asked.requests, self._asked.waiting = iter(requests), deque()
        for batch in self._started(self.source):
            if isinstance(batch, TrainkitError):
                raise batch
            yield self._asked.waiting.popleft(), cast("Batch", tuple(batch))

    def _started(self, source: DatasetSource) -> DataLoader[Any]:
        if self._loader is None:
            # With a generator of its own, for a DataLoader otherwise draws its workers' seed from the global one:
            # dropout and whatever else draws in this process would depend on the number of workers.
            self._loader = DataLoader(
                _WholeRequests(source),
                batch_size=None,
                sampler=self._asked,
                num_workers=self.num_workers,
                generator=torch.Generator(),
                persistent_workers=True,
            )
        return self._loader

    def close(self) -> None:
        """Ends the loader processes; a later ``fetch_all`` starts others."""
        self._loader = None


class _Asked:
    """What the loader's processes are asked for; a sampler, with no hold on who fetches."""

    def __init__(self) -> None:
        self.requests: Iterator[Request[Any]] = iter(())
        self.waiting: deque[Request[Any]] = deque()

    def __iter__(self) -> Iterator[tuple[list[Tensor], list[int]]]:
        for request in self.requests:
            self.waiting.append(request)
            yield request.rows_per_step, request.keys


def fetch(source: Source, rows_per_step: list[Tensor], keys: list[int]) -> Batch:
    """Samples of several steps, one after the other; tensors in memory are gathered at once."""
    if isinstance(source, DatasetSource):
        return source.fetch_steps(rows_per_step, keys)
    return source.fetch(torch.cat(rows_per_step), keys[0])


def pinned(batch: Batch) -> Batch:
    """A batch in page-locked memory."""
    inputs, *rest = batch
    return cast("Batch", (map_inputs(inputs, Tensor.pin_memory), *map(Tensor.pin_memory, rest)))


class _WholeRequests(Dataset[Any]):
    """Lets a DataLoader's worker fetch and collate a whole request as one item."""

    def __init__(self, source: DatasetSource) -> None:
        self.source = source

    def __getitem__(self, request: Any) -> Batch | TrainkitError:
        try:
            return fetch(self.source, *request)
        except TrainkitError as error:  # handed over as it is: DataLoader would put a traceback into its message
            return error
