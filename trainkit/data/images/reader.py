"""New images as samples: files, a folder of them, or images and arrays of a script; saved with the model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainkit.data.images.decoding import UnreadableImageError, fitted
from trainkit.data.images.finding import EXTENSIONS, find_images
from trainkit.data.images.form import ImageForm
from trainkit.data.images.keeping import MEMORY_SHARE, free_memory
from trainkit.data.images.reading import Unreadable, decode_all, refuse_unreadable
from trainkit.data.reader import Reader, Samples
from trainkit.errors import DataError
from trainkit.types import Inputs

OnError: TypeAlias = Literal["raise", "skip"]
"""What becomes of an image that cannot be read."""


class ImageReader(Reader):
    """Reads images in the form that the model was trained on.

    Args:
        form: To bring them to.
        on_error: ``raise``, or ``skip`` to leave out images that cannot be read.
    """

    def __init__(self, form: ImageForm, on_error: OnError = "raise") -> None:
        self.form, self.on_error = form, on_error

    def read(self, path: Path) -> tuple[Inputs, dict[str, int]]:
        """Pixels uint8 [N, channels, height, width] of an image, or of all images in a folder."""
        return self._of_path(path)[:2]

    def read_named(self, source: Any) -> Samples | None:
        """Pixels of images, with the names of files.

        Args:
            source: A file, a folder, a Pillow image, an array (uint8 [height, width] or [height, width, 1, 3 or 4]), or
                several of them but folders.

        Returns:
            The samples; None for anything else.

        Raises:
            DataError: It holds no image, or one that cannot be read.
        """
        if isinstance(source, (str, Path)):
            return self._of_path(Path(source))
        if isinstance(source, (np.ndarray, Tensor)):
            if tuple(source.shape[1:]) == self.form.shape:
                return None  # as the net takes them
            source = list(source) if source.ndim == 4 else [source]
        if not isinstance(source, (list, tuple, Image.Image)):
            return None
        items: list[Any] = [source] if isinstance(source, Image.Image) else list(source)
        if items and all(isinstance(item, (str, Path)) for item in items):
            return self._gather([Path(item) for item in items], [str(item) for item in items])
        return Samples(self._of_objects(items), {})

    def _of_path(self, path: Path) -> Samples:
        if not path.exists():
            raise DataError(f"there is no '{path}'", where="FILE", expected="an image, or a folder of images")
        if not path.is_dir():
            return self._gather([path], [path.name])
        names = find_images(path).names
        if not names:
            raise DataError(f"there is no image in '{path}'", where="FILE", expected=", ".join(EXTENSIONS))
        return self._gather([path / name for name in names], names)

    def _of_objects(self, items: Sequence[Any]) -> Tensor:
        made = [self._of_object(item, place) for place, item in enumerate(items)]
        if not made:
            raise DataError("there is no image", where="source")
        return torch.from_numpy(np.stack(made))

    def _of_object(self, item: Any, place: int) -> np.ndarray:
        if isinstance(item, Tensor):
            item = item.numpy()
        if isinstance(item, np.ndarray):
            is_image = item.ndim == 2 or (item.ndim == 3 and item.shape[2] in (1, 3, 4))
            if item.dtype != np.uint8 or not is_image:
                found = f"image {place} is {item.dtype} {list(item.shape)}"
                expected = f"uint8 [height, width] or [height, width, 3], or [N, {str(list(self.form.shape))[1:]}"
                raise DataError(found, where="source", expected=expected)
            item = Image.fromarray(item[:, :, 0] if item.shape[2:] == (1,) else item)
        if not isinstance(item, Image.Image):
            what = f"image {place} is a {type(item).__name__}"
            raise DataError(what, where="source", expected="files, Pillow images, or arrays")
        try:
            return fitted(item, self.form)
        except UnreadableImageError as error:
            raise DataError(f"image {place}: {error}", where="source") from error

    def _gather(self, paths: list[Path], names: list[str]) -> Samples:
        values = allocated(len(paths), self.form)
        bad, good = dict[str, str](), list[str]()
        for name, result in zip(names, decode_all(paths, self.form), strict=True):
            if isinstance(result, Unreadable):
                bad[name] = result.reason
            else:
                values[len(good)] = result.values
                good.append(name)
        if self.on_error == "raise" or not good:
            refuse_unreadable(bad, len(paths), "FILE", can_skip=False)
        skipped = tuple(f"{name}: {reason}" for name, reason in bad.items())
        return Samples(torch.from_numpy(values[: len(good)]), {}, good, skipped)

    def to_json(self) -> dict[str, Any]:
        """The form, and what becomes of unreadable images."""
        return {"kind": "image", "form": self.form.to_json(), "on_error": self.on_error}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ImageReader:
        """The reader that ``to_json`` described."""
        return cls(ImageForm(**values["form"]), values["on_error"])


def allocated(num_images: int, form: ImageForm) -> np.ndarray:
    """Room for images, uint8 [N, channels, height, width]: in memory, or in a nameless file."""
    shape = (num_images, *form.shape)
    if int(np.prod(shape)) <= MEMORY_SHARE * free_memory():
        return np.empty(shape, np.uint8)
    with tempfile.TemporaryFile() as file:  # the mapping keeps it until the array goes
        return np.memmap(file, np.uint8, mode="w+", shape=shape)
