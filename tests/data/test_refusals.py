"""Mistakes in data are told where they are made, with what was expected and how to mend them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import TensorDataset

import trainkit as tk
from trainkit.data import ArrayFiles, DatasetData, GivenArrays, TableData
from trainkit.data.splits import make_folds
from trainkit.errors import ConfigError, DataError, near_file

X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.arange(60) % 2


def refusal(make: Callable[[], Any]) -> str:
    with pytest.raises((DataError, ConfigError)) as caught:
        data = make()
        data.setup()
    return str(caught.value)


@pytest.mark.parametrize("role", ["weight", "group", "time"])
def test_a_role_that_names_the_target(role: str, tmp_path: Path) -> None:
    pd.DataFrame(X, columns=list("abc")).assign(y=Y).to_csv(tmp_path / "t.csv", index=False)
    told: dict[str, Any] = {role: "y"}
    assert refusal(lambda: TableData(tmp_path / "t.csv", "y", **told)) == (
        f"data.{role} names the target 'y'\n  where    data.{role}\n  expected one of a, b, c"
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["data=wine", "task=regression"],
            "the task is for a number, and the target of wine is a class\n  where    task\n"
            "  expected task=classification, or task=auto\n  hint     data.target_kind=number, if it is to be read so",
        ),
        (
            ["data=diabetes", "task=classification"],
            "the task is for a class, and the target of diabetes is a number\n  where    task\n"
            "  expected task=regression, or task=auto\n  hint     data.target_kind=class, if it is to be read so",
        ),
    ],
)
def test_a_task_for_another_kind_of_target(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tk.fit(tk.compose(overrides))
    assert str(caught.value) == message


def test_a_number_beyond_float32_is_found_before_the_model_meets_it() -> None:
    large, target = X.copy(), X[:, 0].copy()
    large[[3, 8], 1] = 1e300, -1e39
    target[5] = 1e300
    assert refusal(lambda: GivenArrays((large, Y))) == (
        "2 rows of the inputs of arrays have numbers that are too large for float32\n  where    data, rows 3, 8\n"
        "  expected numbers up to 3.4e38\n  hint     rows are counted from 0; leave them out, or fill them in"
    )
    assert refusal(lambda: GivenArrays((X, target))).startswith(
        "1 row of the targets of arrays has numbers that are too"
    )
    samples = TensorDataset(torch.from_numpy(large), torch.from_numpy(Y))
    assert refusal(lambda: DatasetData(samples)) == (
        "inputs has values too large for float32\n  where    data, sample 3\n  expected numbers up to 3.4e38"
    )
    GivenArrays((np.where(large == 1e300, 3e38, np.clip(large, -1, 1)), Y)).setup()


def test_rows_of_several_parts_are_counted_on() -> None:
    hole = X.copy()
    hole[2, 0] = np.nan
    assert refusal(lambda: GivenArrays((X, Y), test=(hole, Y))).splitlines()[1::2] == [
        "  where    data, row 62",
        "  hint     rows are counted from 0, on through all parts; leave them out, or fill them in",
    ]


def test_objects_in_a_file_are_told_how_to_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "o.npz"
    np.savez(path, x=X, y=np.array(["a", "b"] * 30, dtype=object))
    assert refusal(lambda: ArrayFiles(path)) == (
        f"'{path}' is not a readable array: damaged, or Python objects, which are not unpickled\n  where    {path}\n"
        "  hint     save numbers, or texts of a fixed width: array.astype(float), array.astype(str)"
    )
    assert refusal(lambda: GivenArrays((X, np.array(["a", "b"] * 30, dtype=object)))).endswith(
        "\n  hint     target.astype(str), or target.astype(int)"
    )


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("zzz.npz", None),
        ("inn.csv", None),
        ("trian.csv", "did you mean 'train.csv'?"),
        ("train.npz", "did you mean 'train.csv'?"),
        ("scans.npz", "did you mean 'scan.npz'?"),
        ("nowhere/train.csv", None),
    ],
)
def test_a_common_ending_makes_no_name_near(tmp_path: Path, asked: str, near: str | None) -> None:
    for name in ("ok.npz", "train.csv", "scan.csv", "scan.npz"):
        (tmp_path / name).touch()
    assert near_file(tmp_path / asked) == near


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"num_folds": 59, "times": np.arange(60)}, "fold 0 of 59 leaves 1 distinct moment for train and val"),
        ({"num_folds": 2, "groups": np.arange(60) % 2}, "fold 0 of 2 leaves 1 group for train and val"),
    ],
)
def test_too_many_folds_for_a_validation_part_beside_them(options: dict[str, Any], what: str) -> None:
    with pytest.raises(DataError) as caught:
        make_folds(60, **options, val_share=0.15)
    assert (caught.value.what, caught.value.where) == (what, "data.folds")
    assert caught.value.expected == "fewer folds, or data.val_share=0"
    make_folds(60, **options)


def test_keys_that_take_a_mapping_or_wait_for_one() -> None:
    with pytest.raises(ConfigError) as caught:
        tk.fit(tk.compose(["data=arrays", "data.path=a.npz", "data.extra_val=far.npz"]))
    assert caught.value.hint == "+data.extra_val.NAME=far.npz"
    with pytest.raises(ConfigError) as caught:
        tk.compose(["data=dataset", "data.train._target_=mine.Scans"])
    assert caught.value.hint == "what is null or ??? is filled with a plus: +data.train._target_=…"
