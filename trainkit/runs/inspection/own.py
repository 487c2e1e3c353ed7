"""What ``trainkit check`` looks at in a user's own ``LightningModule``: its loss, its learning rate, its speed."""

from __future__ import annotations

import time
from typing import Any

import torch

from trainkit.data import LoaderData
from trainkit.data.replay import AtStart, as_combined, is_ordered
from trainkit.data.sources import seeded
from trainkit.data.workers import settled
from trainkit.runs.devices import Devices
from trainkit.runs.inspection import lines
from trainkit.runs.inspection.own_batch import batch_size_of, try_own_batch
from trainkit.runs.inspection.plan_facts import PlanFacts
from trainkit.runs.inspection.speed import Speed
from trainkit.runs.inspection.trial import Trial
from trainkit.runs.narrate import Narrator
from trainkit.runs.own_module import total_steps, train_loaders
from trainkit.runs.parts import ModuleParts

SECONDS = 0.5
"""For timing the loader."""


def look_at_own(
    parts: ModuleParts, devices: Devices, cores: int, narrator: Narrator
) -> tuple[Trial | None, PlanFacts | None, Speed | None, tuple[str, ...]]:
    """Tries, times and says; the module and random generators stay as they are.

    Args:
        parts: The module and its data.
        devices: Where to try.
        cores: CPU cores.
        narrator: Says it.

    Returns:
        The trial, the plan, the speed, each None where it was not seen, and what was not seen.
    """
    seen, unseen = try_own_batch(parts, devices), list[str]()
    if seen.trial is not None:
        narrator.say("fits", lines.trial_line(seen.trial))
    if seen.preview is not None:
        narrator.say("lr", lines.schedule_line(seen.preview))
    with seeded(parts.config.seed), torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        loader = _loader_rate(parts)
    speed = None
    if loader is not None and seen.compute is not None:
        speed = _speed(parts, loader, seen.compute, cores)
        narrator.say("speed", lines.speed_line(speed))
    else:
        unseen.append("speed (fewer than two batches by index)")
    plan = None if seen.preview is None else PlanFacts(seen.preview, batch_size=parts.data.batch_size)
    return seen.trial, plan, speed, (*seen.unseen, *unseen)


def _loader_rate(parts: ModuleParts) -> float | None:
    """Samples a second of training batches as the run gets them; the first, which starts workers, does not count."""
    data = parts.data
    if isinstance(data, LoaderData) and not all(map(is_ordered, as_combined(data.loaders["train"]).flattened)):
        return None  # a stream that is read here may not come again
    is_combined, count = isinstance(data, LoaderData), 0
    batches: Any = iter(train_loaders(parts, AtStart()))
    next(batches)
    started = time.perf_counter()
    for batch in batches:
        count += batch_size_of(batch[0] if is_combined else batch)
        if time.perf_counter() - started > SECONDS:
            break
    return count / max(time.perf_counter() - started, 1e-9) if count else None


def _speed(parts: ModuleParts, loader: float, compute: float, cores: int) -> Speed:
    data = parts.data
    is_own = isinstance(data, LoaderData)
    loaders = as_combined(data.loaders["train"]).flattened if isinstance(data, LoaderData) else [data]
    return Speed(
        loader=loader,
        compute=compute,
        num_samples=total_steps(parts) * data.batch_size,
        reads_dataset=is_own,
        num_workers=max(settled(loader.num_workers) for loader in loaders),
        cores=cores,
        is_own=is_own,
    )
