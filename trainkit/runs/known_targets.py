"""What the targets of the data decide of models and tasks, and whether every part has some."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainkit.data import DataModule
from trainkit.errors import DataError


def check_known(data: DataModule) -> None:
    """Raises DataError for a part of several targets in which no row has any."""
    if not data.spec.target_names and data.spec.target_kind != "multilabel":
        return
    for part, rows in data.splits.parts().items():
        if len(rows) and np.isnan(data.targets(part)).all():
            what = f"no row of the {part} part has a target"
            raise DataError(what, where="data", expected="at least one that is not missing in each part")


def decided(data: DataModule) -> dict[str, Any]:
    """What the data decides of models and tasks, by the argument's name; nothing without a training part."""
    if not len(data.splits.train):
        return {}
    spec, target = data.spec, data.targets("train")
    values: dict[str, Any] = {"target_kind": spec.target_kind, **spec.sizes()}
    if spec.target_kind == "class":
        return values | {"class_counts": np.bincount(target, minlength=spec.num_classes).tolist()}
    if spec.target_kind == "multilabel":
        return values | {"label_counts": np.stack([(target == 0).sum(axis=0), (target == 1).sum(axis=0)], 1).tolist()}
    values["target_names"] = list(spec.target_names)
    if not spec.target_names:
        return values | {"target_mean": float(target.mean()), "target_scale": float(target.std()) or 1.0}
    known = np.isfinite(target).any(axis=0)  # a target that no training row has stays as it is
    mean, scale = np.zeros(len(known)), np.ones(len(known))
    mean[known], scale[known] = np.nanmean(target[:, known], axis=0), np.nanstd(target[:, known], axis=0)
    return values | {"target_mean": mean.tolist(), "target_scale": np.where(scale > 0, scale, 1.0).tolist()}
