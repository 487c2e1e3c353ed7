"""Fetching whole executions from a source, in this process or ahead of it in workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainkit.data.sources import DatasetSource, Source, batch_of
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


def fetch_all(
    source: Source, requests: Iterable[Request[Tag]], num_workers: int
) -> Iterator[tuple[Request[Tag], Batch]]:
    """Pairs each request with its batch, in order.

    Args:
        source: Where samples come from.
        requests: Drawn lazily; with workers, a few ahead of what has been yielded.
        num_workers: Processes that read a ``DatasetSource``; tensors in memory are always gathered here.
    """
    if not (num_workers and isinstance(source, DatasetSource)):
        for request in requests:
            yield request, fetch(source, request.rows_per_step, request.keys)
        return
    waiting: deque[Request[Tag]] = deque()

    def drawn() -> Iterator[tuple[list[Tensor], list[int]]]:
        for request in requests:
            waiting.append(request)
            yield request.rows_per_step, request.keys

    # With a generator of its own, for a DataLoader otherwise draws its workers' seed from the global one: dropout and
    # whatever else draws in this process would depend on the number of workers.
    own = torch.Generator()
    loader = DataLoader(
        _WholeRequests(source), batch_size=None, sampler=drawn(), num_workers=num_workers, generator=own
    )
    for batch in loader:
        if isinstance(batch, TrainkitError):
            raise batch
        yield waiting.popleft(), cast("Batch", tuple(batch))


def fetch(source: Source, rows_per_step: list[Tensor], keys: list[int]) -> Batch:
    """Samples of several steps, one after the other; tensors in memory are gathered at once."""
    if not isinstance(source, DatasetSource):
        return source.fetch(torch.cat(rows_per_step), keys[0])
    return _join([source.fetch(rows, key) for rows, key in zip(rows_per_step, keys, strict=True)])


class _WholeRequests(Dataset[Any]):
    """Lets a DataLoader's worker fetch and collate a whole request as one item."""

    def __init__(self, source: DatasetSource) -> None:
        self.source = source

    def __getitem__(self, request: Any) -> Batch | TrainkitError:
        try:
            return fetch(self.source, *request)
        except TrainkitError as error:  # handed over as it is: DataLoader would put a traceback into its message
            return error


def _join(batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    inputs, target = [batch[0] for batch in batches], torch.cat([batch[1] for batch in batches])
    weights, rest = list[Tensor](), list[Tensor]()
    for _, _, *rest in batches:
        weights += rest
    weight = torch.cat(weights) if weights else None
    if isinstance(inputs[0], dict):
        named = {name: torch.cat([part[name] for part in inputs]) for name in inputs[0]}  # type: ignore[index]
        return batch_of(named, target, weight)
    return batch_of(torch.cat(inputs), target, weight)  # type: ignore[arg-type]
