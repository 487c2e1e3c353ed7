"""Further validation sets: followed, scored with intervals, kept and loaded; they choose nothing by themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import trainkit as tk
from trainkit.data.splits import Splits
from trainkit.rundir import RunDirectory, read_json, write_json
from trainkit.runs.result import Result
from trainkit.tasks import Classification
from trainkit.training import TrainModule, read_metrics

SMALL = ("model=mlp", "model.hidden=[8]", "trainer.max_epochs=2", "evaluation.resamples=20", "trainer.threads=1")


def table(path: Path, num_rows: int, shift: float = 0.0) -> None:
    generator = np.random.default_rng(num_rows)
    x = generator.normal(size=num_rows)
    frame = pd.DataFrame({"x": x + shift, "z": generator.normal(size=num_rows), "y": np.where(x > 0, "yes", "no")})
    frame.to_csv(path, index=False)


def samples(num: int, shift: float = 0.0) -> TensorDataset:
    inputs = torch.randn(num, 4, generator=torch.Generator().manual_seed(num))
    return TensorDataset(inputs + shift, (inputs[:, 0] > 0).long())


def test_files_of_further_sets_are_followed_scored_and_kept(cli: Callable[..., Any], tmp_path: Path) -> None:
    table(tmp_path / "t.csv", 200)
    table(tmp_path / "far.csv", 40, shift=5)
    common = ("fit", "data=table", "data.path=t.csv", "data.target=y", *SMALL)
    code, out, err = cli(*common, "+data.extra_val.far=far.csv", "+data.extra_val.main=t.csv", "run.dir=run")
    assert (code, err) == (0, "")
    assert "split  train 140 · val 30 · test 30 · val/far 40 · val/main 200 · stratified, split seed 0\n" in out
    (line,) = [line for line in out.splitlines() if line.startswith("val ")]
    assert line.startswith("val    far auroc ") and " n 40 · main auroc " in line and line.endswith(" n 200")
    run = RunDirectory(tmp_path / "run")
    result = Result.load(run)
    assert {name: estimates["accuracy"].n for name, estimates in result.extra_validation.items()} == {
        "far": 40,
        "main": 200,
    }
    assert list(read_json(run.result)["metrics"]) == ["test", "validation", "validation/far", "validation/main"]
    assert result.objective_name == "val/auroc"
    followed = {f"{row['split']}/{row['name']}" for row in read_metrics(run.metrics)}
    assert {"val/loss", "val/far/loss", "val/far/auroc", "val/main/accuracy"} <= followed
    made = pd.read_parquet(run.predictions)
    assert made["split"].value_counts().to_dict() == {
        **{"validation": 30, "test": 30},
        **{"validation/far": 40, "validation/main": 200},
    }
    assert made[made["split"] == "validation/far"]["row"].tolist() == list(range(40))
    right = (made["prediction"] == made["target"])[made["split"] == "validation/far"].mean()
    assert result.extra_validation["far"]["accuracy"].value == pytest.approx(right)
    last = [row for row in read_metrics(run.metrics) if (row["split"], row["name"]) == ("val/far", "accuracy")]
    assert right == pytest.approx(
        [float(row["value"]) for row in last][int(result.facts["best_checkpoint"] != "checkpoints/step-5.ckpt")]
    )
    assert Splits.load(run.splits).extra["val/far"].tolist() == list(range(200, 240))


def test_without_further_sets_nothing_is_said_of_them(cli: Callable[..., Any], tmp_path: Path) -> None:
    code, out, _ = cli("fit", "data=wine", *SMALL, "trainer.max_epochs=1", "run.dir=run")
    assert code == 0
    assert not [line for line in out.splitlines() if line.startswith("val ")]
    assert list(read_json(tmp_path / "run" / "result.json")["metrics"]) == ["test", "validation"]


def test_a_further_set_chooses_the_epoch_where_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = ["trainer.monitor=val/far/accuracy", "evaluation.resamples=20", "logger=none", "run.dir=run"]
    result = tk.fit(
        model=nn.Linear(4, 2),
        train=samples(120),
        val={"near": samples(40), "far": samples(30, shift=2)},
        max_epochs=2,
        overrides=overrides,
    )
    assert (result.objective_name, result.objective_mode) == ("val/far/accuracy", "max")
    assert list(result.extra_validation) == ["far"]
    assert result.objective == pytest.approx(result.extra_validation["far"]["accuracy"].value)
    with pytest.raises(tk.ConfigError, match="nobody logs 'val/fra/accuracy'") as caught:
        tk.fit(
            model=nn.Linear(4, 2),
            train=samples(120),
            val={"near": samples(40), "far": samples(30)},
            overrides=["trainer.monitor=val/fra/accuracy"],
        )
    assert caught.value.hint == "did you mean 'val/far/accuracy'?"


def test_importable_sets_become_nodes(tmp_path: Path) -> None:
    from functools import partial

    from torchvision.datasets import FakeData

    from trainkit.runs.live import put_objects

    config = tk.compose(["data=dataset"])
    part = partial(FakeData, size=8, image_size=[1, 4, 4])
    given = {"train": part, "val": {"main": part, "far": partial(FakeData, size=4)}}
    options: dict[str, Any] = {"model": None, "data": None, "task": None, "optimizer": None, "scheduler": None}
    assert put_objects(config, datasets=given, **options).data is None
    assert config.data.extra_val.far == {"_target_": "torchvision.datasets.fakedata.FakeData", "size": 4}
    assert config.data.val._target_ == config.data.train._target_


def test_a_result_from_before_there_were_further_sets_is_loaded(tmp_path: Path) -> None:
    result = Result("completed", tmp_path)
    result.save()
    old = read_json(RunDirectory(tmp_path).result)
    write_json(RunDirectory(tmp_path).result, old | {"metrics": {}})
    assert Result.load(RunDirectory(tmp_path)).extra_validation == {}


def test_several_loaders_of_ones_own_are_told_apart_by_number(tmp_path: Path) -> None:
    module = TrainModule(nn.Linear(4, 2), Classification(2))
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(**quiet, enable_checkpointing=False, accelerator="cpu", max_epochs=1, default_root_dir=tmp_path)
    loaders = [DataLoader(samples(20), batch_size=10), DataLoader(samples(30, shift=3), batch_size=10)]
    trainer.fit(module, DataLoader(samples(40), batch_size=10), loaders)
    assert {"val/loss", "val/accuracy", "val/1/loss", "val/1/accuracy"} <= set(trainer.callback_metrics)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    (one,) = trainer.validate(module, loaders[0], verbose=False)
    assert "val/1/loss" not in one
    both = trainer.validate(module, loaders, verbose=False)
    merged = {name: value for part in both for name, value in part.items()}
    assert merged["val/loss"] == pytest.approx(one["val/loss"])
    assert merged["val/1/loss"] != pytest.approx(one["val/loss"])
    assert module.state_dict().keys() == before.keys()


@pytest.mark.parametrize(("key", "words"), [("weight", "data.weight=w"), ("extra_val", "+data.extra_val.far=t.csv")])
def test_what_a_module_of_ones_own_would_not_regard_is_refused(
    cli: Callable[..., Any], tmp_path: Path, key: str, words: str
) -> None:
    table(tmp_path / "t.csv", 60)
    frame = pd.read_csv(tmp_path / "t.csv")
    frame.assign(w=1.0).to_csv(tmp_path / "t.csv", index=False)
    module = ("module=custom", "module._target_=lightning.pytorch.demos.boring_classes.BoringModel")
    code, out, err = cli("fit", "data=table", "data.path=t.csv", "data.target=y", *module, words)
    assert (code, out) == (2, "")
    assert err == (
        f"data.{key} has no effect on a LightningModule of your own\n  where    data.{key}\n"
        f"  hint     leave out data.{key}\n"
    )
