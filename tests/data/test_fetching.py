"""Fetching executions, here and in workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from trainkit.data import fetching
from trainkit.data.fetching import Fetcher, Request, fetch
from trainkit.data.sources import DatasetSource, TensorSource
from trainkit.errors import DataError
from trainkit.types import Batch


class Squares(Dataset[Any]):
    """Numbers with their squares; as pairs, or as dicts of two inputs and a target."""

    def __init__(self, as_dict: bool = False, broken: int = -1) -> None:
        self.as_dict, self.broken = as_dict, broken

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> Any:
        if index == self.broken:
            raise OSError(f"sample {index} is unreadable")
        number = torch.tensor([float(index)])
        return {"a": number, "b": number * 2, "target": index**2} if self.as_dict else (number, index**2)


def requests(num_requests: int = 5, asked: list[int] | None = None) -> Iterator[Request[str]]:
    for i in range(num_requests):
        if asked is not None:
            asked.append(i)
        yield Request([torch.arange(2 * i, 2 * i + 3), torch.tensor([i])], [i, 100 + i], f"tag {i}")


def assert_same(first: Batch, second: Batch) -> None:
    if isinstance(first[0], dict):
        assert isinstance(second[0], dict)
        assert list(first[0]) == list(second[0])
        assert all(torch.equal(first[0][name], second[0][name]) for name in first[0])
    else:
        assert isinstance(second[0], Tensor)
        assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_tensors_in_memory_are_one_gather() -> None:
    class Counting(TensorSource):
        calls = 0

        def fetch(self, rows: Tensor, key: int = 0) -> Batch:
            self.calls += 1
            return super().fetch(rows, key)

    source = Counting(torch.arange(10.0)[:, None], torch.arange(10))
    inputs, target = fetch(source, [torch.tensor([3, 1]), torch.tensor([1]), torch.tensor([9])], [0, 0, 0])
    assert target.tolist() == [3, 1, 1, 9]
    assert isinstance(inputs, Tensor)
    assert inputs.flatten().tolist() == [3.0, 1.0, 1.0, 9.0]
    assert source.calls == 1


def test_tensors_in_memory_start_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("a DataLoader was made")

    monkeypatch.setattr(fetching, "DataLoader", refuse)
    source = TensorSource(torch.arange(30.0), torch.arange(30))
    assert [request.tag for request, _ in Fetcher(source, 2).fetch_all(requests())] == [f"tag {i}" for i in range(5)]
    with pytest.raises(AssertionError, match="a DataLoader was made"):
        next(Fetcher(DatasetSource([Squares()]), 2).fetch_all(requests()))


@pytest.mark.parametrize("as_dict", [False, True])
def test_workers_give_what_this_process_gives(as_dict: bool) -> None:
    source = DatasetSource([Squares(as_dict)])
    here, there = list(Fetcher(source, 0).fetch_all(requests())), list(Fetcher(source, 2).fetch_all(requests()))
    for number, ((mine, batch), (theirs, other)) in enumerate(zip(here, there, strict=True)):
        assert mine.tag == theirs.tag == f"tag {number}"
        assert_same(batch, other)
        assert batch[1].tolist() == [row**2 for row in [*range(2 * number, 2 * number + 3), number]]


def test_requests_are_drawn_one_by_one_without_workers() -> None:
    asked: list[int] = []
    fetched = Fetcher(DatasetSource([Squares()]), 0).fetch_all(requests(5, asked))
    next(fetched)
    next(fetched)
    assert asked == [0, 1]


def test_workers_draw_nothing_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    list(Fetcher(DatasetSource([Squares()]), 1).fetch_all(requests()))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_of_the_dataset_gets_through(num_workers: int) -> None:
    with pytest.raises(OSError, match="sample 4 is unreadable"):
        list(Fetcher(DatasetSource([Squares(broken=4)]), num_workers).fetch_all(requests()))


def test_an_error_of_ours_gets_through_a_worker_as_one() -> None:
    class Triples(Squares):
        def __getitem__(self, index: int) -> Any:
            return index, index, index

    with pytest.raises(DataError) as caught:
        list(Fetcher(DatasetSource([Triples()]), 1).fetch_all(requests()))
    assert str(caught.value) == (
        "a sample is a list of 3\n  where    data.train\n  expected (inputs, target), or a dict with the target"
    )


def test_workers_outlive_an_epoch_and_an_iteration_that_was_broken_off() -> None:
    class Tells(Dataset[Any]):
        def __len__(self) -> int:
            return 30

        def __getitem__(self, index: int) -> tuple[float, int]:
            return float(index), os.getpid()

    fetcher = Fetcher(DatasetSource([Tells()]), 2)
    whole = list(fetcher.fetch_all(requests()))
    next(fetcher.fetch_all(requests()))
    again = list(fetcher.fetch_all(requests()))
    for (request, batch), (other, same) in zip(whole, again, strict=True):
        assert request.tag == other.tag
        assert_same(batch, same)
    processes = set(torch.cat([batch[1] for _, batch in whole]).tolist())
    assert os.getpid() not in processes
    fetcher.close()
    later = set(torch.cat([batch[1] for _, batch in fetcher.fetch_all(requests())]).tolist())
    assert not processes & later
