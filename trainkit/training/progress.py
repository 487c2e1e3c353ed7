"""The line that a terminal user watches while a run trains."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import Any, TextIO

import lightning as L
from torch import Tensor
from torch.utils._pytree import tree_leaves

from trainkit.data.loader import Execution
from trainkit.training.checkpoint import CheckpointWriter
from trainkit.types import decimals_for

BAR_WIDTH = 24
SECONDS_BETWEEN = 0.1


class ProgressLine(L.Callback):
    """Redraws one line on a terminal; elsewhere stays quiet; ``text`` tells the end.

    Args:
        total_steps: Optimizer steps of the run; 0 where that is not known.
        writer: Knows the best score.
        stream: Where to draw; standard output by default.

    Attributes:
        seconds: Of the training loop so far.
        first_seconds: Those of the first execution among them, in which a net is compiled; None before its end.
    """

    def __init__(self, total_steps: int, writer: CheckpointWriter, stream: TextIO | None = None) -> None:
        self.total_steps, self.writer = total_steps, writer
        self.stream = stream or sys.stdout
        self.seconds, self.num_samples, self._start, self._drawn = 0.0, 0, 0.0, 0.0
        self._score, self._width, self._first_step = "", 0, 0
        self.first_seconds: float | None = None
        self._compiles = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock, at the step that an earlier process came to."""
        self._start, self._first_step = time.perf_counter(), self.writer.position.step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts samples, and redraws ten times a second at most."""
        if isinstance(batch, Execution):
            self.num_samples += sum(part.num_samples for part in batch.steps)
            step = batch.state.step
        else:
            self.num_samples += _first_length(batch)
            step = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        now = time.perf_counter()
        self.seconds = now - self._start
        if self.first_seconds is None:
            self.first_seconds = self.seconds
            self._compiles = getattr(pl_module, "compiled", None) is not None
        if self.stream.isatty() and trainer.is_global_zero and now - self._drawn > SECONDS_BETWEEN:
            self._drawn = now
            self._draw(self.text(step, with_bar=True))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes over the newest score."""
        name = self.writer.monitor
        if name and name in trainer.callback_metrics and not trainer.sanity_checking:
            self._score = f"{name} {_number(float(trainer.callback_metrics[name]))}"

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Clears the line; the run prints the last one itself."""
        self.seconds = time.perf_counter() - self._start
        self.clear()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Clears the line before anything else is printed."""
        self.clear()

    def tell(self, text: str) -> None:
        """Prints a line of its own above, in the first process."""
        if os.environ.get("RANK", "0") == "0":
            self.clear()
            print(f"note   {text}", file=self.stream, flush=True)

    def text(self, step: int, with_bar: bool = False) -> str:
        """Steps, time, throughput and the score, with the best beside it."""
        done = round(BAR_WIDTH * step / max(1, self.total_steps))
        parts = [f"{step:,}/{self.total_steps:,}" if self.total_steps else f"{step:,} steps", clock(self.seconds)]
        done_here = step - self._first_step
        if with_bar and done_here and self.total_steps:
            parts[0] = "━" * done + "╌" * (BAR_WIDTH - done) + " " + parts[0]
            parts.append(f"ETA {clock(self.seconds / done_here * (self.total_steps - step))}")
        parts.append(f"{_short(self.num_samples / max(self.seconds, 1e-9))} samples/s")
        if self._compiles and self.first_seconds is not None:
            parts.append(f"compiled in {self.first_seconds:.0f} s")
        if self._score:
            best = self.writer.best
            parts.append(self._score + (f" (best {_number(best['value'])}, epoch {best['epoch']})" if best else ""))
        return " · ".join(parts)

    def _draw(self, text: str) -> None:
        line = f"train  {text}"[: shutil.get_terminal_size().columns - 1]  # one that wraps cannot be drawn over
        self.stream.write("\r" + line + " " * max(0, self._width - len(line)))
        self.stream.flush()
        self._width = len(line)

    def clear(self) -> None:
        """Wipes the line, if one was drawn."""
        if self._width:
            self.stream.write("\r" + " " * self._width + "\r")
            self.stream.flush()
            self._width = 0


def _first_length(batch: Any) -> int:
    """Samples of a batch of the user's own, by its first tensor; 0 where it has none."""
    return next((len(leaf) for leaf in tree_leaves(batch) if isinstance(leaf, Tensor) and leaf.ndim), 0)


def clock(seconds: float) -> str:
    """Seconds as ``0:38`` or ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def _number(value: float) -> str:
    return f"{value:,.{decimals_for(value)}f}"


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
