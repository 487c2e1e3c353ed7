"""A folder of small pictures."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.images.pictures import write_classes

Draw = Callable[..., Path]


@pytest.fixture
def pics(tmp_path: Path) -> Draw:
    """``pics("train", dark=20, light=20)`` writes a folder of classes that brightness tells apart."""
    return functools.partial(write_classes, tmp_path)
