"""Batches of the user's own making as data of a run: his DataLoaders, or those of his ``LightningDataModule``.

For a ``LightningModule`` of his own: nothing is known of what is in the batches, so that nothing is split, scored row
by row, or preprocessed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader

from trainkit.data.dataset import _source_of
from trainkit.data.module import DataModule
from trainkit.data.readers import NoReader
from trainkit.data.replay import as_combined, is_ordered, length_of
from trainkit.data.sources import seeded
from trainkit.data.splits import Splits
from trainkit.errors import DataError
from trainkit.types import DataSpec

SAMPLED = 32
PARTS = ("train", "val", "test")


class LoaderData(DataModule):
    """The user's own loaders; whatever Lightning takes as such: one, a list or dict of them, a ``CombinedLoader``.

    Args:
        train: A ``DataLoader``, or any other iterable of batches.
        val: Likewise for validation; None for no validation.
        test: Likewise for the test; None for no test.
        name: Name of the data in run directories and printed lines; the training dataset's class by default.
        datamodule: Where the loaders come from; its hooks then move and change batches.

    Raises:
        DataError: The training loader is no iterable, or is empty.
    """

    def __init__(
        self,
        train: Any,
        val: Any = None,
        test: Any = None,
        name: str | None = None,
        datamodule: L.LightningDataModule | None = None,
    ) -> None:
        self.datamodule = datamodule
        self.loaders = {"train": train, "val": val, "test": test}
        super().__init__(name=name or self._kind())

    @classmethod
    def of(cls, datamodule: L.LightningDataModule, name: str | None = None) -> LoaderData:
        """The loaders of a ``LightningDataModule``, once it has prepared and set up the fit and the test.

        Raises:
            DataError: It has no training loader.
        """
        if not is_overridden("train_dataloader", datamodule):
            kind = type(datamodule).__name__
            raise DataError(f"{kind} has no train_dataloader", where="data", expected="a LightningDataModule with one")
        return cls(**_set_up(datamodule), name=name or type(datamodule).__name__.lower(), datamodule=datamodule)

    @classmethod
    def of_module(cls, module: L.LightningModule) -> LoaderData:
        """The loaders that a ``LightningModule`` brings itself, in hooks of the same names, once it has set them up.

        Raises:
            DataError: It has no training loader.
        """
        if not is_overridden("train_dataloader", module):
            what = f"there is no data, and {type(module).__name__} has no train_dataloader"
            expected = "data=… on the command line; train=… or data=… in Python"
            raise DataError(what, where="data", expected=expected)
        return cls(**_set_up(module), name=type(module).__name__.lower())

    def _kind(self) -> str:
        datasets = (getattr(loader, "dataset", loader) for loader in _leaves(self.loaders["train"]))
        return "_".join(dict.fromkeys(type(dataset).__name__.lower() for dataset in datasets)) or "loader"

    def load(self) -> int:
        """Checks the loaders, and takes their fingerprint; no rows are known."""
        for part, loaders in self.loaders.items():
            for loader in _leaves(loaders):
                if not hasattr(loader, "__iter__"):
                    what = f"the {part} loader is a {type(loader).__name__}"
                    raise DataError(what, where=f"data.{part}", expected="a DataLoader, or an iterable of batches")
                if isinstance(loader, Iterator) and not hasattr(loader, "reset"):
                    what = f"the {part} loader is a {type(loader).__name__}, which can be gone through once only"
                    raise DataError(what, where=f"data.{part}", expected="a DataLoader, or a list of batches")
        if self.steps_per_epoch() == 0 or not _leaves(self.loaders["train"]):
            raise DataError("the training loader has no batch", where="data.train")
        self.fingerprint = _fingerprint(self.loaders)
        return 0

    def draw_splits(self, num_rows: int) -> Splits:
        """No rows."""
        train, val, test = (np.empty(0, np.int64) for _ in PARTS)
        return Splits(train, val, test)

    def prepare(self, train_rows: np.ndarray) -> None:
        """Knows nothing of the samples."""
        self.spec, self.reader = DataSpec("other", (), "number"), NoReader()

    @property
    def batch_size(self) -> int:
        """Samples of a batch of the first training loader; 1 where it does not say."""
        first = _leaves(self.loaders["train"])[0]
        sizes = (getattr(thing, "batch_size", None) for thing in (first, getattr(first, "batch_sampler", None)))
        return next((int(size) for size in sizes if size), 1)

    def steps_per_epoch(self) -> int:
        """Batches of one epoch; -1 where they are not known beforehand."""
        known = length_of(self.loaders["train"])
        return -1 if known is None else known

    def count(self, part: str) -> int | None:
        """Samples of a part; None where its datasets do not say."""
        sizes = self.counts(part)
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def counts(self, part: str) -> list[int | None]:
        """Samples of each loader of a part, in Lightning's order; None where its dataset does not say."""
        return [_size(getattr(loader, "dataset", None)) for loader in _leaves(self.loaders[part])]

    def _batches(self, part: str) -> int | None:
        """Batches that an epoch takes from a part: an evaluation goes through one loader after the other."""
        if part == "train":
            return length_of(self.loaders[part])
        lengths = [length_of(loader) for loader in _leaves(self.loaders[part])]
        return None if None in lengths else sum(length for length in lengths if length is not None)

    def inexact(self) -> str | None:
        """Why an epoch cannot be told again exactly from its middle; None where it can."""
        for loader in _leaves(self.loaders["train"]):
            if not is_ordered(loader):
                return f"{type(loader).__name__} has no order by indices: an epoch begun is read again and skipped"
            if loader.num_workers:
                return "loader workers draw from random generators of their own, which start anew with a resume"
        return None

    def notes(self) -> list[str]:
        """Nothing: what loaders give is not known beforehand."""
        return []

    def describe(self) -> str:
        """Name, samples and batches of each part."""
        parts = []
        for part in PARTS:
            if self.loaders[part] is None:
                continue
            samples, batches = self.count(part), self._batches(part)
            size = "" if samples is None else f" {samples:,} samples"
            parts.append(f"{part}{size}" + (" of unknown length" if batches is None else f" in {batches:,} batches"))
        return " · ".join([self.name, *parts])


def _set_up(source: L.LightningDataModule | L.LightningModule) -> dict[str, Any]:
    """Loaders by part, of hooks that are called in the order in which Lightning does."""
    source.prepare_data()
    source.setup("fit")
    loaders = {part: _asked(source, part) for part in ("train", "val")}
    if is_overridden("test_dataloader", source):
        source.setup("test")
        loaders["test"] = _asked(source, "test")
    return loaders


def _asked(source: Any, part: str) -> Any:
    """A loader of a hook; None where it is not overridden or gives none."""
    name = f"{part}_dataloader"
    return (getattr(source, name)() or None) if is_overridden(name, source) else None


def _leaves(loaders: Any) -> list[Any]:
    return [] if loaders is None else list(as_combined(loaders).flattened)


def _size(dataset: Any) -> int | None:
    try:
        return len(dataset)
    except TypeError:
        return None


def _fingerprint(loaders: dict[str, Any]) -> str:
    """SHA-256 over the classes, lengths and some samples of the datasets, marked as a sample of the data."""
    digest = hashlib.sha256()
    for part, given in loaders.items():
        for loader in _leaves(given):
            dataset = getattr(loader, "dataset", loader)
            digest.update(f"{part} {_source_of(dataset)} {_size(dataset)};".encode())
            for text in _samples(loader):
                digest.update(text)
    return f"{digest.hexdigest()}-sampled{SAMPLED}"


def _samples(loader: Any) -> Iterator[bytes]:
    if not (isinstance(loader, DataLoader) and hasattr(loader.dataset, "__getitem__")):
        return
    size = _size(loader.dataset) or 0
    with seeded(0):
        for row in np.linspace(0, size - 1, min(size, SAMPLED)).astype(int).tolist():
            for leaf in tree_leaves(loader.dataset[row]):
                if isinstance(leaf, Tensor):
                    leaf = leaf.detach().cpu().numpy()
                if isinstance(leaf, np.ndarray) and not leaf.dtype.hasobject:
                    yield f"{leaf.dtype.str}{leaf.shape}".encode() + np.ascontiguousarray(leaf).tobytes()
                elif isinstance(leaf, (bool, int, float, str)):
                    yield repr(leaf).encode()
