"""Readers of new files: what a model was trained on, or a clear refusal, and never an unpickled object."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from trainkit.data.encoding import TableEncoder
from trainkit.data.reader import Reader
from trainkit.data.readers import ArrayReader, NoReader, TableReader, reader_from_json
from trainkit.errors import DataError

SHAPE = (2, 3)


def samples(num_samples: int = 4, dtype: str = "f4") -> np.ndarray:
    return np.arange(num_samples * 6).reshape(num_samples, *SHAPE).astype(dtype)


def saved(path: Path, array: Any) -> Path:
    np.save(path, array, allow_pickle=True)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        ArrayReader(SHAPE).read(path)
    return str(caught.value)


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": [30.5, 41.0, np.nan, 27.25] * 5,
            "city": ["Bern", "Chur", "Bern", "Olten"] * 5,
            "label": ["no", "yes", "yes", "no"] * 5,
        }
    )


def again(reader: Reader) -> Reader:
    """The reader, through JSON text."""
    return reader_from_json(json.loads(json.dumps(reader.to_json())))


def test_a_table_reader_comes_back_from_json(tmp_path: Path) -> None:
    reader = TableReader(TableEncoder.fit(table(), "label"))
    new = table().drop(columns="label").iloc[:4].assign(city=["Chur", "Genf", "Bern", ""])
    new.to_csv(tmp_path / "new.csv", index=False)
    inputs, unseen = again(reader).read(tmp_path / "new.csv")
    expected, _ = reader.encode(new)
    assert isinstance(inputs, dict)
    assert unseen == {"city": 1}
    assert (inputs["numbers"].dtype, inputs["codes"].dtype) == (torch.float32, torch.int64)
    assert torch.equal(inputs["numbers"].nan_to_num(-1), expected["numbers"].nan_to_num(-1))
    assert torch.equal(inputs["codes"], expected["codes"])
    assert inputs["codes"].flatten().tolist() == [2, 0, 1, 0]


def test_a_table_reader_names_the_column_that_is_not_there(tmp_path: Path) -> None:
    reader = TableReader(TableEncoder.fit(table(), "label"))
    table().rename(columns={"city": "cty"}).to_parquet(tmp_path / "new.parquet")
    with pytest.raises(DataError, match="the table lacks 1 feature column: city"):
        reader.read(tmp_path / "new.parquet")


@pytest.mark.parametrize("name", ["new.npy", "one.npz", "named.npz"])
def test_an_array_reader_reads_npy_and_npz(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "new.npy", samples())
    np.savez(tmp_path / "one.npz", whatever=samples())
    np.savez_compressed(tmp_path / "named.npz", target=np.arange(4), inputs=samples())
    inputs, unseen = again(ArrayReader(SHAPE)).read(tmp_path / name)
    assert isinstance(inputs, Tensor)
    assert unseen == {}
    assert inputs.dtype == torch.float32
    np.testing.assert_array_equal(inputs.numpy(), samples())


@pytest.mark.parametrize("dtype", ["u1", "i8", "f8", "f2", ">f4", ">i2", "u2", "?"])
def test_every_type_of_number_is_read(tmp_path: Path, dtype: str) -> None:
    inputs, _ = ArrayReader(SHAPE).read(saved(tmp_path / "new.npy", samples(dtype=dtype)))
    assert isinstance(inputs, Tensor)
    assert inputs.tolist() == samples(dtype=dtype).tolist()
    inputs.index_select(0, torch.tensor([1]))


def test_arrays_in_fortran_order_are_read(tmp_path: Path) -> None:
    inputs, _ = ArrayReader(SHAPE).read(saved(tmp_path / "new.npy", np.asfortranarray(samples())))
    assert isinstance(inputs, Tensor)
    assert inputs.is_contiguous()
    np.testing.assert_array_equal(inputs.numpy(), samples())


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (samples().reshape(4, 6), "float32 [4, 6]"),
        (samples().reshape(4, 3, 2), "float32 [4, 3, 2]"),
        (samples()[0], "float32 [2, 3]"),
        (np.float32(3), "float32 []"),
        (samples(0), "float32 [0, 2, 3]"),
        (samples().astype(complex), "complex128 [4, 2, 3]"),
        (samples().astype("U3"), "<U3 [4, 2, 3]"),
        (samples().astype("M8[s]"), "datetime64[s] [4, 2, 3]"),
    ],
)
def test_arrays_of_another_shape_or_kind_are_refused(tmp_path: Path, array: np.ndarray, found: str) -> None:
    path = saved(tmp_path / "new.npy", array)
    expected = f"'{path}' holds {found}\n  where    FILE\n  expected numbers of shape [N, 2, 3]"
    assert refusal(path) == expected


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_values_are_refused(tmp_path: Path, value: float) -> None:
    array = samples()
    array[2, 1, 0] = value
    path = saved(tmp_path / "new.npy", array)
    assert refusal(path) == f"'{path}' holds NaN or infinite values\n  where    FILE"


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["npy", "npz", "pickle in npy", "pickle in npz"])
def test_nothing_is_ever_unpickled(tmp_path: Path, form: str) -> None:
    trap, path = tmp_path / "trap", tmp_path / f"new.{form[-3:]}"
    objects = np.array([[Bomb(trap)] * 3] * 2, dtype=object)
    if form == "npy":
        np.save(path, objects, allow_pickle=True)
    elif form == "npz":
        np.savez(path, inputs=objects)
    else:
        path.write_bytes(pickle.dumps(Bomb(trap)))
    assert refusal(path).startswith(f"'{path}' is not a readable array: ")
    assert not trap.exists()
    with path.open("rb") as file:  # the trap works
        loaded = np.load(file, allow_pickle=True)
        if form == "npz":
            loaded["inputs"]
    assert trap.exists()


def test_files_that_are_not_there_or_of_another_kind_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "new.npy") == f"there is no file '{tmp_path}/new.npy'\n  where    FILE"
    (tmp_path / "folder.npy").mkdir()
    assert refusal(tmp_path / "folder.npy").startswith(f"'{tmp_path}/folder.npy' is a folder")
    expected = ".npy, .npz, .safetensors, .pt of shape [N, 2, 3]"
    path = tmp_path / "new.csv"
    assert refusal(path) == f"cannot read '{path}'\n  where    FILE\n  expected {expected}"


def test_archives_of_several_arrays_or_of_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.npz"
    np.savez(path, a=samples(), b=samples())
    assert refusal(path) == f"'{path}' holds a, b\n  where    FILE\n  expected one array, or one called inputs"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inputs", "hello")
    assert refusal(path) == f"'inputs' of {path} is a bytes\n  where    data\n  expected an array or a tensor"


@pytest.mark.parametrize("form", ["npy", "npz", "compressed.npz"])
def test_damaged_files_are_refused(tmp_path: Path, form: str) -> None:
    """Files cut off, or with some bytes changed, are read as numbers of the right shape, or refused by name."""
    buffer = io.BytesIO()
    {"npy": np.save, "npz": np.savez, "compressed.npz": np.savez_compressed}[form](buffer, samples())
    draw, path = random.Random(0), tmp_path / f"new.{form}"
    num_refused = 0
    for attempt in range(300):
        content = bytearray(buffer.getvalue())
        if attempt % 3 == 0:
            content = content[: draw.randrange(len(content))]
        for _ in range(attempt % 3 * 3):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        try:
            inputs, _ = ArrayReader(SHAPE).read(path)
        except DataError as error:
            assert str(path) in error.what
            num_refused += 1
        else:
            assert isinstance(inputs, Tensor)
            assert inputs.shape[1:] == SHAPE
    assert num_refused > 100


def test_no_file_is_read_for_a_dataset_of_the_users_own(tmp_path: Path) -> None:
    reader = again(NoReader())
    assert isinstance(reader, NoReader)
    with pytest.raises(DataError) as caught:
        reader.read(tmp_path / "new.csv")
    assert str(caught.value) == (
        f"cannot read '{tmp_path}/new.csv': this model was trained on a Dataset of your own\n"
        "  where    FILE\n  hint     use trainkit.load_run(RUN).predict(dataset) in Python"
    )


def test_an_unknown_reader_is_refused() -> None:
    for values, kind in (({"kind": "magic"}, "magic"), ({}, None)):
        with pytest.raises(DataError) as caught:
            reader_from_json(values)
        assert caught.value.what == f"unknown reader '{kind}' in the model's metadata"
