"""``resume_from`` and settings: what may differ from the run's own, in text and in Python, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import trainkit as tk
from tests.runs.conftest import FAST
from trainkit.config.copying import plain
from trainkit.rundir import RunDirectory
from trainkit.runs.resume import resumed_config
from trainkit.runs.stored import load_config

Cli = Callable[..., Any]


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("seed=1", "seed=1, but 'RUN' has seed=0"),
        ("optimizer.lr=0.5", "optimizer.lr=0.5, but 'RUN' has optimizer.lr=0.003"),
        ("data.batch_size=32", "data.batch_size=32, but 'RUN' has data.batch_size=64"),
        ("trainer.clip_norm=null", "trainer.clip_norm=None, but 'RUN' has trainer.clip_norm=1.0"),
        ("trainer.monitor=val/loss", "trainer.monitor=val/loss, but 'RUN' has trainer.monitor=null"),
        ("model=cnn", "model=cnn, but 'RUN' has model._target_=trainkit.models.MLP"),
        ("data=wine", "data=wine, but 'RUN' has data._target_=trainkit.data.Digits"),
        ("optimizer=sgd", "optimizer=sgd, but 'RUN' has optimizer._target_=torch.optim.AdamW"),
        ("experiment=diabetes", "experiment=diabetes, but 'RUN' has trainer.max_epochs=30"),
    ],
)
def test_what_the_steps_done_rest_on_may_not_change(override: str, text: str, digits: RunDirectory) -> None:
    overrides = [f"resume_from={digits.path}", override]
    with pytest.raises(tk.ConfigError) as caught:
        resumed_config(digits, tk.compose(overrides), overrides)
    assert str(caught.value) == (
        f"{text.replace('RUN', str(digits.path))}\n  where    resume_from\n"
        "  expected another length, schedule, device, callback or logger only\n"
        "  hint     init_from=RUN takes only the weights"
    )


def test_length_watching_and_devices_may_change_and_all_else_is_the_runs_own(digits: RunDirectory) -> None:
    overrides = [
        *("trainer.max_epochs=7", "trainer.val_every_n_epochs=2", "trainer.devices=2", "trainer.threads=1"),
        *("trainer.precision=bf16-mixed", "trainer.accumulate=2", "trainer.steps_per_execution=3"),
        *("checkpoint.keep=5", "logger=none", "callbacks=early_stopping", "evaluation.confidence=0.9"),
        *("+callbacks.lr._target_=lightning.pytorch.callbacks.LearningRateMonitor", "data.num_workers=1"),
        *("scheduler.warmup=3", "launch.max_restarts=0", "run.root=elsewhere", "model=mlp", "seed=0"),
        f"resume_from={digits.path}",
    ]
    config, stored = tk.compose(overrides), load_config(digits)
    new = resumed_config(digits, config, overrides)
    assert (new.trainer.max_epochs, new.trainer.max_steps) == (7, None)  # the limit given replaces both
    for key in ("checkpoint", "callbacks", "evaluation", "launch"):
        expected = plain(config[key])
        if key == "evaluation":
            expected["resamples"] = stored.evaluation.resamples
        if key == "checkpoint":
            expected["every_n_steps"] = 15
        assert plain(new[key]) == expected
    assert (new.trainer.precision, new.trainer.devices, new.scheduler.warmup) == ("bf16-mixed", 2, 3)
    assert new.run.root == "elsewhere" and new.resume_from == str(digits.path) and new.init_from is None
    for key in ("data", "model", "task", "optimizer", "seed"):
        was = stored[key]
        if key == "data":
            was.num_workers = 1
        assert new[key] == was
    assert new.trainer.log_every_n_steps == 10 and load_config(digits).trainer.max_steps == 50


@pytest.mark.parametrize(
    ("override", "asked", "total"),
    [
        ("trainer.max_epochs=10", "trainer.max_epochs=10", 80),
        ("trainer.max_steps=40", "trainer.max_steps=40", 40),
        ("run.name=same", "trainer.max_epochs=10", 80),
    ],
)
def test_no_more_steps_than_were_done_are_refused(
    override: str, asked: str, total: int, cli: Cli, short: RunDirectory, tmp_path: Path
) -> None:
    assert cli("fit", f"resume_from={short.path}", override) == (
        2,
        "",
        f"'{short.path}' has done 80 steps, and {asked} asks for {total}\n  where    resume_from\n"
        "  expected more than 80 steps in all\n  hint     trainer.max_epochs=20\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_cannot_be_gone_on_with_is_refused(
    cli: Cli, short: RunDirectory, logistic: RunDirectory, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for name, given in (("none", "nothing"), ("broken", b"damaged")):
        shutil.copytree(short.path, tmp_path / name)
        for file in (tmp_path / name / "checkpoints").iterdir():
            file.write_bytes(given) if isinstance(given, bytes) and file.suffix == ".ckpt" else None
    shutil.rmtree(tmp_path / "none" / "checkpoints")
    for path, text in (
        ("nowhere", "there is no run directory 'nowhere'\n  where    resume_from\n"),
        (
            "empty",
            "'empty' holds no run\n  where    resume_from\n  expected a directory with a config.yaml, as fit makes",
        ),
        (
            "none",
            "'none' has no checkpoint yet\n  where    resume_from\n  hint     trainkit fit run.dir=none starts it\n",
        ),
        ("broken", "no checkpoint of 'broken' can be used: step-80.ckpt is damaged; step-72.ckpt is damaged\n"),
        (str(logistic.path), f"'{logistic.path}' is a classical model, which has no steps to go on from\n"),
    ):
        code, out, err = cli("fit", f"resume_from={path}", "trainer.max_epochs=20")
        assert (code, out) == (2, "") and err.startswith(text), err
    assert cli("fit", "resume_from=none", "init_from=none") == (
        2,
        "",
        "resume_from and init_from are both given\n  where    resume_from, init_from\n"
        "  expected resume_from to go on with a run, or init_from to start from its weights\n",
    )
    assert not (tmp_path / "runs").exists()


def test_changed_data_is_refused(cli: Cli, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("x,y\n" + "".join(f"{i % 7}.5,{'ab'[i % 2]}\n" for i in range(80)))
    data = ("data=table", "data.path=t.csv", "data.target=y", "model=mlp", "logger=none", *FAST)
    assert cli("fit", "run.dir=parent", "trainer.max_epochs=1", *data).code == 0
    table.write_text(table.read_text().replace("0.5", "0.25"))
    code, out, err = cli("fit", "run.dir=run", "resume_from=parent", "trainer.max_epochs=2")
    assert (code, out) == (2, "") and err.startswith("the data has changed since this run began\n")
    assert not (tmp_path / "run").exists()


def test_code_of_a_foreign_run_is_judged(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "resumed_net.py").write_text("from torch import nn\n\nclass Net(nn.Linear):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    model = ("model=custom", "model._target_=resumed_net.Net", "+model.in_features=???", "+model.out_features=???")
    data = ("data=wine", "logger=none", *FAST)
    assert cli("fit", "run.dir=parent", "trainer.max_epochs=1", *data, *model).code == 0
    longer = ("resume_from=parent", "trainer.max_epochs=2")
    code, out, err = cli("fit", "run.dir=run", *longer)
    assert (code, out) == (2, "") and err.startswith("'resumed_net.Net' is not code that trainkit runs unasked\n")
    assert not (tmp_path / "run").exists()
    assert cli("fit", "run.dir=run", *longer, "run.trust=[resumed_net]").code == 0


class Own(nn.Linear):
    """A net that other processes cannot import: it is given as an object."""


def test_python_goes_on_with_objects_and_with_classes(
    short: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    points = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(points, (points[:, 0] > 0).long())
    constant: dict[str, Any] = {"train": data, "task": "classification", "batch_size": 16, "scheduler": tk.constant()}
    constant["overrides"] = [*FAST, "logger=none"]
    whole = tk.fit(model=Own(4, 2), max_epochs=4, **constant)
    torch.manual_seed(5)
    first = tk.fit(model=(net := Own(4, 2)), max_epochs=2, name="first", **constant)
    assert first.run_dir is not None and whole.run_dir is not None
    with pytest.raises(tk.RunError, match="resume_from=") as caught:
        tk.fit(resume_from=first.run_dir, max_epochs=4)
    assert "was given in Python as an object" in str(caught.value)
    other = Own(4, 2)
    with pytest.raises(tk.ConfigError, match=r"data\.batch_size=64, but .* has data\.batch_size=16"):
        tk.fit(model=other, train=data, batch_size=64, max_epochs=4, resume_from=first.run_dir)
    longer = tk.fit(model=other, train=data, max_epochs=4, resume_from=first.run_dir)
    assert longer.steps == whole.steps == 12 and not torch.equal(other.weight, net.weight)
    with pytest.raises(tk.ConfigError, match="resume_from beside a composed config"):
        tk.fit(tk.compose(["data=wine"]), resume_from=short.path)
    with pytest.raises(tk.ConfigError, match="does not tell what else was asked for"):
        tk.fit(tk.compose([f"resume_from={short.path}", "trainer.max_epochs=20"]))


def test_a_class_other_than_the_runs_own_is_not_quietly_passed_over(short: RunDirectory) -> None:
    for overrides in ([f"resume_from={short.path}", "trainer.max_epochs=20"], [f"run.dir={short.path}"]):
        with pytest.raises(tk.ConfigError, match=r"model=torch\.nn\..*\.Linear, but .* has model\._target_="):
            tk.fit(model=nn.Linear, overrides=overrides)
