"""Steps that are looked at: a gradient that is not finite, a loss that jumps, parameters without a gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from trainkit.data.loader import Execution, Step
from trainkit.tasks import Task
from trainkit.training.average import WeightAverage
from trainkit.training.evaluation_steps import EvaluationSteps
from trainkit.training.finite import FiniteGuard, describe
from trainkit.training.health import Health
from trainkit.training.memory import MemoryGuard
from trainkit.types import StepOutput

Made = TypeVar("Made")


class WatchedSteps(EvaluationSteps):
    """The part of ``TrainModule`` that looks after its steps; nothing does under the user's own Trainer.

    Args:
        model: The net.
        task: Loss, metrics and predictions.
        average: Average of the weights; None for none.

    Attributes:
        guard: Decides on steps whose gradient is not finite; None makes them.
        health: Looks at losses and gradients; None for nobody.
        memory: Halves micro-batches where memory runs out; None for nobody.
    """

    def __init__(self, model: nn.Module, task: Task, average: WeightAverage | None = None) -> None:
        super().__init__(model, task, average)
        self.guard: FiniteGuard | None = None
        self.health: Health | None = None
        self.memory: MemoryGuard | None = None
        self._kept: list[Tensor] = []

    def within_memory(self, work: Callable[[Step], Made], step: Step, clean: Callable[[], None]) -> tuple[Step, Made]:
        """Carries out the arithmetic of a step, in smaller micro-batches once memory has run out.

        Args:
            work: Takes the step.
            step: As the loader cut it.
            clean: Drops what was left half done.

        Returns:
            The step as it was cut, and what came of it.
        """
        if self.memory is None:
            return step, work(step)
        made = self.memory.within(work, step, self.trainer.global_step + 1, self.model, clean)
        return self.memory.cut(step), made

    def watched_state(self) -> dict[str, Any]:
        """What a resumed run is to know of steps left out and micro-batches halved."""
        counts = {"skipped": self.left_out, "halvings": 0 if self.memory is None else self.memory.halvings}
        return {name: count for name, count in counts.items() if count}

    def load_watched(self, state: dict[str, Any]) -> None:
        """Takes back what ``watched_state`` gave."""
        if self.guard is not None:
            self.guard.skipped = int(state.get("skipped", 0))
        if self.memory is not None:
            self.memory.halvings = int(state.get("halvings", 0))

    def keep_buffers(self) -> None:
        """Before a step that may be left out: statistics of BatchNorm move with its forward pass."""
        if self.guard is None or self.guard.policy == "stop":
            return
        buffers = list(self.model.buffers())
        if [kept.shape for kept in self._kept] != [buffer.shape for buffer in buffers]:
            self._kept = [buffer.clone() for buffer in buffers]
        elif buffers:
            torch._foreach_copy_(self._kept, buffers)

    def put_back_buffers(self, flag: Tensor | None = None) -> None:
        """After a step that is left out.

        Args:
            flag: float [], 1 where it is; None where that is known.
        """
        if self.guard is None or self.guard.policy == "stop":
            return
        for kept, buffer in zip(self._kept, self.model.buffers(), strict=True):
            buffer.copy_(kept if flag is None else torch.where(flag > 0, kept, buffer))

    @property
    def left_out(self) -> int:
        """Steps of the run that were not made."""
        return 0 if self.guard is None else self.guard.skipped

    def is_finite(self, grads: Sequence[Tensor]) -> bool:
        """Whether a step can be made, where a guard is to know; a loss scale decides for itself."""
        if self.guard is None or not grads or getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            return True
        return bool(torch.isfinite(nn.utils.get_total_norm(grads)))

    def leave_out(self, batch: Any, step: Step, outputs: Sequence[StepOutput], ago: int = -1) -> None:
        """Has the guard decide on a step whose gradient is not finite.

        Args:
            batch: Its execution, or the batch of the user's own.
            step: The step.
            outputs: Of its micro-batches.
            ago: Steps made since; -1 where it is not counted yet.

        Raises:
            RunError: The run is to end.
        """
        assert self.guard is not None
        epoch = batch.epoch if isinstance(batch, Execution) else self.current_epoch
        self.guard.judge(self.trainer.global_step - ago, epoch + 1, describe(self.model, batch, step, outputs))

    def see_gradients(self) -> None:
        """Looks for parameters without a gradient, at steps whose values are logged."""
        log_every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if self.health is not None and log_every and self.trainer.global_step % log_every == 0:
            self.health.see_gradients(self.trainer.global_step, self.model)

    def watched(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Values of a logged window, with the number of steps left out where there are any."""
        if self.left_out:
            values["train/skipped_steps"] = torch.tensor(float(self.left_out))
        if self.health is not None and "train/loss" in values:
            self.health.see_loss(self.trainer.global_step, float(values["train/loss"]))
        return values
