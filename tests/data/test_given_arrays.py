"""Arrays that a script gives, as pairs or by key: groups, moments and weights of the rows come with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import trainkit as tk
from trainkit.data import ArrayFiles, GivenArrays
from trainkit.errors import ConfigError, DataError
from trainkit.runs.live import is_arrays

QUICK = ["model=mlp", "model.hidden=[4]", "trainer.max_epochs=1", "trainer.threads=1", "evaluation.resamples=50"]


def keyed(num_rows: int = 120, **more: Any) -> dict[str, Any]:
    x = np.random.default_rng(num_rows).normal(size=(num_rows, 3))
    patient = np.array([f"p{number // 4}" for number in range(num_rows)])
    return {"x": x, "y": (x[:, 0] > 0).astype(int), "patient": patient, "w": np.arange(num_rows) % 3, **more}


def set_up(train: Any, **options: Any) -> GivenArrays:
    data = GivenArrays(train, **options)
    data.setup()
    return data


def test_a_dict_brings_groups_and_weights_to_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arrays = keyed()
    result = tk.fit(
        train=arrays,
        val={"near": keyed(24, patient=np.repeat("near", 24)), "far": keyed(16, patient=np.repeat("far", 16))},
        overrides=["data.group=patient", "data.weight=w", *QUICK, "run.dir=run"],
    )
    out = capsys.readouterr().out
    assert "data   arrays 144 vectors 3 · weighted by w\n" in out
    assert "grouped by patient (" in out and result.test["auroc"].method.endswith(" groups")
    saved = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    rows = saved[saved["split"] == "test"]
    assert rows["group"].tolist() == arrays["patient"][rows["row"]].tolist()
    assert set(saved[saved["split"] == "validation/far"]["group"]) == {"far"}


def test_roles_are_those_of_a_file_with_the_same_keys(tmp_path: Path) -> None:
    arrays = keyed(when=np.arange(120)[::-1].copy())
    np.savez(tmp_path / "a.npz", **arrays)
    several: list[dict[str, Any]] = [{"group": "patient", "weight": "w"}, {"time": "when"}, {"target": "w"}]
    for options in several:
        mine, file = set_up(arrays, **options), ArrayFiles(tmp_path / "a.npz", **options)
        file.setup()
        for part, rows in mine.splits.parts().items():
            np.testing.assert_array_equal(rows, file.splits.parts()[part])
        assert mine.fingerprint == file.fingerprint
        assert mine.is_weighted == ("weight" in options)
        np.testing.assert_array_equal(mine.targets("test"), file.targets("test"))


def test_texts_of_a_data_frame_are_groups() -> None:
    data = set_up(keyed(patient=np.array([f"p{number // 4}" for number in range(120)], dtype=object)), group="patient")
    groups = data.groups("test")
    assert groups is not None and set(groups) <= {f"p{number}" for number in range(30)}


def test_one_dict_may_hold_all_parts() -> None:
    x, y = keyed()["x"], keyed()["y"]
    data = set_up({"x_train": x[:80], "y_train": y[:80], "x_test": x[80:], "y_test": torch.from_numpy(y[80:])})
    assert data.sizes == {"train": 80, "test": 40}
    with pytest.raises(DataError) as caught:
        set_up({"x": x[:80], "y": y[:80], "x_test": x[80:], "y_test": y[80:]}, test=(x, y))
    assert str(caught.value) == "train has a test part of its own\n  where    test\n  hint     leave out test"


def test_keys_that_are_called_like_a_role_and_not_used_are_told() -> None:
    assert set_up(keyed(group=np.arange(120))).describe() == "arrays 120 vectors 3 · group not used (data.group=group)"
    assert set_up(keyed(group=np.arange(120) // 2), group="group").describe() == "arrays 120 vectors 3"


@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        (
            (keyed()["x"], keyed()["y"]),
            {"group": "patient"},
            "train is two arrays, and data.group=patient names a key\n  where    data.group\n"
            "  expected a dict of arrays\n  hint     train={'x': …, 'y': …, 'patient': …}",
        ),
        (
            keyed(),
            {"group": "patent"},
            "train has no key 'patent'\n  where    data.group\n  expected one of x, y, patient, w\n"
            "  hint     did you mean 'patient'?",
        ),
        (
            keyed(w=np.ones(9)),
            {"weight": "w"},
            "the weight 'w' is float64 [9]\n  where    data.weight\n  expected a value for each of 120 rows",
        ),
        (
            keyed(w=[1] * 120),
            {"weight": "w"},
            "'w' of train is a list\n  where    data\n  expected an array or a tensor",
        ),
    ],
)
def test_what_does_not_fit_is_refused(train: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        set_up(train, **options)
    assert str(caught.value) == message


def test_every_part_needs_the_key() -> None:
    x, y = keyed()["x"], keyed()["y"]
    with pytest.raises(DataError, match="test has no key 'patient'"):
        set_up(keyed(), test={"x": x, "y": y}, group="patient")
    with pytest.raises(DataError, match="test is two arrays, and "):
        set_up(keyed(), test=(x, y), group="patient")


def test_arrays_are_told_from_sets_by_name() -> None:
    pair = (np.ones(3), torch.ones(3))
    assert is_arrays(pair) and is_arrays(list(pair)) and is_arrays({"x": pair[0], "y": [1, 2, 3]})
    assert not is_arrays({"near": pair, "far": pair}) and not is_arrays({"near": {"x": pair[0]}}) and not is_arrays({})
    with pytest.raises(ConfigError, match="train is given as arrays, but the config has data"):
        tk.fit(tk.compose(["data=wine"]), train=keyed())
