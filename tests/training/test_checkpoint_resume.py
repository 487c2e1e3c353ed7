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


def test_killed_after_the_last_step(job: Callable[..., Job], differences: Differences, whole: Outcome) -> None:
    killed = job()
    killed.fit(kill_after=40)
    resumed = killed.fit(resume=True, seed=99)
    assert resumed.error is None
    assert resumed.writer.position == whole.writer.position
    assert differences(resumed.weights, whole.weights) == []
    assert resumed.csv_rows() == whole.csv_rows()


def test_killed_after_the_very_first_step(job: Callable[..., Job], differences: Differences) -> None:
    every_step = {"save_every_n_steps": 1, "max_steps": 12}
    killed = job("killed", **every_step)
    killed.fit(kill_after=1)
    assert [entry["step"] for entry in all_saved(killed.run)] == [1]
    assert_same_run(killed.fit(resume=True, seed=99), job("whole", **every_step).fit(), differences)


def test_killed_twice_with_micro_batches_and_bf16(job: Callable[..., Job], differences: Differences) -> None:
    settings = {"accumulate": 3, "precision": "bf16-mixed", "clip_value": 0.05}
    killed = job("killed", steps_per_execution=16, **settings)
    killed.fit(kill_after=13)
    killed.steps_per_execution = 7
    killed.fit(resume=True, kill_after=31, seed=98)
    assert [entry["step"] for entry in all_saved(killed.run)] == [30, 27]
    killed.steps_per_execution = 1
    assert_same_run(killed.fit(resume=True, seed=99), job("whole", **settings).fit(), differences)


@pytest.mark.parametrize("kill_after", [12, 20, 25])
def test_early_stopping_goes_on_counting(job: Callable[..., Job], differences: Differences, kill_after: int) -> None:
    """No accuracy is ever 2 better than the first, so the fourth validation after it ends the run."""

    def impatient() -> list[EarlyStopping]:
        return [EarlyStopping("val/accuracy", 2, patience=4, mode="max", check_on_train_epoch_end=False)]

    whole = job("whole", callbacks=impatient).fit()
    assert whole.trainer.global_step == 27  # validations at 9, 10, 18, 20, 27
    killed = job("killed", steps_per_execution=4, callbacks=impatient)
    killed.fit(kill_after=kill_after)
    assert_same_run(killed.fit(resume=True, seed=99), whole, differences)


def test_a_run_that_stopped_early_does_not_go_on(job: Callable[..., Job], differences: Differences) -> None:
    """Killed after its last checkpoint, for example while it was scored."""

    def impatient() -> list[EarlyStopping]:
        return [EarlyStopping("val/accuracy", 2, patience=4, mode="max", check_on_train_epoch_end=False)]

    stopped = job(callbacks=impatient)
    whole = stopped.fit()
    rows = whole.csv_rows()
    resumed = stopped.fit(resume=True, seed=99)
    assert resumed.trainer.global_step == 27
    assert differences(resumed.weights, whole.weights) == []
    assert resumed.csv_rows() == rows


class Noisy(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """A data set of the user's own that draws in ``__getitem__``."""

    def __init__(self, source: TensorSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, target = self.source.fetch(torch.tensor([row]))
        assert isinstance(inputs, torch.Tensor)
        return inputs[0] + 0.1 * torch.randn(inputs.shape[1]), target[0]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_dataset_that_draws(
    job: Callable[..., Job], toy: TensorSource, differences: Differences, num_workers: int
) -> None:
    settings = {"source": DatasetSource([Noisy(toy)]), "max_steps": 14, "val_every_n_steps": None}
    killed = job("killed", num_workers=num_workers, **settings)
    killed.fit(kill_after=6)
    assert_same_run(killed.fit(resume=True, seed=99), job("whole", **settings).fit(), differences)
