"""The look through a user's datasets: one fingerprint for one content, and samples that are refused by name."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from trainkit.data import dataset as dataset_module
from trainkit.data.dataset import DatasetData
from trainkit.errors import DataError

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


def refusal(train: Any, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        set_up(train, name="mine", **options)
    return str(caught.value)


def test_the_fingerprint_is_that_of_the_samples() -> None:
    first = set_up(Items(pairs()), name="a").fingerprint
    assert set_up(Items(pairs()), name="b", split_seed=5, batch_size=3).fingerprint == first
    assert set_up(Items([(x.clone(), np.int64(y)) for x, y in pairs()])).fingerprint == first
    variants: list[Any] = [pairs() for _ in range(4)]
    variants[0][7][0][0] += 1
    variants[1][7] = (variants[1][7][0], 2)
    variants[2] = variants[2][::-1]
    variants[3] = [(x[:, None], y) for x, y in variants[3]]
    variants += [[(x.double(), y) for x, y in pairs()], pairs(59)]
    for names in (("a", "b"), ("b", "a")):
        variants.append([{names[0]: x[0], names[1]: x[1], "target": y} for x, y in pairs()])
    prints = {first, *(set_up(Items(samples)).fingerprint for samples in variants)}
    assert len(prints) == len(variants) + 1


def test_the_fingerprint_tells_the_parts_of_a_pool_apart() -> None:
    samples = pairs(90)
    whole = set_up(Items(samples)).fingerprint
    assert set_up(Items(samples[:60]), test=Items(samples[60:])).fingerprint != whole


class Augmented(Items):
    """Adds noise from every generator."""

    def __getitem__(self, index: int) -> Any:
        inputs, target = super().__getitem__(index)
        return inputs + torch.rand(2) + float(np.random.rand()) + random.random(), target


def test_a_random_dataset_has_one_fingerprint_and_no_generator_moves() -> None:
    state = torch.get_rng_state(), random.getstate()
    prints = set()
    for seed in range(3):
        torch.manual_seed(seed)
        prints.add(set_up(Augmented(pairs())).fingerprint)
    assert len(prints) == 1
    torch.set_rng_state(state[0])
    set_up(Augmented(pairs()))
    assert torch.equal(torch.get_rng_state(), state[0])
    assert random.getstate() == state[1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int8, torch.bool])
def test_inputs_of_every_type_have_a_fingerprint(dtype: torch.dtype) -> None:
    data = set_up(Items([(torch.ones(2).to(dtype), i % 2) for i in range(NUM_SAMPLES)]))
    assert len(data.fingerprint) == 64


def test_inputs_that_carry_a_gradient_are_read() -> None:
    data = set_up(Items([(torch.ones(2, requires_grad=True), i % 2) for i in range(NUM_SAMPLES)]))
    assert data.spec.input_shape == (2,)


class Stream(IterableDataset[Any]):
    """A stream that knows its length."""

    def __len__(self) -> int:
        return NUM_SAMPLES

    def __iter__(self) -> Iterator[Any]:
        return iter(pairs())


class Endless(Dataset[Any]):
    """Has items, and no length."""

    def __getitem__(self, index: int) -> Any:
        return torch.ones(2), 0


def test_datasets_without_a_length_or_items_are_refused() -> None:
    expected = "\n  where    data.{}\n  expected a map-style Dataset"
    assert refusal(Endless()) == "Endless has no length or no items" + expected.format("train")
    assert refusal(Stream()) == "Stream has no length or no items" + expected.format("train")
    assert refusal(Items(pairs()), val=Endless()) == "Endless has no length or no items" + expected.format("val")
    assert refusal(Items([])) == "Items is empty\n  where    data.train"
    assert refusal(Items(pairs()), test=Items([])) == "Items is empty\n  where    data.test"


def test_samples_with_nan_are_refused() -> None:
    for bad in (float("nan"), float("inf")):
        samples: list[Any] = pairs()
        samples[17] = (torch.tensor([1.0, bad]), 0)
        assert (
            refusal(Items(samples))
            == "inputs has NaN or infinite values\n  where    data, sample 17\n  expected finite numbers"
        )
        samples = [{"a": x, "b": x, "target": y} for x, y in samples]
        assert (
            refusal(Items(samples))
            == "a has NaN or infinite values\n  where    data, sample 17\n  expected finite numbers"
        )
        values: list[Any] = [(torch.ones(2), 0.5 * i) for i in range(NUM_SAMPLES)]
        values[5] = (torch.ones(2), bad)
        assert (
            refusal(Items(values))
            == "target has NaN or infinite values\n  where    data, sample 5\n  expected finite numbers"
        )


def test_a_known_target_that_is_nan_is_refused_though_its_sample_was_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dataset_module, "SAMPLED", 5)
    targets = torch.arange(60.0)
    targets[7] = float("nan")
    assert refusal(TensorDataset(torch.ones(60, 2), targets)) == (
        "the target of sample 7 is NaN or infinite\n  where    data"
    )


def test_labels_out_of_range_are_refused() -> None:
    assert refusal(Items(pairs()), class_names=["a", "b"]) == (
        "label 2 of mine is out of range\n  where    data, row 2\n  expected an integer from 0 to 1"
    )
    negative = [(x, y - 1) for x, y in pairs()]
    assert refusal(Items(negative)) == (
        "label -1 of mine is out of range\n  where    data, row 0\n  expected an integer from 0 to 1"
    )
    assert refusal(Items([(x, 1) for x, _ in pairs()])).startswith("every target of mine is of one class (1)")


def test_whole_numbers_that_are_no_classes_are_refused() -> None:
    prices = [(x, 450_000 + 1_000 * i) for i, (x, _) in enumerate(pairs())]
    assert refusal(Items(prices)) == (
        "the largest label is 509000, of 60 samples\n  where    data\n"
        "  expected labels from 0 without gaps; floats where the target is a number"
    )


def test_samples_of_a_wrong_form_are_refused() -> None:
    wrong_target = "\n  where    data, sample 0\n  expected a tensor, array or number"
    assert refusal(Items([(x, "abc"[y]) for x, y in pairs()])) == "target is text" + wrong_target
    assert refusal(Items([("text", y) for _, y in pairs()])) == "inputs is text" + wrong_target
    assert refusal(Items([((x, x), y) for x, y in pairs()])) == "inputs is a list" + wrong_target
    assert refusal(Items([(x, torch.tensor([[y, y]])) for x, y in pairs()])) == (
        "the target has shape [1, 2]\n  where    data, sample 0\n  expected one number, or several, [T]"
    )
    assert refusal(Items([(x, torch.tensor([y, y])) for x, y in pairs()])).splitlines()[0] == (
        "the targets are integers [N, 2], and not all 0 or 1"
    )
    assert refusal(Items([x for x, _ in pairs()])).startswith("a sample is a Tensor\n")
    assert refusal(Items([(object(), y) for _, y in pairs()])).splitlines()[0] == (
        "samples do not make a batch: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        "found <class 'object'>"
    )


def test_targets_that_take_too_long_to_read_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "READ_SECONDS", -1.0)
    assert refusal(Items(pairs())) == (
        "reading the targets of 60 samples takes longer than -1 s\n  where    data.train\n"
        "  hint     give the Dataset a 'targets' attribute with all of them"
    )
    assert set_up(with_targets(Items(pairs()), [i % 3 for i in range(60)])).spec.num_classes == 3
