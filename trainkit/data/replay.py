"""The user's own ``DataLoader``s told again: any epoch from any batch on, by skipping indices and never batches.

Called where a ``LightningModule`` of the user's own trains, which takes batches as they come.
"""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from lightning.fabric.utilities.data import sized_len
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from trainkit.data.evaluation_loader import EvaluationLoader
from trainkit.data.loader import FollowingLoader
from trainkit.data.plan import LoaderState
from trainkit.data.sources import mix, seeded
from trainkit.types import Batch


class Follower(Protocol):
    """Whoever knows where training stands, and is told before each fetch."""

    def now(self) -> LoaderState:
        """Epoch, batches taken from it, and batches taken in all."""

    def before_fetch(self) -> None:
        """Called before a batch is fetched."""


class AtStart:
    """Follows nobody: the first batch of the first epoch."""

    def now(self) -> LoaderState:
        """The beginning."""
        return LoaderState()

    def before_fetch(self) -> None:
        """Nothing to do."""


class _Remaining:
    """A batch sampler (or, without batches, a sampler) that gives what it is told to."""

    def __init__(self) -> None:
        self.indices: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


class ReplayedLoader:
    """A loader whose order depends on the seed and the epoch alone, and which starts at any batch.

    The loader's own sampler draws the order, with every generator it may use seeded first; its dataset, workers and
    collate function are used as they are. Other iterables, and datasets without an order, are read and skipped.

    Args:
        loader: A ``DataLoader``, or any iterable of batches.
        seed: Of the order.
        follower: Tells the epoch, and the batches already taken from it.
        cycles: Whether it starts again when it ends within an epoch, as the shorter of several loaders does.
    """

    def __init__(self, loader: Any, seed: int, follower: Follower, cycles: bool = False) -> None:
        self.loader, self.seed, self.follower, self.cycles = loader, seed, follower, cycles
        self._epoch, self._cycle = -1, 0
        self._remaining = _Remaining()
        self._inner = self._rebuilt() if is_ordered(loader) else None

    def _rebuilt(self) -> DataLoader[Any]:
        """The same loader with our sampler in place of its own."""
        given = self.loader
        batching: dict[str, Any] = (
            {"batch_size": None, "sampler": self._remaining}
            if given.batch_sampler is None
            else {"batch_sampler": self._remaining}
        )
        names = ("num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context")
        kept = {name: getattr(given, name) for name in names}
        if given.num_workers:
            kept |= {"prefetch_factor": given.prefetch_factor, "persistent_workers": given.persistent_workers}
        # A DataLoader otherwise draws its workers' seed from the global generator, once more after a resume.
        return DataLoader(given.dataset, **batching, **kept, generator=torch.Generator())

    def __len__(self) -> int:
        """Batches of an epoch; TypeError, as of an iterable without a length, where that is not known."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        """The rest of the epoch that training is in."""
        return followed(self._batches(), self.follower)

    def _batches(self) -> Iterator[Any]:
        state = self.follower.now()
        skipped = state.position
        if state.epoch == self._epoch and self.cycles:
            self._cycle, skipped = self._cycle + 1, 0
        elif self.cycles:
            self._cycle, skipped = divmod(state.position, len(self.loader))
        self._epoch = state.epoch
        if self._inner is None:
            yield from itertools.islice(iter(self.loader), skipped, None)
            return
        key = mix(self.seed, state.epoch, self._cycle)
        self._remaining.indices = self._order(state.epoch, key)[skipped:]
        self._inner.generator.manual_seed(mix(key, skipped))
        yield from self._inner

    def _order(self, epoch: int, key: int) -> list[Any]:
        chosen = self.loader.sampler if self.loader.batch_sampler is None else self.loader.batch_sampler
        inner = getattr(chosen, "sampler", None)
        for thing in (chosen, inner):
            if thing is not None and hasattr(thing, "set_epoch"):
                thing.set_epoch(epoch)
        own = [getattr(thing, "generator", None) for thing in (self.loader, chosen, inner)]
        with seeded(key):
            for generator in own:
                if isinstance(generator, torch.Generator):
                    generator.manual_seed(key)
            return list(chosen)

    def state_dict(self) -> dict[str, Any]:
        """Nothing; that it is there tells Lightning that the loader can go on in the middle of an epoch."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back nothing."""


def length_of(loaders: Any) -> int | None:
    """Batches of an epoch of what Lightning takes as loaders; None where they are not known beforehand."""
    combined = as_combined(loaders)
    lengths = [sized_len(loader) for loader in combined.flattened]
    if not lengths or None in lengths:
        return None
    known = [length for length in lengths if length is not None]
    if combined._mode == "sequential":
        return sum(known)
    return min(known) if combined._mode == "min_size" else max(known)


def as_combined(loaders: Any) -> CombinedLoader:
    """What Lightning makes of one loader, or of a list or dict of them."""
    if isinstance(loaders, CombinedLoader):
        return loaders
    with warnings.catch_warnings():  # Lightning 2.6 asks torch's pytree in a way that torch deprecates
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*", category=FutureWarning)
        return CombinedLoader(loaders, "max_size_cycle")


def is_ordered(loader: Any) -> bool:
    """Whether a loader goes by indices, some of which can be skipped."""
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return False
    return type(loader).__iter__ is DataLoader.__iter__


def followed(batches: Iterator[Any], follower: Follower) -> Iterator[Any]:
    """The batches, with a word before each fetch."""
    while True:
        follower.before_fetch()
        try:
            batch = next(batches)
        except StopIteration:
            return
        yield batch


def replayed(loaders: Any, seed: int, follower: Follower) -> CombinedLoader:
    """What Lightning takes as training loaders (one, a list, a dict, a ``CombinedLoader``), each one replayed."""
    combined = as_combined(loaders)
    cycles = combined._mode == "max_size_cycle" and len(combined.flattened) > 1
    made = copy.copy(combined)
    made.flattened = [
        ReplayedLoader(loader, mix(seed, idx), follower, cycles) for idx, loader in enumerate(made.flattened)
    ]
    return made


class PlainLoader(FollowingLoader):
    """Training batches of a ``DataModule`` as any LightningModule takes them: ``(inputs, target)``, preprocessed.

    Args:
        inputs: The data's preprocessing.
        follower: Tells the epoch, and the batches already taken from it.
        args: Arguments of ``FollowingLoader``.
        options: Arguments of ``FollowingLoader``.
    """

    def __init__(self, inputs: nn.Module, follower: Follower, *args: Any, **options: Any) -> None:
        super().__init__(*args, now=follower.now, **options)
        self.preprocessing, self.follower = inputs, follower

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """The rest of the epoch that training is in."""
        for execution in followed(super().__iter__(), self.follower):
            yield _prepared(self.preprocessing, execution.inputs), execution.target


class PlainEvaluation(EvaluationLoader):
    """Rows of a part in order, as ``(inputs, target)``, preprocessed and without padding.

    Args:
        inputs: The data's preprocessing.
        args: Arguments of ``EvaluationLoader``.
        options: Arguments of ``EvaluationLoader``.
    """

    def __init__(self, inputs: nn.Module, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.preprocessing = inputs

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """The batches."""
        for batch in super().__iter__():
            real = slice(0, batch.num_real)
            inputs = _prepared(self.preprocessing, batch.inputs)
            yield (
                {name: tensor[real] for name, tensor in inputs.items()} if isinstance(inputs, dict) else inputs[real],
                batch.target[real],
            )


def _prepared(module: nn.Module, inputs: Any) -> Tensor | dict[str, Tensor]:
    with torch.no_grad():
        prepared: Tensor | dict[str, Tensor] = module(inputs)
    return prepared
