"""Which callbacks and loggers a run takes, which make it run one step at a time, and which it refuses by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch.callbacks import EarlyStopping, LambdaCallback, ModelCheckpoint
from lightning.pytorch.loggers.logger import Logger

import trainkit as tk
from trainkit.runs import hooks
from trainkit.runs.build import build_parts
from trainkit.runs.hooks import LOOK_AT_BATCHES, REFUSED, check_loggers, looks_at_batches
from trainkit.runs.observers import build_callbacks
from trainkit.runs.parts import LiveObjects
from trainkit.training import ConfusionMatrix, Histograms, SamplePredictions


def check_callbacks(parts: Any, callbacks: Sequence[L.Callback]) -> None:
    hooks.check_callbacks(parts, callbacks, parts.task.metric_names())


class Looks(L.Callback):
    """What a subclass of each test overrides."""


class Counts(L.Callback):
    """Has a state."""

    def state_dict(self) -> dict[str, Any]:
        return {"n": 1}


def parts(*overrides: str, callbacks: Sequence[Any] = (), loggers: Sequence[Any] = ()) -> Any:
    live = LiveObjects(callbacks=callbacks, loggers=loggers)
    return build_parts(tk.compose(["data=wine", "model=mlp", *overrides]), live)


@pytest.mark.parametrize("hook", hooks.BATCH_HOOKS)
def test_a_hook_of_the_users_own_that_runs_with_batches_means_one_step_at_a_time(hook: str) -> None:
    looker = type("Looker", (Looks,), {hook: lambda *args: None})
    assert looks_at_batches(parts(callbacks=[looker()])) == "Looker"
    with pytest.raises(tk.ConfigError) as caught:
        build_callbacks(parts("trainer.steps_per_execution=16", callbacks=[looker()]))
    assert str(caught.value) == (
        "Looker looks at every batch, and cannot see the 16 steps of an execution\n"
        "  where    trainer.steps_per_execution\n"
        "  hint     trainer.steps_per_execution=1, or auto"
    )
    assert build_callbacks(parts("trainer.steps_per_execution=1", callbacks=[looker()]))


@pytest.mark.parametrize("hook", ["on_train_epoch_end", "on_validation_batch_end", "on_train_start", "state_dict"])
def test_other_hooks_do_not(hook: str) -> None:
    looker = type("Looker", (Looks,), {hook: lambda *args: {}})
    assert looks_at_batches(parts(callbacks=[looker()])) is None


@pytest.mark.parametrize(
    "callback",
    [
        ConfusionMatrix(),
        SamplePredictions(),
        Histograms(),
        EarlyStopping("val/loss"),
        ModelCheckpoint(),
        LambdaCallback(),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_ours_and_most_of_lightning_know_of_executions(callback: L.Callback) -> None:
    assert looks_at_batches(parts(callbacks=[callback])) is None


@pytest.mark.parametrize("name", [*LOOK_AT_BATCHES, "EMAWeightAveraging"])
def test_those_of_lightning_that_count_batches_get_them_one_by_one(name: str) -> None:
    assert looks_at_batches(parts(f"+callbacks.x._target_=lightning.pytorch.callbacks.{name}")) == name
    kind = getattr(lightning_callbacks, name)
    own = type("Own", (kind,), {})
    assert looks_at_batches(parts(callbacks=[own()])) == "Own"


def test_a_lambda_callback_looks_at_what_it_was_given() -> None:
    def hook(*args: Any) -> None: ...

    assert looks_at_batches(parts(callbacks=[LambdaCallback(on_train_batch_end=hook)])) == "LambdaCallback"
    assert looks_at_batches(parts(callbacks=[LambdaCallback(on_train_epoch_end=hook)])) is None
    given = parts(
        "+callbacks.x._target_=lightning.pytorch.callbacks.LambdaCallback",
        "+callbacks.x.on_after_backward={_target_: builtins.print, _partial_: true}",
    )
    assert looks_at_batches(given) == "LambdaCallback"


MADE: dict[str, Callable[[], L.Callback]] = {
    "GradientAccumulationScheduler": lambda: lightning_callbacks.GradientAccumulationScheduler({0: 1}),
    "ModelPruning": lambda: lightning_callbacks.ModelPruning("l1_unstructured"),
    "OnExceptionCheckpoint": lambda: lightning_callbacks.OnExceptionCheckpoint("x"),
    "StochasticWeightAveraging": lambda: lightning_callbacks.StochasticWeightAveraging(0.1),
    "ThroughputMonitor": lambda: lightning_callbacks.ThroughputMonitor(len),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_work_is_refused_by_name_with_what_to_do(name: str) -> None:
    callback = MADE.get(name, getattr(lightning_callbacks, name))()
    with pytest.raises(tk.ConfigError) as caught:
        check_callbacks(parts(), [callback])
    assert caught.value.what == f"{name} cannot work here: {REFUSED[name][0]}"
    assert (caught.value.where, caught.value.hint) == ("callbacks", REFUSED[name][1])


@pytest.mark.parametrize("name", ["RichProgressBar", "TQDMProgressBar"])
def test_every_progress_bar_is_refused(name: str) -> None:
    with pytest.raises(tk.ConfigError, match=f"{name} cannot work here: the run has a progress line of its own"):
        check_callbacks(parts(), [getattr(lightning_callbacks, name)()])


def test_every_callback_of_lightning_is_sorted_out() -> None:
    """A new one fails here: try it, and name it in REFUSED, LOOK_AT_BATCHES or this list."""
    fine = {
        *("BaseFinetuning", "BasePredictionWriter", "Callback", "Checkpoint", "EarlyStopping", "EMAWeightAveraging"),
        *("LambdaCallback", "ModelCheckpoint", "RichModelSummary", "RichProgressBar", "TQDMProgressBar", "Timer"),
    }
    assert set(lightning_callbacks.__all__) == {*fine, *REFUSED, *LOOK_AT_BATCHES}


def test_the_summary_that_prints_is_taken() -> None:
    check_callbacks(parts(), [lightning_callbacks.RichModelSummary()])


@pytest.mark.parametrize("arguments", [{"every_n_train_steps": 5}, {"train_time_interval": timedelta(days=1)}])
def test_a_model_checkpoint_by_steps_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(tk.ConfigError) as caught:
        check_callbacks(parts(), [ModelCheckpoint(**arguments)])
    assert caught.value.what == "ModelCheckpoint cannot save by steps or time here: an execution carries several steps"
    assert caught.value.hint is not None and caught.value.hint.startswith("checkpoint.every_n_steps=")


def test_states_under_one_name_are_refused() -> None:
    check_callbacks(parts(), [EarlyStopping("val/loss"), EarlyStopping("val/accuracy"), Looks(), Looks()])
    with pytest.raises(tk.ConfigError, match="two callbacks Counts would save their state under one name"):
        check_callbacks(parts(), [Counts(), Counts()])


@pytest.mark.parametrize(
    ("package", "kind", "hint"),
    [
        ("wandb", "WandbLogger", "pip install 'trainkit-lightning[wandb]'"),
        ("mlflow", "MLFlowLogger", "pip install mlflow"),
        ("comet_ml", "CometLogger", "pip install comet_ml"),
    ],
)
def test_a_logger_whose_package_is_missing(package: str, kind: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "find_spec", lambda name: None)
    with pytest.raises(tk.ConfigError) as caught:
        check_loggers(parts(f"+logger.x._target_=lightning.pytorch.loggers.{kind}"))
    assert (caught.value.what, caught.value.where, caught.value.hint) == (
        f"{package} is not installed",
        "logger.x",
        hint,
    )


def test_a_callback_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "find_spec", lambda name: None)
    with pytest.raises(tk.ConfigError, match="psutil is not installed"):
        check_callbacks(parts(), [lightning_callbacks.DeviceStatsMonitor()])
    check_callbacks(parts(), [lightning_callbacks.DeviceStatsMonitor(cpu_stats=False)])


class Own(Logger):
    """A logger of the user's own."""

    name = property(lambda self: "own")
    version = property(lambda self: "")

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

    def log_metrics(self, *args: Any, **kwargs: Any) -> None: ...


def test_the_loggers_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tests_hooks", sys.modules[__name__])
    kinds = check_loggers(parts("+logger.mine._target_=tests_hooks.Own", loggers=[Own()]))
    assert [kind.__name__ for kind in kinds] == ["Own", "TensorBoard", "Own"]
    assert check_loggers(parts("logger=none")) == []


def test_a_folder_is_filled_in(tmp_path: Path) -> None:
    from trainkit.rundir import RunDirectory

    checkpoint = "lightning.pytorch.callbacks.ModelCheckpoint"
    checkpoints = [
        f"+callbacks.a={{_target_: {checkpoint}, every_n_epochs: 1}}",
        f"+callbacks.b={{_target_: {checkpoint}, every_n_epochs: 2, dirpath: ???}}",
        f"+callbacks.c={{_target_: {checkpoint}, every_n_epochs: 3, dirpath: mine}}",
    ]
    made = parts(*checkpoints, callbacks=[ModelCheckpoint(every_n_epochs=4)])
    build_callbacks(made)
    folders = [Path(c.dirpath) for c in build_callbacks(made, RunDirectory(tmp_path))]  # type: ignore[attr-defined]
    assert folders[0] == tmp_path / "checkpoints" / "a" and folders[1] == tmp_path / "checkpoints" / "b"
    assert folders[2].name == "mine" and folders[3] == tmp_path / "checkpoints" / "callback_0"


def test_weights_and_biases_needs_a_key_unless_it_is_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    monkeypatch.setattr(wandb, "login", lambda **asked: False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with pytest.raises(tk.ConfigError) as caught:
        check_callbacks(parts("logger=wandb"), [])
    assert (caught.value.where, caught.value.hint) == ("logger.wandb", "wandb login, or logger.wandb.offline=true")
    check_callbacks(parts("logger=wandb", "logger.wandb.offline=true"), [])
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_callbacks(parts("logger=wandb"), [])
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(wandb, "login", lambda **asked: asked == {"prompt": False, "verify": False})
    check_callbacks(parts("logger=wandb"), [])
