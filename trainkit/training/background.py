"""Writing beside the training thread: one slot, from a copy that training does not touch."""

from __future__ import annotations

import copy
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

LOWEST_PRIORITY = 19

Job = Callable[[], None]


class Background:
    """One thread that carries out jobs in order, all of one save before any of the next is accepted.

    What fails in it is raised in the thread that trains, as soon as that looks: ``check``, ``wait`` and the next
    ``taking`` do.

    Attributes:
        is_taking: Whether jobs are to be handed over now, rather than done at once.
    """

    def __init__(self) -> None:
        self.is_taking = False
        self._pool: ThreadPoolExecutor | None = None
        self._jobs: list[Future[None]] = []

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Takes the jobs of one save, once those of the last one are done."""
        self.wait()
        self.is_taking = True
        try:
            yield
        finally:
            self.is_taking = False

    def add(self, job: Job) -> None:
        """Hands a job over; it is left out if one before it has failed."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoints", initializer=_give_way)
        before = self._jobs[-1] if self._jobs else None

        def carry_out() -> None:
            if before is None or before.exception() is None:
                job()

        self._jobs.append(self._pool.submit(carry_out))

    def check(self) -> None:
        """Raises what has failed so far, without waiting."""
        if self._jobs and self._jobs[-1].done():
            self.wait()

    def wait(self) -> None:
        """Waits until everything is written, and raises what has failed."""
        errors = [error for job in self._jobs if (error := job.exception()) is not None]
        self._jobs = []
        if errors:
            raise errors[0]

    def close(self) -> None:
        """As ``wait``; ends the thread."""
        try:
            self.wait()
        finally:
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None


def _give_way() -> None:
    """Has this thread run where a core is idle: where it takes one from torch, all threads of an operation wait."""
    if sys.platform == "linux":  # elsewhere it would be the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)


class Snapshots:
    """Copies of plain containers and the tensors in them, each in the memory of the one before it."""

    def __init__(self) -> None:
        self._storages: dict[int, torch.UntypedStorage] = {}
        self._free: list[torch.UntypedStorage] = []

    def take(self, value: Any) -> Any:
        """A copy on the CPU; views of one memory stay so. The copy before it is overwritten.

        Args:
            value: What a checkpoint holds.
        """
        self._free, self._storages = list(self._storages.values()), {}
        copied = self._copy(value)
        self._free = []
        return copied

    def _copy(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value.detach())
        if isinstance(value, dict):
            copied = copy.copy(value)  # a state dict has attributes too
            for key, inner in value.items():
                copied[key] = self._copy(inner)
            return copied
        if type(value) in (list, tuple):
            return type(value)(map(self._copy, value))
        return value

    def _tensor(self, tensor: Tensor) -> Tensor:
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_conj() or tensor.is_neg():
            return tensor.to("cpu", copy=True)
        storage = tensor.untyped_storage()  # two of them may begin at one address
        if storage._cdata not in self._storages:
            self._storages[storage._cdata] = self._storage(storage)
        copied = self._storages[storage._cdata]
        return tensor.new_empty(0).set_(copied, tensor.storage_offset(), tensor.size(), tensor.stride())

    def _storage(self, storage: torch.UntypedStorage) -> torch.UntypedStorage:
        """A copy, in memory of the last one where that fits: new pages take longer than the copying."""
        place = next((free for free in self._free if free.nbytes() == storage.nbytes()), None)
        if place is None:
            place = torch.UntypedStorage(storage.nbytes())  # type: ignore[no-untyped-call]
        else:
            self._free = [free for free in self._free if free is not place]
        torch.empty(0, dtype=torch.uint8).set_(place).copy_(torch.empty(0, dtype=torch.uint8).set_(storage))
        return place
