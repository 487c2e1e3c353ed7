"""The user's own ``Dataset``s: read as they are, looked through once for targets, NaN and a fingerprint."""

from __future__ import annotations

import hashlib
import inspect
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from trainkit.data.arrays import DTYPES, check_labels, check_target_names
from trainkit.data.further import extra_parts
from trainkit.data.module import DataModule, Part
from trainkit.data.preprocessing import AsFloat
from trainkit.data.readers import NoReader
from trainkit.data.sample_checks import check_sample, length_of, read_sample, shapes_of, shown
from trainkit.data.several import as_several, label_strata
from trainkit.data.sources import DatasetSource, collate, seeded, tensor_of
from trainkit.errors import DataError
from trainkit.types import DataSpec, InputKind, TargetKind

READ_SECONDS = 30.0
SAMPLED = 1_000


class DatasetData(DataModule):
    """Map-style datasets of the user's own.

    A sample is ``(inputs, target)`` or a dict; inputs are a tensor (uint8 is scaled to [0, 1], everything else is taken
    as it is), or a dict of tensors passed to the net by name. Targets are integers from 0 (classes) or floats; several
    of a sample, [T], are labels where all are 0 or 1, else numbers, and NaN stands for a missing one.

    Args:
        train: The training samples; validation and test are drawn from them unless given.
        val: The validation samples.
        test: The test samples.
        class_names: Names of the classes in the order of their indices, or of the labels; ``0``, ``1``, … by default.
        target: Key of the target where samples are dicts.
        target_kind: ``class``, ``number`` or ``multilabel``; told by the targets by default.
        target_names: Names of several numbers; ``y0``, ``y1``, … by default.
        extra_val: Further validation sets by name; they are scored and choose nothing.
        common: Arguments of ``DataModule``.

    Raises:
        DataError: A dataset that is empty or not map-style, NaN in its samples, or labels out of range.
    """

    source: DatasetSource

    def __init__(
        self,
        train: Dataset[Any],
        val: Dataset[Any] | None = None,
        test: Dataset[Any] | None = None,
        class_names: Sequence[str] | None = None,
        target: str = "target",
        target_kind: TargetKind | None = None,
        target_names: Sequence[str] | None = None,
        extra_val: Mapping[str, Dataset[Any]] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**{**common, "name": common.get("name") or type(train).__name__.lower()})
        self._given = {"train": train, "val": val, "test": test, **extra_parts(extra_val)}
        self._class_names, self.target, self.target_kind = class_names, target, target_kind
        self._target_names = tuple(map(str, target_names or ()))

    def load(self) -> int:
        """Looks through the samples."""
        parts = {name: part for name, part in self._given.items() if part is not None}
        if "train" not in parts:
            raise DataError("there is no training data", where="data.train", expected="a map-style Dataset")
        for name, part in parts.items():
            if isinstance(part, IterableDataset) or not (hasattr(part, "__len__") and hasattr(part, "__getitem__")):
                found = type(part).__name__
                raise DataError(
                    f"{found} has no length or no items", where=f"data.{name}", expected="a map-style Dataset"
                )
            if not length_of(part, f"data.{name}"):
                raise DataError(f"{type(part).__name__} is empty", where=f"data.{name}")
        self.sizes = {name: len(part) for name, part in parts.items()}  # type: ignore[arg-type]
        self.source = DatasetSource(list(parts.values()), self.target)
        self._look_through()
        return len(self.source)

    def _look_through(self) -> None:
        known = self._known_targets()
        if not self._read(known):
            self._read(None)

    def _read(self, known: Tensor | None) -> bool:
        """Reads the samples, or some of them where the targets are known; False where one has another target."""
        rows: Sequence[int] = range(len(self.source))
        if known is not None and len(self.source) > SAMPLED:
            rows = np.linspace(0, len(self.source) - 1, SAMPLED).astype(int).tolist()
        first = dict[int, tuple[int, dict[str, list[int]]]]()
        digest, targets, deadline = hashlib.sha256(), list[Tensor](), time.monotonic() + READ_SECONDS
        with seeded(0):
            for row in rows:
                inputs, target = self.source.unpack(collate([read_sample(self.source, row)]))
                check_sample(inputs, target, row)
                place = int(np.searchsorted(self.source.offsets, row, side="right"))
                shapes = shapes_of(inputs)
                before, known_shapes = first.setdefault(place, (row, shapes))  # parts may be of several sizes
                if shapes != known_shapes:
                    what = (
                        f"the inputs have the shape {shown(shapes)}, and those of sample {before} {shown(known_shapes)}"
                    )
                    raise DataError(what, where=f"data, sample {row}", expected="one shape in all samples")
                if known is not None and not _same(target, known[row]):
                    return False
                _update(digest, inputs)
                if targets and target.numel() != targets[0].numel():
                    what = f"the target has {target.numel()} numbers, and that of sample 0 {targets[0].numel()}"
                    raise DataError(what, where=f"data, sample {row}", expected="as many in every sample")
                targets.append(target)
                if known is None and time.monotonic() > deadline:
                    raise DataError(
                        f"reading the targets of {len(self.source):,} samples takes longer than {READ_SECONDS:.0f} s",
                        where="data.train",
                        hint="give the Dataset a 'targets' attribute with all of them",
                    )
        self._example = inputs
        shape = (1,) if targets[0].numel() == 1 else (1, -1)
        self._targets = torch.cat([t.reshape(shape) for t in targets]).detach().cpu() if known is None else known
        kind = "" if len(rows) == len(self.source) else f"-sampled{len(rows)}"
        for part in self.source.datasets:
            digest.update(f"{len(part)} {_source_of(_whole(part))}".encode())  # type: ignore[arg-type]
        digest.update(self._targets.numpy().tobytes())
        self.fingerprint = digest.hexdigest() + kind
        self._check_targets()
        return True

    def _check_targets(self) -> None:
        if self._targets.ndim == 2:
            self._check_several()
            return
        self._kind: TargetKind = "number" if self._targets.is_floating_point() else "class"
        if self._kind == "number" and len(self._targets) > 1 and bool((self._targets == self._targets[0]).all()):
            what = f"every target of {self.name} is {float(self._targets[0]):g}"
            raise DataError(what, where="data", expected="numbers that differ")
        if self.target_kind not in (None, self._kind):
            found = f"the targets are {str(self._targets.dtype).removeprefix('torch.')}, one a sample"
            what = f"{found}, and data.target_kind is {self.target_kind}"
            expected = "integers for classes, floats for numbers, [K] of 0 and 1 for labels"
            raise DataError(what, where="data.target_kind", expected=expected)
        self._target_names = check_target_names(self._target_names, 0)
        if self._kind == "number":
            bad = torch.nonzero(~self._targets.isfinite())
            if len(bad):
                raise DataError(f"the target of sample {int(bad[0])} is NaN or infinite", where="data")
            return
        names = self._class_names or getattr(_whole(self.source.datasets[0]), "classes", None)
        largest = int(self._targets.max())
        if not names and largest >= len(self._targets):
            raise DataError(
                f"the largest label is {largest}, of {len(self._targets):,} samples",
                where="data",
                expected="labels from 0 without gaps; floats where the target is a number",
            )
        self._class_names = list(map(str, names or range(largest + 1)))
        check_labels(self._targets.numpy(), len(self._class_names), self.name)

    def _check_several(self) -> None:
        values, names = self._targets.numpy(), self._class_names
        if np.isinf(values.astype(np.float64)).any():
            raise DataError(
                "a target is infinite", where="data", expected="finite numbers, or NaN where one is missing"
            )
        self._kind = as_several(values, self.target_kind, names)
        count = values.shape[1]
        self._target_names = check_target_names(self._target_names, count if self._kind == "number" else 0)
        self._class_names = list(map(str, names or range(count))) if self._kind == "multilabel" else []
        if len(self._class_names) not in (0, count):
            what = f"{len(self._class_names)} names for {count} labels"
            raise DataError(what, where="data.class_names", expected=f"{count} names")

    def _known_targets(self) -> Tensor | None:
        known = [_targets_of(part, size) for part, size in zip(self.source.datasets, self.sizes.values(), strict=True)]
        given = [targets for targets in known if targets is not None]
        is_whole = len(given) == len(known) and len({targets.shape[1:] for targets in given}) == 1
        return torch.cat(given) if is_whole else None

    def strata(self) -> np.ndarray | None:
        """The classes, or combinations of labels; None for numbers."""
        if self._kind == "multilabel":
            return label_strata(self.targets_of_pool())
        return self.targets_of_pool() if self._kind == "class" else None

    def targets_of_pool(self) -> np.ndarray:
        """Targets of every sample: int64 or float64 [N], of several float [N, T]."""
        return self._targets.numpy().astype(DTYPES[self._kind])

    def prepare(self, train_rows: np.ndarray) -> None:
        """Takes the shape from a sample."""
        example, self.reader = self._example, NoReader()
        shape = tuple(example.shape[1:]) if isinstance(example, Tensor) else ()
        kinds: dict[int, InputKind] = {3: "image", 1: "vector"}
        if isinstance(example, Tensor) and example.is_floating_point():
            kinds[2] = "signal"
        self.spec = DataSpec(
            input_kind=kinds.get(len(shape), "other"),
            input_shape=shape,
            target_kind=self._kind,
            class_names=() if self._kind == "number" else tuple(self._class_names or ()),
            target_names=self._target_names,
        )

    def targets(self, part: Part) -> np.ndarray:
        """Targets of a part, int64 or float64 [N], of several float [N, T]."""
        return np.asarray(self.targets_of_pool()[self.rows(part).numpy()])

    def input_module(self, net: nn.Module) -> nn.Module:
        """Scales uint8, passes the rest through."""
        return AsFloat()

    def describe(self) -> str:
        """Class, size and the shape of a sample."""
        shape = "×".join(map(str, self.spec.input_shape)) or "named inputs"
        named = " + ".join(f"{type(part).__name__} {len(part):,}" for part in self.source.datasets)  # type: ignore[arg-type]
        return f"{named} samples {shape}"


def _targets_of(part: Dataset[Any], size: int) -> Tensor | None:
    """All targets of a dataset without a look at its samples; None where they are not to be had as numbers."""
    if isinstance(part, Subset):
        whole = _targets_of(part.dataset, len(part.dataset))  # type: ignore[arg-type]
        if whole is None:
            return None
        indices = torch.as_tensor(part.indices)
        if len(indices) and not -len(whole) <= int(indices.min()) <= int(indices.max()) < len(whole):
            what = f"a Subset takes sample {int(indices.max())} of {len(whole):,}"
            raise DataError(what, where="data", expected=f"numbers from 0 to {len(whole) - 1}")
        return whole[indices]
    given = part.tensors[-1] if isinstance(part, TensorDataset) else getattr(part, "targets", None)
    try:
        targets = given if isinstance(given, Tensor) else tensor_of(np.asarray(given))
    except (TypeError, ValueError):  # names, or lists of several lengths
        return None
    targets = targets.detach().cpu()
    if targets.numel() == size:
        return targets.reshape(-1)
    return targets if targets.ndim == 2 and len(targets) == size else None


def _same(target: Tensor, known: Tensor) -> bool:
    if target.is_floating_point() != known.is_floating_point() or target.numel() != known.numel():
        return False
    kind = torch.float32 if target.is_floating_point() else torch.int64
    one, other = (tensor.detach().cpu().reshape(-1).to(kind) for tensor in (target, known))
    return bool(torch.isclose(one, other, rtol=0, atol=0, equal_nan=True).all())


def _update(digest: Any, inputs: Any) -> None:
    for name, tensor in inputs.items() if isinstance(inputs, dict) else [("", inputs)]:
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)


def _whole(part: Dataset[Any]) -> Dataset[Any]:
    """The dataset that a part was taken of."""
    return _whole(part.dataset) if isinstance(part, Subset) else part


def _source_of(part: Dataset[Any]) -> str:
    """Name and source of the user's own class, which may transform what was read; torch's differ by version only."""
    kind = type(part)
    if kind.__module__.partition(".")[0] == "torch":
        return kind.__name__
    try:
        return kind.__name__ + inspect.getsource(kind)
    except (OSError, TypeError):  # typed into a shell or a notebook: there is no file to read
        return kind.__name__
