"""Stopping on SIGINT and SIGTERM: the first lets the execution end and saves, the second stops at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import lightning as L
import torch


class Interrupted(Exception):
    """The run was stopped by a signal, after its state was saved.

    Args:
        signum: The signal's number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as shells have it."""
        return 128 + self.signum


class StopFlag(L.Callback):
    """Catches signals while a run trains; handlers are put back afterwards. Works on the main thread only.

    Args:
        second_stops: Whether a second signal stops at once. In a group of processes it must not: a terminal signals
            every process, and the launcher then signals its workers again.
    """

    def __init__(self, second_stops: bool = True) -> None:
        self.second_stops = second_stops
        self.signum = 0
        self._before: dict[int, Any] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Remembers the handlers; later on Lightning's own stand in their place."""
        if stage == "fit" and threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replaces the handlers, Lightning's own included."""
        for number in self._before:
            signal.signal(number, self._raise)

    def _raise(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        if not self.second_stops:
            return
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def restore(self) -> None:
        """Puts the earlier handlers back."""
        while self._before:
            number, handler = self._before.popitem()
            if handler is not None:  # None was not set from Python, and cannot be put back from there
                signal.signal(number, handler)

    def agreed(self, trainer: L.Trainer) -> int:
        """The signal that any process got, known to all of them; 0 for none."""
        if trainer.world_size == 1:
            return self.signum
        flag = torch.tensor(self.signum, device=trainer.strategy.root_device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return int(flag)
