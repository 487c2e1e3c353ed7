"""The first signal lets the execution end and saves, the second stops at once; handlers are put back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import lightning as L
import pytest

from trainkit.training import Interrupted, StopFlag, all_saved, heeded

if TYPE_CHECKING:
    from tests.training.conftest import Job


class Signals(L.Callback):
    """Sends this process signals once a step is done."""

    def __init__(self, step: int, *numbers: int) -> None:
        self.step, self.numbers = step, numbers

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch.state.step >= self.step:
            for number in self.numbers:
                os.kill(os.getpid(), number)


def own(signum: int, frame: FrameType | None) -> None:
    """A handler that stood before training."""


@pytest.fixture(params=["default", "own"])
def handlers(request: pytest.FixtureRequest) -> Any:
    """The handlers that must stand again after training."""
    given: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    wanted = given if request.param == "default" else dict.fromkeys(given, own)
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    yield wanted
    for number, handler in before.items():
        signal.signal(number, handler)


def standing() -> dict[Any, Any]:
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("step", [13, 20], ids=["plain step", "step of a validation"])
def test_the_first_signal_saves_and_interrupts(
    job: Callable[..., Job], handlers: dict[Any, Any], number: signal.Signals, code: int, step: int
) -> None:
    stopped = job(callbacks=lambda: [Signals(step, number)])
    outcome = stopped.fit()
    assert isinstance(outcome.error, Interrupted)
    assert (str(outcome.error), outcome.error.exit_code) == (f"stopped by {number.name}", code)
    assert all_saved(outcome.run)[0]["step"] == step
    assert [x for x, *_ in outcome.logged("val/loss")] == [9 - 1, 10 - 1, 18 - 1, 20 - 1][: 4 if step == 20 else 2]
    assert standing() == handlers


def test_a_stopped_run_goes_on(job: Callable[..., Job], differences: Callable[[Any, Any], list[str]]) -> None:
    stopped = job("stopped", callbacks=lambda: [Signals(13, signal.SIGTERM)])
    stopped.fit()
    stopped.callbacks = list
    resumed, whole = stopped.fit(resume=True, seed=99), job("whole").fit()
    assert differences(resumed.weights, whole.weights) == []
    assert resumed.csv_rows() == whole.csv_rows()


def test_an_execution_is_not_cut_short(job: Callable[..., Job]) -> None:
    class Early(L.Callback):
        def on_train_batch_start(
            self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
        ) -> None:
            if batch.state.step == 9:
                os.kill(os.getpid(), signal.SIGTERM)

    settings = {"log_every": 100, "save_every_n_steps": None, "val_every_n_steps": None}
    outcome = job(steps_per_execution=9, callbacks=lambda: [Early()], **settings).fit()
    assert isinstance(outcome.error, Interrupted)
    assert outcome.writer.position.step == 9


def test_a_second_signal_stops_at_once(job: Callable[..., Job], handlers: dict[Any, Any]) -> None:
    with pytest.raises(SystemExit) as stop:
        job(callbacks=lambda: [Signals(13, signal.SIGINT, signal.SIGINT)]).fit()
    assert stop.value.code == 1
    assert standing() == handlers


def test_in_a_group_of_processes_a_second_signal_changes_nothing(handlers: dict[Any, Any]) -> None:
    flag, nothing = StopFlag(second_stops=False), None
    flag.setup(nothing, nothing, "fit")  # type: ignore[arg-type]
    flag.on_train_start(nothing, nothing)  # type: ignore[arg-type]
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGINT)
    assert flag.signum == signal.SIGINT
    flag.restore()
    assert standing() == handlers


def test_handlers_are_put_back_after_a_whole_run(job: Callable[..., Job], handlers: dict[Any, Any]) -> None:
    seen: list[Any] = []

    class Look(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            seen.append(standing())

    outcome = job(max_steps=9, callbacks=lambda: [Look()]).fit()
    assert outcome.error is None
    assert seen
    assert not set(seen[0].values()) & set(handlers.values())
    assert standing() == handlers


def test_handlers_are_put_back_after_an_error(job: Callable[..., Job], handlers: dict[Any, Any]) -> None:
    assert type(job().fit(kill_after=3).error).__name__ == "Killed"
    assert standing() == handlers


def test_other_threads_leave_signals_alone(job: Callable[..., Job], handlers: dict[Any, Any]) -> None:
    outcomes: list[Any] = []
    small = job(max_steps=5)
    thread = threading.Thread(target=lambda: outcomes.append(small.fit()))
    thread.start()
    thread.join()
    assert outcomes[0].error is None
    assert standing() == handlers


def test_sigusr1_saves_and_training_goes_on(job: Callable[..., Job], handlers: dict[Any, Any]) -> None:
    settings: dict[str, Any] = {"save_every_n_steps": None, "save_every_n_epochs": None, "monitor": None, "keep": 9}

    class Once(Signals):
        def on_train_batch_end(self, *args: Any) -> None:
            super().on_train_batch_end(*args)
            self.numbers = self.numbers if args[3].state.step < 13 else ()

    outcome = job(callbacks=lambda: [Once(13, signal.SIGUSR1)], **settings).fit()
    assert outcome.error is None
    last, saved = (entry["step"] for entry in all_saved(outcome.run))
    assert last == outcome.trainer.global_step and 13 <= saved < 20
    assert standing() == handlers


def test_a_signal_to_save_before_training_ends_nothing() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with heeded():
        os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == before
