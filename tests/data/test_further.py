"""Further validation sets: what of them is not new is told, and none is called like a part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import TensorDataset

from trainkit.data import ArrayFiles, DatasetData, GivenArrays, TableData
from trainkit.errors import DataError

Cli = Callable[..., Any]
QUICK = ("model=mlp", "model.hidden=[4]", "trainer.max_epochs=1", "trainer.threads=1", "evaluation.resamples=50")


def arrays(num_rows: int, seed: int = 0, **more: Any) -> dict[str, Any]:
    x = np.random.default_rng(seed).normal(size=(num_rows, 3))
    return {"x": x, "y": (x[:, 0] > 0).astype(int), **more}


def notes(data: GivenArrays | ArrayFiles | TableData | DatasetData) -> list[str]:
    data.setup()
    return data.notes()


def test_rows_of_arrays_that_stand_in_training_or_test(cli: Cli, tmp_path: Path) -> None:
    own, new = arrays(200), arrays(10, seed=1)
    np.savez(tmp_path / "a.npz", **own)
    far = {name: np.concatenate([own[name][:30], new[name]]) for name in own}
    np.savez(tmp_path / "far.npz", x=far["x"], y=far["y"])
    code, out, err = cli("fit", "data=arrays", "data.path=a.npz", "+data.extra_val.far=far.npz", *QUICK, "run.dir=run")
    assert (code, err) == (0, "")
    assert "data   a 200 vectors 3\n" in out
    splits = np.load(tmp_path / "run" / "splits.npz")
    in_train, in_test = (int((splits[part] < 30).sum()) for part in ("train", "test"))
    assert in_train and in_test
    assert f"note   val/far shares {in_train} with train and {in_test} with test of its 40 rows\n" in out


def test_the_same_inputs_with_another_target_are_another_row() -> None:
    own = arrays(100)
    other = {"x": own["x"], "y": 1 - own["y"]}
    assert notes(GivenArrays(own, extra_val={"other": other, "new": arrays(20, seed=1)})) == []


def test_tables_are_looked_at_in_the_same_way(tmp_path: Path) -> None:
    frame = pd.DataFrame(arrays(100)["x"], columns=list("abc")).assign(y=np.arange(100) % 2)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.iloc[:20].to_csv(tmp_path / "far.csv", index=False)
    data = TableData(tmp_path / "t.csv", "y", extra_val={"far": tmp_path / "far.csv"}, test_share=0, val_share=0.1)
    data.setup()
    in_train = int((data.splits.train < 20).sum())
    assert data.notes() == [f"val/far shares {in_train} with train of its 20 rows"]
    assert data.describe() == "t.csv 100 + far.csv 20 rows · 0 categories, 3 numbers"


def test_groups_in_common_are_told_and_not_refused() -> None:
    own = arrays(100, group=np.arange(100) // 10)
    far = arrays(30, seed=1, group=np.repeat([0, 1, 77], 10))
    data = GivenArrays(own, extra_val={"far": far}, group="group", test_share=0.2, val_share=0.2)
    (note,) = notes(data)
    in_train, in_test = (len({0, 1} & {int(g) for g in data.groups(part)}) for part in ("train", "test"))  # type: ignore[union-attr]
    counts = [f"{count} with {part}" for part, count in (("train", in_train), ("test", in_test)) if count]
    assert counts and note == f"val/far shares {' and '.join(counts)} of its 3 groups"
    with pytest.raises(DataError, match="group '0' is in the train part and in the test part"):
        GivenArrays(own, test=far, val_share=0, group="group").setup()


def test_moments_before_the_end_of_training_are_told() -> None:
    own = arrays(100, when=np.arange(100))
    early, late = arrays(10, seed=1, when=np.arange(66, 76)), arrays(10, seed=2, when=np.arange(90, 100))
    data = GivenArrays(own, extra_val={"early": early, "late": late}, time="when")
    assert notes(data) == ["val/early has 4 of its 10 rows no later than the end of train"]
    assert data.describe_splits() == "by time (when): train until 69"


def test_datasets_are_not_read_for_it() -> None:
    samples = TensorDataset(torch.randn(40, 2), torch.arange(40) % 2)
    assert notes(DatasetData(samples, extra_val={"same": samples})) == []


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_a_set_that_is_called_like_a_part_is_refused(name: str, tmp_path: Path) -> None:
    message = (
        f"a further validation set is called '{name}'\n  where    data.extra_val\n"
        "  expected another name than train, val and test\n  hint     data.extra_val.NAME=FILE"
    )
    samples = TensorDataset(torch.randn(40, 2), torch.arange(40) % 2)
    made: list[Callable[[], Any]] = [
        lambda: GivenArrays(arrays(20), extra_val={name: arrays(9)}),
        lambda: ArrayFiles("a.npz", extra_val={name: "b.npz"}),
        lambda: TableData("a.csv", "y", extra_val={name: "b.csv"}),
        lambda: DatasetData(samples, extra_val={name: samples}),
    ]
    for make in made:
        with pytest.raises(DataError) as caught:
            make()
        assert str(caught.value) == message
