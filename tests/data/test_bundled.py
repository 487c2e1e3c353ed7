"""The data that scikit-learn carries, against scikit-learn's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import datasets

from trainkit.data.bundled import BundledTable, Digits
from trainkit.data.sources import TensorSource
from trainkit.errors import ConfigError


def test_digits() -> None:
    data, bunch = Digits(), datasets.load_digits()
    data.setup()
    assert data.describe() == "digits 1,797 images 1×8×8"
    assert isinstance(data.source, TensorSource)
    assert isinstance(data.source.inputs, torch.Tensor)
    assert data.source.inputs.dtype == torch.uint8
    np.testing.assert_array_equal(data.source.inputs[:, 0].numpy(), bunch.images)
    np.testing.assert_array_equal(data.source.target.numpy(), bunch.target)
    assert data.spec.sizes() == {
        "num_outputs": 10,
        "out_features": 10,
        "num_classes": 10,
        "in_channels": 1,
        "image_size": 8,
        "image_height": 8,
        "image_width": 8,
        "in_features": 64,
        "input_shape": [1, 8, 8],
    }
    assert [len(getattr(data.splits, part)) for part in ("train", "val", "test")] == [1258, 269, 270]
    assert Digits(name="mine").name == "mine"


def test_the_fingerprint_of_digits_is_always_the_same() -> None:
    first, second = Digits(), Digits(split_seed=3, batch_size=8)
    first.setup()
    second.setup()
    assert first.fingerprint == second.fingerprint != ""


@pytest.mark.parametrize(
    ("name", "num_rows", "num_features", "class_names"),
    [
        ("breast_cancer", 569, 30, ("benign", "malignant")),
        ("wine", 178, 13, ("class_0", "class_1", "class_2")),
        ("iris", 150, 4, ("setosa", "versicolor", "virginica")),
    ],
)
def test_tables_of_classes(name: str, num_rows: int, num_features: int, class_names: tuple[str, ...]) -> None:
    data = BundledTable(name)  # type: ignore[arg-type]
    data.setup()
    bunch = getattr(datasets, f"load_{name}")()
    assert data.name == name
    duplicate = " · 1 duplicate row" if name == "iris" else ""
    assert data.describe() == f"{name} {num_rows} rows · 0 categories, {num_features} numbers{duplicate}"
    assert (data.spec.target_kind, data.spec.class_names) == ("class", class_names)
    assert data.spec.num_numbers == num_features
    for part in ("train", "val", "test"):
        expected = bunch.target_names[bunch.target[getattr(data.splits, part)]]
        np.testing.assert_array_equal(np.array(class_names)[data.targets(part)], expected)
    train = bunch.data[data.splits.train].astype(np.float32)
    expected = (train - train.mean(0, dtype=np.float64)) / train.std(0, dtype=np.float64)
    np.testing.assert_allclose(data.flat_arrays()[data.splits.train], expected, atol=2e-5)


def test_a_table_with_a_number_to_predict() -> None:
    data = BundledTable("diabetes", name="mine")
    data.setup()
    bunch = datasets.load_diabetes()
    assert data.describe() == "diabetes 442 rows · 0 categories, 10 numbers"
    assert (data.spec.target_kind, data.spec.class_names, data.name) == ("number", (), "mine")
    np.testing.assert_array_equal(data.targets("test"), bunch.target[data.splits.test])


def test_tables_have_fingerprints_of_their_own() -> None:
    prints: set[str] = set()
    for name in ("wine", "iris", "wine"):
        data = BundledTable(name, split_seed=len(prints))
        data.setup()
        prints.add(data.fingerprint)
    assert len(prints) == 2


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        BundledTable("vine")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "there is no bundled table 'vine'\n  where    data.table\n"
        "  expected one of breast_cancer, diabetes, iris, wine\n  hint     did you mean 'wine'?"
    )


def test_parts_of_a_bundled_table_come_from_no_file() -> None:
    with pytest.raises(ConfigError) as error:
        BundledTable("wine", val_path="val.csv")
    assert str(error.value) == "a bundled table has no val_path\n  where    data.val_path\n  hint     use data=table"
