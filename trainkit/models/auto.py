"""Which of the shipped nets suits a kind of data; the choice behind ``model=auto``."""

from __future__ import annotations

from trainkit.types import DataSpec

SMALLEST_IMAGE = 6
_NAMES = {"vector": "vectors", "image": "tiny images"}


def auto(spec: DataSpec) -> tuple[str, str]:
    """Chooses a net by the kind of data.

    Args:
        spec: What is known of the data.

    Returns:
        Name of a YAML in ``conf/model``, and why it was chosen.
    """
    if spec.input_kind == "image" and min(spec.input_shape[1:]) >= SMALLEST_IMAGE:
        return "cnn", "images"
    if spec.input_kind == "table":
        return "tabular", "table"
    if spec.input_kind == "signal":
        return "cnn1d", "signals"
    return "mlp", _NAMES.get(spec.input_kind, "flat inputs")
