"""What augmentation needs of the loader: whole pairs in each process, and which samples come again in an epoch."""

from __future__ import annotations

import pytest
import torch

from trainkit.data.loader import BatchLoader
from trainkit.data.order import occurrences
from trainkit.data.plan import ExecutionPlan
from trainkit.data.sources import TensorSource

SOURCE = TensorSource(torch.arange(103.0)[:, None], torch.arange(103))


def test_occurrences_count_what_came_before() -> None:
    assert occurrences(torch.tensor([4, 2, 4, 4, 9, 2])).tolist() == [0, 0, 1, 2, 0, 1]
    assert occurrences(torch.tensor([], dtype=torch.long)).tolist() == []


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("batch_size", [12, 13, 2])
def test_processes_share_a_step_in_whole_pairs(batch_size: int, world_size: int) -> None:
    def steps(rank: int, size: int) -> list[list[int]]:
        loader = BatchLoader(
            SOURCE, torch.arange(103), batch_size=batch_size, in_pairs=True, rank=rank, world_size=size
        )
        loader.plan = ExecutionPlan(4)
        made = [(e.rows[s.micro_batches[0][0] : s.micro_batches[-1][1]], s.is_ghost) for e in loader for s in e.steps]
        return [[] if is_ghost else rows.tolist() for rows, is_ghost in made]

    whole, shares = steps(0, 1), [steps(rank, world_size) for rank in range(world_size)]
    for number, samples in enumerate(whole):
        parts = [share[number] for share in shares]
        assert [row for part in parts for row in part] == samples
        assert all(len(part) % 2 == 0 for part in parts[:-1])


@pytest.mark.parametrize("rank", [0, 1])
def test_repetitions_of_balanced_sampling_are_told_apart_for_any_execution(rank: int) -> None:
    classes = torch.arange(103) % 10 // 9  # one in ten
    made = []
    for length in (1, 4):
        loader = BatchLoader(SOURCE, torch.arange(103), batch_size=13, balanced_by=classes, rank=rank, world_size=2)
        loader.plan = ExecutionPlan(length)
        executions = list(loader)
        assert all(e.times is not None and len(e.times) == len(e.rows) for e in executions)
        rows, times = torch.cat([e.rows for e in executions]), torch.cat([e.times for e in executions])  # type: ignore[misc]
        assert len(set(zip(rows.tolist(), times.tolist(), strict=True))) == len(rows) > len(set(rows.tolist()))
        made.append((rows, times))
    assert torch.equal(made[0][0], made[1][0]) and torch.equal(made[0][1], made[1][1])
    (plain, *_) = BatchLoader(SOURCE, torch.arange(103), batch_size=13)
    assert plain.times is None
