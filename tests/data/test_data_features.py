"""Arrays, groups, time, folds, shares and sampling from the command line and from a script, end to end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import TensorDataset

import trainkit as tk
from trainkit.data.bundled import BundledTable, Digits
from trainkit.data.dataset import DatasetData
from trainkit.data.splits import Splits
from trainkit.data.table import TableData
from trainkit.errors import DataError
from trainkit.rundir import RunDirectory, read_json
from trainkit.training import TrainModule

Cli = Callable[..., Any]
QUICK = ("model=mlp", "trainer.max_steps=4", "evaluation.resamples=20", "logger=none", "trainer.threads=1")


def visits(path: Path, num_rows: int = 300) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    x = generator.normal(size=num_rows)
    frame = pd.DataFrame(
        {
            "x": x,
            "patient": [f"p{number}" for number in generator.integers(0, 40, num_rows)],
            "when": pd.date_range("2021-01-01", periods=num_rows, freq="8h").strftime("%Y-%m-%d"),
            "w": generator.random(num_rows).round(3),
            "y": np.where(x + generator.normal(size=num_rows) > 0.5, "ill", "well"),
        }
    ).sample(frac=1, random_state=0, ignore_index=True)
    frame.to_csv(path, index=False)
    return frame


def told(out: str, label: str) -> str:
    (line,) = [line for line in out.splitlines() if line.startswith(f"{label} ")]
    return line.removeprefix(label).strip()


def test_signals_of_a_generator_end_to_end(cli: Cli, tmp_path: Path) -> None:
    from mnist1d.data import get_dataset_args, make_dataset  # type: ignore[import-untyped]

    arguments = get_dataset_args()
    arguments.num_samples = 500
    made = make_dataset(arguments)
    arrays: Any = {key: value for key, value in made.items() if isinstance(value, np.ndarray)}
    np.savez(tmp_path / "mnist1d.npz", **arrays)
    common = ("fit", "data=arrays", "data.path=mnist1d.npz", "data.layout=signal", *QUICK)
    code, out, err = cli(*common, "run.dir=run")
    assert (code, err) == (0, "")
    assert told(out, "data") == "mnist1d 500 signals 1×40"
    assert told(out, "split") == "train 340 · val 60 · test 100 · test as given, stratified, split seed 0"
    np.save(tmp_path / "new.npy", made["x_test"])
    assert cli("predict", "run", "new.npy", "-o", "new.csv").code == 0
    assert cli("predict", "run", "mnist1d.npz", "-o", "all.csv").code == 0
    kept = pd.read_parquet(RunDirectory(tmp_path / "run").predictions)
    kept = kept[kept["split"] == "test"]
    new = pd.read_csv(tmp_path / "new.csv")
    np.testing.assert_allclose(new["p_3"], kept["p_3"], rtol=1e-9)
    assert len(pd.read_csv(tmp_path / "all.csv")) == 400
    refused = cli("predict", "run", "new.npy", "-o", "new.txt")
    assert refused.code == 2
    np.save(tmp_path / "new.npy", made["x_test"][:, :30])
    refused = cli("predict", "run", "new.npy", "-o", "new.csv")
    assert (refused.code, refused.stderr) == (
        2,
        "'new.npy' holds float64 [100, 30]\n  where    FILE\n  expected numbers of shape [N, 40]\n",
    )


def test_arrays_in_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (120, 6, 6, 3)).astype(np.uint8)
    labels = (images[..., 0].mean((1, 2)) > 127).astype(int)
    result = tk.fit(
        train=(images[:80], labels[:80]),
        val={"main": (images[80:100], labels[80:100]), "more": (images[:30], labels[:30])},
        test=(torch.from_numpy(images[100:]), torch.from_numpy(labels[100:])),
        overrides=[*QUICK, "run.dir=run"],
    )
    out = capsys.readouterr().out
    assert told(out, "data") == "arrays 120 images 3×6×6 · channels last, moved first"
    assert told(out, "split") == "train 80 · val 20 · test 20 · val/more 30 · parts as given"
    assert result.extra_validation["more"]["accuracy"].n == 30
    run = tk.load_run("run")
    raw = run.predict(images[:5])
    pd.testing.assert_frame_equal(raw, run.predict(torch.from_numpy(np.moveaxis(images[:5], -1, 1).copy())))
    np.save("new.npy", images[:5])
    pd.testing.assert_frame_equal(raw, run.predict("new.npy"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train": (np.ones(3), [1, 2, 3])}, "train is a tuple"),
        ({"train": (np.ones((9, 2)), np.arange(9)), "val": 3}, "val is a int"),
        ({"train": TensorDataset(torch.ones(4, 2), torch.ones(4)), "val": {}}, "val names no validation set"),
        ({"train": TensorDataset(torch.ones(4, 2), torch.ones(4)), "val": (1, 2)}, "val is a tuple"),
    ],
)
def test_other_things_than_arrays_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        tk.fit(model=nn.Linear(2, 2), **given)
    assert caught.value.what == message


def test_arrays_beside_another_kind_of_data_are_refused() -> None:
    with pytest.raises(tk.ConfigError) as caught:
        tk.fit(tk.compose(["data=wine"]), train=(np.ones((9, 2)), np.arange(9)))
    assert caught.value.hint == "compose it with data=arrays"


@pytest.mark.parametrize("columns", [["x"], ["x", "when"]])
def test_time_is_a_feature_only_where_it_is_named(tmp_path: Path, columns: list[str]) -> None:
    frame = visits(tmp_path / "t.csv")
    features = None if columns == ["x"] else columns
    data = TableData(
        tmp_path / "t.csv", "y", time="when", features=features, ignore=[] if features else ["patient", "w"]
    )
    data.setup()
    assert {name.partition(".")[0] for name in data.spec.feature_names} == set(columns)
    assert "ordered by when" in data.describe()
    last = [frame["when"][rows].max() for rows in (data.splits.train, data.splits.val)]
    first = [frame["when"][rows].min() for rows in (data.splits.val, data.splits.test)]
    assert all(one < other for one, other in zip(last, first, strict=True))
    assert data.describe_splits() == f"by time (when): train until {last[0]}"


def test_a_group_is_no_feature_and_in_one_part(cli: Cli, tmp_path: Path) -> None:
    frame = visits(tmp_path / "t.csv")
    common = ("fit", "data=table", "data.path=t.csv", "data.target=y", *QUICK)
    code, out, err = cli(*common, "data.group=patient", "data.weight=w", "run.dir=run")
    assert (code, err) == (0, "")
    counts = "t.csv 300 rows · 0 categories, 1 numbers · dates when"
    assert told(out, "data") == f"{counts} · weighted by w · ignored when.year (constant)"
    assert told(out, "split").endswith(" · grouped by patient (29/6/5 groups), stratified, split seed 0")
    splits = Splits.load(tmp_path / "run" / "splits.npz")
    parts = [set(frame["patient"][rows]) for rows in (splits.train, splits.val, splits.test)]
    assert [len(one & other) for one, other in ((parts[0], parts[1]), (parts[0], parts[2]), (parts[1], parts[2]))] == [
        *(0, 0, 0),
    ]
    code, out, err = cli("evaluate", "run")
    assert "data   the run's own data, unchanged\n" in out


def test_a_multirun_over_folds_tests_every_row_once(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("fit", "-m", "data=wine", "data.folds=3", "data.fold=0,1,2", *QUICK, "model.hidden=[4]")
    assert (code, err) == (0, "")
    runs = [RunDirectory(path.parent) for path in (tmp_path / "runs").rglob("result.json")]
    tested = [Splits.load(run.splits).test for run in runs]
    assert len(runs) == 3
    np.testing.assert_array_equal(np.sort(np.concatenate(tested)), np.arange(178))
    assert all(len(Splits.load(run.splits).val) == 27 for run in runs)


def test_a_share_of_the_training_part_leaves_the_others_as_they_are(cli: Cli, tmp_path: Path) -> None:
    for share in ("1.0", "0.2"):
        code, out, _ = cli("fit", "data=digits", f"data.train_share={share}", *QUICK, f"run.dir={share}")
        assert code == 0
    assert told(out, "split") == "train 252 · val 269 · test 270 · stratified, 20 % of train, split seed 0"
    whole, part = (Splits.load(tmp_path / share / "splits.npz") for share in ("1.0", "0.2"))
    np.testing.assert_array_equal(whole.test, part.test)
    assert set(part.train) < set(whole.train)


def test_datasets_have_folds_and_shares_and_no_columns() -> None:
    samples = TensorDataset(torch.randn(60, 2), torch.arange(60) % 2)
    folds = [DatasetData(samples, folds=3, fold=fold, train_share=0.5) for fold in range(3)]
    for data in folds:
        data.setup()
    np.testing.assert_array_equal(np.sort(np.concatenate([data.splits.test for data in folds])), np.arange(60))
    assert [len(data.splits.train) for data in folds] == [15, 15, 15]
    for role in ("group", "time", "weight"):
        with pytest.raises(DataError) as caught:
            DatasetData(samples, name="mine", **{role: "c"}).setup()  # type: ignore[arg-type]
        assert str(caught.value) == (
            f"mine has no columns\n  where    data.{role}\n  expected a table, a file of arrays or a dict of them\n"
            "  hint     tk.fit(train={'x': x, 'y': y, 'c': …}), or data=arrays data.path=FILE.npz"
        )


def test_bundled_sets_have_it_all() -> None:
    data = BundledTable("wine", group="hue", weight="ash", folds=4, fold=1)
    data.setup()
    assert not {"hue", "ash"} & set(data.spec.feature_names)
    assert data.describe_splits() == "grouped by hue (47/10/21 groups), stratified, fold 1 of 4, split seed 0"
    images = Digits(train_share=0.1, sampling="balanced", batch_size=126)
    images.setup()
    (execution, *_) = images.train_loader()
    counts = torch.bincount(execution.target, minlength=10)
    assert len(images.splits.train) == 126
    assert (int(counts.min()), int(counts.max())) == (12, 13)


def test_balanced_sampling_of_weighted_rows_resumes_exactly(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits(tmp_path / "t.csv")
    words: tuple[str, ...] = ("fit", "data=table", "data.path=t.csv", "data.target=y", "data.weight=w", *QUICK)
    words = (*words, "data.sampling=balanced", "trainer.max_steps=14", "checkpoint.every_n_steps=5")
    assert cli(*words, "run.dir=whole").code == 0
    step = TrainModule.training_step

    def stopped(self: TrainModule, batch: Any, batch_idx: int) -> None:
        step(self, batch, batch_idx)
        if self.trainer.global_step == 10:  # in the middle of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TrainModule, "training_step", stopped)
        assert cli(*words, "run.dir=stopped").code == 128 + signal.SIGTERM
    code, out, _ = cli("fit", "run.dir=stopped")
    assert (code, "continues from step-10.ckpt" in out) == (0, True)
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    results = [read_json(tmp_path / name / "result.json") for name in ("whole", "stopped")]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert results[1]["exact_resume"] is True


BAD: list[tuple[list[str], str]] = [
    (["data.path=short.npz"], "inputs of shape [8, 2] and targets of shape [9]"),
    (["data.path=objects.npz"], "'objects.npz' is not a readable array: damaged, or Python objects, which are not un"),
    (
        ["data.path=hole.npz"],
        "1 row of the inputs of hole has numbers that are NaN or infinite\n  where    data, row 3"
        "\n  expected finite numbers\n  hint     rows are counted from 0; leave them out, or fill them in",
    ),
    (["data.path=axes.npz"], "the inputs have the shape [9, 1, 1, 1, 2]"),
    (["data.path=good.npz", "data.target=z"], "'good.npz' has no key 'z'\n  where    data.target"),
    (["data.path=good.npz", "data.weight=minus"], "the weight 'minus' is -1.0 in row 0"),
    (["data.path=good.npz", "data.folds=10", "data.fold=0"], "10 folds of 9 rows"),
    (["data.path=good.npz", "data.folds=3", "data.fold=3"], "data.fold is 3\n  where    data.fold\n  expected 0 to 2"),
    (["data.path=good.npz", "data.fold=3"], "fold 3 of no folds"),
    (["data.path=good.npz", "data.group=one"], "1 group for 3 parts"),
    (["data.path=good.npz", "data.time=soon"], "the time 'soon' is 'soon' in row 8"),
    (["data.path=good.npz", "data.train_share=2"], "data.train_share is 2"),
    (["data.path=good.npz", "data.target=minus", "data.sampling=balanced"], "balanced sampling of a number"),
    (["data.path=good.npz", "data.group=who", "data.test_path=good.npz"], "group 'a' is in the train part and in th"),
    (["data.path=good.npz", "data.sampling=balance"], "data.sampling: ArrayFiles does not take 'balance'"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_mistakes_are_told_and_nothing_is_left_behind(cli: Cli, tmp_path: Path, words: list[str], message: str) -> None:
    inputs, target = np.arange(18.0).reshape(9, 2), np.arange(9) % 3
    holes = inputs.copy()
    holes[3, 1] = np.nan
    soon = np.array(["2021-01-01"] * 8 + ["soon"])
    one = np.array(["a"] * 9)
    who = np.array(list("aabbccdde"))
    np.savez("good.npz", x=inputs, y=target, minus=np.linspace(-1, 1, 9), one=one, who=who, soon=soon)
    np.savez("short.npz", x=inputs[:8], y=target)
    np.savez("objects.npz", x=np.array([[{}, {}]] * 9), y=target)
    np.savez("hole.npz", x=holes, y=target)
    np.savez("axes.npz", x=inputs.reshape(9, 1, 1, 1, 2), y=target)
    before = sorted(path.name for path in tmp_path.iterdir())
    code, out, err = cli("fit", "data=arrays", "model=mlp", *words)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
