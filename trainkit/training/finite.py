"""Steps whose gradient is not finite: the run stops there, leaves them out, or goes back, before weights are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Self, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from trainkit.data.loader import Execution, Step
from trainkit.errors import RunError
from trainkit.types import StepOutput

Policy: TypeAlias = Literal["stop", "skip", "rollback"]
POLICIES: tuple[Policy, ...] = ("stop", "skip", "rollback")

IN_A_ROW = 10
"""Steps one after the other that are left out at most, and times that a run goes back to one checkpoint."""

SAMPLES_SHOWN = 5

ADVICE = "a smaller optimizer.lr, a longer scheduler.warmup, or trainer.clip_norm=1"


class FiniteGuard:
    """Decides what comes of a step whose gradient is not finite.

    Args:
        policy: ``stop`` ends the run with an error; ``skip`` goes on without the step; ``rollback`` puts weights and
            optimizer back to the last checkpoint and goes on after the step. The schedule and the order of samples go
            on as if it had been made.
        where: The run, for the error.
        tell: Told what was left out.
        roll_back: Goes back to the last checkpoint and gives its step; needed for ``rollback``.

    Attributes:
        skipped: Steps left out in the run, those before a resume included.
    """

    def __init__(
        self,
        policy: Policy,
        where: str,
        tell: Callable[[str], None],
        roll_back: Callable[[], int] | None = None,
    ) -> None:
        self.policy, self.where, self.tell, self.roll_back = policy, where, tell, roll_back
        self.skipped, self._last, self._row = 0, -1, 0
        self._targets: dict[int, int] = {}

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: a copy of a module, as averages make it, is of the same run."""
        return self

    def judge(self, step: int, epoch: int, cause: str) -> None:
        """Told of a step that is not to be made.

        Args:
            step: Its number, from 1.
            epoch: Its epoch, from 1.
            cause: Parameters and samples; see ``describe``.

        Raises:
            RunError: The run is to end, or has left out too many steps in a row.
        """
        self._row = self._row + 1 if step == self._last + 1 else 1
        self._last = step
        what = f"the gradient is not finite at step {step:,} (epoch {epoch}): {cause}"
        if self.policy == "stop":
            raise RunError(what, where=self.where, hint=f"{ADVICE}; trainer.on_nonfinite=skip leaves such steps out")
        self.skipped += 1
        if self._row > IN_A_ROW:
            raise RunError(f"{what}; {IN_A_ROW} steps before it were left out", where=self.where, hint=ADVICE)
        if self.policy == "skip":
            self.tell(f"step {step:,} is left out: {what}")
            return
        assert self.roll_back is not None
        back = self.roll_back()
        self._targets[back] = self._targets.get(back, 0) + 1
        if self._targets[back] > IN_A_ROW:
            raise RunError(
                f"{what}; the run went back to step {back:,} {IN_A_ROW} times", where=self.where, hint=ADVICE
            )
        self.tell(
            f"{what}; weights and optimizer are those of step {back:,} again, and training goes on after the batch"
        )


def describe(model: nn.Module, batch: Any, step: Step, outputs: Sequence[StepOutput]) -> str:
    """Parameters whose gradient is not finite, and samples at fault.

    Args:
        model: Has its gradients.
        batch: An execution, or a batch of the user's own.
        step: The step.
        outputs: Of its micro-batches.
    """
    named = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
    bad = [name for name, grad in named if not bool(torch.isfinite(grad).all())]
    text = f"that of {bad[0]}" if bad else "its norm overflows"
    if len(bad) > 1:
        text += f" and {len(bad) - 1} more of {len(named)} parameters"
    for what, values in (("inputs", _inputs(batch, step)), ("outputs", _outputs(step, outputs))):
        rows = _bad_rows(batch, values)
        if rows:
            return f"{text}; {what} are not finite in {_listed('sample', rows)}"
    if isinstance(batch, Execution):
        start, stop = step.micro_batches[0][0], step.micro_batches[-1][1]
        text += f"; the batch has {_listed('sample', batch.rows[start:stop].tolist())}"
    return text


def _inputs(batch: Any, step: Step) -> Iterator[tuple[int, Tensor]]:
    """Place of the first sample, and values, of each input and target of a step."""
    start, stop = step.micro_batches[0][0], step.micro_batches[-1][1]
    given = batch.moved() if isinstance(batch, Execution) else tree_leaves(batch)
    for values in given:
        if isinstance(values, Tensor) and values.ndim:
            yield start, values[start:stop]


def _outputs(step: Step, outputs: Sequence[StepOutput]) -> Iterator[tuple[int, Tensor]]:
    for (start, _), output in zip(step.micro_batches, outputs, strict=False):
        if output.outputs.ndim:
            yield start, output.outputs


def _bad_rows(batch: Any, given: Iterator[tuple[int, Tensor]]) -> list[int]:
    """Numbers in the source (of a user's batch, places in it) of samples with a value that is not finite."""
    rows: set[int] = set()
    for start, values in given:
        found = torch.nonzero(~torch.isfinite(values.reshape(len(values), -1)).all(dim=1))[:, 0] + start
        rows.update((batch.rows[found.cpu()] if isinstance(batch, Execution) else found).tolist())
    return sorted(rows)


def _listed(noun: str, rows: Sequence[int]) -> str:
    shown = ", ".join(f"{row:,}" for row in rows[:SAMPLES_SHOWN])
    more = len(rows) - SAMPLES_SHOWN
    return f"{noun}{'s' * (len(rows) > 1)} {shown}" + (f" and {more:,} more" if more > 0 else "")
