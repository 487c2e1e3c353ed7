"""Targets of arrays: classes or a number, told by their type; called by ``array_files``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainkit.errors import DataError, did_you_mean, one_of
from trainkit.types import TargetKind


def encode_target(
    target: np.ndarray, kind: TargetKind | None = None, class_names: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class indices int64 [N] and the names of the classes, or numbers float64 [N] and no names.

    Integers, booleans and texts are classes, floats a number, unless ``kind`` says otherwise. Without names, the
    classes are the distinct values in rising order (texts in the order of their characters).

    Args:
        target: [N] or [N, 1].
        kind: ``class`` or ``number``; None tells by the type.
        class_names: Names in the order of integers from 0; of texts, all there are, in the order wanted.

    Raises:
        DataError: Texts as a number, classes as fractions, labels beyond the names, or as many classes as rows.
    """
    target = target[:, 0] if target.ndim == 2 and target.shape[1] == 1 else target
    if target.ndim != 1:
        raise DataError(f"the targets have the shape {list(target.shape)}", where="data.target", expected="[N]")
    if target.dtype.kind not in "biufUS":
        found = "Python objects" if target.dtype == object else f"of type {target.dtype}"
        hint = "target.astype(str), or target.astype(int)" if target.dtype == object else None
        raise DataError(
            f"the targets are {found}", where="data.target", expected="numbers, booleans or texts", hint=hint
        )
    is_text = target.dtype.kind in "US"
    if kind == "number" and class_names:
        hint = "leave out data.class_names"
        raise DataError("a number has no class names", where="data.class_names", hint=hint)
    if kind == "number" or (kind is None and target.dtype.kind == "f" and not class_names):
        if is_text:
            what = f"the target is '{target[0]}' in row 0"
            raise DataError(what, where="data.target_kind", expected="numbers, where the target is a number")
        return target.astype(np.float64), ()
    labels = target.astype(str) if is_text else target
    if target.dtype.kind == "f":
        _refuse_fractions(target)
        labels = target.astype(np.int64)
    if class_names:
        return _by_names(labels, [str(name) for name in class_names]), tuple(map(str, class_names))
    values, codes = np.unique(labels, return_inverse=True)
    if kind is None and target.dtype.kind in "iu" and len(values) > max(20, len(target) // 2):
        raise DataError(
            f"the target has {len(values):,} different integers in {len(target):,} rows",
            where="data.target",
            expected="classes of several rows each",
            hint="data.target_kind=number, or data.target_kind=class",
        )
    return codes.reshape(-1).astype(np.int64), tuple(str(value) for value in values)


def _refuse_fractions(target: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(target) | (target != np.floor(target)))
    if len(bad):
        what = f"the target is {target[bad[0]]} in row {bad[0]}"
        raise DataError(what, where="data.target_kind", expected="whole numbers, where the target is a class")


def _by_names(labels: np.ndarray, names: list[str]) -> np.ndarray:
    if labels.dtype.kind != "U":
        return labels
    values, codes = np.unique(labels, return_inverse=True)
    unknown = [str(value) for value in values if value not in names]
    if unknown:
        raise DataError(
            f"the target has a class '{unknown[0]}'",
            where="data.class_names",
            expected=one_of(names),
            hint=did_you_mean(unknown[0], names),
        )
    return np.array([names.index(str(value)) for value in values], np.int64)[codes.reshape(-1)]
