"""What ``task=auto`` stands for."""

from __future__ import annotations

from trainkit.tasks import auto
from trainkit.types import DataSpec


def test_choice_by_the_kind_of_target() -> None:
    assert auto(DataSpec("vector", (3,), "class", class_names=("a", "b"))) == "classification"
    assert auto(DataSpec("table", (3,), "number")) == "regression"
