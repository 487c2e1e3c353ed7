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
