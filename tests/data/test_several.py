"""Several targets of a row: labels or numbers, told by their values, with missing ones, and in like shares per part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from trainkit.data import DatasetData, GivenArrays, TableData
from trainkit.data.array_targets import encode_target
from trainkit.data.encoding import TableEncoder
from trainkit.data.preprocessing import TableInputs
from trainkit.data.several import SeveralTargets, label_strata
from trainkit.data.splits import make_splits
from trainkit.errors import DataError

FRAME = pd.DataFrame(
    {
        "a": [0, 1, 1, 0],
        "b": ["no", "Yes", None, "no"],
        "c": [True, False, True, True],
        "u": [1.5, 2.0, np.nan, 4.0],
        "v": [1, 2, 3, 4],
        "word": list("wxyz"),
        "same": [1, 1, 1, 1],
    }
)


def test_labels_are_columns_of_0_and_1_in_every_spelling() -> None:
    fitted = SeveralTargets.fit(FRAME, ["a", "b", "c"])
    assert (fitted.kind, fitted.class_names) == ("multilabel", ("a", "b", "c"))
    np.testing.assert_array_equal(fitted.encode(FRAME), [[0, 0, 1], [1, 1, 0], [1, np.nan, 1], [0, 0, 1]])


def test_other_columns_are_numbers() -> None:
    fitted = SeveralTargets.fit(FRAME, ["u", "v"])
    assert (fitted.kind, fitted.class_names) == ("number", ())
    np.testing.assert_array_equal(fitted.encode(FRAME), [[1.5, 1], [2, 2], [np.nan, 3], [4, 4]])
    assert SeveralTargets.fit(FRAME, ["a", "v"]).kind == "number"
    assert SeveralTargets.fit(FRAME, ["a", "c"], "number").kind == "number"


@pytest.mark.parametrize(
    ("names", "kind", "said"),
    [
        (["a"], None, "the list has 'a' only"),
        ([], None, "the list is empty"),
        (["a", "a"], None, "data.target names 'a' twice"),
        (["a", "nope"], None, "the table has no column 'nope'"),
        (["a", "c"], "class", "data.target_kind is class, and data.target names 2 columns"),
        (["a", "v"], "multilabel", "label 'v' is '2' in row 1"),
        (["u", "word"], None, "target 'word' is 'w' in row 0"),
        (["a", "same"], None, "label 'same' is 1 in every row"),
    ],
)
def test_what_is_neither_is_named(names: list[str], kind: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        SeveralTargets.fit(FRAME, names, kind)
    assert str(caught.value).startswith(said)


def test_classes_written_as_labels_are_told() -> None:
    one_hot = np.eye(3)[[0, 1, 2, 1]]
    with pytest.raises(DataError, match=r"exactly one of the 3 labels.*\n.*\n.*argmax"):
        encode_target(one_hot)
    with pytest.raises(DataError, match="exactly one of the 2 labels"):
        SeveralTargets.fit(FRAME.assign(not_a=1 - FRAME["a"]), ["a", "not_a"])
    labels, names = encode_target(one_hot, "multilabel", ["x", "y", "z"])
    assert (str(labels.dtype), names) == ("float32", ("x", "y", "z"))


def test_arrays_of_several_targets() -> None:
    labels, names = encode_target(np.array([[0, 1], [1, 1], [np.nan, 0]]))
    assert (str(labels.dtype), labels.shape, names) == ("float32", (3, 2), ("0", "1"))
    numbers, names = encode_target(np.array([[0.5, 1], [1, 2]]))
    assert (str(numbers.dtype), numbers.shape, names) == ("float64", (2, 2), ())
    assert encode_target(np.array([[0, 5], [1, 2]]), "number")[0].dtype == np.float64


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        (np.array([[0, 5], [1, 2]]), {}, "the targets are integers [N, 2], and not all 0 or 1"),
        (np.array([[0, 5], [1, 2]]), {"kind": "multilabel"}, "label 1 is 5 in row 0"),
        (np.array([[0, 1], [1, 1]]), {"kind": "class"}, "the targets have the shape [2, 2], and data.target_kind is"),
        (np.array([[0, 1], [1, 0], [1, 1]]), {"class_names": ["a"]}, "1 names for 2 labels"),
        (np.array([[0.5, 1], [1, 0]]), {"class_names": ["a", "b"]}, "numbers have no class names"),
        (np.array([["a", "b"]]), {}, "the targets are texts [N, T]"),
        (np.array([0, 1]), {"kind": "multilabel"}, "the targets have the shape [2], and data.target_kind is"),
        (np.array([[1.0, 0.5], [1.0, 0.2]]), {}, "target '0' is 1 in every row"),
    ],
)
def test_arrays_that_are_neither_are_named(target: np.ndarray, options: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        encode_target(target, **options)
    assert str(caught.value).startswith(said)


def labels_frame(num_rows: int = 300, num_labels: int = 6, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    shares = np.geomspace(0.5, 0.04, num_labels)
    table = pd.DataFrame(generator.normal(size=(num_rows, 3)), columns=["x", "y", "z"])
    for place, share in enumerate(shares):
        table[f"l{place}"] = (generator.random(num_rows) < share).astype(int)
    return table


def test_parts_have_like_shares_of_each_label() -> None:
    """Far nearer than at random, where a label of 4 % may lack in a part of 15 %."""
    errors: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(10):
        values = labels_frame(seed=seed).iloc[:, 3:].to_numpy(float)
        for is_stratified, found in errors.items():
            splits = make_splits(len(values), seed=seed, strata=label_strata(values) if is_stratified else None)
            for rows in (splits.val, splits.test):
                counts = values[rows].sum(axis=0)
                found += np.abs(counts - values.sum(axis=0) * len(rows) / len(values)).tolist()
    assert np.mean(errors[True]) < 0.6 * np.mean(errors[False])


def test_strata_are_never_so_many_that_all_rows_go_to_training() -> None:
    values = np.random.default_rng(0).integers(0, 2, size=(60, 12)).astype(float)  # every row a combination of its own
    splits = make_splits(60, strata=label_strata(values))
    assert [len(part) for part in splits.parts().values()] == [42, 9, 9]


def table(tmp_path: Path, frame: pd.DataFrame, target: list[str], **options: Any) -> TableData:
    frame.to_csv(tmp_path / "table.csv", index=False)
    data = TableData(tmp_path / "table.csv", target, **options)
    data.setup()
    return data


def test_a_table_of_labels(tmp_path: Path) -> None:
    frame = labels_frame(num_labels=3)
    frame.loc[[3, 7], "l1"] = np.nan
    data = table(tmp_path, frame, ["l0", "l1", "l2"])
    assert (data.spec.target_kind, data.spec.class_names, data.spec.target_names) == (
        "multilabel",
        ("l0", "l1", "l2"),
        (),
    )
    assert data.spec.feature_names == ("x", "y", "z") and data.spec.sizes()["num_labels"] == 3
    assert data.source.target.dtype == torch.float32 and int(data.source.target.isnan().sum()) == 2  # type: ignore[attr-defined]
    encoder = data.reader.encoder
    again = TableEncoder.from_json(encoder.to_json())
    assert again == encoder and again.target.names == ("l0", "l1", "l2")
    read = data.reader.encode(frame.drop(columns=["l0", "l1", "l2"]))[0]
    assert read["numbers"].shape == (300, 3)
    assert isinstance(data.input_module(torch.nn.Identity()), TableInputs)


def test_a_table_of_numbers(tmp_path: Path) -> None:
    data = table(tmp_path, labels_frame().assign(u=np.arange(300) / 7), ["u", "x"], group=None)
    assert (data.spec.target_kind, data.spec.target_names, data.strata()) == ("number", ("u", "x"), None)
    assert data.spec.target_name == "u, x" and data.spec.sizes()["num_outputs"] == 2
    assert data.targets("train").shape == (210, 2) and data.targets("train").dtype == np.float64
    with pytest.raises(DataError, match=r"data\.features names the target 'x'"):
        table(tmp_path, labels_frame(), ["x", "y"], features=["x", "z"])
    with pytest.raises(DataError, match=r"data\.group names the target 'x'"):
        table(tmp_path, labels_frame(), ["x", "y"], group="x")


class Samples(Dataset[Any]):
    """Samples of given targets."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, index: int) -> Any:
        return torch.full((2,), float(index)), self.target[index]


@pytest.mark.parametrize("kind", ["items", "tensors", "arrays"])
def test_targets_of_a_script(kind: str) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, (60, 3)).astype(np.float32)
    labels[5, 1] = np.nan
    numbers = generator.normal(size=(60, 2)).astype(np.float32)

    def data(target: np.ndarray, **options: Any) -> DatasetData | GivenArrays:
        tensor, inputs = torch.from_numpy(target), torch.arange(60.0)[:, None].expand(60, 2)
        made: DatasetData | GivenArrays
        if kind == "arrays":
            made = GivenArrays((inputs.numpy(), target), **options)
        else:
            made = DatasetData(Samples(tensor) if kind == "items" else TensorDataset(inputs, tensor), **options)
        made.setup()
        return made

    several = data(labels, class_names=["a", "b", "c"])
    assert (several.spec.target_kind, several.spec.class_names) == ("multilabel", ("a", "b", "c"))
    np.testing.assert_array_equal(several.targets("train"), labels[several.splits.train])
    target = several.source.fetch(torch.tensor([4, 5]), 0)[1]
    np.testing.assert_array_equal(target.numpy(), labels[[4, 5]])
    assert data(labels.astype(bool) if kind != "items" else labels[:, :3]).spec.class_names == ("0", "1", "2")
    of_numbers = data(numbers, target_names=["u", "v"])
    assert (of_numbers.spec.target_kind, of_numbers.spec.target_names) == ("number", ("u", "v"))
    np.testing.assert_array_equal(of_numbers.targets("val"), numbers[of_numbers.splits.val].astype(float))
    assert data(labels, target_kind="number").spec.target_names == ("y0", "y1", "y2")
    with pytest.raises(DataError, match=r"data\.target_names are u"):
        data(numbers, target_names=["u"])


def test_datasets_of_uneven_targets_are_refused() -> None:
    ragged = Samples([torch.zeros(2), torch.ones(3), torch.zeros(2)])
    with pytest.raises(DataError, match="the target has 3 numbers, and that of sample 0 2"):
        DatasetData(ragged).setup()
    with pytest.raises(DataError, match="target has NaN or infinite values"):
        DatasetData(Samples(torch.full((60, 2), torch.inf))).setup()
    with pytest.raises(DataError, match=r"data\.target_kind is multilabel"):
        DatasetData(Samples(torch.arange(60) % 2), target_kind="multilabel").setup()


def test_a_slip_among_labels_is_named_and_not_taken_for_a_number() -> None:
    frame = labels_frame(num_labels=3).astype({"l1": float})
    frame.loc[7, "l1"] = 2.0
    with pytest.raises(DataError, match=r"label 'l1' is '2.0' in row 7\n.*\n.*\n.*data.target_kind=number"):
        SeveralTargets.fit(frame, ["l0", "l1", "l2"])
    assert SeveralTargets.fit(frame, ["l0", "l1", "l2"], "number").kind == "number"
    values = frame[["l0", "l1", "l2"]].to_numpy(float)
    with pytest.raises(DataError, match="nearly all 0 or 1"):
        encode_target(values)
    assert encode_target(values, "number")[1] == ()
