"""The base of all data: parts, loaders, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from trainkit.data.batch_size import LARGEST_BATCH
from trainkit.data.loader import BatchLoader
from trainkit.data.module import DataModule
from trainkit.data.plan import ExecutionPlan
from trainkit.data.readers import ArrayReader, reader_from_json
from trainkit.data.sources import DatasetSource, TensorSource
from trainkit.data.splits import Splits
from trainkit.errors import DataError
from trainkit.types import DataSpec

NUM_ROWS, NUM_FEATURES, BATCH_SIZE = 100, 4, 16


class Numbers(DataModule):
    """The least a data module needs."""

    num_loads = 0

    def load(self) -> int:
        self.num_loads += 1
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(NUM_ROWS, NUM_FEATURES, generator=generator)
        self.fingerprint = "fixed"
        return NUM_ROWS

    def prepare(self, train_rows: np.ndarray) -> None:
        self.train_rows = train_rows
        self.source = TensorSource(self.inputs, (self.inputs[:, 0] > 0).long())
        self.reader = ArrayReader((NUM_FEATURES,))
        self.spec = DataSpec("vector", (NUM_FEATURES,), "class", ("low", "high"))


def set_up(**options: Any) -> Numbers:
    data = Numbers(**{"batch_size": BATCH_SIZE, **options})
    data.setup()
    return data


def test_setup_loads_splits_and_prepares_once() -> None:
    data = set_up()
    data.setup("fit")
    data.setup("test")
    assert data.num_loads == 1
    sizes = [len(getattr(data.splits, part)) for part in ("train", "val", "test")]
    assert sizes == [70, 15, 15]
    np.testing.assert_array_equal(data.train_rows, data.splits.train)
    assert (data.name, data.describe()) == ("numbers", "numbers 100 samples")
    assert data.steps_per_epoch() == 5
    assert set_up(drop_last=True).steps_per_epoch() == 4


def test_rows_and_targets_of_a_part() -> None:
    data = set_up()
    for part in ("train", "val", "test"):
        rows = data.rows(part)
        assert rows.dtype == torch.int64
        expected = (data.inputs[rows, 0] > 0).long().numpy()
        np.testing.assert_array_equal(data.targets(part), expected)
    np.testing.assert_array_equal(data.row_numbers(data.splits.val), data.splits.val)


def test_given_splits_are_used_and_checked() -> None:
    rows = [np.arange(start, start + 10) for start in (0, 50, 90)]
    data = Numbers()
    data.given_splits = Splits(rows[0], rows[1], rows[2])
    data.setup()
    assert data.rows("test").tolist() == list(range(90, 100))
    data = Numbers()
    data.given_splits = Splits(rows[0], rows[1], rows[2] + 1)
    with pytest.raises(DataError) as caught:
        data.setup()
    assert str(caught.value) == "the test part names rows beyond the 100 there are\n  where    splits.npz"


def test_stratified_parts_follow_the_strata() -> None:
    class Rare(Numbers):
        def strata(self) -> np.ndarray | None:
            return (np.arange(NUM_ROWS) < 10).astype(np.int64)

    data = Rare(val_share=0.2, test_share=0.2)
    data.setup()
    assert [int((getattr(data.splits, part) < 10).sum()) for part in ("train", "val", "test")] == [6, 2, 2]


def test_given_parts_follow_the_main_pool() -> None:
    def drawn(**sizes: int) -> Splits:
        data = Numbers(val_share=0.2, test_share=0.1)
        data.sizes = sizes
        return data.draw_splits(100)

    both = drawn(train=80, val=12, test=8)
    assert [both.train.tolist(), both.val.tolist(), both.test.tolist()] == [
        list(range(80)),
        list(range(80, 92)),
        list(range(92, 100)),
    ]
    val = drawn(train=80, val=20)
    assert (val.val.tolist(), len(val.test), val.test.max() < 80) == (list(range(80, 100)), 8, True)
    test = drawn(train=80, test=20)
    assert (test.test.tolist(), len(test.val), test.val.max() < 80) == (list(range(80, 100)), 16, True)


@pytest.mark.parametrize(
    ("key", "size"),
    [
        ("batch_size", 0),
        ("batch_size", -3),
        ("batch_size", "many"),
        ("eval_batch_size", 0),
        ("eval_batch_size", "auto"),
    ],
)
def test_sizes_below_one_are_refused(key: str, size: int | str) -> None:
    with pytest.raises(DataError) as caught:
        Numbers(**{key: size})  # type: ignore[arg-type]
    assert str(caught.value) == f"{key} is {size}\n  where    data.{key}\n  expected an integer ≥ 1"


@pytest.mark.parametrize("shares", [(0.6, 0.5), (-0.1, 0.1), (0.1, 1.0)])
def test_shares_out_of_range_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(DataError, match=r"data\.(val|test)_share"):
        set_up(val_share=shares[0], test_share=shares[1])


def test_a_batch_size_of_none_goes_by_the_size_of_the_training_part(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set_up(batch_size=None).batch_size == 32
    monkeypatch.setattr("trainkit.data.batch_size._BY_SIZE", {None: {70: 32}, "auto": {70: 32, 10_000: 64}})
    assert set_up(batch_size=None).batch_size == LARGEST_BATCH == 256
    assert set_up(batch_size="auto").batch_size == 64


def test_the_loaders_hand_on_what_was_asked_for() -> None:
    data = set_up(num_workers=3, drop_last=True, eval_batch_size=7)
    plan = ExecutionPlan(4)
    loader = data.train_loader(plan, seed=5, accumulate=2, rank=1, world_size=2)
    assert (loader.batch_size, loader.plan, loader.seed, loader.accumulate) == (BATCH_SIZE, plan, 5, 2)
    assert (loader.rank, loader.world_size, loader.fetcher.num_workers, loader.drop_last) == (1, 2, 3, True)
    assert torch.equal(loader.rows, data.rows("train"))
    evaluation = data.evaluation_loader("val", rank=1, world_size=2)
    assert (evaluation.batch_size, evaluation.rank, evaluation.world_size) == (7, 1, 2)
    assert evaluation.fetcher.num_workers == 3
    assert torch.equal(evaluation.rows, data.rows("val"))


def test_without_a_trainer_the_dataloaders_are_those_of_one_process() -> None:
    data = set_up()
    assert type(data.train_dataloader()) is BatchLoader
    assert torch.equal(data.val_dataloader().rows, data.rows("val"))
    assert torch.equal(data.test_dataloader().rows, data.rows("test"))
    assert torch.equal(data.predict_dataloader().rows, data.rows("test"))


def test_metadata_builds_the_reader_again() -> None:
    reader = reader_from_json(set_up().metadata())
    assert isinstance(reader, ArrayReader)
    assert reader.shape == (NUM_FEATURES,)


def test_a_source_of_another_kind_needs_targets_of_its_own() -> None:
    class Other(Numbers):
        def prepare(self, train_rows: np.ndarray) -> None:
            super().prepare(train_rows)
            self.source = DatasetSource([])

    data = Other()
    data.setup()
    with pytest.raises(TypeError, match=r"^Other must override targets\(\)$"):
        data.targets("val")


def test_a_column_may_be_a_plain_array() -> None:
    class Grouped(Numbers):
        def column(self, role: str, name: str) -> Any:
            return np.arange(self.load()) // 5 if role == "group" else np.ones(self.load())

    data = Grouped(group="block", weight="w")
    data.setup()
    blocks = {part: set((rows // 5).tolist()) for part, rows in data.splits.parts().items()}
    assert not blocks["train"] & blocks["test"] and not blocks["train"] & blocks["val"]
    assert data.source.weight is not None and data.source.weight.eq(1).all()
