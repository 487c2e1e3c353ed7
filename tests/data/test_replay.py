from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from trainkit.data.plan import LoaderState
from trainkit.data.replay import AtStart, ReplayedLoader, is_ordered, length_of, replayed


class Standing:
    """Follows a test: where training stands, and how often a fetch was announced."""

    def __init__(self, epoch: int = 0, position: int = 0) -> None:
        self.state, self.fetches = LoaderState(epoch, position), 0

    def now(self) -> LoaderState:
        return self.state

    def before_fetch(self) -> None:
        self.fetches += 1


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(7))


NUMBERS = TensorDataset(torch.arange(20))


def numbers(loader: Any, epoch: int = 0, position: int = 0, seed: int = 0) -> list[list[int]]:
    batches = ReplayedLoader(loader, seed, Standing(epoch, position))
    return [(batch[0] if isinstance(batch, list) else batch).tolist() for batch in batches]


def weighted() -> DataLoader[Any]:
    return DataLoader(NUMBERS, 6, sampler=WeightedRandomSampler([1.0] * 20, 20))


def generated() -> DataLoader[Any]:
    return DataLoader(NUMBERS, 6, shuffle=True, generator=torch.Generator().manual_seed(3))


def batched() -> DataLoader[Any]:
    return DataLoader(NUMBERS, batch_sampler=BatchSampler(RandomSampler(NUMBERS), 6, drop_last=True))


def single() -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.arange(20).reshape(5, 4)), batch_size=None, shuffle=True)


@pytest.mark.parametrize("make", [lambda: DataLoader(NUMBERS, 6, shuffle=True), weighted, generated, batched, single])
def test_an_epoch_is_told_again_from_any_batch(make: Any) -> None:
    whole = numbers(make(), epoch=2)
    torch.manual_seed(99)  # what was drawn before does not matter
    assert len(whole) == len(make())
    for position in range(len(whole) + 1):
        assert numbers(make(), 2, position) == whole[position:]
    assert numbers(make(), 3) != whole
    assert numbers(make(), 2, seed=1) != whole


def test_the_order_of_a_loader_in_order_is_its_own() -> None:
    assert numbers(DataLoader(NUMBERS, 8)) == [list(range(8)), list(range(8, 16)), list(range(16, 20))]


def test_global_generators_are_left_alone_and_the_follower_hears_of_every_fetch() -> None:
    standing = Standing()
    before = torch.get_rng_state()
    loader = ReplayedLoader(DataLoader(NUMBERS, 6, shuffle=True), 0, standing)
    assert len(list(loader)) == len(loader) == 4
    assert standing.fetches == 5  # the last finds nothing left
    assert torch.equal(before, torch.get_rng_state())


def test_samplers_that_ask_for_the_epoch_are_told() -> None:
    epochs: list[int] = []

    class Asking(RandomSampler):
        def set_epoch(self, epoch: int) -> None:
            epochs.append(epoch)

    sampler = Asking(NUMBERS)
    loader = DataLoader(NUMBERS, 6, sampler=sampler)
    numbers(loader, 4)
    assert epochs == [4]


def test_what_a_loader_does_with_samples_stays_as_it_is() -> None:
    def doubled(samples: list[Any]) -> Tensor:
        return torch.stack([sample[0] for sample in samples]) * 2

    assert numbers(DataLoader(NUMBERS, 10, collate_fn=doubled))[0] == list(range(0, 20, 2))
    workers = DataLoader(NUMBERS, 10, shuffle=True, num_workers=1, persistent_workers=True)
    assert numbers(workers, 1) == numbers(DataLoader(NUMBERS, 10, shuffle=True), 1)


@pytest.mark.parametrize("loader", [DataLoader(Stream(), 3), [torch.arange(3), torch.arange(3, 6), torch.tensor([6])]])
def test_what_has_no_order_is_read_and_skipped(loader: Any) -> None:
    assert not is_ordered(loader)
    assert numbers(loader, position=1) == [[3, 4, 5], [6]]


class Loud(DataLoader[Any]):
    def __iter__(self) -> Any:
        return iter([torch.tensor([1])])


def test_a_loader_with_an_iteration_of_its_own_is_no_order_of_indices() -> None:
    assert not is_ordered(Loud(NUMBERS)) and is_ordered(DataLoader(NUMBERS))
    assert numbers(Loud(NUMBERS)) == [[1]]


def test_the_shorter_of_two_loaders_starts_again_in_another_order() -> None:
    def pairs(position: int) -> list[tuple[list[int], list[int]]]:
        short = DataLoader(TensorDataset(torch.arange(4)), 2, shuffle=True)
        both = replayed({"a": DataLoader(NUMBERS, 4, shuffle=True), "b": short}, 0, Standing(0, position))
        return [(batch["a"][0].tolist(), batch["b"][0].tolist()) for batch, _, _ in both]

    whole = pairs(0)
    assert len(whole) == 5 and len({str(short) for _, short in whole}) > 2
    assert sorted(whole[0][1] + whole[1][1]) == sorted(whole[2][1] + whole[3][1]) == [0, 1, 2, 3]
    for position in range(1, 5):
        assert pairs(position)[: 5 - position] == whole[position:]


@pytest.mark.parametrize(
    ("loaders", "length"),
    [
        (DataLoader(NUMBERS, 6), 4),
        ([DataLoader(NUMBERS, 6), DataLoader(NUMBERS, 10)], 4),
        (CombinedLoader([DataLoader(NUMBERS, 6), DataLoader(NUMBERS, 10)], "min_size"), 2),
        (CombinedLoader([DataLoader(NUMBERS, 6), DataLoader(NUMBERS, 10)], "sequential"), 6),
        (DataLoader(Stream(), 3), None),
        ({"a": DataLoader(NUMBERS), "b": DataLoader(Stream())}, None),
    ],
)
def test_batches_of_an_epoch(loaders: Any, length: int | None) -> None:
    assert length_of(loaders) == length


def test_the_user_s_own_combined_loader_is_left_as_it_was() -> None:
    given = CombinedLoader([DataLoader(NUMBERS, 10, shuffle=True)], "max_size")
    made = replayed(given, 0, AtStart())
    assert made._mode == "max_size" and isinstance(made.flattened[0], ReplayedLoader)
    assert isinstance(given.flattened[0], DataLoader)


class Counted(Dataset[Any]):
    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int:
        self.read.append(index)
        return index


def test_skipped_batches_are_never_read() -> None:
    data = Counted()
    left = list(ReplayedLoader(DataLoader(data, 3, shuffle=True), 0, Standing(0, 2)))
    assert data.read == [index for batch in left for index in batch.tolist()] and len(data.read) == 6
