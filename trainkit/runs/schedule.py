"""How many steps a run has, and the intervals at which something is due: worked out once, printed, and kept to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import lightning as L
from torch import Tensor

from trainkit.data.plan import ExecutionPlan
from trainkit.data.sources import Source, TensorSource
from trainkit.runs.hooks import looks_at_batches
from trainkit.runs.parts import Parts

MOST_STEPS, MOST_BYTES, MOST_SECONDS = 50, 2**23, 0.05
"""Of an execution, where the user leaves that to us."""

MOST_AT_ONCE = 16
"""Batches of a validation that are handed out as one."""

FEW_SAMPLES, MORE_SAMPLES, QUICK = 8, 128, 0.02
"""Of a ``Dataset``, read to see how long that takes; more where the first take no longer than so many seconds."""

OPERATIONS_PER_SECOND = 2e10
"""Of a slow core; a faster machine has shorter executions."""

_READING: WeakKeyDictionary[Source, float] = WeakKeyDictionary()

LOG_POINTS = 20
LOG_EVERY_AT_MOST = 50


@dataclass(frozen=True)
class RunSchedule:
    """Steps and intervals of a run.

    Attributes:
        steps_per_epoch: Optimizer steps of an epoch.
        total_steps: Optimizer steps of the run.
        log_every: Optimizer steps between logged values.
        plan: Where executions end.
        notice: Why steps are run one at a time, or None.
    """

    steps_per_epoch: int
    total_steps: int
    log_every: int
    plan: ExecutionPlan
    notice: str | None = None

    @property
    def epochs(self) -> float:
        """Epochs of the run, not always whole."""
        return self.total_steps / self.steps_per_epoch


def run_schedule(parts: Parts) -> RunSchedule:
    """Works out steps, epochs and intervals from data, batch size and config."""
    trainer, checkpoint = parts.config.trainer, parts.config.checkpoint
    per_epoch = parts.data.steps_per_epoch()
    limits = [trainer.max_epochs * per_epoch] if trainer.max_epochs else []
    total = min(limits + ([trainer.max_steps] if trainer.max_steps else []))
    log_every = trainer.log_every_n_steps or max(1, min(LOG_EVERY_AT_MOST, total // LOG_POINTS))
    steps, notice = _steps_per_execution(parts)
    plan = ExecutionPlan(
        steps_per_execution=steps,
        max_steps=total,
        intervals=(log_every, *([checkpoint.every_n_steps] if checkpoint.every_n_steps else [])),
        val_every_n_steps=trainer.val_every_n_steps,
        val_every_n_epochs=trainer.val_every_n_epochs or (None if trainer.val_every_n_steps else 1),
    )
    return RunSchedule(per_epoch, total, log_every, plan, notice)


def _steps_per_execution(parts: Parts) -> tuple[int, str | None]:
    asked = parts.config.trainer.steps_per_execution
    if asked != "auto":
        return int(asked), None
    is_timed = not isinstance(parts.data.source, TensorSource)
    if is_timed and parts.config.trainer.devices > 1:
        return 1, None  # processes have to agree, and each would measure something else
    looker = looks_at_batches(parts)
    if looker:
        return 1, f"{looker} looks at every batch: one step at a time"
    return affordable_steps(parts), None


def affordable_steps(parts: Parts) -> int:
    """Steps of an execution: as many as gather few megabytes and take some tens of milliseconds, by a rough estimate.

    What it comes to makes no difference to what is learned.
    """
    data = parts.data
    nbytes = data.batch_size * _bytes_of_sample(parts)
    seconds = seconds_of_step(parts)
    if not isinstance(data.source, TensorSource):
        seconds += data.batch_size * seconds_to_read(data.source, data.rows("train"))
    return max(1, min(MOST_STEPS, MOST_BYTES // max(nbytes, 1), int(MOST_SECONDS / seconds)))


def evaluated_at_once(parts: Parts, callbacks: Sequence[L.Callback]) -> int:
    """Batches of a validation that Lightning sees as one, where nobody looks at each.

    Args:
        parts: Of a net; metrics of the user's own may depend on how rows come together.
        callbacks: All of the run.
    """
    hooks = ("on_validation_batch_start", "on_validation_batch_end")
    is_seen = any(getattr(type(c), hook) is not getattr(L.Callback, hook) for c in callbacks for hook in hooks)
    if is_seen or parts.task.own_metrics or not isinstance(parts.data.source, TensorSource):
        return 1
    nbytes: int = parts.data.eval_batch_size * _bytes_of_sample(parts)
    return max(1, min(MOST_AT_ONCE, MOST_BYTES // max(nbytes, 1)))


def _bytes_of_sample(parts: Parts) -> int:
    inputs = parts.data.source.fetch(parts.data.rows("train")[:1], 0)[0]
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def seconds_of_step(parts: Parts) -> float:
    """Seconds that the arithmetic of an optimizer step takes, by a rough estimate."""
    assert parts.network is not None
    weights = sum(p.numel() for p in parts.network.parameters())
    return max(6 * parts.data.batch_size * weights / OPERATIONS_PER_SECOND, 1e-9)  # forward once, backward twice


def seconds_to_read(source: Source, rows: Tensor) -> float:
    """Seconds that a sample takes to be read, by the first few.

    Args:
        source: Where they come from.
        rows: int64 [N], their numbers, N ≥ 1.
    """
    if source not in _READING:
        _READING[source] = _timed_reading(source, rows)
    return _READING[source]


def _timed_reading(source: Source, rows: Tensor) -> float:
    for count in (FEW_SAMPLES, MORE_SAMPLES):
        chosen, started = rows[:count], time.perf_counter()
        source.fetch(chosen, 0)
        seconds = time.perf_counter() - started
        if seconds > QUICK:
            break
    return seconds / len(chosen)
