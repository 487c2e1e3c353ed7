"""The batch loader: one sequence of samples for any K, any restart, any number of processes and workers."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from trainkit.data.loader import BatchLoader, Execution, FollowingLoader, steps_per_epoch
from trainkit.data.plan import ExecutionPlan, LoaderState
from trainkit.data.sources import DatasetSource, TensorSource

NUM_SAMPLES, BATCH_SIZE, STEPS = 103, 12, 9
"""Eight batches of 12 and one of 7."""


def numbered(num_samples: int = NUM_SAMPLES) -> TensorSource:
    """Samples that carry their own number, in two named inputs and as the target."""
    number = torch.arange(num_samples)
    return TensorSource({"number": number.float()[:, None], "square": number**2}, number)


def make_loader(plan: ExecutionPlan | None = None, num_samples: int = NUM_SAMPLES, **options: Any) -> BatchLoader:
    source = options.pop("source", None) or numbered(num_samples)
    return BatchLoader(source, torch.arange(num_samples), **{"batch_size": BATCH_SIZE, "plan": plan, **options})


def run(loader: BatchLoader, num_epochs: int) -> list[Execution]:
    return [execution for _ in range(num_epochs) for execution in loader]


def steps_of(executions: Iterable[Execution]) -> list[list[list[int]]]:
    """The samples of each micro-batch of each optimizer step."""
    return [
        [target.tolist() for _, target in execution.batches(step)]
        for execution in executions
        for step in execution.steps
    ]


def test_every_sample_comes_once_an_epoch_with_its_own_inputs_and_target() -> None:
    (execution,) = make_loader(ExecutionPlan(64))
    assert sorted(execution.rows.tolist()) == list(range(NUM_SAMPLES))
    assert torch.equal(execution.target, execution.rows)
    assert isinstance(execution.inputs, dict)
    assert torch.equal(execution.inputs["number"], execution.rows.float()[:, None])
    assert torch.equal(execution.inputs["square"], execution.rows**2)


def test_only_the_given_rows_are_trained_on() -> None:
    rows = torch.tensor([5, 99, 7])
    loader = BatchLoader(numbered(), rows, batch_size=2)
    assert {row for execution in run(loader, 2) for row in execution.rows.tolist()} == {5, 7, 99}


def test_executions_end_at_intervals_epoch_ends_and_the_last_step() -> None:
    executions = run(make_loader(ExecutionPlan(5, max_steps=20, intervals=(4,), val_every_n_steps=6)), 3)
    assert [execution.state.step for execution in executions] == [4, 6, 8, 9, 12, 16, 18, 20]
    assert [execution.validate for execution in executions] == [False, True, False, False, True, False, True, True]
    assert [len(execution.steps) for execution in executions] == [4, 2, 2, 1, 3, 4, 2, 2]


@pytest.mark.parametrize("per_execution", [2, 7, 64])
def test_steps_per_execution_do_not_change_the_samples(per_execution: int) -> None:
    single = steps_of(run(make_loader(ExecutionPlan(1), accumulate=3), 3))
    several = steps_of(run(make_loader(ExecutionPlan(per_execution, intervals=(10,)), accumulate=3), 3))
    assert several == single
    assert len(single) == 3 * STEPS


def test_the_state_after_an_execution() -> None:
    for execution in run(make_loader(ExecutionPlan(4)), 3):
        step = execution.state.step
        assert execution.state == LoaderState(step // STEPS, step % STEPS, step)
        assert execution.epoch == (step - 1) // STEPS


@pytest.mark.parametrize("per_execution", [1, 4])
def test_a_restart_from_any_state_gives_the_same_rest(per_execution: int) -> None:
    executions = run(make_loader(ExecutionPlan(4), seed=3), 3)
    whole = steps_of(executions)
    for state in [LoaderState(), *(execution.state for execution in executions)]:
        loader = make_loader(ExecutionPlan(per_execution), seed=3)
        loader.state = state
        assert steps_of(run(loader, 3 - state.epoch)) == whole[state.step :]


def test_the_state_follows_what_was_consumed_when_one_is_fetched_ahead() -> None:
    loader = make_loader(ExecutionPlan(4))
    executions = run(make_loader(ExecutionPlan(4)), 2)
    iterator = iter(loader)
    waiting, consumed = next(iterator), []
    for ahead in iterator:
        consumed.append(waiting)
        assert loader.state == consumed[-1].state
        rest = make_loader(ExecutionPlan(4))
        rest.state = loader.state
        assert steps_of(run(rest, 2)[: len(executions) - len(consumed)]) == steps_of(executions[len(consumed) :])
        waiting = ahead
    assert loader.state == waiting.state == LoaderState(1, 0, STEPS)


def test_an_iterator_made_twice_goes_on_after_what_the_first_one_was_asked_to_leave() -> None:
    loader = make_loader(ExecutionPlan(2))
    whole = steps_of(run(make_loader(ExecutionPlan(2)), 1))
    first, second = iter(loader), iter(loader)
    assert steps_of([next(first)]) == steps_of([next(second)]) == whole[:2]
    next(first)
    assert steps_of(loader) == whole[2:]


def test_epochs_differ_in_order_and_an_order_depends_on_seed_and_epoch_alone() -> None:
    loader = make_loader(seed=1)
    orders = [loader.order(epoch).tolist() for epoch in range(20)]
    assert len({tuple(order) for order in orders}) == 20
    run(loader, 1)
    torch.manual_seed(5)
    assert [make_loader(seed=1, batch_size=5).order(epoch).tolist() for epoch in range(20)] == orders
    assert make_loader(seed=2).order(0).tolist() != orders[0]
    first, second = ([row for e in run(make_loader(seed=1), 2) if e.epoch == i for row in e.rows] for i in (0, 1))
    assert [int(row) for row in first] == orders[0]
    assert [int(row) for row in second] == orders[1]


def test_the_order_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    run(make_loader(), 2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_shares_of_all_processes_are_each_batch_exactly(world_size: int) -> None:
    whole = run(make_loader(ExecutionPlan(4)), 2)
    shares = [run(make_loader(ExecutionPlan(4), rank=rank, world_size=world_size), 2) for rank in range(world_size)]
    for execution, *parts in zip(whole, *shares, strict=True):
        assert {part.state for part in parts} == {execution.state}
        for i, step in enumerate(execution.steps):
            (expected,) = steps_of([dataclasses.replace(execution, steps=(step,))])
            own = [steps_of([dataclasses.replace(part, steps=(part.steps[i],))])[0] for part in parts]
            assert [rows for share in own for micro in share for rows in micro] == expected[0]
            assert max(len(share[0]) for share in own) - min(len(share[0]) for share in own) <= 1
            assert [(part.steps[i].num_samples, part.steps[i].is_ghost) for part in parts] == [
                (len(expected[0]), False)
            ] * world_size


def test_a_process_without_a_sample_carries_a_ghost() -> None:
    shares = [run(make_loader(num_samples=13, rank=rank, world_size=3, accumulate=2), 1) for rank in range(3)]
    last = [executions[-1] for executions in shares]
    assert [execution.steps[0].is_ghost for execution in last] == [True, True, False]
    assert [execution.steps[0].num_samples for execution in last] == [1, 1, 1]
    assert [execution.steps[0].micro_batches for execution in last] == [((0, 1),)] * 3
    assert len({int(execution.rows) for execution in last}) == 1
    assert not any(step.is_ghost for executions in shares for step in executions[0].steps)


@pytest.mark.parametrize("accumulate", [1, 2, 5, 12, 40])
def test_micro_batches_partition_a_step(accumulate: int) -> None:
    single = steps_of(run(make_loader(), 1))
    cut = steps_of(run(make_loader(ExecutionPlan(3), accumulate=accumulate), 1))
    assert [[row for micro in step for row in micro] for step in cut] == [step[0] for step in single]
    assert [len(step) for step in cut] == [min(accumulate, len(step[0])) for step in single]
    for step in cut:
        assert max(map(len, step)) - min(map(len, step)) <= 1
        assert min(map(len, step)) >= 1


def test_the_last_batch_of_an_epoch_is_short_or_left_out() -> None:
    sizes = [len(micro) for (micro,) in steps_of(make_loader(ExecutionPlan(4)))]
    assert sizes == [12] * 8 + [7]
    loader = make_loader(ExecutionPlan(4), drop_last=True)
    assert loader.steps_per_epoch == 8
    executions = run(loader, 2)
    assert [len(micro) for (micro,) in steps_of(executions)] == [12] * 16
    assert executions[-1].state == LoaderState(2, 0, 16)
    assert executions[0].rows.tolist() == loader.order(0)[:48].tolist()


@pytest.mark.parametrize(("num_samples", "drop_last", "expected"), [(24, False, 2), (25, False, 3), (25, True, 2)])
def test_steps_per_epoch(num_samples: int, drop_last: bool, expected: int) -> None:
    assert steps_per_epoch(num_samples, BATCH_SIZE, drop_last) == expected
    assert len(run(make_loader(num_samples=num_samples, drop_last=drop_last), 1)) == expected


def test_no_execution_comes_after_the_last_step() -> None:
    loader = make_loader(ExecutionPlan(4, max_steps=6))
    assert [execution.state.step for execution in run(loader, 3)] == [4, 6]
    assert loader.state == LoaderState(0, 6, 6)


def test_a_move_to_a_device_keeps_everything() -> None:
    (execution,) = make_loader(ExecutionPlan(64, val_every_n_epochs=1), accumulate=2)
    moved = execution.to(torch.device("meta"))
    assert isinstance(moved.inputs, dict)
    assert isinstance(execution.inputs, dict)
    for name, tensor in execution.inputs.items():
        assert (moved.inputs[name].device.type, moved.inputs[name].shape) == ("meta", tensor.shape)
    assert moved.target.is_meta
    assert torch.equal(moved.rows, execution.rows)
    kept = ("steps", "epoch", "state", "validate")
    assert [getattr(moved, name) for name in kept] == [getattr(execution, name) for name in kept]
    assert moved.validate is True
    same = execution.to(torch.device("cpu"))
    assert steps_of([same]) == steps_of([execution])


class Noisy(Dataset[tuple[Tensor, int]]):
    """Draws from every generator a user may draw from."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        draws = [float(torch.rand(())), float(np.random.rand()), random.random()]
        return torch.tensor([*draws, index], dtype=torch.float64), index


def draws_of(per_execution: int, num_workers: int, rank: int = 0, world_size: int = 1) -> Tensor:
    """What two epochs over ``Noisy`` draw, in the order of training."""
    options = {"rank": rank, "world_size": world_size, "num_workers": num_workers}
    source = DatasetSource([Noisy()])
    loader = make_loader(ExecutionPlan(per_execution), 20, source=source, batch_size=6, **options)
    executions = run(loader, 2)
    for execution in executions:
        assert isinstance(execution.inputs, Tensor)
        assert execution.inputs[:, 3].tolist() == execution.target.tolist() == execution.rows.tolist()
    return torch.cat([execution.inputs for execution in executions if isinstance(execution.inputs, Tensor)])


@pytest.mark.parametrize(("per_execution", "num_workers"), [(3, 0), (64, 0), (1, 2), (3, 2)])
def test_random_draws_of_a_dataset_depend_neither_on_steps_per_execution_nor_on_workers(
    per_execution: int, num_workers: int
) -> None:
    expected = draws_of(1, 0)
    assert torch.equal(draws_of(per_execution, num_workers), expected)
    assert len(torch.unique(expected[:, :3])) == expected[:, :3].numel()


def test_random_draws_differ_between_processes() -> None:
    shares = torch.cat([draws_of(1, 0, rank, 2) for rank in range(2)])
    assert len(torch.unique(shares[:, :3])) == shares[:, :3].numel()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_reading_a_random_dataset_leaves_the_global_generators_alone(num_workers: int) -> None:
    states = [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]  # type: ignore[index]
    draws_of(3, num_workers)
    assert torch.get_rng_state().tolist() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index]
    assert random.getstate() == states[2]


def test_a_restart_in_the_middle_gives_a_random_dataset_the_same_draws() -> None:
    expected = draws_of(1, 0)
    loader = make_loader(ExecutionPlan(2), 20, source=DatasetSource([Noisy()]), batch_size=6)
    loader.state = LoaderState(1, 1, 5)
    assert torch.equal(torch.cat([e.inputs for e in loader if isinstance(e.inputs, Tensor)]), expected[26:])


def test_a_following_loader_starts_each_epoch_where_the_trainer_stands() -> None:
    whole = steps_of(run(make_loader(seed=4), 2))
    state = LoaderState()
    loader = FollowingLoader(numbered(), torch.arange(NUM_SAMPLES), batch_size=BATCH_SIZE, seed=4, now=lambda: state)
    assert len(loader) == STEPS == math.ceil(NUM_SAMPLES / BATCH_SIZE)
    iterator = iter(loader)
    state = LoaderState(0, 2, 2)
    assert steps_of(iterator) == whole[2:STEPS]
    state = LoaderState(1, 0, STEPS)
    assert steps_of(loader) == whole[STEPS:]
    state = LoaderState(1, 8, 100)
    (execution,) = loader
    assert (steps_of([execution]), execution.state) == (whole[-1:], LoaderState(2, 0, 101))
