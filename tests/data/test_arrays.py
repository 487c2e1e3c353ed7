"""Arrays in memory: checks, statistics, and what a model learns of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainkit.data.arrays import ArrayData, check_arrays, check_labels
from trainkit.data.preprocessing import Standardize
from trainkit.data.readers import ArrayReader
from trainkit.data.sources import TensorSource
from trainkit.errors import DataError
from trainkit.types import DataSpec


class Given(ArrayData):
    """Given arrays."""

    def __init__(self, inputs: Any, target: Any, class_names: Sequence[str] = (), **common: Any) -> None:
        super().__init__(**common)
        self.given: tuple[np.ndarray, np.ndarray, Sequence[str]] = np.asarray(inputs), np.asarray(target), class_names

    def arrays(self) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
        return self.given


def images(num_images: int = 60) -> np.ndarray:
    generator = np.random.default_rng(0)
    values = generator.integers(0, 100, (num_images, 3, 4, 5)) * np.array([1, 2, 0])[:, None, None]
    return np.array(values + 7, np.uint8)


def labels(num_labels: int = 60, num_classes: int = 3) -> np.ndarray:
    return np.arange(num_labels) % num_classes


def set_up(*arguments: Any, **common: Any) -> Given:
    data = Given(*arguments, **common)
    data.setup()
    return data


def refusal(*arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        set_up(*arguments, name="mine")
    return str(caught.value)


def test_images() -> None:
    data = set_up(images(), labels(), ["a", "b", "c"], name="scans")
    assert data.spec == DataSpec("image", (3, 4, 5), "class", ("a", "b", "c"))
    assert isinstance(data.source, TensorSource)
    assert isinstance(data.source.inputs, torch.Tensor)
    assert (data.source.inputs.dtype, data.source.target.dtype) == (torch.uint8, torch.int64)
    assert isinstance(data.reader, ArrayReader)
    assert data.reader.shape == (3, 4, 5)
    assert data.describe() == "scans 60 images 3×4×5"
    flat = data.flat_arrays()
    assert (str(flat.dtype), flat.shape) == ("float32", (60, 60))
    np.testing.assert_array_equal(flat[4], images()[4].ravel())


def test_vectors_with_a_number_to_predict() -> None:
    inputs, target = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60)
    data = set_up(inputs, target, name="waves")
    assert data.spec == DataSpec("vector", (4,), "number")
    assert data.describe() == "waves 60 vectors 4"
    values = data.targets("test")
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, data.splits.test)
    assert data.strata() is None


def test_statistics_are_per_channel_or_feature_and_of_the_training_part() -> None:
    data = set_up(images(), labels(), ["a", "b", "c"])
    module = data.input_module(nn.Identity())
    assert isinstance(module, Standardize)
    train = images()[data.splits.train].astype(np.float64)
    np.testing.assert_allclose(module.mean.flatten(), train.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(module.scale.flatten()[:2], train.std((0, 2, 3))[:2], rtol=1e-6)
    assert module.scale.flatten()[2] == 1.0
    vectors = np.random.default_rng(0).normal(3, 2, (60, 4))
    data = set_up(vectors, labels(), ["a", "b", "c"])
    module = data.input_module(nn.Identity())
    assert isinstance(module, Standardize)
    np.testing.assert_allclose(module.mean.flatten(), vectors[data.splits.train].mean(0), rtol=1e-6)
    np.testing.assert_allclose(module.scale.flatten(), vectors[data.splits.train].std(0), rtol=1e-6)


def test_a_shift_of_the_other_rows_changes_no_statistic() -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 4))
    data = set_up(vectors, labels(), ["a", "b", "c"])
    others = np.concatenate([data.splits.val, data.splits.test])
    shifted = vectors.copy()
    shifted[others] += 100
    moved = set_up(shifted, labels(), ["a", "b", "c"])
    np.testing.assert_array_equal(moved.splits.train, data.splits.train)
    before, after = data.input_module(nn.Identity()), moved.input_module(nn.Identity())
    assert all(torch.equal(after.state_dict()[name], tensor) for name, tensor in before.state_dict().items())


def test_parts_have_the_same_class_shares_unless_told_otherwise() -> None:
    rare = np.array([1] * 6 + [0] * 54)
    data = set_up(images(), rare, ["a", "b"], val_share=1 / 3, test_share=1 / 3)
    assert [int(data.targets(part).sum()) for part in ("train", "val", "test")] == [2, 2, 2]
    shares = set()
    for seed in range(10):
        data = set_up(images(), rare, ["a", "b"], val_share=1 / 3, test_share=1 / 3, split_seed=seed, stratify=False)
        shares.add(int(data.targets("test").sum()))
    assert len(shares) > 1


def test_the_fingerprint_is_that_of_inputs_and_targets() -> None:
    first = set_up(images(), labels(), ["a", "b", "c"]).fingerprint
    assert set_up(images().copy(), labels(), ["x", "y", "z"], split_seed=3).fingerprint == first
    other_image, other_label = images(), labels()
    other_image[5, 0, 0, 0] += 1
    other_label[5] = 0
    assert set_up(other_image, labels(), ["a", "b", "c"]).fingerprint != first
    assert set_up(images(), other_label, ["a", "b", "c"]).fingerprint != first


@pytest.mark.parametrize("dtype", [">f8", "u2", "f2", "?"])
def test_every_type_of_number_can_be_learned_from(dtype: str) -> None:
    inputs = np.arange(240).reshape(60, 4).astype(dtype)
    data = set_up(inputs, labels().astype(">i4"), ["a", "b", "c"])
    batch, target = data.source.fetch(data.rows("train")[:2], 0)
    assert isinstance(batch, torch.Tensor)
    assert batch.tolist() == inputs[data.splits.train[:2]].tolist()
    module = data.input_module(nn.Identity())
    assert module(batch).dtype == torch.float32
    assert target.dtype == torch.int64


def test_arrays_that_are_read_only_can_be_learned_from() -> None:
    inputs = images()
    inputs.flags.writeable = False
    assert len(set_up(inputs, labels(), ["a", "b", "c"]).source) == 60


def test_wrong_arrays_are_refused() -> None:
    good, names = np.ones((60, 4)), ["a", "b", "c"]
    assert refusal(good[:59], labels(), names) == "mine has 59 inputs and 60 targets\n  where    data"
    assert refusal(good[:0], labels(0), names) == "mine is empty\n  where    data"
    expected = "\n  where    data\n  expected an array of numbers"
    assert refusal(good.astype(object), labels(), names) == f"the inputs of mine are Python objects{expected}"
    assert refusal(good, labels().astype(object), names) == f"the targets of mine are Python objects{expected}"
    assert refusal(good, labels().astype(str), names) == f"the targets of mine are of type <U21{expected}"
    assert refusal(good.astype(complex), labels(), names) == f"the inputs of mine are of type complex128{expected}"
    shape = "\n  where    data\n  expected [N, D], [N, channels, length] or [N, channels, height, width]"
    assert refusal(np.ones((60, 1, 1, 2, 2)), labels(), names) == (
        f"the inputs of mine have the shape [60, 1, 1, 2, 2]{shape}"
    )
    assert refusal(np.ones(60), labels(), names) == f"the inputs of mine have the shape [60]{shape}"
    assert refusal(good, labels()[:, None], names) == (
        "the targets of mine have the shape [60, 1]\n  where    data\n  expected [N], or [N, T]"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinite_values_are_refused_with_their_rows(value: float) -> None:
    inputs = np.ones((60, 4))
    inputs[[3, 9], 2] = value
    assert refusal(inputs, labels(), ["a", "b", "c"]) == (
        "2 rows of the inputs of mine have numbers that are NaN or infinite\n  where    data, rows 3, 9"
        "\n  expected finite numbers\n  hint     rows are counted from 0; leave them out, or fill them in"
    )
    target = np.ones(60)
    target[7:20] = value
    assert refusal(np.ones((60, 4)), target) == (
        "13 rows of the targets of mine have numbers that are NaN or infinite\n  where    data, rows 7, 8, 9, 10, 11, …"
        "\n  expected finite numbers\n  hint     rows are counted from 0; leave them out, or fill them in"
    )


@pytest.mark.parametrize("label", [3.0, -1.0, 1.5])
def test_labels_out_of_range_are_refused(label: float) -> None:
    target = labels().astype(np.float64)
    target[8] = label
    assert refusal(np.ones((60, 4)), target, ["a", "b", "c"]) == (
        f"label {label} of mine is out of range\n  where    data, row 8\n  expected an integer from 0 to 2"
    )


def test_labels_of_one_class_are_refused() -> None:
    with pytest.raises(DataError, match=r"^every target of mine is of one class \(1\)"):
        check_labels(np.ones(5, np.int64), 3, "mine")


def test_whole_numbers_written_as_floats_are_labels() -> None:
    check_arrays(np.ones((4, 2)), np.array([0.0, 1.0, 2.0, 1.0]), 3, "mine")
    data = set_up(np.arange(240.0).reshape(60, 4), labels().astype(np.float32), ["a", "b", "c"])
    assert data.targets("train").dtype == np.int64


def test_the_base_class_has_no_arrays() -> None:
    with pytest.raises(TypeError, match=r"^ArrayData must override arrays\(\)$"):
        ArrayData().setup()
