"""The Python face: ``fit`` with live objects and with configs, ``load_run``, ``evaluate``, ``predict``."""

from __future__ import annotations

import functools
import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
import yaml
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, Dataset

import trainkit as tk
from trainkit.rundir import RunDirectory, read_json
from trainkit.training import TrainModule

OVERRIDES = ["logger=none", "evaluation.resamples=20", "trainer.threads=1"]
MODULE = '''
import torch
from torch import nn
from torch.utils.data import Dataset


class Points(Dataset):
    """Three clouds of points."""

    def __init__(self, size=60, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(size) % 3
        self.points = torch.randn(size, 4, generator=generator) + 2 * nn.functional.one_hot(self.labels, 4)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.points[index], self.labels[index]


class Net(nn.Sequential):
    def __init__(self, width=8, classes=3):
        super().__init__(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, classes))
'''


class Points(Dataset[Any]):
    """Three clouds of points, as pairs, as dicts, or as dicts with two inputs."""

    def __init__(self, size: int = 60, seed: int = 0, kind: str = "pair") -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels, self.kind = torch.arange(size) % 3, kind
        self.points = torch.randn(size, 4, generator=generator) + 2 * nn.functional.one_hot(self.labels, 4)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        point, label = self.points[index], self.labels[index]
        if self.kind == "dict":
            return {"point": point, "target": label}
        if self.kind == "named":
            return {"left": point[:2], "right": point[2:], "target": label}
        return point, label


class Net(nn.Sequential):
    def __init__(self, width: int = 8) -> None:
        super().__init__(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))


class NamedNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.layer(torch.cat([left, right], dim=1))
        return outputs


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def clouds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module of the user's own, beside his script."""
    (folder / "clouds.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "clouds", raising=False)
    import clouds  # type: ignore[import-not-found]

    yield clouds
    del sys.modules["clouds"]


def fit(**given: Any) -> tk.Result:
    settings: dict[str, Any] = {"max_steps": 6, "batch_size": 16, "overrides": OVERRIDES, **given}
    return tk.fit(**settings)


def run_dir(result: tk.Result) -> Path:
    assert result.run_dir is not None
    return result.run_dir


def config(result: tk.Result) -> Any:
    return yaml.safe_load((run_dir(result) / "config.yaml").read_text())


def test_live_objects_train_in_place_and_give_the_whole_run_directory(folder: Path) -> None:
    net = Net()
    before = [tensor.clone() for tensor in net.state_dict().values()]
    result = tk.fit(
        model=net,
        train=Points(60),
        val=Points(30, seed=1),
        test=Points(33, seed=2),
        task="classification",
        optimizer=tk.adamw(lr=3e-2),
        max_epochs=2,
        batch_size=10,
        name="clouds",
        seed=3,
    )
    directory = run_dir(result)
    assert {path.name.split(".tfevents")[0] for path in directory.iterdir()} == {
        *("config.yaml", "overrides.yaml", "environment.json", "splits.npz", "checkpoints", "initial.safetensors"),
        *("model.safetensors", "metrics.csv", "events.out", "predictions.parquet", "result.json"),
        *("report.html", "MODEL_CARD.md"),
    }
    assert directory.parent == Path("runs/clouds") and (result.status, result.facts["steps"]) == ("completed", 12)
    assert (result.objective_name, result.objective_mode) == ("val/accuracy", "max")
    assert result.objective is not None and result.objective > 0.5
    assert result.test["accuracy"].n == 33 and result.validation["accuracy"].n == 30
    assert str(result.test["accuracy"]).count(".") == 3 and result.facts["seed"] == 3
    assert not any(map(torch.equal, before, net.state_dict().values()))
    loaded = tk.load_run(directory, model=Net())
    assert loaded.model is not None and loaded.model.net is not net
    for one, other in zip(loaded.model.net.state_dict().values(), net.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    made = config(result)
    assert made["model"]["live"] == f"{__name__}.Net" and made["optimizer"]["_target_"] == "torch.optim.adamw.AdamW"
    assert made["trainer"]["max_epochs"] == 2 and made["data"]["batch_size"] == 10


def test_fit_says_which_objects_are_needed_again(capsys: pytest.CaptureFixture[str]) -> None:
    result = fit(model=Net(), train=Points())
    note = f"note   given as objects, which load_run('{run_dir(result)}', model=…, data=…) takes again\n"
    assert note in capsys.readouterr().out
    fit(data="wine", model="mlp")
    assert "given as objects" not in capsys.readouterr().out
    with pytest.raises(tk.RunError) as caught:
        tk.load_run(run_dir(result))
    assert caught.value.what == f"the model of this run was given in Python as an object ({__name__}.Net)"
    with pytest.raises(tk.RunError, match="the saved weights do not fit Net: size mismatch"):
        tk.load_run(run_dir(result), model=Net(width=5))
    loaded = tk.load_run(run_dir(result), model=Net())
    with pytest.raises(tk.DataError, match="the data of this run was given in Python"):
        loaded.data  # noqa: B018 - the property is what raises
    assert len(loaded.predict(Points(5))) == 5
    assert tk.evaluate(run_dir(result)).test == result.test
    assert "data   saved predictions (the model was given in Python)\n" in capsys.readouterr().out


def test_what_trainkit_and_torch_have_reloads_by_itself() -> None:
    partial = functools.partial(tk.MLP, in_features=4, num_outputs=3, hidden=[5])
    for model in (partial, functools.partial(nn.Linear, 4, 3)):
        result = fit(model=model, train=Points(), task=functools.partial(tk.Classification, 3, class_weights=[1, 2, 3]))
        assert "live" not in config(result)["model"] and "live" not in config(result)["task"]
        loaded = tk.load_run(run_dir(result))
        saved = pd.read_parquet(run_dir(result) / "predictions.parquet").query("split == 'test'")
        again = loaded.predict(Points()).set_index("row").loc[saved["row"]]
        pd.testing.assert_frame_equal(
            again.reset_index()[["prediction", "p_0"]], saved.reset_index()[["prediction", "p_0"]], check_exact=True
        )


def test_importable_classes_and_partials_of_the_users_own_reload_by_name(clouds: Any) -> None:
    result = fit(model=functools.partial(clouds.Net, width=5), train=clouds.Points, test=functools.partial(
        clouds.Points, size=30, seed=4))  # fmt: skip
    made = config(result)
    assert made["model"] == {"_target_": "clouds.Net", "width": 5}
    assert made["data"]["test"] == {"_target_": "clouds.Points", "size": 30, "seed": 4}
    assert run_dir(result).parent.name == "points"
    with pytest.raises(tk.ConfigError, match=r"'clouds\.Points' is not code that trainkit runs unasked"):
        tk.load_run(run_dir(result))
    loaded = tk.load_run(run_dir(result), trust=["clouds"])
    assert loaded.model is not None and isinstance(loaded.model.net, clouds.Net)
    assert len(loaded.data.splits.test) == 30
    assert tk.evaluate(run_dir(result), trust=["clouds"]).test == result.test


def test_samples_may_be_dicts() -> None:
    result = fit(model=Net(), train=Points(kind="dict"))
    assert len(tk.load_run(run_dir(result), model=Net()).predict(Points(4, kind="dict"))) == 4
    parts = {name: Points(30, seed, kind="named") for seed, name in enumerate(("train", "val", "test"))}
    result = fit(model=NamedNet(), **parts)
    assert result.test["accuracy"].n == 30
    again = tk.load_run(run_dir(result), model=NamedNet()).predict(parts["test"])
    saved = pd.read_parquet(run_dir(result) / "predictions.parquet").query("split == 'test'")
    assert (again[["p_0", "p_1", "p_2"]].to_numpy() == saved[["p_0", "p_1", "p_2"]].to_numpy()).all()


def test_tasks_data_modules_callbacks_and_loggers_may_be_objects(folder: Path) -> None:
    class Counts(L.Callback):
        steps = 0

        def on_train_batch_end(self, *args: Any) -> None:
            Counts.steps += 1

    data = tk.DatasetData(Points(), batch_size=7, name="mine")
    result = fit(
        model=Net(),
        data=data,
        batch_size=None,
        task=tk.Classification(3, class_weights=[1.0, 2.0, 3.0]),
        callbacks=[Counts()],
        loggers=[CSVLogger(folder / "csv")],
    )
    assert Counts.steps == 6 and list((folder / "csv").rglob("metrics.csv"))
    assert run_dir(result).parent.name == "mine" and config(result)["data"]["batch_size"] == 7
    with pytest.raises(tk.RunError, match="the task of this run was given in Python as an object"):
        tk.load_run(run_dir(result), model=Net())
    task = tk.Classification(3, class_weights=[1.0, 1.0, 1.0])
    assert tk.load_run(run_dir(result), model=Net(), task=task, data=data).data is data
    assert task.class_weights is not None and task.class_weights.tolist() == [1.0, 2.0, 3.0]


def test_optimizers_and_schedules_are_callables() -> None:
    result = fit(
        model=Net(),
        train=Points(),
        optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1),
        scheduler=lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5),
    )
    assert config(result)["optimizer"]["live"] == f"{__name__}.test_optimizers_and_schedules_are_callables.<locals>." \
        "<lambda>"  # fmt: skip
    result = fit(model=Net(), train=Points(), optimizer=torch.optim.Adam, scheduler="constant")
    made = config(result)
    assert made["optimizer"] == {"_target_": "torch.optim.adam.Adam", "_partial_": True}
    assert made["scheduler"]["_target_"] == "trainkit.optim.constant"


def test_a_composed_config() -> None:
    cfg = tk.compose(["data=wine", "model=mlp", "trainer.max_steps=4", *OVERRIDES])
    before = str(cfg)
    result = tk.fit(cfg, seed=7)
    assert (result.facts["seed"], result.facts["steps"], str(cfg)) == (7, 4, before)
    same = tk.fit(data="wine", model="mlp", max_steps=4, seed=7, overrides=OVERRIDES)
    assert same.test == result.test and same.run_dir != result.run_dir
    result = tk.fit(tk.compose(["data=dataset", "trainer.max_steps=4", *OVERRIDES]), model=Net(), train=Points())
    assert result.status == "completed"


def test_keywords_and_overrides_are_kept_as_the_command_line_would_say_them() -> None:
    result = fit(data="wine", model="mlp", precision="bf16-mixed", seed=2)
    written = yaml.safe_load((run_dir(result) / "overrides.yaml").read_text())["overrides"]
    assert written == [
        *("data=wine", "model=mlp", *OVERRIDES, "trainer.max_steps=6", "trainer.precision=bf16-mixed"),
        *("data.batch_size=16", "seed=2"),
    ]


NET = Net()
WRONG: list[tuple[dict[str, Any], str, str | None]] = [
    (
        {"train": DataLoader(Points(), batch_size=8)},
        "train is a DataLoader",
        "give train=loader.dataset and batch_size=8",
    ),
    ({"train": None, "val": Points()}, "there is no training data", None),
    ({"train": iter([1, 2])}, "train is a list_iterator", None),
    ({"optimizer": torch.optim.Adam(NET.parameters())}, "the optimizer is a Adam", None),
    (
        {"scheduler": torch.optim.lr_scheduler.ConstantLR(torch.optim.SGD(NET.parameters()))},
        "the scheduler is a ConstantLR",
        None,
    ),
    ({"optimizer": "adam"}, "group 'optimizer' has no 'adam'", "did you mean 'adamw'?"),
    ({"task": nn.CrossEntropyLoss()}, "the task is a CrossEntropyLoss", None),
    ({"model": 3}, "the model is a int", None),
    ({"model": nn.Linear(4, 7)}, "the model gives outputs of shape [batch, 7]", None),
    ({"model": nn.Linear(5, 3)}, "Linear does not take a batch: RuntimeError: ", None),
    ({"data": tk.DatasetData(Points())}, "data is given beside train, val or test", None),
    ({"train": None, "data": Points(), "batch_size": None}, "the data is a Points", None),
    (
        {"train": None, "data": tk.DatasetData(Points())},
        "data.batch_size=16 beside a data module, which has settings of its own",
        "give it to DatasetData",
    ),
    ({"seed": "x"}, "seed cannot be 'x'", None),
    ({"precision": "fp8"}, "trainer.precision is 'fp8'", None),
    ({"overrides": ["sede=1"]}, "unknown key 'sede'", "did you mean 'seed'?"),
    ({"callbacks": [L.Callback]}, "callbacks has the class Callback", None),
    ({"cfg": tk.compose(), "overrides": [], "model": "mlp"}, "model=mlp beside a composed config",
     "tk.compose(['model=mlp'])"),
    ({"cfg": tk.compose(), "overrides": []}, "train is given, but the config has data trainkit.data.Digits",
     "compose it with data=dataset"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "what", "hint"), WRONG, ids=[what for _, what, _ in WRONG])
def test_mistakes_raise_before_anything_is_written(
    given: dict[str, Any], what: str, hint: str | None, folder: Path
) -> None:
    with pytest.raises(tk.TrainkitError) as caught:
        fit(**{"model": Net(), "train": Points(), **given})
    assert caught.value.what.startswith(what)
    assert hint is None or caught.value.hint == hint
    assert list(folder.iterdir()) == []


def test_a_script_continues_its_run_with_fresh_objects(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    step = TrainModule.training_step

    def stopped(self: TrainModule, batch: Any, batch_idx: int) -> None:
        step(self, batch, batch_idx)
        if self.trainer.global_step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    def start(net: nn.Module, name: str, **given: Any) -> tk.Result:
        return fit(model=net, train=Points(), max_steps=9, overrides=[*OVERRIDES, f"run.dir={name}"], **given)

    torch.manual_seed(1)
    first = Net()
    initial = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    whole = start(first, "whole")
    again = Net()
    again.load_state_dict(initial)
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(TrainModule, "training_step", stopped)
        start(again, "stopped")
    assert stop.value.code == 128 + signal.SIGTERM
    with pytest.raises(tk.RunError, match=r"the data of this run was given in Python as an object \(.*Points\)"):
        tk.fit(overrides=["run.dir=stopped"])
    with pytest.raises(tk.RunError, match=r"\[9, 4\] in the net is \[8, 4\] in the checkpoint of 'stopped'"):
        start(Net(width=9), "stopped")
    with pytest.raises(tk.ConfigError, match="seed=5, but the run has seed=0"):
        start(Net(), "stopped", seed=5)
    fresh = Net()
    assert start(fresh, "stopped").test == whole.test
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, fresh.state_dict()[name])
    # A run that was killed before its first checkpoint begins again from the weights it began with.
    for file in (folder / "stopped").glob("checkpoints/*"):
        file.unlink()
    (folder / "stopped" / "result.json").unlink()
    fresh = Net()
    start(fresh, "stopped")
    assert all(torch.equal(tensor, fresh.state_dict()[name]) for name, tensor in first.state_dict().items())


HYDRA = """
import hydra
import trainkit as tk

@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg):
    result = tk.fit(cfg)
    print("status", result.status, result.objective)
    return result.objective

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def project(folder: Path) -> Path:
    """A Hydra project of the user's own."""
    (folder / "conf").mkdir()
    (folder / "conf" / "train.yaml").write_text(
        "defaults:\n  - fit\n  - override data: wine\n  - override model: mlp\n  - override logger: none\n  - _self_\n"
        "hydra:\n  searchpath: [pkg://trainkit.conf]\n"
        "trainer: {max_steps: 4}\nevaluation: {resamples: 20}\n"
    )
    (folder / "train.py").write_text(HYDRA)
    return folder


def test_in_a_hydra_job_a_mistake_is_printed_and_the_exit_code_is_2(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "trainer.monitor=val/los"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path("train.py", run_name="__main__")
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("nobody logs 'val/los'\n  where    trainer.monitor\n")
    assert not (project / "runs").exists()


def test_in_a_multirun_a_mistake_gives_a_failed_result_and_the_next_job_follows(project: Path) -> None:
    command = [sys.executable, "train.py", "-m", "trainer.monitor=val/los,val/loss"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("status ")]
    assert lines[0] == "status failed None" and re.fullmatch(r"status completed \d\.\d+", lines[1])
    assert done.stderr.startswith("nobody logs 'val/los'\n")
    statuses = [read_json(file)["status"] for file in project.glob("runs/wine/*/result.json")]
    assert statuses == ["completed"]


def test_evaluate_and_predict_are_functions_too(folder: Path) -> None:
    table = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0] * 15, "y": ["a", "a", "b", "b"] * 15})
    table.to_csv("t.csv", index=False)
    result = fit(
        data="table", model="logistic", max_steps=None, batch_size=None,
        overrides=["data.path=t.csv", "data.target=y", "evaluation.resamples=20"],
    )  # fmt: skip
    assert tk.evaluate(run_dir(result), split="validation").validation == result.validation
    assert tk.predict(run_dir(result), "t.csv", output="out.parquet") == Path("out.parquet")
    assert list(pd.read_parquet("out.parquet")) == ["row", "prediction", "p_a", "p_b"]
    assert RunDirectory(run_dir(result)).status() == "completed"
