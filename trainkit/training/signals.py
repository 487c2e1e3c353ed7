"""Signals: SIGINT and SIGTERM stop, the first saved, the second at once; SIGUSR1 saves, and training goes on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning as L
import torch

STOPPING = (signal.SIGINT, signal.SIGTERM)
CAUGHT = (*STOPPING, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))  # which Windows has not


@contextmanager
def heeded() -> Iterator[None]:
    """Lets a signal to save pass where there is nothing to save yet, or any more, instead of ending the process."""
    names = [number for number in CAUGHT if number not in STOPPING and signal.getsignal(number) == signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        names = []
    for number in names:
        signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number in names:
            signal.signal(number, signal.SIG_DFL)


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
        self.signum, self.wants_save = 0, False
        self._before: dict[int, Any] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Remembers the handlers; later on Lightning's own stand in their place."""
        if stage == "fit" and threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in CAUGHT}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replaces the handlers, Lightning's own included."""
        for number in self._before:
            signal.signal(number, self._raise)

    def _raise(self, signum: int, frame: FrameType | None) -> None:
        if signum not in STOPPING:
            self.wants_save = True
            return
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

    def agreed(self, trainer: L.Trainer, saves: bool = False) -> tuple[int, bool]:
        """The signal to stop that any process got, 0 for none, and whether any wants to save; known to all of them.

        Args:
            trainer: Of the group.
            saves: Whether this process wants to save, though no signal said so.
        """
        wanted = self.signum, saves or self.wants_save
        self.wants_save = False
        if trainer.world_size == 1:
            return wanted
        flags = torch.tensor([int(flag) for flag in wanted], device=trainer.strategy.root_device)
        torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
        signum, is_wanted = flags.tolist()
        return signum, bool(is_wanted)
