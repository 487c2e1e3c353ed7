"""K, the optimizer steps carried out per Lightning batch, changes nothing but the time a run takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import lightning as L
import pytest

from trainkit.data.augment import Augment, Noise
from trainkit.data.loader import Execution
from trainkit.models import MLP
from trainkit.tasks import Regression

if TYPE_CHECKING:
    from tests.training.conftest import Job, Outcome

MAX_STEPS, STEPS_PER_EPOCH, VAL_EVERY, SAVE_EVERY, LOG_EVERY = 101, 9, 10, 50, 4


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(
    ("steps_by", "clip_norm", "ema", "is_augmented"),
    [
        ("lightning", 1.0, None, False),
        ("lightning", None, 0.9, True),
        ("own", 1.0, 0.9, False),
        ("flat", 1.0, None, False),
        ("flat", None, None, False),
        ("flat", 1.0, 0.9, True),
        ("flat", None, 0.9, False),
    ],
)
def test_k_changes_nothing(
    job: Callable[..., Job],
    differences: Callable[[Any, Any], list[str]],
    accumulate: int,
    precision: str,
    steps_by: str,
    clip_norm: float | None,
    ema: float | None,
    is_augmented: bool,
) -> None:
    def run(k: int) -> Outcome:
        settings = {"accumulate": accumulate, "precision": precision, "max_steps": MAX_STEPS, "keep": 1000}
        settings |= {"steps_by": steps_by, "clip_norm": clip_norm, "ema": ema}
        settings |= {
            "augment": Augment({"noise": Noise(0.1)}) if is_augmented else None,
            "save_every_n_steps": SAVE_EVERY,
        }
        return job(f"k{k}", steps_per_execution=k, **settings).fit()

    one = run(1)
    epoch_ends = set(range(STEPS_PER_EPOCH, MAX_STEPS + 1, STEPS_PER_EPOCH))
    validated = sorted({*range(VAL_EVERY, MAX_STEPS + 1, VAL_EVERY), *epoch_ends, MAX_STEPS})
    assert one.error is None
    assert one.trainer.global_step == MAX_STEPS
    assert [x for x, *_ in one.logged("val/loss")] == [step - 1 for step in validated]
    assert [x for x, *_ in one.logged("train/loss")] == list(range(LOG_EVERY - 1, MAX_STEPS, LOG_EVERY))
    due = {*range(SAVE_EVERY, MAX_STEPS + 1, SAVE_EVERY), *epoch_ends, MAX_STEPS}
    assert {f"step-{step}.ckpt" for step in due} <= set(one.checkpoint_names)
    for k in (7, 16):
        many = run(k)
        assert many.error is None
        assert differences(one.weights, many.weights) == []
        assert differences(one.optimizer_state, many.optimizer_state) == []
        assert differences(one.random_state, many.random_state) == []
        assert many.recorder.rows == one.recorder.rows
        assert many.checkpoint_names == one.checkpoint_names
        assert many.writer.best == one.writer.best
        assert many.trainer.fit_loop.epoch_loop.batch_progress.total.ready < MAX_STEPS


def test_k_changes_nothing_for_a_number(job: Callable[..., Job], differences: Callable[[Any, Any], list[str]]) -> None:
    """With values clipped and no norm; the float64 sums of what is logged may differ in the last bit."""

    def run(k: int) -> Outcome:
        settings: dict[str, Any] = {"clip_norm": None, "clip_value": 0.1, "monitor": "val/rmse", "mode": "min"}
        regression = {"model": lambda: MLP(6, 1, [8]), "task": lambda: Regression(1.0, 0.8)}
        return job(f"k{k}", steps_per_execution=k, **settings, **regression).fit()

    one, many = run(1), run(16)
    assert one.error is None
    assert differences(one.weights, many.weights) == []
    assert one.writer.best == many.writer.best
    assert [row[:2] for row in one.recorder.rows] == [row[:2] for row in many.recorder.rows]
    assert [row[2] for row in one.recorder.rows] == pytest.approx([row[2] for row in many.recorder.rows], rel=1e-12)


@pytest.mark.parametrize("k", [1, 16])
def test_every_epoch_is_another_order_of_the_same_samples(job: Callable[..., Job], k: int) -> None:
    epochs: dict[int, list[int]] = {}

    class Rows(L.Callback):
        def on_train_batch_start(
            self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Execution, batch_idx: int
        ) -> None:
            epochs.setdefault(batch.epoch, []).extend(batch.rows.tolist())
            assert batch.epoch == trainer.current_epoch

    job(steps_per_execution=k, max_steps=27, callbacks=lambda: [Rows()]).fit()
    assert [sorted(rows) for rows in epochs.values()] == [list(range(103))] * 3
    assert len({tuple(rows) for rows in epochs.values()}) == 3


@pytest.mark.parametrize(
    ("steps", "epochs", "expected"),
    [
        (None, 1, [9, 18, 27, 36, 40]),
        (None, 2, [18, 36, 40]),
        (16, None, [16, 32, 40]),
        (20, 3, [20, 27, 40]),
        (100, None, [40]),
    ],
)
def test_when_validations_are_due(
    job: Callable[..., Job], steps: int | None, epochs: int | None, expected: list[int]
) -> None:
    outcome = job(steps_per_execution=7, val_every_n_steps=steps, val_every_n_epochs=epochs).fit()
    assert [x for x, *_ in outcome.logged("val/loss")] == [step - 1 for step in expected]


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no")
def test_without_a_validation_part(job: Callable[..., Job]) -> None:
    alone = job(monitor=None)
    outcome = alone.fit(validate=False)
    assert outcome.error is None
    assert outcome.logged("val/") == []
    assert outcome.checkpoint_names == ["step-36.ckpt", "step-40.ckpt"]
    assert not outcome.run.best.is_file()


def test_the_private_name_of_lightning_is_still_there(trainer: Callable[..., L.Trainer]) -> None:
    """``TrainModule`` sets it, so that what Lightning logs has optimizer steps on its x-axis."""
    loop = trainer().fit_loop.epoch_loop
    assert loop._batches_that_stepped == 0
    assert "_batches_that_stepped" in loop.state_dict()["state_dict"]
    assert "_batches_that_stepped" in inspect.getsource(type(loop.trainer._logger_connector).log_metrics)
