from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from tests.runs.inspection.conftest import DIGITS, IMAGES, generators, parts
from trainkit.data import ArrayData, DatasetData, TableData
from trainkit.runs.inspection import data_facts as module
from trainkit.runs.inspection.data_facts import DataFacts, data_facts


class Arrays(ArrayData):
    def __init__(self, inputs: np.ndarray, target: np.ndarray, names: list[str], **common: Any) -> None:
        super().__init__(**common)
        self.given = inputs, target, names

    def arrays(self) -> Any:
        return self.given


def of_datasets(**given: Any) -> DataFacts:
    data = DatasetData(**given)
    data.setup()
    return data_facts(data)


def of_table(folder: Path, frame: pd.DataFrame, **settings: Any) -> DataFacts:
    frame.to_csv(folder / "t.csv", index=False)
    data = TableData(folder / "t.csv", "y", **settings)
    data.setup()
    return data_facts(data)


RNG = np.random.default_rng(0)


def table(n: int = 300) -> pd.DataFrame:
    return pd.DataFrame({"a": RNG.normal(size=n), "b": RNG.choice(list("uvw"), n), "y": np.arange(n) % 2})


def test_rows_of_a_table_are_compared_with_their_targets(tmp_path: Path) -> None:
    frame = table()
    facts = of_table(tmp_path, frame)
    assert facts.num_compared == 300 and (facts.shared("val"), facts.shared("test")) == (0, 0)
    assert facts.sizes == {"test": 45, "val": 45, "train": 210}
    twice = of_table(tmp_path, pd.concat([frame, frame]))
    assert twice.shared("val") > 30 and twice.shared("test") > 30
    other = of_table(tmp_path, pd.concat([frame, frame.assign(y=1 - frame.y)]))
    assert (other.shared("val"), other.shared("test")) == (0, 0)


def test_the_share_that_chance_makes_equal_is_about_the_share_that_is(tmp_path: Path) -> None:
    columns = {name: RNG.integers(0, size, 3000) for name, size in (("a", 7), ("b", 11), ("c", 40))}
    facts = of_table(tmp_path, pd.DataFrame(columns | {"y": RNG.integers(0, 2, 3000)}))
    assert facts.chance_share == pytest.approx(facts.shared("test") / facts.sizes["test"], abs=0.06)
    assert 0.2 < facts.chance_share < 0.4
    assert of_table(tmp_path, table()).chance_share == 0


def test_columns_are_named_after_those_of_the_table(tmp_path: Path) -> None:
    frame = table().assign(user_id=RNG.choice(10**6, 300, replace=False))
    frame["leak"] = np.where(frame.y == 1, "yes", "no")
    facts = of_table(tmp_path, frame)
    assert facts.identifiers == ("user_id",)
    assert [(leak.feature, leak.measure) for leak in facts.leaks] == [("leak", "accuracy")]


def test_columns_of_vectors_are_numbered_and_pixels_are_not_looked_at() -> None:
    target = np.arange(200) % 2
    vectors = np.stack([RNG.normal(size=200), target + RNG.normal(size=200) / 100], axis=1)
    data = Arrays(vectors, target, ["a", "b"])
    data.setup()
    facts = data_facts(data)
    assert [leak.feature for leak in facts.leaks] == ["feature 1"]
    images = Arrays(target.reshape(-1, 1, 1, 1).repeat(4, axis=3), target, ["a", "b"])
    images.setup()
    assert data_facts(images).leaks == ()


def test_datasets_are_compared_across_parts_with_their_targets() -> None:
    facts = of_datasets(**parts(val=(380, 500)))
    assert facts.shared("val") == 20 and facts.shared("test") == 0
    assert all(len(facts.keys[part]) == len(facts.key_targets[part]) == facts.sizes[part] for part in facts.sizes)
    assert np.array_equal(facts.key_targets["val"], DIGITS[380:500])


def test_a_large_dataset_is_compared_as_far_as_the_time_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPARE_SECONDS", 0.0)
    facts = of_datasets(**parts())
    assert {part: len(keys) for part, keys in facts.keys.items()} == {"test": 32, "val": 32, "train": 32}


def test_no_validation_part_is_no_matter() -> None:
    facts = of_datasets(train=TensorDataset(IMAGES, DIGITS), val_share=0.0)
    assert facts.shared("val") == 0 and set(facts.sizes) == {"test", "train"} and facts.num_read_twice == 0


class Shaky(Dataset[Any]):
    """Every other sample has noise of torch's or NumPy's global generator."""

    def __init__(self, use_numpy: bool) -> None:
        self.use_numpy = use_numpy

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Any:
        noise = np.random.rand() if self.use_numpy else float(torch.rand(()))
        return IMAGES[index] + (index % 2) * noise, DIGITS[index]


@pytest.mark.parametrize("use_numpy", [False, True])
def test_samples_that_change_are_counted_and_generators_stay(use_numpy: bool) -> None:
    data = DatasetData(**parts() | {"val": Shaky(use_numpy)})
    data.setup()
    torch.manual_seed(3)
    np.random.seed(3)
    before = generators()
    facts = data_facts(data)
    assert (facts.num_changing, facts.num_read_twice) == (8, 16)
    assert generators() == before


def test_one_object_for_two_parts_and_subsets_that_overlap() -> None:
    given = parts()
    assert of_datasets(**given | {"test": given["train"]}).same_dataset == ("test",)
    whole = TensorDataset(IMAGES, DIGITS)
    cut = {"train": Subset(whole, range(400)), "val": Subset(whole, range(390, 500))}
    assert of_datasets(**cut, test=Subset(whole, range(500, 600))).same_dataset == ("val",)
    apart = {"train": Subset(whole, range(400)), "val": Subset(whole, range(400, 500))}
    assert of_datasets(**apart).same_dataset == ()
