from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from tests.runs.own_modules import Points, TrainOnly
from trainkit.data import LoaderData
from trainkit.errors import DataError


class Noise(Dataset[Any]):
    """Another value each time."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> Any:
        return {"x": torch.randn(3), "name": f"row {index}", "y": index % 2}


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(7))


def points(size: int = 20, value: float = 0.0) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.full((size, 2), value), torch.zeros(size)), 8)


def set_up(*args: Any, **given: Any) -> LoaderData:
    data = LoaderData(*args, **given)
    data.setup()
    return data


def test_loaders_describe_themselves() -> None:
    data = set_up(points(), points(9), name="dots")
    assert data.describe() == "dots · train 20 samples in 3 batches · val 9 samples in 2 batches"
    assert (data.batch_size, data.steps_per_epoch(), data.count("train"), data.splits.num_rows) == (8, 3, 20, 0)
    assert set_up([points(), points(4)]).describe() == "tensordataset · train 24 samples in 3 batches"
    stream = set_up(DataLoader(Stream(), 2))
    assert stream.describe() == "stream · train of unknown length" and stream.steps_per_epoch() == -1


def test_fingerprints_tell_data_apart_and_do_not_depend_on_what_is_random() -> None:
    assert set_up(points()).fingerprint == set_up(points()).fingerprint
    others = {
        set_up(points(value=1.0)).fingerprint,
        set_up(points(21)).fingerprint,
        set_up(points(), points()).fingerprint,
    }
    assert len(others) == 3 and set_up(points()).fingerprint not in others
    before = torch.get_rng_state()
    assert set_up(DataLoader(Noise(), 4)).fingerprint == set_up(DataLoader(Noise(), 4)).fingerprint
    assert torch.equal(before, torch.get_rng_state())
    assert set_up(points()).fingerprint.endswith("-sampled32")


@pytest.mark.parametrize(
    ("loader", "why"),
    [
        (points(), None),
        (DataLoader(Noise(), 4, num_workers=1), "loader workers draw from random generators of their own"),
        (DataLoader(Stream(), 2), "DataLoader has no order by indices"),
        ([1, 2], None),
    ],
)
def test_why_an_epoch_cannot_be_told_again(loader: Any, why: str | None) -> None:
    found = set_up({"a": points(), "b": loader} if isinstance(loader, DataLoader) else points()).inexact()
    assert found is None if why is None else str(found).startswith(why)


@pytest.mark.parametrize(
    ("loaders", "message"),
    [
        ((3,), "the train loader is a int"),
        ((points(), 3), "the val loader is a int"),
        ((DataLoader(TensorDataset(torch.zeros(3)), 8, drop_last=True),), "the training loader has no batch"),
    ],
)
def test_what_is_no_loader(loaders: tuple[Any, ...], message: str) -> None:
    with pytest.raises(DataError) as caught:
        set_up(*loaders)
    assert caught.value.what == message


def test_the_loaders_of_a_data_module_are_asked_for_when_it_is_ready() -> None:
    whole = Points()
    data = LoaderData.of(whole)
    assert whole.asked == ["prepare", "fit", "test"] and data.datamodule is whole
    assert data.count("test") == 40 and data.name == "points"
    assert LoaderData.of(TrainOnly()).loaders["val"] is None


def test_a_data_module_without_training_data() -> None:
    with pytest.raises(DataError, match="LightningDataModule has no train_dataloader"):
        LoaderData.of(L.LightningDataModule())


def test_the_loaders_that_a_module_brings() -> None:
    class Brings(L.LightningModule):
        def train_dataloader(self) -> Any:
            return points()

    data = LoaderData.of_module(Brings())
    assert data.name == "brings" and data.loaders["val"] is None and data.datamodule is None


def test_what_can_be_gone_through_once_is_no_loader() -> None:
    with pytest.raises(DataError, match="the train loader is a generator, which can be gone through once only"):
        set_up(batch for batch in points())
    with pytest.raises(DataError, match=r"the val loader is a _SingleProcessDataLoaderIter, which"):
        set_up(points(), iter(points()))  # what a DataLoader's iter gives
