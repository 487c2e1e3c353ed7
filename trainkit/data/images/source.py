"""Images that are decoded when they are wanted, in this process or in loader workers; called by ``ImageData``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from trainkit.data.images.decoding import UnreadableImageError, decode
from trainkit.data.images.form import ImageForm
from trainkit.data.images.reading import read_bytes
from trainkit.data.sources import DatasetSource, batch_of
from trainkit.errors import DataError
from trainkit.types import Batch


class ImageFiles(Dataset[tuple[Tensor, Tensor]]):
    """Image files with their targets.

    Args:
        paths: Where they are.
        target: [N, ...].
        form: To bring them to.
    """

    def __init__(self, paths: Sequence[Path], target: Tensor, form: ImageForm) -> None:
        self.paths, self.target, self.form = paths, target, form

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.pixels(index), self.target[index]

    def pixels(self, index: int) -> Tensor:
        """uint8 [channels, height, width].

        Raises:
            DataError: The file is not as it was when the run began.
        """
        path = self.paths[index]
        try:
            return torch.from_numpy(decode(read_bytes(path), self.form))
        except UnreadableImageError as error:
            raise DataError(f"'{path}' cannot be read any more: {error}", where="data.path") from error


class ImageSource(DatasetSource):
    """Samples that are decoded as they are fetched; nothing is random.

    Args:
        files: The images.
    """

    def __init__(self, files: ImageFiles) -> None:
        super().__init__([files])
        self.files = files

    def fetch_steps(self, rows_per_step: Sequence[Tensor], keys: Sequence[int]) -> Batch:
        """Decodes rows, which gives the bits that decoding them beforehand gives."""
        rows = torch.cat(list(rows_per_step))
        inputs = torch.stack([self.files.pixels(row) for row in rows.tolist()])
        target = self.files.target.index_select(0, rows)
        return batch_of(inputs, target, None if self.weight is None else self.weight.index_select(0, rows))

    def unpack(self, batch: Any) -> Batch:
        """Inputs and target of a sample."""
        return batch[0], batch[1]
