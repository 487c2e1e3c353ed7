"""Small pictures that tests write and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int = 0, height: int = 8, width: int = 8, channels: int = 3, level: int = 0) -> np.ndarray:
    """Noise of some brightness, uint8 [height, width(, channels)]."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    noise = np.random.default_rng(seed).integers(0, 100, shape)
    return (noise + level).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """Writes pixels, and makes the folders on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]
    return path


def write_classes(
    folder: Path, name: str = "pics", *, size: int = 8, channels: int = 1, seed: int = 0, **counts: int
) -> Path:
    """Writes a folder of classes that brightness tells apart, so many pictures of each."""
    for place, (label, count) in enumerate((counts or {"dark": 20, "light": 20}).items()):
        for number in range(count):
            drawn = picture(1000 * place + number + seed, size, size, channels, level=100 * (place % 2))
            save(folder / name / label / f"{number:03d}.png", drawn)
    return folder / name
