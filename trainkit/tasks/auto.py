"""Which task suits a target; the choice behind ``task=auto``."""

from __future__ import annotations

from collections.abc import Mapping

from torchmetrics import Metric

from trainkit.tasks.criterion import Criterion
from trainkit.types import DataSpec


def auto(spec: DataSpec, criterion: Criterion | None = None, metrics: Mapping[str, Metric] | None = None) -> str:
    """Chooses a task by the kind of target.

    Args:
        spec: What is known of the data.
        criterion: A loss of the user's own, which the chosen task takes.
        metrics: Metrics of the user's own, which the chosen task takes.

    Returns:
        Name of a YAML in ``conf/task``.
    """
    names = {"class": "classification", "multilabel": "multilabel", "number": "regression"}
    return names[spec.target_kind]
