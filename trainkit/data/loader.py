"""The batch loader: executions of several optimizer steps for training, fixed padded batches for evaluation."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trainkit.data.ahead import Ahead
from trainkit.data.fetching import Fetcher, Request
from trainkit.data.order import balanced_order, occurrences
from trainkit.data.plan import ExecutionPlan, LoaderState
from trainkit.data.sources import Source, batch_of, is_batch, map_inputs, mix, slice_batch
from trainkit.data.workers import Workers
from trainkit.errors import ConfigError
from trainkit.types import Batch, Inputs


@dataclass(frozen=True)
class Step:
    """One optimizer step of an execution, as slices of its tensors.

    Attributes:
        micro_batches: (start, stop) of each micro-batch of this process.
        num_samples: Samples of the step over all processes and micro-batches.
        is_ghost: This process had no sample left; it carries one that counts for nothing.
    """

    micro_batches: tuple[tuple[int, int], ...]
    num_samples: int
    is_ghost: bool = False


@dataclass
class Execution:
    """Samples of several optimizer steps, gathered at once.

    Attributes:
        inputs: [S, ...], or a dict of such tensors.
        target: [S].
        rows: int64 [S], sample numbers in the source.
        steps: The optimizer steps.
        epoch: Epoch that the samples belong to.
        state: Where training stands after this execution.
        validate: Whether a validation is due after it; None leaves that to Lightning.
        weight: float32 [S], weights of the samples; None where all count alike.
        times: int64 [S], how often a sample came before in the epoch; None where each comes once.
        ahead: What is copying it to a GPU; None where it lies where it is used.
    """

    inputs: Inputs
    target: Tensor
    rows: Tensor
    steps: tuple[Step, ...]
    epoch: int
    state: LoaderState
    validate: bool | None
    weight: Tensor | None = None
    times: Tensor | None = None
    ahead: Ahead | None = None

    def moved(self) -> list[Tensor]:
        """The tensors that go to a device: inputs, target and weights."""
        inputs = [self.inputs] if isinstance(self.inputs, Tensor) else list(self.inputs.values())
        return [*inputs, self.target, *([] if self.weight is None else [self.weight])]

    def to(self, device: torch.device) -> Execution:
        """The same execution on another device; one that is on its way there is waited for by what computes next."""
        if self.ahead is not None:
            self.ahead.receive(self.moved())
            self.ahead = None

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=device.type == "cuda")  # which may take its time

        weight = None if self.weight is None else move(self.weight)
        return dataclasses.replace(self, inputs=map_inputs(self.inputs, move), target=move(self.target), weight=weight)

    def batches(self, step: Step) -> Iterator[Batch]:
        """The micro-batches of one step as (inputs, target), or (inputs, target, weight)."""
        batch = batch_of(self.inputs, self.target, self.weight)
        for start, stop in step.micro_batches:
            yield slice_batch(batch, start, stop)


def single_step(batch: Any, accumulate: int) -> Step:
    """The one step of a batch of the user's own DataLoader, cut into micro-batches.

    Raises:
        ConfigError: It is to be cut, and is not (inputs, target).
    """
    if accumulate == 1:
        size = len(batch[1]) if is_batch(batch) else 1
        return Step(((0, size),), size)
    if not is_batch(batch):
        raise ConfigError("only batches of (inputs, target) can be cut into micro-batches", where="accumulate")
    size = len(batch[1])
    parts = min(accumulate, size)
    return Step(tuple((size * i // parts, size * (i + 1) // parts) for i in range(parts)), size)


class BatchLoader:
    """Yields the executions of one epoch each time it is iterated; its whole state is a ``LoaderState``.

    The order of an epoch depends on the seed and the epoch's number alone. It has no length, so that Lightning counts
    neither executions nor batches.

    Args:
        source: Where samples come from.
        rows: int64 [N], the samples to train on.
        batch_size: Samples of one optimizer step, over all processes and micro-batches.
        plan: Where executions end.
        seed: Of the order, and of whatever the source draws.
        accumulate: Micro-batches per optimizer step.
        drop_last: Whether a short last batch is left out.
        rank: This process.
        world_size: Processes.
        num_workers: Worker processes that read a user's ``Dataset``; 0 reads in this one.
        balanced_by: int64 [N], classes of the samples, each of which is then drawn equally often; None draws every
            sample once an epoch.
        in_pairs: Whether processes share a step in whole pairs of neighbours, which are mixed.
    """

    def __init__(
        self,
        source: Source,
        rows: Tensor,
        *,
        batch_size: int,
        plan: ExecutionPlan | None = None,
        seed: int = 0,
        accumulate: int = 1,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        num_workers: Workers = 0,
        balanced_by: Tensor | None = None,
        in_pairs: bool = False,
    ) -> None:
        self.source, self.rows, self.batch_size = source, rows, batch_size
        self.balanced_by, self.in_pairs = balanced_by, in_pairs
        self.plan, self.seed, self.accumulate = plan or ExecutionPlan(), seed, accumulate
        self.rank, self.world_size, self.fetcher = rank, world_size, Fetcher(source, num_workers)
        self.drop_last = drop_last
        self.state = LoaderState()
        self.ahead: Ahead | None = None

    def send_ahead(self, ahead: Ahead) -> None:
        """Has every execution be on its way to a GPU when it is asked for."""
        self.ahead, self.fetcher.pins = ahead, True

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch."""
        return steps_per_epoch(len(self.rows), self.batch_size, self.drop_last)

    def order(self, epoch: int) -> Tensor:
        """Sample numbers of an epoch in the order of training, int64 [N]."""
        generator = torch.Generator().manual_seed(mix(self.seed, epoch))
        if self.balanced_by is not None:
            return self.rows[balanced_order(self.balanced_by, generator)]
        return self.rows[torch.randperm(len(self.rows), generator=generator)]

    def __iter__(self) -> Iterator[Execution]:
        """The executions from ``state`` to the epoch's end; ``state`` follows once the next one is asked for."""
        epoch = self.state.epoch
        for request, batch in self.fetcher.fetch_all(self._planned(self.order(epoch))):
            execution = self._execution(batch, request, epoch)
            if self.ahead is not None:
                execution = self.ahead.send(execution.to)
                execution.ahead = self.ahead
            yield execution
            self.state = request.tag.state

    def _planned(self, order: Tensor) -> Iterator[Request[_Planned]]:
        epoch, position, step = self.state.epoch, self.state.position, self.state.step
        total = self.steps_per_epoch
        times = None if self.balanced_by is None else occurrences(order)
        while position < total and (length := self.plan.length(step, total - position)):
            slices = [slice(i * self.batch_size, (i + 1) * self.batch_size) for i in range(position, position + length)]
            batches = [order[part] for part in slices]
            repeats = None if times is None else torch.cat([self._share(times[part]) for part in slices])
            keys = [mix(self.seed, epoch, i, self.rank) for i in range(position, position + length)]
            position, step = position + length, step + length
            after = LoaderState(epoch + 1, 0, step) if position >= total else LoaderState(epoch, position, step)
            yield Request(
                [self._share(batch) for batch in batches], keys, _Planned([len(b) for b in batches], after, repeats)
            )

    def _execution(self, batch: Batch, request: Request[_Planned], epoch: int) -> Execution:
        steps, start = [], 0
        for rows, total in zip(request.rows_per_step, request.tag.num_samples, strict=True):
            size, parts = len(rows), min(self.accumulate, len(rows))
            edges = [start + size * part // parts for part in range(parts + 1)]
            steps.append(Step(tuple(itertools.pairwise(edges)), total, self._is_ghost(total)))
            start += size
        state = request.tag.state
        validate = self.plan.validates_after(state)
        rows = torch.cat(request.rows_per_step)
        rest: list[Tensor]
        inputs, target, *rest = batch
        weight = rest[0] if rest else None
        made = Execution(inputs, target, rows, tuple(steps), epoch, state, validate, weight, request.tag.times)
        return made

    def _bounds(self, size: int) -> tuple[int, int]:
        if self.in_pairs:
            start, stop = (2 * (size // 2 * rank // self.world_size) for rank in (self.rank, self.rank + 1))
            return start, size if self.rank == self.world_size - 1 else stop
        return size * self.rank // self.world_size, size * (self.rank + 1) // self.world_size

    def _is_ghost(self, size: int) -> bool:
        start, stop = self._bounds(size)
        return start == stop

    def _share(self, batch: Tensor) -> Tensor:
        """This process's samples of a step; a process without any carries the first one, as a ghost."""
        start, stop = self._bounds(len(batch))
        return batch[start:stop] if stop > start else batch[:1]


class FollowingLoader(BatchLoader):
    """Executions of one step each under the user's own Trainer, whose counts say where training stands.

    One Lightning batch being one step, it has a length, of which Lightning makes the number of steps of a run, limits
    and intervals. A resume, a limit of batches or a second ``fit`` need no state: each epoch asks the Trainer.

    Args:
        args: Arguments of ``BatchLoader``.
        now: Gives the state that training has come to.
        options: Arguments of ``BatchLoader``.
    """

    def __init__(self, *args: Any, now: Callable[[], LoaderState], **options: Any) -> None:
        super().__init__(*args, **options)
        self.now = now

    def __len__(self) -> int:
        return self.steps_per_epoch

    def __iter__(self) -> Iterator[Execution]:
        """The rest of the epoch that the Trainer is in."""
        self.state = self.now()
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        """Nothing; that it is there tells Lightning that the loader can go on in the middle of an epoch."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back nothing."""


class _Planned(NamedTuple):
    num_samples: list[int]
    state: LoaderState
    times: Tensor | None


def steps_per_epoch(num_samples: int, batch_size: int, drop_last: bool) -> int:
    """Optimizer steps of one epoch over ``num_samples`` samples."""
    return num_samples // batch_size if drop_last else -(-num_samples // batch_size)
