"""How many samples a second the loader gives and the net takes, each alone; which one limits is judged in rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import torch

from trainkit.data.augment import Augment, samples_of
from trainkit.data.sources import DatasetSource, seeded
from trainkit.data.workers import settled
from trainkit.runs.inspection.finding import Finding, Rule, warning
from trainkit.runs.inspection.trial import LARGEST_BATCH, Learner, training_batch
from trainkit.runs.parts import Parts
from trainkit.runs.schedule import RunSchedule

SECONDS = 0.4
"""For each measurement."""

SLOW_LOADER = 3.0
"""Samples a second of the net over those of the loader, from which a run mostly waits."""

WAITING_SECONDS = 10.0
"""Waiting over the whole run below which nothing is gained by a faster loader."""

SLOW_BF16 = 1.25
"""Time of a step in bf16 over that in fp32, from which bf16 costs more than it gives."""


@dataclass(frozen=True)
class Speed:
    """Rates, each measured alone.

    Attributes:
        loader: Samples a second that the loader gives.
        compute: Samples a second of forward and backward in the run's precision.
        compute_fp32: Likewise in fp32; None where that is the run's precision.
        num_samples: Training samples of the whole run.
        reads_dataset: Whether samples come one by one from the user's own Dataset.
        num_workers: Loader processes.
        cores: CPU cores.
        is_own: Whether batches come from the user's own loaders.
        augmentation: Samples a second that are augmented; None where none are.
    """

    loader: float
    compute: float
    compute_fp32: float | None = None
    num_samples: int = 0
    reads_dataset: bool = False
    num_workers: int = 0
    cores: int = 1
    is_own: bool = False
    augmentation: float | None = None


def measure_speed(
    parts: Parts, schedule: RunSchedule, device: torch.device, cores: int, num_samples: int = LARGEST_BATCH
) -> Speed:
    """Times the loader, the augmentation, and forward and backward of a copy of the net; seeds stay as they are.

    Args:
        parts: Of a net.
        schedule: Its steps.
        device: Where the net is.
        cores: CPU cores.
        num_samples: Samples of a forward pass at most.
    """
    precision, data = parts.config.trainer.precision, parts.data
    devices = list(range(torch.cuda.device_count()))
    with seeded(parts.config.seed), torch.random.fork_rng(devices=devices):
        compute = _compute_rate(parts, device, precision, num_samples)
        fp32 = None if precision == "fp32" else _compute_rate(parts, device, "fp32", num_samples)
        augmentation = None if parts.augment is None else _augment_rate(parts, parts.augment, device, num_samples)
        loader = _loader_rate(parts, schedule)
    return Speed(
        loader=loader,
        compute=compute,
        compute_fp32=fp32,
        num_samples=schedule.total_steps * min(data.batch_size, len(data.splits.train)),
        reads_dataset=isinstance(data.source, DatasetSource),
        num_workers=settled(data.num_workers),
        cores=cores,
        augmentation=augmentation,
    )


def _augment_rate(parts: Parts, augment: Augment, device: torch.device, num_samples: int) -> float:
    batch = training_batch(parts, device, num_samples)
    samples, numbers = samples_of(batch), torch.arange(len(batch[1]))
    num_classes = getattr(parts.task, "num_classes", None)

    def work() -> int:
        return len(augment(samples, numbers, 0, num_classes).target)

    work()
    return _rate(work, device)


def _compute_rate(parts: Parts, device: torch.device, precision: str, num_samples: int) -> float:
    learner, batch = Learner(parts, device, precision), training_batch(parts, device, num_samples)

    def step() -> int:
        learner.network.zero_grad(set_to_none=True)
        learner.backward(batch)
        return len(batch[1])

    step()  # the first one chooses kernels and reserves memory
    return _rate(step, device)


def _loader_rate(parts: Parts, schedule: RunSchedule) -> float:
    """Of executions as the run gets them; the first, which starts the workers, does not count."""

    def executions() -> Generator[int, None, None]:
        while True:
            loader = parts.data.train_loader(schedule.plan, parts.config.seed, parts.config.trainer.accumulate)
            for execution in loader:
                yield sum(step.num_samples for step in execution.steps)

    given = executions()
    try:
        next(given)
        return _rate(lambda: next(given), torch.device("cpu"))
    finally:
        given.close()


def _rate(work: Callable[[], int], device: torch.device) -> float:
    """Samples a second of work that is repeated for a while."""
    _wait(device)
    started, count = time.perf_counter(), 0
    while not count or time.perf_counter() - started < SECONDS:
        count += work()
        _wait(device)
    return count / max(time.perf_counter() - started, 1e-9)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def slow_loader(speed: Speed) -> Iterator[Finding]:
    """A net that waits for its samples."""
    waiting = speed.num_samples * (1 / speed.loader - 1 / speed.compute)
    if SLOW_LOADER * speed.loader > speed.compute or waiting < WAITING_SECONDS:
        return
    what = (
        f"the loader gives {speed.loader:,.0f} samples/s, the net takes {speed.compute:,.0f}: "
        f"about {waiting:,.0f} s of the run are waiting"
    )
    workers = max(1, min(speed.cores, round(speed.compute / speed.loader) + 1))
    hint = "read larger pieces, or keep decoded samples in memory (ArrayData, uint8)"
    if speed.reads_dataset and speed.num_workers < workers:
        hint = f"{'' if speed.is_own else 'data.'}num_workers={workers}, or a Dataset with __getitems__"
    yield warning("slow_loader", what, "data, train" if speed.is_own else "data.num_workers", hint)


def slow_bf16(speed: Speed) -> Iterator[Finding]:
    """bf16 asked for where it is slower, as on CPUs without instructions for it."""
    if speed.compute_fp32 is not None and speed.compute_fp32 > SLOW_BF16 * speed.compute:
        what = f"bf16-mixed takes {speed.compute_fp32 / speed.compute:.1f} times as long as fp32 here"
        yield warning("slow_bf16", what, "trainer.precision", "trainer.precision=fp32")


def slow_augmentation(speed: Speed) -> Iterator[Finding]:
    """Augmentation that takes longer than what is learned from it."""
    if speed.augmentation is None or speed.augmentation > speed.compute:
        return
    seconds = speed.num_samples / speed.augmentation
    if seconds >= WAITING_SECONDS:
        what = f"augmentation takes longer than forward and backward: about {seconds:,.0f} s of the run"
        yield warning("slow_augmentation", what, "augment", "fewer or simpler ones, or smaller pictures")


SPEED_RULES: tuple[Rule[Speed], ...] = (slow_loader, slow_augmentation, slow_bf16)
"""Every rule on speed."""
