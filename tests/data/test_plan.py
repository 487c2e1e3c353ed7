"""Where executions end, and when a validation is due."""

from __future__ import annotations

import random

import pytest

from trainkit.data.plan import ExecutionPlan, LoaderState


def ends(plan: ExecutionPlan, steps_per_epoch: int, num_epochs: int) -> list[int]:
    """Steps after which the executions of some epochs end."""
    step, found = 0, []
    for _ in range(num_epochs):
        left = steps_per_epoch
        while left and (length := plan.length(step, left)):
            step, left = step + length, left - length
            found.append(step)
    return found


@pytest.mark.parametrize(
    ("plan", "step", "left", "expected"),
    [
        (ExecutionPlan(), 0, 9, 1),
        (ExecutionPlan(16), 0, 100, 16),
        (ExecutionPlan(16), 0, 9, 9),
        (ExecutionPlan(16, max_steps=20), 16, 100, 4),
        (ExecutionPlan(16, max_steps=20), 20, 100, 0),
        (ExecutionPlan(16, max_steps=20), 21, 100, 0),
        (ExecutionPlan(16, intervals=(50,)), 48, 100, 2),
        (ExecutionPlan(16, intervals=(50,)), 50, 100, 16),
        (ExecutionPlan(16, intervals=(50, 7)), 48, 100, 1),
        (ExecutionPlan(16, intervals=(50,), val_every_n_steps=5), 46, 100, 4),
        (ExecutionPlan(16, val_every_n_epochs=2), 46, 100, 16),
    ],
)
def test_length_of_an_execution(plan: ExecutionPlan, step: int, left: int, expected: int) -> None:
    assert plan.length(step, left) == expected


def test_executions_end_at_every_event_and_nowhere_else_before_they_are_full() -> None:
    draw = random.Random(0)
    for _ in range(200):
        steps, per_execution, most = draw.randint(1, 12), draw.randint(1, 9), draw.randint(1, 60)
        intervals = tuple(draw.sample(range(1, 20), draw.randint(0, 3)))
        plan = ExecutionPlan(per_execution, most, intervals, val_every_n_steps=draw.choice([None, 3, 11]))
        found = ends(plan, steps, num_epochs=6)
        last = min(most, 6 * steps)
        every = [*intervals, steps, *([plan.val_every_n_steps] if plan.val_every_n_steps else [])]
        events = {step for step in range(1, last + 1) if any(step % interval == 0 for interval in every)} | {last}
        assert events <= set(found)
        for start, end in zip([0, *found], found, strict=False):
            assert end - start == per_execution or (end in events and end - start < per_execution)


def test_validation_by_steps_is_due_at_multiples_and_at_the_last_step() -> None:
    plan = ExecutionPlan(max_steps=25, val_every_n_steps=10)
    due = [step for step in range(1, 26) if plan.validates_after(LoaderState(0, step, step))]
    assert due == [10, 20, 25]


def test_validation_by_epochs_is_due_at_their_ends_and_at_the_last_step() -> None:
    plan = ExecutionPlan(max_steps=25, val_every_n_epochs=2)
    states = [LoaderState(step // 5, step % 5, step) for step in range(1, 26)]
    assert [state.step for state in states if plan.validates_after(state)] == [10, 20, 25]


def test_validation_by_steps_and_by_epochs() -> None:
    plan = ExecutionPlan(val_every_n_steps=4, val_every_n_epochs=1)
    states = [LoaderState(step // 5, step % 5, step) for step in range(1, 13)]
    assert [state.step for state in states if plan.validates_after(state)] == [4, 5, 8, 10, 12]


def test_a_plan_without_validation_leaves_it_to_the_trainer() -> None:
    assert ExecutionPlan(max_steps=3).validates_after(LoaderState(1, 0, 3)) is None
    assert ExecutionPlan(val_every_n_epochs=1).validates_after(LoaderState(0, 3, 3)) is False
