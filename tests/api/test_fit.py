"""``fit`` with live objects and with configs, and what ``load_run``, ``evaluate`` and ``predict`` make of its runs."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
import yaml
from lightning.pytorch.loggers import CSVLogger
from torch import nn

import trainkit as tk
from tests.api.clouds import NamedNet, Net, Points
from tests.api.conftest import OVERRIDES, config, fit, run_dir
from trainkit.rundir import RunDirectory


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
    assert made["model"]["live"] == f"{Net.__module__}.Net"
    assert made["optimizer"]["_target_"] == "torch.optim.adamw.AdamW"
    assert made["trainer"]["max_epochs"] == 2 and made["data"]["batch_size"] == 10


def test_fit_says_which_objects_are_needed_again(capsys: pytest.CaptureFixture[str]) -> None:
    result = fit(model=Net(), train=Points())
    note = f"note   given as objects, which load_run('{run_dir(result)}', model=…, data=…) takes again\n"
    assert note in capsys.readouterr().out
    fit(data="wine", model="mlp")
    assert "given as objects" not in capsys.readouterr().out
    with pytest.raises(tk.RunError) as caught:
        tk.load_run(run_dir(result))
    assert caught.value.what == f"the model of this run was given in Python as an object ({Net.__module__}.Net)"
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
