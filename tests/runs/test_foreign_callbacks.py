"""Runs with callbacks of Lightning's and the user's own: killed, resumed, stopped, and beside trainkit's own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch

from trainkit.rundir import RunDirectory, read_json
from trainkit.training import read_metrics

LIGHTNING = "+callbacks.x._target_=lightning.pytorch.callbacks"
SMALL = (
    *("fit", "data=wine", "model=mlp", "model.hidden=[8]", "evaluation.resamples=20", "evaluation.baseline=false"),
    *("trainer.threads=1", "trainer.max_steps=40", "trainer.log_every_n_steps=5", "run.trust=[tests_foreign,tests]"),
)


class Counts(L.Callback):
    """Counts steps, and keeps the count in checkpoints."""

    counted: list[int]

    def __init__(self) -> None:
        self.zeroed = self.stepped = 0

    def on_before_zero_grad(self, *args: Any) -> None:
        self.zeroed += 1

    def on_before_optimizer_step(self, *args: Any) -> None:
        self.stepped += 1

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        Counts.counted = [self.zeroed, self.stepped, trainer.global_step]

    def state_dict(self) -> dict[str, Any]:
        return {"zeroed": self.zeroed, "stepped": self.stepped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.zeroed, self.stepped = state_dict["zeroed"], state_dict["stepped"]


class Odd(L.Callback):
    """Has a state that no checkpoint may hold."""

    def state_dict(self) -> dict[str, Any]:
        return {"history": [np.float64(0.5)]}


class Stops(L.Callback):
    """Asks in the middle of an execution that the run ends."""

    def on_before_optimizer_step(self, trainer: L.Trainer, *args: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step == 22


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tests_foreign", sys.modules[__name__])


def stopped_and_resumed(
    cli: Callable[..., Any], stop_at: Callable[..., None], *overrides: str, at: int = 22
) -> tuple[RunDirectory, RunDirectory]:
    """The same run in one go, and stopped by a signal and resumed."""
    whole, parts = RunDirectory(Path("whole")), RunDirectory(Path("parts"))
    assert cli(*SMALL, f"run.dir={whole.path}", *overrides)[0] == 0
    stop_at(at)
    assert cli(*SMALL, f"run.dir={parts.path}", *overrides)[0] == 143
    stop_at(None)
    code, _, err = cli("fit", f"run.dir={parts.path}", "run.trust=[tests_foreign,tests]")
    assert (code, err) == (0, "")
    return whole, parts


def test_a_state_goes_on_after_a_resume(
    cli: Callable[..., Any], stop_at: Callable[..., None], assert_same_run: Callable[..., None]
) -> None:
    whole, parts = stopped_and_resumed(cli, stop_at, "+callbacks.x._target_=tests_foreign.Counts")
    assert_same_run(whole, parts)
    assert Counts.counted == [40, 40, 40]


def test_pictures_change_nothing_and_go_on_after_a_resume(
    cli: Callable[..., Any], stop_at: Callable[..., None], assert_same_run: Callable[..., None]
) -> None:
    sparse = [f"callbacks.{name}.every_n_validations=5" for name in ("confusion", "samples", "histograms")]
    whole, parts = stopped_and_resumed(cli, stop_at, "callbacks=tensorboard", *sparse)
    assert_same_run(whole, parts)
    code, out, _ = cli(*SMALL, "run.dir=plain", "logger=none")
    assert code == 0 and "one step at a time" not in out
    assert_same_run(whole, RunDirectory(Path("plain")))


def test_averaged_weights_go_on_after_a_resume(
    cli: Callable[..., Any], stop_at: Callable[..., None], assert_same_run: Callable[..., None]
) -> None:
    whole, parts = stopped_and_resumed(cli, stop_at, f"{LIGHTNING}.EMAWeightAveraging")
    assert_same_run(whole, parts)


def test_a_state_that_is_not_plain_ends_the_run_at_its_first_checkpoint(cli: Callable[..., Any]) -> None:
    code, _, err = cli(*SMALL, "run.dir=run", "+callbacks.x._target_=tests_foreign.Odd")
    assert code == 2 and err.startswith("the state of the callback Odd holds a numpy.float64, which a checkpoint does")
    assert "where    state['history'][0]" in err and not list(Path("run/checkpoints").glob("*.ckpt"))


def test_a_stop_asked_for_at_any_step_is_kept(cli: Callable[..., Any]) -> None:
    code, out, _ = cli(*SMALL, "run.dir=run", "+callbacks.x._target_=tests_foreign.Stops")
    assert code == 0 and "note   Stops looks at every batch: one step at a time" in out
    assert read_json(Path("run/result.json"))["steps"] == 23


def test_the_learning_rate_monitor_logs_at_the_x_of_the_curves(cli: Callable[..., Any]) -> None:
    assert cli(*SMALL, "run.dir=run", f"{LIGHTNING}.LearningRateMonitor", "optimizer=sgd")[0] == 0
    rows = read_metrics(Path("run/metrics.csv"))
    ours = {int(row["step"]): float(row["value"]) for row in rows if row["name"] == "lr"}
    theirs = {int(row["step"]): float(row["value"]) for row in rows if row["name"] == "pg1"}
    assert theirs == pytest.approx(ours) and list(ours) == [4, 9, 14, 19, 24, 29, 34, 39]


def test_a_model_checkpoint_saves_beside_ours(
    cli: Callable[..., Any], stop_at: Callable[..., None], assert_same_run: Callable[..., None]
) -> None:
    more = (f"{LIGHTNING}.ModelCheckpoint", "+callbacks.x.monitor=???", "+callbacks.x.mode=???")
    whole, parts = stopped_and_resumed(cli, stop_at, *more, "+callbacks.x.save_top_k=2")
    assert_same_run(whole, parts)
    for run in (whole, parts):
        files = sorted((run.checkpoints / "x").glob("*.ckpt"))
        assert len(files) == 2 and files[0].name.startswith("epoch=")
        assert "state_dict" in torch.load(files[0], weights_only=True)
        assert run.last.is_file() and len(list(run.checkpoints.glob("step-*.ckpt"))) >= 2


def test_a_timer_ends_a_run(cli: Callable[..., Any]) -> None:
    timer = (f"{LIGHTNING}.Timer", "+callbacks.x.duration={milliseconds: 150}", "trainer.max_epochs=5000")
    code, out, _ = cli(*SMALL, "run.dir=run", *timer, "trainer.max_steps=20000")
    assert code == 0 and "one step at a time" not in out
    assert 0 < read_json(Path("run/result.json"))["steps"] < 20_000


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["callbacks=[confusion,nonsense]"], "group 'callbacks' has no 'nonsense'"),
        (["callbacks=[confusion,sample]"], "did you mean 'samples'?"),
        (["callbacks=confusion", "logger=none"], "ConfusionMatrix has no logger to show its pictures"),
        (["callbacks=confusion", "+callbacks.confusion.every_validation=2"], "did you mean 'every_n_validations'?"),
        (["callbacks=histograms", "logger=wandb"], "expected TensorBoard, not WandbLogger"),
        (["data=diabetes", "callbacks=confusion"], "callbacks=samples draws predicted against true numbers"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    overrides: list[str], text: str, cli: Callable[..., Any], tmp_path: Path
) -> None:
    code, out, err = cli("fit", "data=wine", "model=mlp", *overrides)
    assert (code, out) == (2, "") and text in err
    assert "expected one of augmented, confusion, default, early_stopping" in err or "nonsense" not in text
    assert not list(tmp_path.iterdir())


def test_averaging_truth_values_is_refused_with_two_ways_out(cli: Callable[..., Any]) -> None:
    code, _, err = cli(*SMALL, f"{LIGHTNING}.WeightAveraging")
    assert code == 2 and err.startswith("WeightAveraging cannot average the truth values among the model's buffers")


def test_choices_combine(cli: Callable[..., Any]) -> None:
    code, out, _ = cli(
        "fit", "callbacks=[early_stopping,confusion,samples]", "logger=[tensorboard,wandb]", "--cfg", "job"
    )
    assert code == 0
    for name in ("early_stopping:", "confusion:", "samples:", "tensorboard:", "wandb:"):
        assert f"\n  {name}" in out
