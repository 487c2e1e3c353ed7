"""Steps whose gradient is not finite: stopped at, left out, or gone back from, however steps are carried out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from trainkit.data.sources import TensorSource
from trainkit.errors import RunError
from trainkit.training import gradient_norm, usable_checkpoint
from trainkit.training.finite import IN_A_ROW, FiniteGuard

if TYPE_CHECKING:
    from tests.training.conftest import Job, Outcome

STEPS_BY = ("lightning", "own", "flat")


@pytest.fixture
def bad(toy: TensorSource) -> TensorSource:
    """Sample 17 has an input that is no number."""
    inputs = toy.inputs.clone()  # type: ignore[union-attr]
    inputs[17, 2] = torch.nan
    return TensorSource(inputs, toy.target)


def is_finite(outcome: Outcome) -> bool:
    state = {**outcome.weights, **{f"{i}": v for i, s in outcome.optimizer_state["state"].items() for v in s.values()}}
    return all(bool(torch.isfinite(v).all()) for v in state.values() if isinstance(v, Tensor))


def same(one: dict[str, Any], other: dict[str, Any], tolerance: float = 0.0) -> None:
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=tolerance, atol=tolerance)


@pytest.fixture(params=[False, True], ids=["here", "elsewhere"])
def waiting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a number of the device is waited for, as of a GPU."""
    if request.param:
        monkeypatch.setattr(gradient_norm, "waits", lambda device: True)
    return bool(request.param)


@pytest.mark.parametrize("steps_by", STEPS_BY)
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_stops_before_the_weights_are_lost(
    bad: TensorSource, job: Callable[..., Job], steps_by: str, clip_norm: float | None, waiting: bool
) -> None:
    outcome = job(source=bad, on_nonfinite="stop", steps_by=steps_by, clip_norm=clip_norm).fit()
    assert isinstance(outcome.error, RunError)
    assert outcome.error.what.startswith("the gradient is not finite at step ")
    assert outcome.error.what.endswith("; inputs are not finite in sample 17")
    assert "trainer.on_nonfinite=skip" in str(outcome.error.hint)
    step = int(outcome.error.what.split("step ")[1].split(" ")[0])
    assert step <= 9 and outcome.trainer.global_step <= 9
    path, _ = usable_checkpoint(outcome.run)
    if path is not None:
        saved = torch.load(path, weights_only=True)["state_dict"]
        assert all(bool(torch.isfinite(value).all()) for value in saved.values())


@pytest.mark.parametrize("steps_by", STEPS_BY)
def test_leaves_a_step_out_whatever_an_execution_carries(
    bad: TensorSource, job: Callable[..., Job], steps_by: str, waiting: bool
) -> None:
    outcomes = [
        job(f"{steps}", source=bad, on_nonfinite="skip", steps_by=steps_by, steps_per_execution=steps, ema=0.9).fit()
        for steps in (1, 16)
    ]
    for outcome in outcomes:
        assert outcome.error is None and is_finite(outcome)
        epochs = -(-outcome.trainer.global_step // 9)
        assert epochs - 1 <= len(outcome.told) <= epochs
        assert outcome.module.guard is not None and outcome.module.guard.skipped == len(outcome.told)
        counts = [value for _, _, value in outcome.logged("train/skipped_steps")]
        assert counts == sorted(counts) and counts[-1] >= epochs - 1
        losses = [value for _, _, value in outcome.logged("train/loss")]
        assert losses and all(value == value for value in losses)
    if not (waiting and steps_by != "lightning"):
        same(outcomes[0].weights, outcomes[1].weights)
    assert outcomes[0].told == outcomes[1].told


def test_leaves_out_the_same_where_nothing_is_waited_for(
    bad: TensorSource, job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"source": bad, "on_nonfinite": "skip", "steps_by": "flat"}
    here = job("here", **options).fit()
    monkeypatch.setattr(gradient_norm, "waits", lambda device: True)
    elsewhere = job("elsewhere", **options).fit()
    same(here.weights, elsewhere.weights, 1e-4)
    assert len(here.told) == len(elsewhere.told)


def test_a_step_left_out_changes_nothing_but_the_schedule(bad: TensorSource, job: Callable[..., Job]) -> None:
    outcome = job(source=bad, on_nonfinite="skip", steps_by="own", max_steps=9, save_every_n_steps=1, keep=20).fit()
    step = int(outcome.told[0].split()[1])
    states = [
        torch.load(outcome.run.checkpoints / f"step-{number}.ckpt", weights_only=True) for number in (step - 1, step)
    ]
    for name, value in states[0]["state_dict"].items():
        if not name.startswith(("window", "meters")):
            assert torch.equal(value, states[1]["state_dict"][name]), name
    moments = [state["optimizer_states"][0]["state"] for state in states]
    for place, values in moments[0].items():
        assert all(torch.equal(value, moments[1][place][name]) for name, value in values.items())
    assert states[1]["global_step"] == states[0]["global_step"] + 1


@pytest.mark.parametrize("steps_by", STEPS_BY)
def test_goes_back_to_the_last_checkpoint(bad: TensorSource, job: Callable[..., Job], steps_by: str) -> None:
    outcome = job(source=bad, on_nonfinite="rollback", steps_by=steps_by, save_every_n_steps=1, ema=0.9).fit()
    assert outcome.error is None and is_finite(outcome)
    assert outcome.told and all("again, and training goes on" in text for text in outcome.told)


def test_without_a_checkpoint_there_is_nothing_to_go_back_to(bad: TensorSource, job: Callable[..., Job]) -> None:
    settings: dict[str, Any] = {"save_every_n_steps": None, "val_every_n_steps": None}
    outcome = job(source=bad, on_nonfinite="rollback", **settings).fit()
    assert isinstance(outcome.error, RunError) and "no checkpoint yet to go back to" in outcome.error.what


@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_ends_where_nothing_but_such_steps_come(toy: TensorSource, job: Callable[..., Job], policy: str) -> None:
    inputs = toy.inputs.clone()  # type: ignore[union-attr]
    source = TensorSource(inputs, toy.target)
    outcome = job(source=source, on_nonfinite=policy, steps_by="own", max_steps=8, save_every_n_steps=1).fit()
    assert outcome.error is None and not outcome.told
    inputs[:] = torch.nan
    never: dict[str, Any] = {"val_every_n_steps": None, "val_every_n_epochs": 9}
    again = job(source=source, on_nonfinite=policy, steps_by="own", save_every_n_steps=1, **never)
    again.run = outcome.run
    ended = again.fit(resume=True)
    assert isinstance(ended.error, RunError) and len(ended.told) == IN_A_ROW
    assert f"{IN_A_ROW} steps before it were left out" in ended.error.what


@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_resumes_exactly_after_steps_left_out(bad: TensorSource, job: Callable[..., Job], policy: str) -> None:
    settings: dict[str, Any] = {"source": bad, "on_nonfinite": policy, "steps_by": "own", "save_every_n_steps": 3}
    whole = job("whole", **settings).fit()
    killed = job("killed", **settings)
    killed.fit(kill_after=24)
    resumed = killed.fit(resume=True, seed=5)
    assert resumed.error is None
    same(whole.weights, resumed.weights)
    assert whole.csv_rows() == resumed.csv_rows()
    assert resumed.module.guard is not None and whole.module.guard is not None
    assert resumed.module.guard.skipped == whole.module.guard.skipped > 1


def test_a_guard_tells_steps_in_a_row_from_others() -> None:
    told: list[str] = []
    guard = FiniteGuard("skip", "run", told.append)
    for step in range(2, 90, 2):
        guard.judge(step, 1, "that of weight")
    assert guard.skipped == len(told) == 44
    for step in range(100, 100 + IN_A_ROW):
        guard.judge(step, 1, "that of weight")
    with pytest.raises(RunError, match="steps before it were left out"):
        guard.judge(100 + IN_A_ROW, 1, "that of weight")
