"""Arrays in files and given by a script: parts, layouts, columns, and what a model is told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainkit.data.array_files import ArrayFiles, GivenArrays
from trainkit.data.preprocessing import Standardize
from trainkit.data.readers import ArrayReader, reader_from_json
from trainkit.data.sources import TensorSource
from trainkit.errors import ConfigError, DataError
from trainkit.types import DataSpec

LABELS = np.arange(60) % 3


def signals(num: int = 60) -> np.ndarray:
    return np.random.default_rng(0).normal(2, 3, (num, 2, 5))


def images(num: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (num, 6, 7, 3)).astype(np.uint8)


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def set_up(*arguments: Any, **options: Any) -> ArrayFiles:
    data = ArrayFiles(*arguments, **options)
    data.setup()
    return data


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises((DataError, ConfigError)) as caught:
        set_up(*arguments, **options)
    return str(caught.value)


def test_signals(tmp_path: Path) -> None:
    data = set_up(saved(tmp_path / "waves.npz", x=signals(), y=LABELS))
    assert data.spec == DataSpec("signal", (2, 5), "class", ("0", "1", "2"))
    assert data.spec.sizes() == {
        **{"num_outputs": 3, "out_features": 3, "num_classes": 3, "in_channels": 2, "sequence_length": 5},
        **{"in_features": 10, "input_shape": [2, 5]},
    }
    assert data.describe() == "waves 60 signals 2×5"
    module = data.input_module(nn.Identity())
    assert isinstance(module, Standardize)
    train = signals()[data.splits.train]
    np.testing.assert_allclose(module.mean.flatten(), train.mean((0, 2)), rtol=1e-6)
    np.testing.assert_allclose(module.scale.flatten(), train.std((0, 2)), rtol=1e-6)
    scaled = module(torch.from_numpy(train))
    torch.testing.assert_close(scaled.mean((0, 2)), torch.zeros(2), atol=1e-5, rtol=0)
    assert data.flat_arrays().shape == (60, 10)


def test_channels_that_come_last_are_moved_which_is_said(tmp_path: Path) -> None:
    data = set_up(saved(tmp_path / "scans.npz", images=images(), labels=LABELS))
    assert data.spec.input_shape == (3, 6, 7)
    assert data.describe() == "scans 60 images 3×6×7 · channels last, moved first"
    assert isinstance(data.source, TensorSource) and isinstance(data.source.inputs, torch.Tensor)
    assert (data.source.inputs.dtype, data.source.inputs.is_contiguous()) == (torch.uint8, True)
    np.testing.assert_array_equal(data.source.inputs[4].numpy(), np.moveaxis(images()[4], -1, 0))


@pytest.mark.parametrize("layout", ["auto", "flat", "channels_first"])
def test_a_raw_file_is_read_as_the_training_file_was(tmp_path: Path, layout: Any) -> None:
    data = set_up(saved(tmp_path / "scans.npz", images=images(), labels=LABELS), layout=layout)
    again = reader_from_json(data.metadata())
    np.save(tmp_path / "new.npy", images(4))
    for path in (tmp_path / "new.npy", saved(tmp_path / "new.npz", images=images(4), ids=np.arange(4))):
        inputs, unseen = again.read(path)
        assert (inputs.shape[1:], unseen) == (data.spec.input_shape, {})  # type: ignore[union-attr]
    assert isinstance(data.source, TensorSource)
    torch.testing.assert_close(inputs, data.source.inputs[:4])  # type: ignore[index]


def test_readers_saved_before_there_were_layouts_are_loaded() -> None:
    old = reader_from_json({"kind": "array", "shape": [2, 3]})
    assert isinstance(old, ArrayReader)
    assert (old.shape, old.layout, old.key) == ((2, 3), "as_is", "inputs")


def test_parts_of_one_file(tmp_path: Path) -> None:
    x = signals()
    path = saved(tmp_path / "m.npz", x_train=x[:40], y_train=LABELS[:40], x_test=x[40:], y_test=LABELS[40:])
    data = set_up(path, val_share=0.1)
    assert data.sizes == {"train": 40, "test": 20}
    assert (data.splits.test.tolist(), len(data.splits.val)) == (list(range(40, 60)), 4)
    assert data.row_numbers(data.splits.test).tolist() == list(range(20))
    assert data.targets("test").tolist() == LABELS[40:].tolist()
    what = f"'{path}' has a test part of its own"
    assert refusal(path, test_path=path) == f"{what}\n  where    data.test_path\n  hint     leave out data.test_path"


def test_files_of_other_parts(tmp_path: Path) -> None:
    x = signals()
    main, other = saved(tmp_path / "a.npz", x=x[:40], y=LABELS[:40]), saved(tmp_path / "b.npz", x=x[40:], y=LABELS[40:])
    data = set_up(main, val_path=other, extra_val={"again": other})
    assert data.sizes == {"train": 40, "val": 20, "val/again": 20}
    assert data.extra_val == ("again",)
    np.testing.assert_array_equal(data.targets("val/again"), data.targets("val"))
    assert [len(loader.rows) for loader in data.val_loaders()] == [20, 20]
    narrow = saved(tmp_path / "c.npz", x=x[40:, :, :3], y=LABELS[40:])
    assert refusal(main, test_path=narrow) == (
        "the inputs of the test part have the shape [20, 2, 3]\n  where    data\n"
        "  expected [N, 2, 5] as those to train on"
    )
    assert "\n  where    data.val_path" in refusal(main, val_path=tmp_path / "d.npz")


def test_files_of_their_own(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", signals())
    torch.save(torch.from_numpy(LABELS), tmp_path / "y.pt")
    np.save(tmp_path / "g.npy", LABELS * 2 + np.arange(60) // 30)
    files = {"inputs": tmp_path / "x.npy", "target": tmp_path / "y.pt"}
    data = set_up(**files, group=str(tmp_path / "g.npy"))
    assert (data.name, data.spec.input_kind) == ("x", "signal")
    assert data.describe_splits() == f"grouped by {tmp_path}/g.npy (4/1/1 groups), stratified, split seed 0"
    both = saved(tmp_path / "both.npz", x=signals(), y=LABELS)
    assert refusal(**{**files, "target": both}) == (
        f"'{both}' holds 2 arrays: x, y\n  where    data.target\n  expected one array\n  hint     data.path={both}"
    )
    assert "put inputs and target into one .npz each" in refusal(**files, val_path=both)
    assert refusal(tmp_path / "x.npy") == (
        f"'{tmp_path}/x.npy' holds one array, without a target\n  where    data.path\n"
        "  expected a file with inputs and target\n  hint     data.inputs=x.npy data.target=y.npy"
    )
    assert refusal(inputs=tmp_path / "x.npy") == (
        "there are no arrays\n  where    data.path\n"
        "  hint     data.path=arrays.npz, or data.inputs=x.npy data.target=y.npy"
    )


def test_memory_holds_one_copy_of_a_file_that_may_change(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", signals())
    np.save(tmp_path / "y.npy", LABELS)
    data = set_up(inputs=tmp_path / "x.npy", target=tmp_path / "y.npy")
    assert isinstance(data.source, TensorSource) and isinstance(data.source.inputs, torch.Tensor)
    assert np.shares_memory(data._inputs, data.source.inputs.numpy())
    before = data.source.inputs.clone()
    np.save(tmp_path / "x.npy", np.zeros((60, 2, 5)))
    assert torch.equal(data.source.inputs, before)
    assert not isinstance(data._inputs, np.memmap)


def test_groups_times_and_weights_are_keys(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "a.npz",
        x=signals(),
        y=LABELS,
        who=np.array(["a", "b", "c", "d", "e", "f"])[np.arange(60) // 10],
        when=np.arange(60)[::-1, None],
        w=np.linspace(0, 1, 60),
        wide=np.ones((60, 2)),
    )
    by_time = set_up(path, time="when", weight="w")
    assert by_time.splits.test.tolist() == list(range(9))
    assert by_time.describe() == "a 60 signals 2×5 · ordered by when · weighted by w"
    weight: list[torch.Tensor]
    _, _, *weight = by_time.source.fetch(torch.tensor([59, 0]), 0)
    assert weight[0].tolist() == [1.0, 0.0]
    groups = np.arange(60) // 10
    grouped = set_up(path, group="who")
    assert not set(groups[grouped.splits.train]) & set(groups[grouped.splits.test])
    assert refusal(path, weight="wide") == (
        "the weight 'wide' is float64 [60, 2]\n  where    data.weight\n  expected a value for each of 60 rows"
    )


def test_arrays_given_by_a_script() -> None:
    x, y = signals(), np.array(["a", "b", "c"])[LABELS]
    data = GivenArrays((x[:40], y[:40]), test=[torch.from_numpy(x[40:]), y[40:]], extra_val={"same": (x[:9], y[:9])})
    data.setup()
    assert (data.name, data.sizes) == ("arrays", {"train": 40, "test": 20, "val/same": 9})
    assert data.spec.class_names == ("a", "b", "c")
    with pytest.raises(DataError) as caught:
        GivenArrays((x, y[:5])).setup()
    assert str(caught.value) == (
        "inputs of shape [60, 2, 5] and targets of shape [5]\n  where    data\n  expected as many targets as inputs"
    )


def test_equal_arrays_have_one_fingerprint(tmp_path: Path) -> None:
    first = set_up(saved(tmp_path / "a.npz", x=signals(), y=LABELS)).fingerprint
    assert set_up(saved(tmp_path / "b.npz", inputs=signals(), target=LABELS)).fingerprint == first
    assert set_up(saved(tmp_path / "c.npz", x=signals() + 1, y=LABELS)).fingerprint != first


@pytest.mark.parametrize("role", ["group", "time", "weight"])
def test_a_changed_role_is_other_data(role: str, tmp_path: Path) -> None:
    texts = np.array(["a", "b", "c"])[np.arange(60) % 3]
    values = {"group": texts, "time": np.arange(60), "weight": np.linspace(0, 1, 60)}[role]
    prints = []
    for name, given in (("a", values), ("b", values[::-1]), ("c", values)):
        path = saved(tmp_path / f"{name}.npz", x=signals(), y=LABELS, role=given)
        prints.append(set_up(path, **{role: "role"}).fingerprint)
    assert prints[0] == prints[2] != prints[1]
