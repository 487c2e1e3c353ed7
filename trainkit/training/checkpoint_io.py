"""Files of checkpoints: written whole or not at all, beside the training; read without unpickling."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from trainkit.rundir import atomic_path
from trainkit.training.background import Background, Snapshots
from trainkit.training.plain import check_plain


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it; reads plain containers and tensors only.

    Args:
        background: Takes what is saved while it is taking; None, and at other times, writes at once.
    """

    def __init__(self, background: Background | None = None) -> None:
        super().__init__()
        self.background, self._snapshots = background, Snapshots()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Writes the file, syncs it, and puts it in its place; or has that done, to a copy of what is given.

        Raises:
            RunError: Something in it could not be loaded again.
        """
        check_plain(checkpoint)
        if self.background is not None and self.background.is_taking:
            self.background.add(partial(_write, self._snapshots.take(checkpoint), Path(path)))
        else:
            _write(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Reads a file without unpickling anything but tensors and plain containers."""
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        return checkpoint


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as file:  # torch's own writer hides what the disk says
        torch.save(checkpoint, file)
