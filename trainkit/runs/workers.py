"""Loader processes of a run: as many as asked for, or as reading its samples calls for."""

from __future__ import annotations

import io
import math
import pickle

import torch
from torch import Tensor

from trainkit.data.sources import DatasetSource
from trainkit.data.workers import usable_cores
from trainkit.runs.parts import Parts
from trainkit.runs.schedule import seconds_of_step, seconds_to_read

WORTH_STARTING, WORTH_SENDING = 10.0, 0.002
"""Seconds that reading takes, in a run and in an optimizer step, from which processes for it pay."""


def settle_workers(parts: Parts, total_steps: int) -> None:
    """Sets the number of loader processes of ``data.num_workers=auto``; it makes no difference to what is learned.

    It is 0 for samples in memory or read at once, for those on another device, and for a ``Dataset`` that cannot be
    pickled: an open file or connection cannot, and processes that share one read each other's bytes.

    Args:
        parts: Of a net; ``parts.data.num_workers`` is set, and noted where there is something to tell.
        total_steps: Optimizer steps of the run.
    """
    data, source = parts.data, parts.data.source
    if data.num_workers != "auto":
        return
    data.num_workers = 0
    if not isinstance(source, DatasetSource):
        return
    reading = seconds_to_read(source, data.rows("train")) * data.batch_size
    cores = usable_cores() // parts.config.trainer.devices
    if cores < 2 or reading < WORTH_SENDING or reading * total_steps < WORTH_STARTING or not _is_on_cpu(source):
        return
    wanted = max(1, min(cores, math.ceil(reading / seconds_of_step(parts))))
    processes = f"{wanted} process" + "es" * (wanted > 1)
    stuck = next((type(part).__name__ for part in source.datasets if not _is_picklable(part)), None)
    if stuck is not None:
        parts.notes["workers"] = (
            f"samples are read in this process, as {stuck} cannot be pickled and may hold an open file; "
            f"data.num_workers={wanted} reads them in {processes} beside training"
        )
        return
    data.num_workers = wanted
    parts.notes["workers"] = f"samples are read by {processes} beside training"


def _is_on_cpu(source: DatasetSource) -> bool:
    inputs, target = source.fetch(torch.zeros(1, dtype=torch.int64), 0)[:2]
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    return all(tensor.device.type == "cpu" for tensor in [*tensors, target])


class _Nowhere(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        return memoryview(data).nbytes  # type: ignore[arg-type]


def _is_picklable(thing: object) -> bool:
    try:
        pickle.Pickler(_Nowhere(), protocol=pickle.HIGHEST_PROTOCOL).dump(thing)
    except Exception:  # whatever its classes raise: that it cannot be is all that is asked
        return False
    return True
