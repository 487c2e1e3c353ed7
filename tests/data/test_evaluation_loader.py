"""The evaluation loader: every row once, in order, and its result to the bit whatever it is evaluated with."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from trainkit.data.evaluation_loader import EvaluationBatch, EvaluationLoader
from trainkit.data.sources import DatasetSource, Source, TensorSource
from trainkit.models import MLP


class Rows(Dataset[tuple[Tensor, int]]):
    """The rows of a matrix, numbered."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def __len__(self) -> int:
        return len(self.matrix)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.matrix[index], index


class Noisy(Rows):
    """Adds noise to each row."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.matrix[index] + torch.rand(()), index


def make_source(kind: str, num_rows: int = 23, width: int = 3) -> Source:
    matrix = torch.randn(num_rows, width, generator=torch.Generator().manual_seed(0))
    return TensorSource(matrix, torch.arange(num_rows)) if kind == "tensors" else DatasetSource([Rows(matrix)])


def batches(source: Source, rows: Tensor, **options: Any) -> list[EvaluationBatch]:
    return list(EvaluationLoader(source, rows, **{"batch_size": 5, **options}))


@pytest.mark.parametrize("kind", ["tensors", "dataset"])
def test_rows_come_in_order_in_batches_of_one_size(kind: str) -> None:
    rows = torch.tensor([7, 3, 22, 0, 1, 8, 9, 5, 4, 6, 20, 2])
    loaded = batches(make_source(kind), rows)
    assert torch.cat([batch.rows for batch in loaded]).tolist() == rows.tolist()
    assert [batch.num_real for batch in loaded] == [5, 5, 2]
    assert [len(batch.target) for batch in loaded] == [5, 5, 5]
    assert loaded[-1].target.tolist() == [20, 2, 20, 20, 20]
    for batch in loaded:
        assert isinstance(batch.inputs, Tensor)
        assert batch.inputs.shape == (5, 3)
        assert batch.target[: batch.num_real].tolist() == batch.rows.tolist()


@pytest.mark.parametrize("num_rows", [1, 4, 5, 6, 10])
def test_length(num_rows: int) -> None:
    source = make_source("tensors")
    loader = EvaluationLoader(source, torch.arange(num_rows), batch_size=5)
    assert len(loader) == len(list(loader)) == -(-num_rows // 5)


def test_no_rows_give_no_batch() -> None:
    loader = EvaluationLoader(make_source("tensors"), torch.arange(0), batch_size=5)
    assert (len(loader), list(loader)) == (0, [])


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_processes_share_whole_batches_and_no_row_comes_twice(world_size: int) -> None:
    source, rows = make_source("tensors"), torch.arange(23)
    whole = batches(source, rows)
    shares = [batches(source, rows, rank=rank, world_size=world_size) for rank in range(world_size)]
    seen = sorted(int(row) for share in shares for batch in share for row in batch.rows)
    assert seen == list(range(23))
    for rank, share in enumerate(shares):
        assert len(EvaluationLoader(source, rows, batch_size=5, rank=rank, world_size=world_size)) == len(share)
        for batch, expected in zip(share, whole[rank::world_size], strict=True):
            assert torch.equal(batch.rows, expected.rows)
            assert torch.equal(batch.inputs, expected.inputs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("num_rows", "world_size", "sizes"), [(23, 6, [3, 4, 4, 4, 4, 4]), (5, 2, [2, 3]), (1, 2, [0, 1])]
)
def test_with_fewer_batches_than_processes_they_share_the_rows(
    num_rows: int, world_size: int, sizes: list[int]
) -> None:
    source, rows = make_source("tensors"), torch.arange(num_rows)
    shares = [batches(source, rows, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert [sum(batch.num_real for batch in share) for share in shares] == sizes
    assert [int(row) for share in shares for batch in share for row in batch.rows] == list(range(num_rows))
    assert {len(batch.target) for share in shares for batch in share} == {5}
    loaders = [EvaluationLoader(source, rows, batch_size=5, rank=r, world_size=world_size) for r in range(world_size)]
    assert [len(loader) for loader in loaders] == [len(share) for share in shares]


def test_named_inputs_are_padded_too() -> None:
    source = TensorSource({"a": torch.arange(6.0), "b": torch.arange(12).reshape(6, 2)}, torch.arange(6))
    last = batches(source, torch.arange(6))[-1]
    assert isinstance(last.inputs, dict)
    assert {name: tensor.tolist() for name, tensor in last.inputs.items()} == {"a": [5.0] * 5, "b": [[10, 11]] * 5}


def test_workers_give_the_same_batches() -> None:
    source, rows = make_source("dataset"), torch.arange(22, -1, -1)
    for batch, other in zip(batches(source, rows), batches(source, rows, num_workers=2), strict=True):
        assert torch.equal(batch.inputs, other.inputs)  # type: ignore[arg-type]
        assert torch.equal(batch.target, other.target)
        assert (batch.rows.tolist(), batch.num_real) == (other.rows.tolist(), other.num_real)


def test_each_pass_over_a_random_dataset_draws_the_same() -> None:
    source, rows = DatasetSource([Noisy(torch.zeros(23, 3))]), torch.arange(23)
    first, second = (torch.cat([b.inputs for b in batches(source, rows)]) for _ in range(2))  # type: ignore[misc]
    assert torch.equal(first, second)
    parts = [batches(source, rows, rank=rank, world_size=2) for rank in range(2)]
    assert torch.equal(parts[1][0].inputs, first[5:10])  # type: ignore[arg-type]


def test_a_move_to_a_device_keeps_everything() -> None:
    batch = batches(make_source("tensors"), torch.arange(7))[1]
    moved = batch.to(torch.device("meta"))
    assert isinstance(moved.inputs, Tensor)
    assert (moved.inputs.device.type, moved.inputs.shape, moved.target.device.type) == ("meta", (5, 3), "meta")
    assert (moved.rows.tolist(), moved.num_real) == ([5, 6], 2)
    torch.testing.assert_close(batch.to(torch.device("cpu")).inputs, batch.inputs, rtol=0, atol=0)


def test_importing_trainkit_asks_mkl_for_kernels_that_do_not_depend_on_alignment() -> None:
    assert os.environ["MKL_CBWR"] == "AUTO"
    script = "import os, trainkit; print(os.environ['MKL_CBWR'])"
    environment = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    for given, expected in (({}, "AUTO"), ({"MKL_CBWR": "COMPATIBLE"}, "COMPATIBLE")):
        run = [sys.executable, "-c", script]
        done = subprocess.run(run, env=environment | given, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected


def outputs(net: nn.Module, source: Source, rows: Tensor, batch_size: int) -> Tensor:
    with torch.inference_mode():
        found = [net(b.inputs)[: b.num_real] for b in EvaluationLoader(source, rows, batch_size=batch_size)]
    return torch.cat(found)


@pytest.mark.parametrize("kind", ["tensors", "dataset"])
@pytest.mark.parametrize(("width", "hidden", "num_outputs"), [(45, [37, 51], 3), (7, [10, 5], 1), (64, [129, 65], 10)])
def test_a_row_has_the_same_bits_in_the_whole_and_in_any_part(
    kind: str, width: int, hidden: list[int], num_outputs: int
) -> None:
    torch.manual_seed(0)
    net = MLP(width, num_outputs, hidden, norm="batch").eval()
    source = make_source(kind, 301, width)
    for batch_size in (32, 96, 256):
        whole = outputs(net, source, torch.arange(301), batch_size)
        mixed = torch.randperm(301)
        assert torch.equal(outputs(net, source, mixed, batch_size), whole[mixed])
        for part in (mixed[:45], torch.arange(250, 301), torch.tensor([300])):
            assert torch.equal(outputs(net, source, part, batch_size), whole[part])


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("is_weighted", [False, True], ids=["equal", "weighted"])
def test_batches_handed_out_at_once_are_the_same_batches(world_size: int, is_weighted: bool) -> None:
    source = make_source("tensors")
    source.weight = torch.linspace(0.0, 1.0, 23) if is_weighted else None
    for rank in range(world_size):
        loader = EvaluationLoader(source, torch.arange(23), batch_size=4, rank=rank, world_size=world_size)
        single = list(loader)
        loader.at_once = 2
        several = list(loader)
        assert len(several) == len(loader) == -(-len(single) // 2)
        assert [batch.num_real for batch in several[:-1]] == [8] * (len(several) - 1)
        pieces = [piece for batch in several for piece in batch.pieces()]
        for piece, batch in zip(pieces, single, strict=True):
            assert len(piece.target) == 4 and piece.num_real == batch.num_real
            for made, expected in zip(piece.real(), batch.real(), strict=True):
                assert isinstance(made, Tensor) and isinstance(expected, Tensor) and torch.equal(made, expected)
