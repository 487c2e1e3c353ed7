"""Where training stands, how many optimizer steps are carried out at once, and where an execution has to end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LoaderState:
    """Where training stands: enough to go on with the next batch.

    Attributes:
        epoch: Number of finished epochs.
        position: Optimizer steps done in the current epoch.
        step: Optimizer steps done in the run.
    """

    epoch: int = 0
    position: int = 0
    step: int = 0


@dataclass(frozen=True)
class ExecutionPlan:
    """How many optimizer steps are carried out at once, and where an execution has to end.

    An execution ends at the end of the epoch, at ``max_steps``, and at every multiple of each interval, so that
    whatever happens there (a log, a validation, a checkpoint) happens at the same step for any K.

    Attributes:
        steps_per_execution: K, optimizer steps per execution at most.
        max_steps: Optimizer steps of the whole run; None for no limit.
        intervals: Step intervals at which something is due.
        val_every_n_steps: Validate at multiples of this step; None for not by steps.
        val_every_n_epochs: Validate at the end of every so many epochs; None for not by epochs.
    """

    steps_per_execution: int = 1
    max_steps: int | None = None
    intervals: tuple[int, ...] = ()
    val_every_n_steps: int | None = None
    val_every_n_epochs: int | None = None

    def length(self, step: int, left: int) -> int:
        """Steps of the execution that starts after ``step`` steps, with ``left`` steps left in the epoch."""
        ends = [self.steps_per_execution, left, *(every - step % every for every in self._all_intervals())]
        if self.max_steps is not None:
            ends.append(self.max_steps - step)
        return max(0, min(ends))

    def _all_intervals(self) -> tuple[int, ...]:
        return self.intervals + ((self.val_every_n_steps,) if self.val_every_n_steps else ())

    def validates_after(self, state: LoaderState) -> bool | None:
        """Whether a validation is due in this state; the last step of the run is always validated.

        None where the plan has no interval of validation, which then is the user's own Trainer's business.
        """
        if self.val_every_n_steps is None and self.val_every_n_epochs is None:
            return None
        if state.step == self.max_steps:
            return True
        if self.val_every_n_steps and state.step % self.val_every_n_steps == 0:
            return True
        by_epoch = self.val_every_n_epochs is not None and state.position == 0
        return by_epoch and state.epoch % (self.val_every_n_epochs or 1) == 0
