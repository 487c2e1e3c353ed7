"""Targets of arrays: classes or a number, told by their type; called by ``array_files``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainkit.data.several import as_several
from trainkit.errors import DataError, did_you_mean, one_of
from trainkit.types import TargetKind


def encode_target(
    target: np.ndarray, kind: TargetKind | None = None, class_names: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class indices int64 [N] and the names of the classes, or numbers float64 [N] or [N, T] and no names; or labels.

    Labels come as float32 [N, K] of 0 and 1, NaN where one is not known, with their names.

    Integers, booleans and texts are classes, floats a number, unless ``kind`` says otherwise. Without names, the
    classes are the distinct values in rising order (texts in the order of their characters).

    Several targets are labels where they are 0 and 1 throughout, and numbers otherwise; see ``several.as_several``.

    Args:
        target: [N] or [N, 1]; of several targets [N, T].
        kind: ``class``, ``number`` or ``multilabel``; None tells by the type.
        class_names: Names in the order of integers from 0; of texts, all there are, in the order wanted.

    Raises:
        DataError: Texts as a number, classes as fractions, labels beyond the names, or as many classes as rows.
    """
    target = target[:, 0] if target.ndim == 2 and target.shape[1] == 1 else target
    if target.ndim not in (1, 2):
        found = f"the targets have the shape {list(target.shape)}"
        raise DataError(found, where="data.target", expected="[N], or [N, T] of several")
    if target.dtype.kind not in "biufUS":
        found = "Python objects" if target.dtype == object else f"of type {target.dtype}"
        hint = "target.astype(str), or target.astype(int)" if target.dtype == object else None
        raise DataError(
            f"the targets are {found}", where="data.target", expected="numbers, booleans or texts", hint=hint
        )
    is_text = target.dtype.kind in "US"
    if target.ndim == 2:
        if is_text:
            what = "the targets are texts [N, T]"
            raise DataError(what, where="data.target", expected="labels of 0 and 1, or numbers")
        return _several(target, kind, class_names)
    if kind == "multilabel":
        found = f"the targets have the shape {list(target.shape)}, and data.target_kind is multilabel"
        raise DataError(found, where="data.target_kind", expected="targets [N, K], a column for each label")
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
    twice = [name for name in class_names or () if list(class_names or ()).count(name) > 1]
    if twice:
        what = f"data.class_names names '{twice[0]}' twice"
        raise DataError(what, where="data.class_names", expected="a different name for each class")
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
    if is_text and len(values) == len(target) > 2:
        what = f"the target has a different class in each of {len(target):,} rows"
        raise DataError(what, where="data.target", expected="classes that occur more than once")
    return codes.reshape(-1).astype(np.int64), tuple(str(value) for value in values)


def _several(
    target: np.ndarray, kind: TargetKind | None, names: Sequence[str] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    count = target.shape[1]
    if names and len(names) != count:
        what = f"{len(names)} names for {count} labels"
        raise DataError(what, where="data.class_names", expected=f"{count} names")
    if as_several(target, kind, names) == "number":
        if names:
            what, hint = "numbers have no class names", "data.target_names names several numbers"
            raise DataError(what, where="data.class_names", hint=hint)
        return target.astype(np.float64), ()
    return target.astype(np.float32), tuple(map(str, names or range(count)))


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
