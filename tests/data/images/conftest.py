"""A folder of small pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.images.pictures import picture, save

Draw = Callable[..., Path]


@pytest.fixture
def pics(tmp_path: Path) -> Draw:
    """``pics("train", dark=20, light=20)`` writes a folder of classes that brightness tells apart."""

    def write(name: str = "pics", *, size: int = 8, channels: int = 1, seed: int = 0, **counts: int) -> Path:
        for place, (label, count) in enumerate((counts or {"dark": 20, "light": 20}).items()):
            for number in range(count):
                drawn = picture(1000 * place + number + seed, size, size, channels, level=100 * (place % 2))
                save(tmp_path / name / label / f"{number:03d}.png", drawn)
        return tmp_path / name

    return write
