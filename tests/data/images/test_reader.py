"""New images: files, folders, and what a script has in memory, in the form of the training images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.images.conftest import Draw
from tests.data.images.pictures import picture, save
from trainkit.data.images import reader as reading
from trainkit.data.images.form import ImageForm
from trainkit.data.images.reader import ImageReader
from trainkit.data.readers import reader_from_json
from trainkit.errors import DataError

READER = ImageReader(ImageForm(8, 8, 3))


def refusal(source: Any, reader: ImageReader = READER) -> str:
    with pytest.raises(DataError) as caught:
        reader.read_named(source)
    return str(caught.value)


def test_a_folder_an_image_and_lists(pics: Draw, tmp_path: Path) -> None:
    root = pics(channels=3, dark=2, light=1)
    names = ["dark/000.png", "dark/001.png", "light/000.png"]
    whole = READER.read_named(root)
    assert whole is not None and isinstance(whole.inputs, torch.Tensor)
    assert (list(whole.files or ()), whole.inputs.dtype) == (names, torch.uint8)
    np.testing.assert_array_equal(whole.inputs[1].numpy(), picture(1).transpose(2, 0, 1))
    inputs, unseen = READER.read(root)
    assert isinstance(inputs, torch.Tensor) and torch.equal(inputs, whole.inputs) and unseen == {}
    one = READER.read_named(str(root / names[2]))
    assert one is not None and one.files == ["000.png"]
    paths = [root / name for name in names]
    opened = [Image.open(path) for path in paths]
    arrays = [np.asarray(image) for image in opened]
    for source in (paths, tuple(map(str, paths)), opened, arrays, np.stack(arrays), torch.from_numpy(np.stack(arrays))):
        made = READER.read_named(source)
        assert made is not None and isinstance(made.inputs, torch.Tensor)
        assert torch.equal(made.inputs, whole.inputs)
        assert (made.files is None) == (not isinstance(source[0], (str, Path)))
    alone = READER.read_named(opened[0])
    assert alone is not None and torch.equal(alone.inputs, whole.inputs[:1])  # type: ignore[arg-type]
    grey = READER.read_named(picture(0, 20, 30, 1))
    assert grey is not None and grey.inputs.shape == (1, 3, 8, 8)  # type: ignore[union-attr]


def test_what_others_read_is_left_to_them() -> None:
    for source in (np.zeros((2, 3, 8, 8), np.uint8), torch.zeros(2, 3, 8, 8), {"x": 1}, object()):
        assert READER.read_named(source) is None


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no")
    (tmp_path / "none").mkdir()
    assert "there is no '" in refusal(tmp_path / "gone")
    assert "there is no image in" in refusal(tmp_path / "none")
    said = refusal(tmp_path)
    assert "1 image of 1 cannot be read:\n    text.png: it is no image of a known format\n  where    FILE" in said
    assert "skip" not in said
    assert "there is no image" in refusal([])
    assert "image 1 is a int" in refusal([picture(0), 3])
    assert "image 0 is float32 [8, 8]" in refusal(np.zeros((8, 8), np.float32))
    assert "image 0: its pixels are of mode F" in refusal(Image.new("F", (8, 8)))
    assert "expected uint8 [height, width] or [height, width, 3], or [N, 3, 8, 8]" in refusal(np.zeros((8, 8, 8)))


def test_unreadable_images_are_skipped_where_training_did_so(pics: Draw) -> None:
    root = pics(channels=3, dark=2, light=2)
    (root / "dark" / "000.png").write_bytes(b"")
    made = ImageReader(ImageForm(8, 8, 3), "skip").read_named(root)
    assert made is not None
    assert list(made.files or ()) == ["dark/001.png", "light/000.png", "light/001.png"]
    assert made.skipped == ("dark/000.png: it is empty",)
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    assert "4 images of 4 cannot be read" in refusal(root, ImageReader(ImageForm(8, 8, 3), "skip"))


def test_it_is_saved_as_json() -> None:
    saved = ImageReader(ImageForm(4, 6, 1, "pad"), "skip")
    again = reader_from_json(saved.to_json())
    assert isinstance(again, ImageReader)
    assert (again.form, again.on_error) == (saved.form, "skip")


def test_more_than_the_memory_holds_goes_to_a_nameless_file(pics: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pics(channels=3, dark=5, light=5)
    in_memory = READER.read(root)[0]
    monkeypatch.setattr(reading, "free_memory", lambda: 100)
    on_disk = READER.read(root)[0]
    assert torch.equal(in_memory, on_disk)  # type: ignore[arg-type]
    assert isinstance(reading.allocated(3, READER.form), np.memmap)


def test_a_large_photograph_is_brought_to_the_form(tmp_path: Path) -> None:
    path = save(tmp_path / "photo.jpg", picture(0, 300, 400))
    inputs = READER.read(path)[0]
    assert isinstance(inputs, torch.Tensor) and inputs.shape == (1, 3, 8, 8)
