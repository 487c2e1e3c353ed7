"""The base of all data: splits, loaders, and the description from which a model takes its sizes."""

from __future__ import annotations

import abc
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from trainkit.data.batch_size import BatchSize, check_batch_sizes, chosen_batch_size
from trainkit.data.drawing import RowFacts, SplitSettings, describe, draw_splits
from trainkit.data.evaluation_loader import EvaluationLoader
from trainkit.data.further import further_notes
from trainkit.data.loader import BatchLoader, FollowingLoader, steps_per_epoch
from trainkit.data.order import Sampling, check_sampling
from trainkit.data.plan import ExecutionPlan, LoaderState
from trainkit.data.reader import Reader
from trainkit.data.roles import Role, as_groups, as_times, no_columns, weights_of
from trainkit.data.sources import Source, TensorSource
from trainkit.data.splits import EXTRA, Splits
from trainkit.data.workers import Workers, checked
from trainkit.errors import DataError
from trainkit.types import DataSpec

if TYPE_CHECKING:
    from trainkit.data.values import Column

Part: TypeAlias = str
"""``train``, ``val``, ``test``, or ``val/<name>`` for a further validation set."""


class DataModule(L.LightningDataModule, abc.ABC):
    """Base of all data sources. A new one overrides ``load`` and ``prepare``, and little else.

    ``load`` brings in the whole pool; the parts are then drawn (or taken as given); ``prepare`` encodes the pool with
    statistics of the training part only.

    Args:
        name: Name of the data in run directories and printed lines.
        batch_size: Samples of one optimizer step, over all processes and micro-batches; ``auto`` takes 32 below
            2,000 training samples, 64 below 10,000, and 256 from there on; None 32 below 2,000, and 256.
        eval_batch_size: Rows of an evaluation batch; results do not depend on the part a row is scored with (to the
            last bit for a multiple of 32).
        val_share: Share of the samples used for validation.
        test_share: Share of the samples used for the test.
        split_seed: Seed of the random parts; independent of the training seed.
        stratify: Whether the parts have the same class shares.
        drop_last: Whether a short last training batch is left out.
        num_workers: Processes that read a user's ``Dataset``, or ``auto``; tensors in memory need none.
        group: Column (or key) of the rows' groups; the rows of one are never in two parts.
        time: Column of the rows' moments; training has the earliest rows, the test the latest.
        weight: Column of the rows' weights, ≥ 0, in the training and validation loss; scores count every row once.
        folds: Number of folds; None draws one split.
        fold: The fold that is this run's test part, from 0.
        train_share: Share of the training part that is used, for learning curves.
        sampling: ``shuffle``, or ``balanced`` to draw every class equally often in an epoch of the same length.

    Attributes:
        sizes: Rows of each part given by itself, in the order of the pool, ``train`` first; set by ``load``.
        spec: What a model must know; there after ``setup``.
        splits: Row numbers of the parts; there after ``setup``.
        source: The encoded samples; there after ``setup``.
        reader: Turns new files into samples; there after ``setup``.

    Raises:
        DataError: A size or a share is out of range.
    """

    spec: DataSpec
    splits: Splits
    source: Source
    reader: Reader

    def __init__(
        self,
        *,
        name: str | None = None,
        batch_size: BatchSize = 64,
        eval_batch_size: int = 256,
        val_share: float = 0.15,
        test_share: float = 0.15,
        split_seed: int = 0,
        stratify: bool = True,
        drop_last: bool = False,
        num_workers: Workers = 0,
        group: str | None = None,
        time: str | None = None,
        weight: str | None = None,
        folds: int | None = None,
        fold: int | None = None,
        train_share: float = 1.0,
        sampling: Sampling = "shuffle",
    ) -> None:
        super().__init__()
        check_batch_sizes(batch_size, eval_batch_size)
        self.name: str = name or type(self).__name__.lower()
        self.given_batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.split_settings = SplitSettings(val_share, test_share, split_seed, stratify, folds, fold, train_share)
        self.split_seed, self.drop_last, self.num_workers = split_seed, drop_last, checked(num_workers)
        check_sampling(sampling)
        if group is not None and time is not None:
            raise DataError("data.group and data.time exclude each other", where="data.time", expected="one of them")
        self.roles: dict[Role, str | None] = {"group": group, "time": time, "weight": weight}
        self.sampling, self.sizes, self.fingerprint = sampling, dict[str, int](), ""
        self.given_splits: Splits | None = None
        self._is_set_up = False

    @property
    def batch_size(self) -> int:
        """Samples of one optimizer step; needs ``setup`` where it is chosen by the size of the training part."""
        given = self.given_batch_size
        return given if isinstance(given, int) else chosen_batch_size(given, len(self.splits.train))

    @abc.abstractmethod
    def load(self) -> int:
        """Brings in the pool, sets ``fingerprint``, and gives its number of rows."""

    @abc.abstractmethod
    def prepare(self, train_rows: np.ndarray) -> None:
        """Encodes the pool: sets ``spec``, ``source`` and ``reader``, with statistics of ``train_rows`` only."""

    def strata(self) -> np.ndarray | None:
        """Class of each row of the pool, int64 [N], by which parts are stratified; None draws them at random."""
        return None

    def column(self, role: Role, name: str) -> Column | np.ndarray:
        """A column of the pool that is no feature, as an array [N] or a pandas Series [N] whose index names the rows.

        Args:
            role: What it is wanted for.
            name: As the user gave it.

        Raises:
            DataError: The data has no such column.
        """
        raise no_columns(self.name, role, name)

    def _series(self, role: Role, name: str) -> Column:
        import pandas as pd

        values = self.column(role, name)
        return values if isinstance(values, pd.Series) else pd.Series(np.asarray(values), name=name)

    @cached_property
    def facts(self) -> RowFacts:
        """Classes, groups and moments of the pool's rows, as far as the splits regard them."""
        group, time = self.roles["group"], self.roles["time"]
        groups = None if group is None else as_groups(self._series("group", group))
        return RowFacts(self.strata(), groups, None if time is None else as_times(self._series("time", time)))

    def draw_splits(self, num_rows: int) -> Splits:
        """The parts of ``num_rows`` rows: those given by themselves, and the others drawn."""
        return draw_splits(self.sizes or {"train": num_rows}, self.facts, self.split_settings)

    def describe_splits(self) -> str:
        """How the parts were drawn, for people."""
        return describe(self.splits, self.split_settings, self.facts, self.roles, self.sizes)

    def input_module(self, net: nn.Module) -> nn.Module | None:
        """Preprocessing for a net, with statistics of the training part in its buffers; None for none."""
        return None

    def flat_arrays(self) -> np.ndarray | None:
        """The pool as one finite float32 matrix [N, D] for classical models and baselines; None without such a form."""
        return None

    def describe(self) -> str:
        """One line on the data, for people."""
        return f"{self.name} {len(self.source):,} samples"

    def file_names(self, rows: np.ndarray) -> np.ndarray | None:
        """Names of the files of pool rows, object [N]; None where a row is no file."""
        return None

    def notes(self) -> list[str]:
        """What else is to be said of the data, a line each, for people; the report has them too."""
        return further_notes(self.splits, self.facts, self.source)

    def row_numbers(self, rows: np.ndarray) -> np.ndarray:
        """Row numbers, from 0, in the user's own file or dataset of pool rows."""
        starts = np.cumsum([0, *self.sizes.values()])
        return np.asarray(rows - starts[np.searchsorted(starts, rows, side="right") - 1])

    def setup(self, stage: str | None = None) -> None:
        """Loads, splits and encodes once; later calls do nothing."""
        if self._is_set_up:
            return
        num_rows = self.load()
        self.splits = self.given_splits or self.draw_splits(num_rows)
        for part, rows in self.splits.parts().items():
            if len(rows) and not 0 <= rows.min() <= rows.max() < num_rows:
                raise DataError(f"the {part} part names rows beyond the {num_rows} there are", where="splits.npz")
        self.prepare(self.splits.train)
        if self.sampling == "balanced" and self.spec.target_kind != "class":
            what = f"balanced sampling of a {self.spec.target_kind} target"
            raise DataError(what, where="data.sampling", expected="a target of classes")
        if self.roles["weight"] is not None:
            self.source.weight = weights_of(self._series("weight", self.roles["weight"]), self.splits)
        self._is_set_up = True

    @property
    def is_weighted(self) -> bool:
        """Whether batches come with the weights of their rows."""
        return self.source.weight is not None

    @property
    def extra_val(self) -> tuple[str, ...]:
        """Names of the further validation sets; there after ``setup``."""
        return tuple(part.removeprefix(EXTRA) for part in self.splits.extra)

    def rows(self, part: Part) -> Tensor:
        """Row numbers of a part, int64 [N]."""
        return torch.from_numpy(self.splits.parts()[part])

    def targets(self, part: Part) -> np.ndarray:
        """Targets of a part: int64 class indices or float64 numbers [N]."""
        if not isinstance(self.source, TensorSource):
            raise TypeError(f"{type(self).__name__} must override targets()")
        return self.source.target[self.rows(part)].numpy()

    def groups(self, part: Part) -> np.ndarray | None:
        """Group of each row of a part as text, object [N]; None where rows have none."""
        return None if self.facts.groups is None else self.facts.groups[self.splits.parts()[part]]

    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch."""
        return steps_per_epoch(len(self.splits.train), self.batch_size, self.drop_last)

    def train_loader(
        self,
        plan: ExecutionPlan | None = None,
        seed: int = 0,
        accumulate: int = 1,
        rank: int = 0,
        world_size: int = 1,
        in_pairs: bool = False,
    ) -> BatchLoader:
        """Loader of the training part; arguments of a ``BatchLoader``."""
        options = self.training_options() | {"rank": rank, "world_size": world_size, "in_pairs": in_pairs}
        return BatchLoader(self.source, **options, plan=plan, seed=seed, accumulate=accumulate)

    def training_options(self) -> dict[str, Any]:
        """Arguments of a ``BatchLoader`` of the training part."""
        sizes = {"batch_size": self.batch_size, "drop_last": self.drop_last, "num_workers": self.num_workers}
        classes = torch.from_numpy(self.targets("train")) if self.sampling == "balanced" else None
        return {"rows": self.rows("train"), "balanced_by": classes, **sizes}

    def evaluation_loader(self, part: Part, rank: int = 0, world_size: int = 1) -> EvaluationLoader:
        """Loader of a part in order, in padded batches of one size."""
        return EvaluationLoader(
            self.source,
            self.rows(part),
            batch_size=self.eval_batch_size,
            rank=rank,
            world_size=world_size,
            num_workers=self.num_workers,
        )

    def _shard(self) -> dict[str, Any]:
        return {"rank": t.global_rank, "world_size": t.world_size} if (t := self.trainer) is not None else {}

    def train_dataloader(self) -> BatchLoader:
        """Training batches under the user's own Trainer, one optimizer step each, cut as the module accumulates."""
        trainer = self.trainer
        if trainer is None:
            return self.train_loader()

        def now() -> LoaderState:
            done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
            epoch = 0 if trainer.overfit_batches else trainer.current_epoch  # type: ignore[attr-defined]
            return LoaderState(epoch, done, trainer.global_step)

        in_pairs = getattr(getattr(trainer.lightning_module, "augment", None), "mixes", False)
        options = self.training_options() | self._shard() | {"in_pairs": in_pairs, "now": now}
        return FollowingLoader(self.source, accumulate=getattr(trainer.lightning_module, "accumulate", 1), **options)

    def val_loaders(self, rank: int = 0, world_size: int = 1) -> list[EvaluationLoader]:
        """Loaders of the validation part and of the further sets, in the order of ``extra_val``."""
        return [self.evaluation_loader(part, rank, world_size) for part in ("val", *self.splits.extra)]

    def val_dataloader(self) -> Any:
        """Validation batches under the user's own Trainer: one loader, or a list of them with further sets."""
        loaders = self.val_loaders(**self._shard())
        return loaders if self.extra_val else loaders[0]

    def test_dataloader(self) -> EvaluationLoader:
        """Test batches under the user's own Trainer."""
        return self.evaluation_loader("test", **self._shard())

    def predict_dataloader(self) -> EvaluationLoader:
        """The test batches: ``Trainer.predict`` gives the predictions that ``Trainer.test`` scores."""
        return self.test_dataloader()

    def metadata(self) -> dict[str, Any]:
        """Plain data from which ``reader_from_json`` builds the reader again."""
        return self.reader.to_json()
