"""A run killed anywhere and resumed, with another K too, ends in the same bits as one that was left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.utils.data import Dataset

from trainkit.data.sources import DatasetSource, TensorSource
from trainkit.training import all_saved, usable_checkpoint

if TYPE_CHECKING:
    from tests.training.conftest import Job, Outcome

Differences = Callable[[Any, Any], list[str]]


def assert_same_run(resumed: Outcome, whole: Outcome, differences: Differences) -> None:
    assert resumed.error is None
    assert whole.error is None
    assert resumed.trainer.global_step == whole.trainer.global_step
    assert differences(resumed.weights, whole.weights) == []
    assert differences(resumed.optimizer_state, whole.optimizer_state) == []
    assert differences(resumed.random_state, whole.random_state) == []
    assert resumed.csv_rows() == whole.csv_rows()
    assert resumed.writer.best == whole.writer.best
    assert resumed.checkpoint_names == whole.checkpoint_names
    schedules = [outcome.trainer.lr_scheduler_configs[0].scheduler.state_dict() for outcome in (resumed, whole)]
    assert schedules[0] == schedules[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, make_job: Callable[..., Job]) -> Outcome:
    return make_job(tmp_path_factory.mktemp("whole")).fit()


@pytest.mark.parametrize(
    ("kill_after", "resumed_from"),
    [
        pytest.param(3, None, id="before the first checkpoint"),
        pytest.param(5, 5, id="right at a checkpoint, mid-epoch"),
        pytest.param(8, 5, id="between checkpoints"),
        pytest.param(9, 9, id="end of an epoch"),
        pytest.param(10, 10, id="first step of an epoch, with a validation"),
        pytest.param(20, 20, id="validation mid-epoch"),
        pytest.param(18, 18, id="end of the second epoch"),
        pytest.param(39, 36, id="one before the last step"),
        pytest.param(40, 40, id="the last step"),
    ],
)
@pytest.mark.parametrize(("k", "k_resumed"), [(1, 16), (7, 1)])
def test_killed_and_resumed(
    job: Callable[..., Job],
    differences: Differences,
    whole: Outcome,
    kill_after: int,
    resumed_from: int | None,
    k: int,
    k_resumed: int,
) -> None:
    killed = job("run", steps_per_execution=k)
    assert type(killed.fit(kill_after=kill_after).error).__name__ == "Killed"
    path, broken = usable_checkpoint(killed.run)
    assert (path.name if path else None) == (f"step-{resumed_from}.ckpt" if resumed_from else None)
    assert broken == []
    killed.steps_per_execution = k_resumed
    assert_same_run(killed.fit(resume=True, seed=99 if path else 0), whole, differences)
