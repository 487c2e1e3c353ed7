"""The progress line: its text, and when it is drawn on a terminal."""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from trainkit.data import Execution, LoaderState, Step
from trainkit.training import ProgressLine, clock

if TYPE_CHECKING:
    from tests.training.conftest import Job


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Rig:
    """A progress line with a clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, total: int = 400) -> None:
        self.now, self.stream = 1000.0, stream
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setenv("COLUMNS", "200")
        writer: Any = SimpleNamespace(monitor="val/auroc", best=None, position=LoaderState())
        self.writer = writer
        self.line = ProgressLine(total, self.writer, stream)
        self.trainer: Any = SimpleNamespace(is_global_zero=True, callback_metrics={}, sanity_checking=False)
        self.module: Any = None

    def start(self, step: int = 0) -> None:
        self.writer.position = LoaderState(step=step)
        self.line.on_train_start(self.trainer, self.module)

    def execution(self, step: int, samples: int, seconds: float) -> None:
        self.now += seconds
        nothing = torch.empty(0)
        steps = (Step((), samples), Step((), samples))
        batch = Execution(nothing, nothing, nothing, steps, 0, LoaderState(step=step), None)
        self.line.on_train_batch_end(self.trainer, self.module, None, batch, 0)

    def score(self, value: float, best: float, epoch: int) -> None:
        self.trainer.callback_metrics = {"val/auroc": torch.tensor(value)}
        self.writer.best = {"value": best, "epoch": epoch}
        self.line.on_validation_end(self.trainer, self.module)


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch, Terminal())


def test_text_of_a_finished_run(rig: Rig) -> None:
    rig.start()
    rig.execution(400, 1_026_000, 38.0)
    rig.score(0.8512, 0.8533, 14)
    assert rig.line.text(400) == "400/400 · 0:38 · 54k samples/s · val/auroc 0.851 (best 0.853, epoch 14)"


def test_text_with_a_bar(rig: Rig) -> None:
    rig.start()
    rig.execution(100, 500, 10.0)
    assert rig.line.text(100, with_bar=True) == "━" * 6 + "╌" * 18 + " 100/400 · 0:10 · ETA 0:30 · 100 samples/s"


def test_text_before_the_first_step(rig: Rig) -> None:
    assert rig.line.text(0, with_bar=True) == "0/400 · 0:00 · 0 samples/s"


def test_text_without_a_best(rig: Rig) -> None:
    rig.start()
    rig.score(math.nan, 0, 0)
    rig.writer.best = None
    assert rig.line.text(0).endswith(" · val/auroc nan")


def test_large_counts_have_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, Terminal(), total=1_000_000)
    assert rig.line.text(12_345).startswith("12,345/1,000,000 · ")


def test_time_left_after_a_resume_counts_the_steps_of_this_process(rig: Rig) -> None:
    rig.start(step=300)
    rig.execution(350, 500, 10.0)
    assert "350/400 · 0:10 · ETA 0:10 · " in rig.line.text(350, with_bar=True)


def test_it_redraws_in_place_ten_times_a_second_at_most(rig: Rig) -> None:
    rig.start()
    rig.execution(1, 5, 0.5)
    first = rig.stream.getvalue()
    assert first == "\rtrain  " + rig.line.text(1, with_bar=True)
    rig.execution(2, 5, 0.05)
    assert rig.stream.getvalue() == first
    rig.execution(3, 5, 0.06)
    assert rig.stream.getvalue() == first + "\rtrain  " + rig.line.text(3, with_bar=True)
    assert rig.line.num_samples == 30


def test_a_narrow_terminal_gets_what_fits(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that wraps would be left behind at each redraw."""
    monkeypatch.setenv("COLUMNS", "40")
    rig.start()
    rig.execution(1, 5, 1)
    assert rig.stream.getvalue() == ("\rtrain  " + rig.line.text(1, with_bar=True))[:40]


def test_a_shorter_line_wipes_the_longer_one(rig: Rig) -> None:
    rig.start()
    rig.score(0.5, 0.5, 1)
    rig.execution(1, 5, 1)
    long = len(rig.stream.getvalue())
    rig.writer.best = None
    rig.execution(2, 5, 1)
    assert len(rig.stream.getvalue()) == 2 * long


def test_the_end_wipes_the_line_once(rig: Rig) -> None:
    rig.start()
    rig.execution(1, 5, 1)
    width = len(rig.stream.getvalue()) - 1
    rig.now += 1
    rig.line.on_train_end(rig.trainer, rig.module)
    assert rig.stream.getvalue().endswith("\r" + " " * width + "\r")
    assert rig.line.seconds == 2
    end = rig.stream.getvalue()
    rig.line.on_exception(rig.trainer, rig.module, KeyboardInterrupt())
    assert rig.stream.getvalue() == end


def test_an_error_finds_a_clean_line(rig: Rig) -> None:
    rig.start()
    rig.execution(1, 5, 1)
    rig.line.on_exception(rig.trainer, rig.module, ValueError())
    assert rig.stream.getvalue().endswith(" \r")


def test_elsewhere_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, io.StringIO())
    rig.start()
    rig.execution(400, 5, 1)
    rig.line.on_train_end(rig.trainer, rig.module)
    assert rig.stream.getvalue() == ""
    assert rig.line.text(400).startswith("400/400 · 0:01 · ")


def test_other_processes_draw_nothing(rig: Rig) -> None:
    rig.trainer.is_global_zero = False
    rig.start()
    rig.execution(1, 5, 1)
    assert rig.stream.getvalue() == ""


def test_a_sanity_check_is_no_score(rig: Rig) -> None:
    rig.trainer.sanity_checking = True
    rig.score(0.5, 0.5, 1)
    assert "auroc" not in rig.line.text(1)


def test_in_a_run(job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    outcome = job(max_steps=9, steps_per_execution=4).fit()
    assert outcome.progress.num_samples == 103
    assert outcome.writer.best is not None
    assert f"(best {outcome.writer.best['value']:.3f}, epoch 1)" in outcome.progress.text(9)
    assert terminal.getvalue().startswith("\rtrain  ━")
    assert terminal.getvalue().endswith(" \r")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (38.9, "0:38"), (60, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (93784, "26:03:04")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("samples", "text"), [(5, "5"), (999, "999"), (1_000, "1k"), (54_321, "54.3k"), (1_230_000, "1.23M"), (4e9, "4G")]
)
def test_throughput(rig: Rig, samples: float, text: str) -> None:
    rig.line.seconds, rig.line.num_samples = 1.0, int(samples)
    assert rig.line.text(1).split(" · ")[2] == f"{text} samples/s"


def test_the_warm_up_of_a_compiled_net_is_told(rig: Rig) -> None:
    rig.module = SimpleNamespace(compiled=len)
    rig.start()
    rig.execution(2, 10, 38.2)
    rig.execution(4, 10, 0.1)
    assert "compiled in 38 s" in rig.line.text(4)
    rig.module = SimpleNamespace(compiled=None)
    plain = ProgressLine(400, rig.writer, rig.stream)
    rig.line = plain
    rig.start()
    rig.execution(2, 10, 38.2)
    assert "compiled" not in plain.text(2)
