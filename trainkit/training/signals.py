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
    """Catches signals while a run trains; handlers are put back afterwards. Works on the main thread only."""

    def __init__(self) -> None:
        self.signum = 0
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replaces the handlers, Lightning's own included."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._raise)

    def _raise(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def restore(self) -> None:
        """Puts the earlier handlers back."""
        while self._before:
            signal.signal(*self._before.popitem())

    def agreed(self, trainer: L.Trainer) -> int:
        """The signal that any process got, known to all of them; 0 for none."""
        if trainer.world_size == 1:
            return self.signum
        flag = torch.tensor(self.signum, device=trainer.strategy.root_device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return int(flag)
