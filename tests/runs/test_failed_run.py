"""A run that the user's own code ends late in training says what it kept, and what goes on with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest

import trainkit as tk
from trainkit.cli import main

Cli = Callable[..., Any]
ARGS = ("data=wine", "data.batch_size=16", "model=mlp", "trainer.max_epochs=3", "logger=none", "trainer.threads=1")
FAST = ("evaluation.resamples=20", "evaluation.baseline=false", "run.dir=run")
BREAKS = '''"""A callback of the user's own."""
import lightning as L


class Breaks(L.Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == self.epoch:
            raise ZeroDivisionError("of my own")
'''


def notes(caught: pytest.ExceptionInfo[Exception]) -> list[str]:
    return list(getattr(caught.value, "__notes__", []))


@pytest.fixture
def breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "breaking.py").write_text(BREAKS)
    monkeypatch.delitem(sys.modules, "breaking", raising=False)
    return "+callbacks.breaks._target_=breaking.Breaks"


def test_the_command_that_goes_on_is_named_after_the_traceback(cli: Cli, breaks: str) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        main(["fit", *ARGS, *FAST, breaks, "+callbacks.breaks.epoch=2"])
    told = "the run is kept up to step 16: trainkit fit run.dir=run 'run.trust=[breaking]' continues"
    assert notes(caught) == [told]
    Path("breaking.py").write_text(BREAKS.replace('raise ZeroDivisionError("of my own")', "pass"))
    sys.modules.pop("breaking")
    code, out, _ = cli("fit", "run.dir=run", "run.trust=[breaking]")
    assert code == 0 and "run continues from step-16.ckpt" in out


def test_nothing_is_said_of_a_run_that_kept_nothing(breaks: str) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        main(["fit", *ARGS, *FAST, breaks, "+callbacks.breaks.epoch=0"])
    assert notes(caught) == []


class Fails(L.Callback):
    """Raises as the third epoch begins."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch == 2:
            raise self.error


def test_a_script_is_told_that_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError) as caught:
        tk.fit(callbacks=[Fails(ZeroDivisionError())], overrides=[*ARGS, *FAST])
    assert notes(caught) == ["the run is kept up to step 16: trainkit fit run.dir=run continues"]


def test_a_mistake_that_is_found_late_names_it_too(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise tk.DataError("row 7 is gone", where="data.path")

    monkeypatch.setattr("trainkit.runs.completion.log_hparams", fails)
    code, _, err = cli("fit", *ARGS, *FAST)
    told = "the run is kept up to step 24: trainkit fit run.dir=run continues"
    assert (code, err) == (2, f"row 7 is gone\n  where    data.path\n{told}\n")


def test_a_loss_that_is_not_finite_is_not_gone_on_with(cli: Cli) -> None:
    code, _, err = cli("fit", *ARGS, *FAST, "optimizer=sgd", "optimizer.lr=1e12", "trainer.clip_norm=null")
    assert code == 2 and "the gradient is not finite at step" in err and "continues" not in err
