"""Sources of samples: tensors in memory, datasets one after the other, and their random draws."""

from __future__ import annotations

import random
from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset

from trainkit.data.sources import DatasetSource, TensorSource, collate, map_inputs, mix, seeded, tensor_of
from trainkit.errors import DataError


class Items(Dataset[Any]):
    """A dataset of given samples."""

    def __init__(self, samples: Sequence[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


def fetch(samples: Sequence[Any], rows: Sequence[int] = (0, 1), target_name: str = "target") -> Any:
    return DatasetSource([Items(samples)], target_name).fetch(torch.tensor(rows), 0)


def message(samples: Sequence[Any]) -> str:
    with pytest.raises(DataError) as caught:
        fetch(samples)
    return str(caught.value)


def test_tensor_source_gathers_rows_in_the_order_asked_for() -> None:
    source = TensorSource({"x": torch.arange(8.0).reshape(4, 2), "y": torch.arange(4)}, torch.arange(4) * 10)
    inputs, target = source.fetch(torch.tensor([3, 0, 3]))
    assert len(source) == 4
    assert isinstance(inputs, dict)
    assert inputs["x"].tolist() == [[6.0, 7.0], [0.0, 1.0], [6.0, 7.0]]
    assert inputs["y"].tolist() == [3, 0, 3]
    assert target.tolist() == [30, 0, 30]


def test_pairs_and_named_tuples_are_inputs_and_target() -> None:
    Pair = namedtuple("Pair", ["image", "label"])
    for samples in (
        [(torch.ones(2) * i, i) for i in range(3)],
        [Pair(np.ones(2, np.float32) * i, i) for i in range(3)],
    ):
        inputs, target = fetch(samples, [2, 0])
        assert inputs.tolist() == [[2.0, 2.0], [0.0, 0.0]]
        assert target.tolist() == [2, 0]


def test_a_dict_with_one_input_gives_it_alone_and_with_several_gives_them_by_name() -> None:
    inputs, target = fetch([{"image": torch.ones(2) * i, "target": i} for i in range(2)])
    assert inputs.tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert target.tolist() == [0, 1]
    inputs, target = fetch([{"a": i, "b": 2.0 * i, "grade": i + 5} for i in range(2)], target_name="grade")
    assert {name: tensor.tolist() for name, tensor in inputs.items()} == {"a": [0, 1], "b": [0.0, 2.0]}
    assert target.tolist() == [5, 6]


def test_a_pair_may_hold_a_dict_of_inputs() -> None:
    inputs, target = fetch([({"a": torch.tensor([i]), "b": i}, i) for i in range(2)])
    assert {name: tensor.shape for name, tensor in inputs.items()} == {"a": (2, 1), "b": (2,)}
    assert target.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("target", "dtype"),
    [
        (torch.tensor(1, dtype=torch.int32), torch.int64),
        (torch.tensor([1], dtype=torch.uint8), torch.int64),
        (torch.tensor([[True]]), torch.int64),
        (np.int16(1), torch.int64),
        (1, torch.int64),
        (1.0, torch.float64),
        (torch.tensor([1.0]), torch.float32),
    ],
)
def test_targets_are_flat_and_integers_are_int64(target: Any, dtype: torch.dtype) -> None:
    _, targets = fetch([(torch.ones(2), target)] * 2)
    assert (targets.dtype, targets.tolist()) == (dtype, [1, 1])


def test_targets_of_several_numbers_stay_as_they_are() -> None:
    _, targets = fetch([(torch.ones(2), torch.tensor([1, 2]))] * 2)
    assert targets.tolist() == [[1, 2], [1, 2]]


def test_samples_that_are_neither_pairs_nor_dicts_are_refused() -> None:
    expected = "\n  where    data.train\n  expected (inputs, target), or a dict with the target"
    assert message([torch.ones(2)] * 2) == "a sample is a Tensor" + expected
    assert message([(1, 2, 3)] * 2) == "a sample is a list of 3" + expected
    assert message([(torch.ones(2),)] * 2) == "a sample is a list of 1" + expected


def test_dicts_without_the_target_or_without_anything_else_are_refused() -> None:
    assert message([{"image": 1, "label": 2}] * 2) == (
        "samples have no 'target'\n  where    data.target\n  expected one of image, label"
    )
    assert message([{"target": 2}] * 2) == "samples have nothing but 'target'\n  where    data.train"


def test_samples_that_make_no_batch_are_refused() -> None:
    expected = "\n  where    data.train\n  expected tensors, arrays or numbers, of one shape in all samples"
    assert message([(object(), 1)] * 2) == (
        "samples do not make a batch: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        "found <class 'object'>" + expected
    )
    assert message([(torch.ones(2), 0), (torch.ones(3), 1)]) == (
        "samples do not make a batch: stack expects each tensor to be equal size, but got [2] at entry 0 and [3] at "
        "entry 1" + expected
    )
    assert message([(None, 0)] * 2).endswith("found <class 'NoneType'>" + expected)


def test_an_error_inside_the_dataset_is_not_taken_for_a_wrong_sample() -> None:
    class Broken(Items):
        def __getitem__(self, index: int) -> Any:
            raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        DatasetSource([Broken([1])]).fetch(torch.tensor([0]), 0)


def test_collate_stacks() -> None:
    assert collate([1.5, 2.5]).tolist() == [1.5, 2.5]


def test_several_datasets_are_numbered_one_after_the_other() -> None:
    samples = [(torch.tensor([float(i)]), i) for i in range(9)]
    source = DatasetSource([Items(samples[:3]), Items(samples[3:4]), Items(samples[4:])])
    assert len(source) == 9
    assert [source.sample(row)[1] for row in range(9)] == list(range(9))
    _, target = source.fetch(torch.tensor([8, 0, 3, 2, 4]), 0)
    assert target.tolist() == [8, 0, 3, 2, 4]


def test_a_dataset_that_reads_many_at_once_is_asked_once() -> None:
    class Bulk(Items):
        asked: list[list[int]]

        def __getitems__(self, rows: list[int]) -> list[Any]:
            self.asked.append(rows)
            return [self.samples[row] for row in rows]

    samples = [(torch.tensor([float(i)]), i) for i in range(5)]
    bulk = Bulk(samples)
    bulk.asked = []
    inputs, target = DatasetSource([bulk]).fetch(torch.tensor([4, 1]), 0)
    assert (target.tolist(), bulk.asked) == ([4, 1], [[4, 1]])
    assert isinstance(inputs, Tensor)
    _, target = DatasetSource([bulk, Items(samples)]).fetch(torch.tensor([4, 6]), 0)
    assert (target.tolist(), len(bulk.asked)) == ([4, 1], 1)


def test_torch_datasets_and_subsets() -> None:
    whole = TensorDataset(torch.arange(6.0)[:, None], torch.arange(6))
    inputs, target = DatasetSource([Subset(whole, [5, 2, 0])]).fetch(torch.tensor([0, 2]), 0)
    assert isinstance(inputs, Tensor)
    assert (inputs.flatten().tolist(), target.tolist()) == ([5.0, 0.0], [5, 0])


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_seeded_draws_depend_on_the_key_alone_and_everything_is_put_back() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = [draw() for _ in range(2)]
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    first = draw()
    with seeded(5):
        inside = [draw(), draw()]
    second = draw()
    with seeded(5):
        again = [draw(), draw()]
    with seeded(6):
        other = draw()
    assert [first, second] == expected
    assert inside == again
    assert not set(other) & set(inside[0])


def test_seeded_puts_generators_back_after_an_error() -> None:
    state = torch.get_rng_state(), random.getstate()
    with pytest.raises(ValueError, match="mine"), seeded(5):
        draw()
        raise ValueError("mine")
    assert torch.equal(torch.get_rng_state(), state[0])
    assert random.getstate() == state[1]


def test_fetching_a_random_sample_depends_on_the_key_alone() -> None:
    class Random(Items):
        def __getitem__(self, index: int) -> Any:
            return torch.rand(2), index

    source = DatasetSource([Random(range(5))])
    rows = torch.tensor([1, 2])
    batches = [source.fetch(rows, key)[0] for key in (7, 7, 8)]
    assert isinstance(batches[0], Tensor)
    assert isinstance(batches[2], Tensor)
    assert torch.equal(batches[0], batches[1])  # type: ignore[arg-type]
    assert not torch.equal(batches[0], batches[2])


def test_map_inputs() -> None:
    assert map_inputs(torch.ones(2), lambda tensor: tensor + 1).tolist() == [2.0, 2.0]  # type: ignore[union-attr]
    mapped = map_inputs({"a": torch.ones(1), "b": torch.zeros(1)}, lambda tensor: tensor + 1)
    assert isinstance(mapped, dict)
    assert {name: tensor.tolist() for name, tensor in mapped.items()} == {"a": [2.0], "b": [1.0]}


def test_mixed_keys_are_63_bit_numbers_that_depend_on_every_part_and_its_place() -> None:
    keys = [mix(a, b, c) for a in range(10) for b in range(10) for c in range(10)]
    assert len(set(keys)) == 1000
    assert all(0 <= key < 2**63 for key in keys)
    share_of_ones = sum(key.bit_count() for key in keys) / (63 * len(keys))
    assert share_of_ones == pytest.approx(0.5, abs=0.01)
    assert mix(-1) == mix(2**64 - 1)
    assert mix(0) == 0xE220A8397B1DCDAF >> 1  # the first output of splitmix64 for seed 0
    assert mix(0, 0) == 6017775124710473527  # the same for ever: the order of a run that goes on hangs on it


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([1, 65535], np.uint16), torch.tensor([1, 65535], dtype=torch.int32)),
        (np.array([2**32 - 1], np.uint32), torch.tensor([2**32 - 1])),
        (np.array([3], np.uint64), torch.tensor([3.0], dtype=torch.float64)),
        (np.array([0.5], np.longdouble), torch.tensor([0.5], dtype=torch.float64)),
        (np.array([1.5, 2.5], ">f4"), torch.tensor([1.5, 2.5])),
        (np.array([7], ">i2"), torch.tensor([7], dtype=torch.int16)),
        (np.array([7], np.uint8), torch.tensor([7], dtype=torch.uint8)),
        (np.array([True]), torch.tensor([True])),
        (np.asfortranarray(np.arange(6.0).reshape(2, 3)), torch.arange(6.0, dtype=torch.float64).reshape(2, 3)),
    ],
)
def test_tensor_of_an_array(array: np.ndarray, expected: Tensor) -> None:
    tensor = tensor_of(array)
    assert tensor.dtype == expected.dtype
    assert torch.equal(tensor, expected)


def test_tensor_of_an_array_that_is_read_only() -> None:
    array = np.arange(3.0)
    array.flags.writeable = False
    tensor_of(array)[0] = 5.0
    assert array.tolist() == [0.0, 1.0, 2.0]
