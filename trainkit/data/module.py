"""The base of all data: splits, loaders, and the description from which a model takes its sizes."""

from __future__ import annotations

import abc
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from trainkit.data.evaluation_loader import EvaluationLoader
from trainkit.data.loader import BatchLoader, FollowingLoader, steps_per_epoch
from trainkit.data.plan import ExecutionPlan, LoaderState
from trainkit.data.readers import Reader
from trainkit.data.sources import Source, TensorSource
from trainkit.data.splits import Splits, make_splits
from trainkit.errors import DataError
from trainkit.types import DataSpec

Part = Literal["train", "val", "test"]

SMALL_DATA, SMALL_BATCH, LARGE_BATCH = 2_000, 32, 256


class DataModule(L.LightningDataModule, abc.ABC):
    """Base of all data sources. A new one overrides ``load`` and ``prepare``, and little else.

    ``load`` brings in the whole pool; the parts are then drawn (or taken as given); ``prepare`` encodes the pool with
    statistics of the training part only.

    Args:
        name: Name of the data in run directories and printed lines.
        batch_size: Samples of one optimizer step, over all processes and micro-batches; None takes 32 below 2,000
            training samples and 256 from there on.
        eval_batch_size: Rows of an evaluation batch; results do not depend on the part a row is scored with (to the
            last bit for a multiple of 32).
        val_share: Share of the samples used for validation.
        test_share: Share of the samples used for the test.
        split_seed: Seed of the random parts; independent of the training seed.
        stratify: Whether the parts have the same class shares.
        drop_last: Whether a short last training batch is left out.
        num_workers: Worker processes that read a user's ``Dataset``; tensors in memory need none.

    Attributes:
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
        batch_size: int | None = 64,
        eval_batch_size: int = 256,
        val_share: float = 0.15,
        test_share: float = 0.15,
        split_seed: int = 0,
        stratify: bool = True,
        drop_last: bool = False,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        for key, size in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if size is not None and size < 1:
                raise DataError(f"{key} is {size}", where=f"data.{key}", expected="an integer ≥ 1")
        self.name: str = name or type(self).__name__.lower()
        self.given_batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.val_share, self.test_share, self.split_seed = val_share, test_share, split_seed
        self.stratify, self.drop_last, self.num_workers = stratify, drop_last, num_workers
        self.fingerprint = ""
        self.given_splits: Splits | None = None
        self._is_set_up = False

    @property
    def batch_size(self) -> int:
        """Samples of one optimizer step; needs ``setup`` where it is chosen by the size of the training part."""
        if self.given_batch_size is not None:
            return self.given_batch_size
        return SMALL_BATCH if len(self.splits.train) < SMALL_DATA else LARGE_BATCH

    @abc.abstractmethod
    def load(self) -> int:
        """Brings in the pool, sets ``fingerprint``, and gives its number of rows."""

    @abc.abstractmethod
    def prepare(self, train_rows: np.ndarray) -> None:
        """Encodes the pool: sets ``spec``, ``source`` and ``reader``, with statistics of ``train_rows`` only."""

    def strata(self) -> np.ndarray | None:
        """Class of each row of the pool, int64 [N], by which parts are stratified; None draws them at random."""
        return None

    def draw_splits(self, num_rows: int) -> Splits:
        """The parts; overridden where files or datasets fix some of them."""
        strata = self.strata() if self.stratify else None
        return make_splits(
            num_rows, val_share=self.val_share, test_share=self.test_share, seed=self.split_seed, strata=strata
        )

    def fixed_parts(self, sizes: list[int], has_val: bool, has_test: bool) -> Splits:
        """Parts where some come as files or datasets of their own, one after the other in the pool.

        Args:
            sizes: Rows of the main pool, from which the other parts are drawn, then of the validation and test pools.
            has_val: Whether there is a validation pool.
            has_test: Whether there is a test pool.
        """
        starts = np.cumsum([0, *sizes])
        pools = [np.arange(starts[i], starts[i + 1], dtype=np.int64) for i in range(1, len(sizes))]
        strata = self.strata() if self.stratify else None
        drawn = make_splits(
            sizes[0],
            val_share=0.0 if has_val else self.val_share,
            test_share=0.0 if has_test else self.test_share,
            seed=self.split_seed,
            strata=None if strata is None else strata[: sizes[0]],
        )
        val = pools.pop(0) if has_val else drawn.val
        return Splits(drawn.train, val, pools.pop(0) if has_test else drawn.test)

    def input_module(self, net: nn.Module) -> nn.Module | None:
        """Preprocessing for a net, with statistics of the training part in its buffers; None for none."""
        return None

    def flat_arrays(self) -> np.ndarray | None:
        """The pool as one finite float32 matrix [N, D] for classical models and baselines; None without such a form."""
        return None

    def describe(self) -> str:
        """One line on the data, for people."""
        return f"{self.name} {len(self.source):,} samples"

    def row_numbers(self, rows: np.ndarray) -> np.ndarray:
        """Row numbers in the user's file of pool rows; the same numbers unless parts come from several files."""
        return rows

    def setup(self, stage: str | None = None) -> None:
        """Loads, splits and encodes once; later calls do nothing."""
        if self._is_set_up:
            return
        num_rows = self.load()
        self.splits = self.given_splits or self.draw_splits(num_rows)
        for part in ("train", "val", "test"):
            rows = getattr(self.splits, part)
            if len(rows) and not 0 <= rows.min() <= rows.max() < num_rows:
                raise DataError(f"the {part} part names rows beyond the {num_rows} there are", where="splits.npz")
        self.prepare(self.splits.train)
        self._is_set_up = True

    def rows(self, part: Part) -> Tensor:
        """Row numbers of a part, int64 [N]."""
        return torch.from_numpy(getattr(self.splits, part))

    def targets(self, part: Part) -> np.ndarray:
        """Targets of a part: int64 class indices or float64 numbers [N]."""
        if not isinstance(self.source, TensorSource):
            raise TypeError(f"{type(self).__name__} must override targets()")
        return self.source.target[self.rows(part)].numpy()

    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch."""
        return steps_per_epoch(len(self.splits.train), self.batch_size, self.drop_last)

    def train_loader(
        self, plan: ExecutionPlan | None = None, seed: int = 0, accumulate: int = 1, rank: int = 0, world_size: int = 1
    ) -> BatchLoader:
        """Loader of the training part."""
        return BatchLoader(
            self.source,
            **self.training_options(),
            plan=plan,
            seed=seed,
            accumulate=accumulate,
            rank=rank,
            world_size=world_size,
        )

    def training_options(self) -> dict[str, Any]:
        """Arguments of a ``BatchLoader`` of the training part."""
        sizes = {"batch_size": self.batch_size, "drop_last": self.drop_last, "num_workers": self.num_workers}
        return {"rows": self.rows("train"), **sizes}

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
        trainer = self.trainer
        return {"rank": trainer.global_rank, "world_size": trainer.world_size} if trainer is not None else {}

    def train_dataloader(self) -> BatchLoader:
        """Training batches under the user's own Trainer, one optimizer step each, cut as the module accumulates."""
        trainer = self.trainer
        if trainer is None:
            return self.train_loader()

        def now() -> LoaderState:
            done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
            epoch = 0 if trainer.overfit_batches else trainer.current_epoch  # type: ignore[attr-defined]
            return LoaderState(epoch, done, trainer.global_step)

        accumulate = getattr(trainer.lightning_module, "accumulate", 1)
        return FollowingLoader(self.source, **self.training_options(), accumulate=accumulate, now=now, **self._shard())

    def val_dataloader(self) -> EvaluationLoader:
        """Validation batches under the user's own Trainer."""
        return self.evaluation_loader("val", **self._shard())

    def test_dataloader(self) -> EvaluationLoader:
        """Test batches under the user's own Trainer."""
        return self.evaluation_loader("test", **self._shard())

    def predict_dataloader(self) -> EvaluationLoader:
        """The test batches: ``Trainer.predict`` gives the predictions that ``Trainer.test`` scores."""
        return self.test_dataloader()

    def metadata(self) -> dict[str, Any]:
        """Plain data from which ``reader_from_json`` builds the reader again."""
        return self.reader.to_json()
