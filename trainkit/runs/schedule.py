"""How many steps a run has, and the intervals at which something is due: worked out once, printed, and kept to."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from trainkit.config.targets import resolve_target
from trainkit.data.plan import ExecutionPlan
from trainkit.data.sources import TensorSource
from trainkit.runs.parts import Parts

STEPS_PER_EXECUTION = 16
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
    if not isinstance(parts.data.source, TensorSource):
        return 1, None
    nodes = [node for node in (parts.config.get("callbacks") or {}).values() if node is not None]
    kinds: list[type] = [type(callback) for callback in parts.live.callbacks]
    kinds += [kind for node in nodes if inspect.isclass(kind := resolve_target(node._target_))]
    for kind in kinds:
        if _looks_at_batches(kind):
            return 1, f"{kind.__name__} looks at every batch: one step at a time"
    return STEPS_PER_EXECUTION, None


def _looks_at_batches(kind: type) -> bool:
    """Whether a callback's own code runs with every batch; Lightning's and ours know of executions."""
    names = {"on_train_batch_start", "on_train_batch_end", "on_before_zero_grad", "on_after_backward"}
    definers = (next(base for base in kind.__mro__ if name in vars(base)) for name in names if hasattr(kind, name))
    return any(definer.__module__.partition(".")[0] not in ("trainkit", "lightning") for definer in definers)
