"""K, the optimizer steps carried out per Lightning batch, changes nothing but the time a run takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.training.conftest import Job, Outcome

MAX_STEPS, STEPS_PER_EPOCH, VAL_EVERY, SAVE_EVERY, LOG_EVERY = 101, 9, 10, 25, 4


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_k_changes_nothing(
    job: Callable[..., Job], differences: Callable[[Any, Any], list[str]], accumulate: int, precision: str
) -> None:
    def run(k: int) -> Outcome:
        settings = {"accumulate": accumulate, "precision": precision, "max_steps": MAX_STEPS, "keep": 1000}
        return job(f"k{k}", steps_per_execution=k, save_every_n_steps=SAVE_EVERY, **settings).fit()

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
