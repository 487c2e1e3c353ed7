"""What ``model=auto`` stands for, and why."""

from __future__ import annotations

import pytest

from trainkit.models import auto
from trainkit.types import DataSpec, InputKind


@pytest.mark.parametrize(
    ("kind", "shape", "choice"),
    [
        ("image", (1, 8, 8), ("cnn", "images")),
        ("image", (3, 6, 6), ("cnn", "images")),
        ("image", (3, 6, 5), ("mlp", "tiny images")),
        ("image", (3, 5, 100), ("mlp", "tiny images")),
        ("table", (20,), ("tabular", "table")),
        ("vector", (30,), ("mlp", "vectors")),
        ("signal", (2, 500), ("cnn1d", "signals")),
        ("signal", (1, 3), ("cnn1d", "signals")),
        ("other", (4, 7), ("mlp", "flat inputs")),
        ("other", (), ("mlp", "flat inputs")),
    ],
)
@pytest.mark.parametrize("target", ["class", "number"])
def test_choice(kind: InputKind, shape: tuple[int, ...], choice: tuple[str, str], target: str) -> None:
    spec = DataSpec(kind, shape, "class" if target == "class" else "number", class_names=("a", "b"))
    assert auto(spec) == choice
