"""A user's own LightningModule, stopped and gone on with: the same run to the bit."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

import trainkit as tk
from tests.runs.conftest import assert_same
from tests.runs.own_runs import by_hand, classifier, datamodule, fit, gan, last_checkpoint, pairs
from trainkit.rundir import read_json


class StopAfter(L.Callback):
    """Signals the process after a batch, counted over epochs."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.fit_loop.epoch_loop.total_batch_idx + 1 == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


CASES: dict[str, tuple[Callable[[Any], dict[str, Any]], tuple[str, ...], tuple[int, ...]]] = {
    "gan": (gan, (), (3, 7)),
    "by step": (functools.partial(classifier, schedule="step"), ("checkpoint.every_n_steps=5",), (6, 13)),
    "by epoch": (functools.partial(classifier, schedule="epoch"), (), (7, 20)),
    "plateau": (functools.partial(classifier, schedule="plateau"), (), (4, 14)),
    "validation within an epoch": (
        functools.partial(classifier, schedule="step"),
        ("trainer.val_every_n_epochs=null", "trainer.val_every_n_steps=4"),
        (4, 9),
    ),
    "accumulated": (functools.partial(classifier, schedule="step"), ("trainer.accumulate=3",), (5, 8)),
    "accumulated by hand": (by_hand, (), (3,)),
    "two loaders": (pairs, (), (5,)),
    "a data module": (datamodule, (), (2, 7)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_stopped_run_goes_on_bit_for_bit(case: str, own: Any) -> None:
    make, overrides, stops = CASES[case]

    def start(directory: str, *callbacks: L.Callback) -> tk.Result:
        torch.manual_seed(5)
        return fit(directory, *overrides, **make(own), callbacks=callbacks)

    whole = start("whole")
    for stop in stops:
        with pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)):
            start(f"stopped{stop}", StopAfter(stop))
        result = read_json(Path(f"stopped{stop}/result.json"))
        assert result["status"] == "interrupted" and result["steps"] == stop
        assert start(f"stopped{stop}").steps == whole.steps
        assert_same(last_checkpoint("whole"), last_checkpoint(f"stopped{stop}"))
        assert Path("whole/metrics.csv").read_bytes() == Path(f"stopped{stop}/metrics.csv").read_bytes()


@pytest.mark.parametrize(("make", "options"), [(gan, ()), (functools.partial(classifier, schedule="epoch"), ())])
def test_more_epochs_in_a_new_directory_are_the_longer_run_to_the_bit(make: Any, options: Any, own: Any) -> None:
    def start(directory: str, epochs: int, **given: Any) -> tk.Result:
        torch.manual_seed(5)
        log = "trainer.log_every_n_steps=5"
        return fit(directory, log, **{**make(own), "max_epochs": epochs, **given})

    start("whole", 4)
    start("first", 2)
    before = Path("first/metrics.csv").read_bytes()
    assert start("second", 4, resume_from="first").steps == 28
    assert_same(last_checkpoint("whole"), last_checkpoint("second"))
    assert Path("whole/metrics.csv").read_bytes() == Path("second/metrics.csv").read_bytes()
    assert read_json(Path("second/environment.json"))["lineage"]["step"] == 14
    assert Path("first/metrics.csv").read_bytes() == before


def test_a_run_that_ended_amid_an_epoch_goes_on_with_the_next(own: Any) -> None:
    fit("first", "trainer.max_epochs=null", module=own.GAN(), train=own.loader(), max_steps=9)
    result = fit("second", module=own.GAN(), train=own.loader(), max_epochs=4, resume_from="first")
    assert (result.steps, result.epochs) == (9 + 2 * 7, 4)
    with pytest.raises(tk.ConfigError, match=r"has done 23 steps, and trainer\.max_epochs=3 asks for 21"):
        fit("third", module=own.GAN(), train=own.loader(), max_epochs=3, resume_from="second")


def test_a_module_starts_from_the_weights_of_another_run(own: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fit("first", module=own.Classifier(), train=own.loader(), max_epochs=1)
    before = tk.load_run("first", module=own.Classifier()).module
    assert before is not None
    module = own.Classifier()
    module.configure_optimizers = lambda: torch.optim.SGD(module.net[4:].parameters(), 1e-9)
    fit("second", module=module, train=own.loader(), max_steps=1, init_from="first")
    assert "init   9 of 9 tensors from first\n" in capsys.readouterr().out
    assert torch.equal(module.net[0].weight, before.get_parameter("net.0.weight"))
