"""Balanced sampling: each class equally often, every row of a small class as often as the next, the same for a key."""

from __future__ import annotations

from itertools import chain

import pytest
import torch

from trainkit.data.loader import BatchLoader
from trainkit.data.order import balanced_order, check_sampling
from trainkit.data.plan import ExecutionPlan, LoaderState
from trainkit.data.sources import TensorSource
from trainkit.errors import DataError

CLASSES = torch.tensor([0] * 70 + [1] * 25 + [4] * 7)


def order(seed: int = 0, classes: torch.Tensor = CLASSES) -> torch.Tensor:
    return balanced_order(classes, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(5))
def test_each_class_is_drawn_equally_often(seed: int) -> None:
    drawn = order(seed)
    assert len(drawn) == len(CLASSES)
    counts = torch.bincount(CLASSES[drawn])[[0, 1, 4]]
    assert counts.tolist() == [34, 34, 34]
    times = torch.bincount(drawn, minlength=len(CLASSES))
    for label, least, most in ((0, 0, 1), (1, 1, 2), (4, 4, 5)):
        of_class = times[label == CLASSES]
        assert (int(of_class.min()), int(of_class.max())) == (least, most)


def test_what_is_left_over_goes_to_classes_at_random() -> None:
    classes = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2])
    most = {int(torch.bincount(classes[order(seed, classes)]).argmin()) for seed in range(20)}
    assert most == {0, 1, 2}
    single = torch.tensor([0, 1])
    assert sorted(order(3, single).tolist()) == [0, 1]


def test_classes_are_mixed() -> None:
    drawn = CLASSES[order()]
    assert all(len(set(drawn[start : start + 34].tolist())) == 3 for start in (0, 34, 68))


def loader(state: LoaderState | None = None) -> BatchLoader:
    source = TensorSource(torch.arange(102.0), CLASSES)
    made = BatchLoader(
        source, torch.arange(102), batch_size=16, seed=3, plan=ExecutionPlan(max_steps=14), balanced_by=CLASSES
    )
    made.state = state or LoaderState()
    return made


def rows(made: BatchLoader, epochs: int) -> list[list[int]]:
    return [execution.rows.tolist() for _ in range(epochs) for execution in made]


def test_epochs_differ_and_a_resume_goes_on_exactly() -> None:
    whole = rows(loader(), 2)
    assert len(whole) == 14
    assert sorted(chain(*whole[:7])) != sorted(chain(*whole[7:]))
    assert rows(loader(LoaderState(0, 4, 4)), 2) == whole[4:]
    assert rows(loader(LoaderState(1, 2, 9)), 1) == whole[9:]


def test_an_unknown_sampling_is_refused() -> None:
    check_sampling("shuffle")
    with pytest.raises(DataError) as caught:
        check_sampling("balance")
    assert str(caught.value) == (
        "there is no sampling 'balance'\n  where    data.sampling\n  expected one of shuffle, balanced\n"
        "  hint     did you mean 'balanced'?"
    )
