"""Which task suits a target; the choice behind ``task=auto``."""

from __future__ import annotations

from trainkit.types import DataSpec


def auto(spec: DataSpec) -> str:
    """Chooses a task by the kind of target.

    Args:
        spec: What is known of the data.

    Returns:
        Name of a YAML in ``conf/task``.
    """
    return "classification" if spec.target_kind == "class" else "regression"
