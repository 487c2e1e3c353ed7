"""The user's own datasets: looked through once, split, and read as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset, TensorDataset, random_split

from trainkit.data import dataset as dataset_module
from trainkit.data.dataset import DatasetData
from trainkit.data.preprocessing import AsFloat
from trainkit.data.readers import NoReader
from trainkit.types import DataSpec

NUM_SAMPLES = 60


class Items(Dataset[Any]):
    """A dataset of given samples that counts how often it is asked."""

    def __init__(self, samples: Sequence[Any]) -> None:
        self.samples, self.num_read = samples, 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        self.num_read += 1
        return self.samples[index]


def pairs(num_samples: int = NUM_SAMPLES, num_classes: int = 3) -> list[tuple[Tensor, int]]:
    """Vectors that start with their own number, and a class each."""
    return [(torch.tensor([float(i), -float(i)]), i % num_classes) for i in range(num_samples)]


def with_targets(items: Items, targets: Any, **attributes: Any) -> Items:
    for name, value in {"targets": targets, **attributes}.items():
        setattr(items, name, value)
    return items


def set_up(train: Any, **options: Any) -> DatasetData:
    data = DatasetData(train, **options)
    data.setup()
    return data


def test_pairs() -> None:
    data = set_up(Items(pairs()))
    assert data.spec == DataSpec("vector", (2,), "class", ("0", "1", "2"))
    assert (data.name, data.describe()) == ("items", "Items 60 samples 2")
    assert isinstance(data.reader, NoReader)
    assert isinstance(data.input_module(nn.Identity()), AsFloat)
    assert data.flat_arrays() is None
    for part in ("train", "val", "test"):
        rows = getattr(data.splits, part)
        np.testing.assert_array_equal(data.targets(part), rows % 3)
        assert data.targets(part).dtype == np.int64


def test_images_of_bytes() -> None:
    data = set_up(Items([(torch.full((3, 4, 5), i, dtype=torch.uint8), i % 2) for i in range(NUM_SAMPLES)]), name="x")
    assert data.spec.sizes()["in_channels"] == 3
    assert (data.spec.input_kind, data.spec.input_shape, data.name) == ("image", (3, 4, 5), "x")
    assert data.describe() == "Items 60 samples 3×4×5"
    inputs, _ = data.source.fetch(torch.tensor([51]), 0)
    assert isinstance(inputs, Tensor)
    scaled = data.input_module(nn.Identity())(inputs)
    assert scaled.unique().tolist() == [pytest.approx(0.2)]


def test_dict_samples() -> None:
    samples = [{"text": torch.tensor([i, i]), "length": 2, "grade": i % 2} for i in range(NUM_SAMPLES)]
    data = set_up(Items(samples), target="grade")
    assert data.spec == DataSpec("other", (), "class", ("0", "1"))
    assert data.describe() == "Items 60 samples named inputs"
    (batch,) = data.train_loader().source.fetch(torch.tensor([3]), 0)[:1]
    assert isinstance(batch, dict)
    assert {name: tensor.tolist() for name, tensor in batch.items()} == {"text": [[3, 3]], "length": [2]}
    lone = set_up(Items([{"image": torch.ones(1, 2, 2), "target": i % 2} for i in range(NUM_SAMPLES)]))
    assert lone.spec.input_shape == (1, 2, 2)


def test_floats_are_numbers_to_predict() -> None:
    data = set_up(Items([(torch.ones(2), i / 7) for i in range(NUM_SAMPLES)]))
    assert (data.spec.target_kind, data.spec.class_names, data.strata()) == ("number", (), None)
    np.testing.assert_array_equal(data.targets("test"), data.splits.test / 7)


@pytest.mark.parametrize("target", [torch.tensor([1], dtype=torch.int32), np.uint8(1), True, torch.tensor([[1]])])
def test_labels_of_every_kind_reach_the_loss_as_flat_int64(target: Any) -> None:
    zero = target * 0 if not isinstance(target, bool) else False
    data = set_up(Items([(torch.ones(2), target if i % 2 else zero) for i in range(NUM_SAMPLES)]))
    assert (data.spec.num_classes, str(data.targets("train").dtype)) == (2, "int64")
    (execution,) = list(data.train_loader())
    assert execution.target.dtype == torch.int64
    assert execution.target.tolist() == [int(row) % 2 for row in execution.rows]


def test_class_names_are_given_or_the_datasets_own_or_numbers() -> None:
    own = with_targets(Items(pairs()), [i % 3 for i in range(NUM_SAMPLES)], classes=["a", "b", "c"])
    assert set_up(own).spec.class_names == ("a", "b", "c")
    assert set_up(own, class_names=["x", "y", "z", "never"]).spec.class_names == ("x", "y", "z", "never")
    assert set_up(Subset(own, range(30))).spec.class_names == ("a", "b", "c")
    assert set_up(Items(pairs())).spec.class_names == ("0", "1", "2")


def test_known_targets_are_used_and_samples_only_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "SAMPLED", 10)
    labels = [i % 3 for i in range(NUM_SAMPLES)]
    for targets in (labels, torch.tensor(labels), np.array(labels, np.uint8), torch.tensor(labels)[:, None]):
        items = with_targets(Items(pairs()), targets)
        data = set_up(items)
        assert items.num_read == 10
        np.testing.assert_array_equal(data.targets("val"), data.splits.val % 3)
        assert data.fingerprint.endswith("-sampled10")
    items = Items(pairs())
    data = set_up(items)
    assert items.num_read == NUM_SAMPLES
    assert len(data.fingerprint) == 64


@pytest.mark.parametrize(
    "targets",
    [
        [(i + 1) % 3 for i in range(NUM_SAMPLES)],
        ["abc"[i % 3] for i in range(NUM_SAMPLES)],
        [i % 3 for i in range(NUM_SAMPLES - 1)],
        [float(i % 3) for i in range(NUM_SAMPLES)],
        [[0], [1, 2]],
        None,
        7,
    ],
)
def test_the_samples_have_the_last_word_on_targets(targets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "SAMPLED", 10)
    data = set_up(with_targets(Items(pairs()), targets))
    np.testing.assert_array_equal(data.targets("test"), data.splits.test % 3)
    assert data.spec.target_kind == "class"


def test_known_floats_agree_with_samples_in_another_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "SAMPLED", 10)
    values = [i / 7 for i in range(NUM_SAMPLES)]
    items = with_targets(Items([(torch.ones(2), torch.tensor(value)) for value in values]), values)
    data = set_up(items)
    assert items.num_read == 10
    np.testing.assert_array_equal(data.targets("test"), data.splits.test / 7)


def test_tensor_datasets_and_their_subsets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "SAMPLED", 10)
    whole = TensorDataset(torch.arange(120.0).reshape(60, 2), torch.arange(60) % 3)
    data = set_up(whole)
    assert data.fingerprint.endswith("-sampled10")
    assert (data.name, data.spec.input_shape, data.spec.num_classes) == ("tensordataset", (2,), 3)
    indices = [59, 3, 7, *range(20, 50)]
    for given in (indices, torch.tensor(indices), np.array(indices)):
        data = set_up(Subset(Subset(whole, range(60)), given))  # type: ignore[arg-type]
        np.testing.assert_array_equal(data.targets("val"), np.array(indices)[data.splits.val] % 3)
        assert data.fingerprint.endswith("-sampled10")


def test_given_parts_are_the_parts() -> None:
    samples = pairs(90)
    train, val, test = Items(samples[:60]), Items(samples[60:70]), Items(samples[70:])
    data = set_up(train, val=val, test=test)
    assert data.splits.train.tolist() == list(range(60))
    assert data.describe() == "Items 60 + Items 10 + Items 20 samples 2"
    for part, expected in (("val", range(60, 70)), ("test", range(70, 90))):
        rows = data.rows(part)
        inputs, _ = data.source.fetch(rows, 0)
        assert isinstance(inputs, Tensor)
        assert inputs[:, 0].tolist() == list(map(float, expected))
        assert data.row_numbers(rows.numpy()).tolist() == list(range(len(expected)))
    data = set_up(train, test=test)
    assert data.splits.test.tolist() == list(range(60, 80))
    assert set(data.splits.train) | set(data.splits.val) == set(range(60))
    assert len(data.splits.val) == 9


def test_random_split_of_the_training_samples_alone() -> None:
    train, val = random_split(Items(pairs()), [45, 15], generator=torch.Generator().manual_seed(0))
    data = set_up(train, val=val)
    assert [len(getattr(data.splits, part)) for part in ("train", "val", "test")] == [38, 15, 7]
    numbers = [int(data.source.sample(row)[0][0]) for row in range(60)]
    assert sorted(numbers) == list(range(60))
    assert numbers[45:] == list(val.indices)
    assert data.splits.val.tolist() == list(range(45, 60))


def test_parts_are_stratified_by_class() -> None:
    rare = [(torch.ones(2), int(i < 6)) for i in range(NUM_SAMPLES)]
    data = set_up(Items(rare), val_share=1 / 3, test_share=1 / 3)
    assert [int(data.targets(part).sum()) for part in ("train", "val", "test")] == [2, 2, 2]


@pytest.mark.parametrize(
    ("shape", "dtype", "kind"),
    [
        ((3, 8, 8), torch.uint8, "image"),
        ((2, 40), torch.float32, "signal"),
        ((8, 8), torch.uint8, "other"),
        ((5,), torch.float32, "vector"),
        ((), torch.float32, "other"),
    ],
)
def test_the_axes_of_a_sample_tell_its_kind(shape: tuple[int, ...], dtype: torch.dtype, kind: str) -> None:
    data = DatasetData(TensorDataset(torch.ones(30, *shape).to(dtype), torch.arange(30) % 2))
    data.setup()
    assert data.spec.input_kind == kind and data.spec.input_shape == shape
