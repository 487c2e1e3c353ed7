"""Images as the data of a run: spec, pixels, statistics, splits, fingerprint, and what is left out."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tests.data.images.conftest import Draw
from tests.data.images.pictures import picture, save
from trainkit.data import ImageData
from trainkit.data.images import keeping
from trainkit.data.images.data import moments
from trainkit.data.images.reading import sums_of
from trainkit.data.images.source import ImageSource
from trainkit.data.preprocessing import Standardize
from trainkit.data.sources import TensorSource
from trainkit.errors import ConfigError, DataError
from trainkit.types import DataSpec


def set_up(path: Path, **options: Any) -> ImageData:
    data = ImageData(path, **options)
    data.setup()
    return data


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises((DataError, ConfigError)) as caught:
        set_up(path, **options)
    return str(caught.value)


def inputs_of(data: ImageData) -> torch.Tensor:
    inputs = data.source.fetch(torch.arange(len(data.source)), 0)[0]
    assert isinstance(inputs, torch.Tensor)
    return inputs


def labelled(folder: Path, count: int = 12, **columns: Any) -> Path:
    names = [f"{number}.png" for number in range(count)]
    for number, name in enumerate(names):
        save(folder / name, picture(number))
    path = folder / "labels.csv"
    pd.DataFrame({"file": names, **columns}).to_csv(path, index=False)
    return path


def test_a_folder_of_classes(pics: Draw) -> None:
    data = set_up(pics(dark=20, light=20))
    assert data.spec == DataSpec("image", (1, 8, 8), "class", ("dark", "light"))
    assert data.describe() == "pics 40 images 1×8×8"
    assert isinstance(data.source, TensorSource)
    inputs = inputs_of(data)
    assert (inputs.dtype, data.source.target.dtype) == (torch.uint8, torch.int64)
    np.testing.assert_array_equal(inputs[23, 0].numpy(), picture(1003, 8, 8, 1, 100))
    assert data.file_names(np.array([23, 0])).tolist() == ["light/003.png", "dark/000.png"]
    assert [int(data.targets("val").sum()), len(data.splits.val)] == [3, 6]  # stratified
    np.testing.assert_array_equal(data.targets("test"), (data.splits.test >= 20).astype(int))
    assert data.flat_arrays().shape == (40, 64)
    assert data.notes() == []


def test_colours_of_several_sizes(pics: Draw, tmp_path: Path) -> None:
    root = pics(channels=3, size=9)
    save(root / "dark" / "wide.png", picture(5, 9, 18))
    assert "the images are of 2 sizes: 9×9 (40), 18×9 (1)" in refusal(root)
    data = set_up(root, image_size=[6, 7], resize="pad")
    assert data.spec.input_shape == (3, 6, 7)
    assert data.describe() == "pics 41 images 3×6×7 · padded from 2 sizes"
    grey = set_up(root, image_size=9, channels=1)
    assert grey.describe() == "pics 41 images 1×9×9 · cropped from 2 sizes"
    sizes = data.spec.sizes()
    assert (sizes["in_channels"], sizes["image_height"], sizes["image_width"]) == (3, 6, 7)


def test_statistics_are_exact_and_of_the_training_part(pics: Draw) -> None:
    data = set_up(pics(channels=3))
    module = data.input_module(nn.Identity())
    assert isinstance(module, Standardize)
    train = inputs_of(data)[data.rows("train")].double()
    torch.testing.assert_close(module.mean.flatten(), train.mean((0, 2, 3)).float())
    torch.testing.assert_close(module.scale.flatten(), train.std((0, 2, 3), correction=0).float())
    scaled = module(train)
    torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)


def test_moments_of_a_constant_and_of_very_many_pixels() -> None:
    constant = np.stack([sums_of(np.full((1, 4, 4), 7, np.uint8))] * 3)
    assert [float(value) for value in moments(constant, 16)] == [7.0, 1.0]
    large = np.tile(np.array([[2**40], [2**47]], np.int64), (1000, 1, 1))  # squares beyond 64 bits
    mean, scale = moments(large, 2**33)
    assert float(mean) == 2**7 and 0 <= float(scale) < 1e9


@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_every_cache_gives_the_same(pics: Draw, tmp_path: Path, resize: Any) -> None:
    root = pics(channels=3, size=20)
    made = [set_up(root, cache=cache, image_size=7, resize=resize) for cache in ("memory", "disk", "none", "disk")]
    first = made[0]
    assert [type(data.source) for data in made] == [TensorSource, TensorSource, ImageSource, TensorSource]
    for other in made[1:]:
        assert torch.equal(inputs_of(first), inputs_of(other))
        assert (first.fingerprint, first.spec) == (other.fingerprint, other.spec)
        one, two = first.input_module(nn.Identity()), other.input_module(nn.Identity())
        assert all(torch.equal(a, b) for a, b in zip(one.buffers(), two.buffers(), strict=True))
        np.testing.assert_array_equal(first.flat_arrays(), other.flat_arrays())
        np.testing.assert_array_equal(first.targets("test"), other.targets("test"))
    assert made[1].describe() == f"{first.describe()} · cache {tmp_path}/.trainkit_cache"
    assert "decoded on the fly" in made[2].describe()


def test_auto_goes_to_the_disk_where_the_memory_is_small(pics: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pics()
    monkeypatch.setattr(keeping, "free_memory", lambda: 40 * 64 * 3)
    data = set_up(root, cache_dir=root.parent / "elsewhere")
    assert data.describe() == f"pics 40 images 1×8×8 · cache {root.parent}/elsewhere"
    assert len(list((root.parent / "elsewhere").glob("pics-*.pixels"))) == 1


def test_large_images_are_shrunk_for_the_baseline(pics: Draw) -> None:
    data = set_up(pics(channels=3, size=64, dark=4, light=4))
    flat = data.flat_arrays()
    assert flat.shape == (8, 3 * 32 * 32) and flat.dtype == np.float32
    expected = inputs_of(data)[5].float().reshape(3, 32, 2, 32, 2).mean((2, 4))
    np.testing.assert_allclose(flat[5], expected.flatten().numpy(), rtol=1e-6)


def test_the_fingerprint_is_of_what_is_learned_not_of_where_it_lies(pics: Draw, tmp_path: Path) -> None:
    root = pics()
    first = set_up(root).fingerprint
    moved = shutil.copytree(root, tmp_path / "moved" / "pics")
    os.utime(moved / "dark" / "000.png", (0, 0))
    assert set_up(moved, cache="none", batch_size=3).fingerprint == first
    prints = {first, set_up(root, image_size=7).fingerprint, set_up(root, image_size=7, resize="pad").fingerprint}
    (moved / "dark" / "000.png").rename(moved / "dark" / "0.png")
    prints.add(set_up(moved).fingerprint)
    (moved / "dark" / "0.png").rename(moved / "light" / "a.png")
    prints.add(set_up(moved).fingerprint)
    save(moved / "light" / "a.png", picture(77, 8, 8, 1))
    prints.add(set_up(moved).fingerprint)
    assert len(prints) == 6


def test_numbers_and_several_labels(tmp_path: Path) -> None:
    path = labelled(tmp_path, age=np.linspace(1, 7.5, 12), sun=[1, 0] * 6, sea=[0, 0, 1] * 4, who=list("abcdef") * 2)
    numbers = set_up(path, target="age")
    assert numbers.spec == DataSpec("image", (3, 8, 8), "number", target_name="age")
    assert numbers.targets("train").dtype == np.float64
    several = set_up(path, target=["sun", "sea"])
    assert several.spec == DataSpec("image", (3, 8, 8), "multilabel", ("sun", "sea"))
    assert several.spec.sizes()["num_classes"] == several.spec.sizes()["num_outputs"] == 2
    assert several.targets("train").shape == (8, 2) and several.targets("train").dtype == np.float32
    for cache in ("memory", "none"):
        target = set_up(path, target=["sun", "sea"], cache=cache).source.fetch(torch.tensor([0, 2]), 0)[1]
        assert (target.dtype, target.tolist()) == (torch.float32, [[1.0, 0.0], [1.0, 1.0]])
    assert "balanced sampling of a multilabel target" in refusal(path, target=["sun", "sea"], sampling="balanced")
    grouped = set_up(path, target="sun", group="who", weight="age")
    for part in grouped.splits.parts().values():
        assert {(row + 6) % 12 for row in part.tolist()} == set(part.tolist())
    batch = set_up(path, target="sun", weight="age", cache="none").source.fetch(torch.tensor([0, 11]), 0)
    assert batch[2].tolist() == [1.0, 7.5]  # type: ignore[misc]
    assert set_up(path, target="sun", group="who").fingerprint != set_up(path, target="sun").fingerprint
    assert "there is no column 'whom'" in refusal(path, target="sun", group="whom")
    assert numbers.strata() is None
    strata = several.strata()
    assert strata is not None and len(strata) == 12
    both = set_up(path, target=["age", "sun"])
    assert (both.spec.target_kind, both.spec.target_names) == ("number", ("age", "sun"))
    assert both.targets("train").shape == (8, 2) and both.spec.sizes()["num_outputs"] == 2


def test_a_folder_has_no_columns(pics: Draw) -> None:
    assert "the images lie in folders of classes, and data.group names a column" in refusal(pics(), group="patient")


def broken(root: Path) -> Path:
    """Four images of 44 that cannot be read, some by their header, some by their pixels."""
    whole = (root / "dark" / "000.png").read_bytes()
    (root / "dark" / "empty.png").write_bytes(b"")
    (root / "dark" / "text.jpg").write_text("<html>not found</html>")
    (root / "light" / "cut.png").write_bytes(whole[:-40])
    save(root / "light" / "deep.tif", np.zeros((8, 8), np.float32))
    return root


def test_unreadable_images_are_named_before_training(pics: Draw) -> None:
    said = refusal(broken(pics()))
    assert said.startswith("4 images of 44 cannot be read:\n")
    for line in (
        "dark/empty.png: it is empty",
        "dark/text.jpg: it is no image of a known format",
        "light/cut.png: image file is truncated",
        "light/deep.tif: its pixels are of mode F, which 8 bits a channel cannot hold",
    ):
        assert line in said
    assert "hint     data.on_error=skip leaves them out" in said


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_unreadable_images_are_left_out_on_request_and_counted(pics: Draw, cache: Any) -> None:
    root = pics()
    whole = set_up(root)
    for _ in range(2):  # the second time from the file on the disk
        data = set_up(broken(root), on_error="skip", cache=cache)
        assert "4 unreadable, skipped" in data.describe()
        assert "4 images could not be read and were left out: dark/empty.png (it is empty); " in data.notes()[0]
        assert torch.equal(inputs_of(data), inputs_of(whole))
        assert data.fingerprint == whole.fingerprint
        assert data.file_names(np.arange(40)).tolist() == whole.file_names(np.arange(40)).tolist()


def test_what_skipping_would_leave_empty_is_named(pics: Draw) -> None:
    root = pics("pics/train", cat=4, dog=4, emu=1).parent
    pics("pics/val", cat=1, dog=1)
    (root / "train" / "emu" / "000.png").write_bytes(b"")
    assert "no image of the class 'emu' can be read" in refusal(root, on_error="skip")
    (root / "train" / "emu" / "000.png").unlink()
    (root / "train" / "emu").rmdir()
    for path in (root / "val").rglob("*.png"):
        path.write_bytes(b"")
    assert "no image of the val part can be read" in refusal(root, on_error="skip")
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    assert "10 images of 10 cannot be read" in refusal(root, on_error="skip")


def test_deep_images_and_other_files_are_counted(pics: Draw) -> None:
    root = pics()
    save(root / "dark" / "deep.png", np.full((8, 8), 40 * 256 + 200, np.uint16))
    (root / "dark" / "Thumbs.db").touch()
    data = set_up(root)
    assert data.describe() == "pics 41 images 1×8×8 · 1 of 16 bits, reduced to 8 · 1 other file ignored"
    row = data.file_names(np.arange(41)).tolist().index("dark/deep.png")
    assert inputs_of(data)[row].tolist() == [[[40] * 8] * 8]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cache": "ram"}, "data.cache is 'ram'"),
        ({"on_error": "skp"}, "did you mean 'skip'?"),
        ({"target_kind": "classes"}, "did you mean 'class'?"),
        ({"image_size": -1}, "data.image_size is -1"),
    ],
)
def test_settings_that_do_not_exist(pics: Draw, options: dict[str, Any], said: str) -> None:
    assert said in refusal(pics(), **options)


def test_names_that_are_no_text_are_shown_all_the_same(pics: Draw) -> None:
    root = pics()
    os.rename(root / "dark" / "000.png", os.fsencode(root / "dark") + b"/\xff.png")
    data = set_up(root)
    names = data.file_names(np.arange(40)).tolist()
    assert "dark/\ufffd.png" in names and "dark/001.png" in names


def test_another_process_gets_no_pixels_and_takes_them_again(pics: Draw) -> None:
    for cache in ("memory", "disk", "none"):
        data = set_up(pics(channels=3, size=30), cache=cache)
        sent = pickle.dumps(data)
        assert len(sent) < 40 * 30 * 30
        other = pickle.loads(sent)
        other.setup()
        assert torch.equal(inputs_of(other), inputs_of(data)) and other.fingerprint == data.fingerprint


def test_an_image_that_goes_while_it_is_streamed_is_named(pics: Draw) -> None:
    root = pics()
    data = set_up(root, cache="none")
    (root / "dark" / "001.png").unlink()
    with pytest.raises(DataError, match=r"001.png' cannot be read any more: there is no such file"):
        data.source.fetch(torch.tensor([0, 1]), 0)
    with pytest.raises(DataError, match=r"001.png' cannot be read any more: there is no such file"):
        data.flat_arrays()
