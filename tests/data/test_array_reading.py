"""Files of arrays: every format gives the same arrays, and nothing in a file is ever unpickled."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from trainkit.data.array_reading import ONE_ARRAY, as_array, open_arrays
from trainkit.errors import DataError

INPUTS, TARGET = np.arange(12.0).reshape(4, 3), np.array([0, 1, 0, 1])


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        file = open_arrays(path)
        {key: file[key] for key in file}
    return str(caught.value)


@pytest.mark.parametrize("form", ["npz", "safetensors", "pt"])
def test_every_format_holds_the_same_arrays(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"arrays.{form}"
    if form == "npz":
        np.savez_compressed(path, x=INPUTS, y=TARGET)
    else:
        tensors = {"x": torch.from_numpy(INPUTS), "y": torch.from_numpy(TARGET)}
        save_file(tensors, path) if form == "safetensors" else torch.save(tensors, path)
    file = open_arrays(path)
    assert (sorted(file), len(file)) == (["x", "y"], 2)
    np.testing.assert_array_equal(file["x"], INPUTS)
    np.testing.assert_array_equal(file["y"], TARGET)
    assert file["y"].dtype == np.int64
    with pytest.raises(KeyError):
        file["z"]


def test_a_lone_array_has_a_key(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", INPUTS)
    torch.save(torch.from_numpy(INPUTS), tmp_path / "x.pt")
    for name in ("x.npy", "x.pt"):
        file = open_arrays(tmp_path / name)
        assert list(file) == [ONE_ARRAY]
        np.testing.assert_array_equal(file[ONE_ARRAY], INPUTS)


def test_a_npy_stays_on_the_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", INPUTS)
    assert isinstance(open_arrays(tmp_path / "x.npy")[ONE_ARRAY], np.memmap)


def test_tensors_become_arrays_without_a_copy() -> None:
    tensor = torch.arange(3.0, requires_grad=True)
    array = as_array(tensor, "x")
    assert np.shares_memory(array, tensor.detach().numpy())
    assert as_array(torch.ones(2, dtype=torch.bfloat16), "x").dtype == np.float32
    assert as_array(INPUTS, "x") is INPUTS
    with pytest.raises(DataError, match=r"^x is a list"):
        as_array([1, 2], "x")


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["npy", "npz", "pt", "legacy pt", "pickle in pt", "pickle in npz"])
def test_nothing_is_ever_unpickled(tmp_path: Path, form: str) -> None:
    trap, path = tmp_path / "trap", tmp_path / f"arrays.{form.rpartition(' ')[2]}"
    if form in ("npy", "npz"):
        objects = np.array([Bomb(trap)] * 2, dtype=object)
        np.save(path, objects, allow_pickle=True) if form == "npy" else np.savez(path, x=objects)
    elif form.startswith("pickle"):
        path.write_bytes(pickle.dumps(Bomb(trap)))
    else:
        torch.save({"x": Bomb(trap)}, path, _use_new_zipfile_serialization=form == "pt")
    reason = "no file as torch.save writes it since 1.6"
    if form in ("npy", "npz", "pt", "pickle in npz"):
        reason = "damaged, or Python objects, which are not unpickled"
    assert refusal(path).startswith(f"'{path}' is not a readable array: {reason}\n  where    ")
    assert not trap.exists()


def test_files_that_are_not_there_or_of_another_kind_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "scans.npy", INPUTS)
    path = tmp_path / "scan.npy"
    assert refusal(path) == f"there is no file '{path}'\n  where    data.path\n  hint     did you mean 'scans.npy'?"
    path = tmp_path / "no" / "scan.npy"
    assert refusal(path) == f"there is no file '{path}'\n  where    data.path"
    path = tmp_path / "t.csv"
    expected = "a file: .npy, .npz, .safetensors, .pt"
    assert refusal(path) == f"cannot read '{path}'\n  where    data.path\n  expected {expected}"
    path = tmp_path / "list.pt"
    torch.save([1, 2], path)
    assert refusal(path) == f"'{path}' holds a list\n  where    data.path\n  expected a tensor or a dict of them"
    path = tmp_path / "mixed.pt"
    torch.save({"x": [1, 2]}, path)
    assert refusal(path) == f"'x' of {path} is a list\n  where    data\n  expected an array or a tensor"


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.pt", "x.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 hello", b"\x93NUMPY"])
def test_damaged_files_are_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path / name).startswith(f"'{tmp_path / name}' is not a readable array: ")


def test_a_zip_whose_pickle_makes_no_sense_is_refused(tmp_path: Path) -> None:
    torch.save({"x": torch.ones(2)}, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(tmp_path / "bad.pt", "w") as bad:
        for name in good.namelist():
            bad.writestr(name, b"hello" if name.endswith("data.pkl") else good.read(name))
    assert "is not a readable array: damaged, or Python objects" in refusal(tmp_path / "bad.pt")
