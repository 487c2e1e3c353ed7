"""The job that a command asks for: the same for ``fit`` and for ``check``, and refused before anything is written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from torch import nn

import trainkit as tk
from trainkit.cli import main
from trainkit.rundir import RunDirectory, write_json
from trainkit.runs.judging import taken_up
from trainkit.runs.parts import LiveObjects
from trainkit.training import read_metrics

from .own_modules import TrainOnly

Cli = Callable[..., Any]
FAST = ("evaluation.resamples=20", "evaluation.baseline=false", "trainer.threads=1")


@pytest.fixture(scope="module")
def _parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parent") / "run"
    options = ("model=mlp", "model.hidden=[8]", "callbacks=early_stopping", "trainer.max_epochs=2", "data=wine")
    assert main(["fit", f"run.dir={path}", *options, *FAST]) == 0
    return path


@pytest.fixture
def parent(_parent: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two epochs on wine in ``parent``, in the working directory."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(_parent, tmp_path / "parent"))


def unfinish(run: Path) -> None:
    """As if it had been interrupted after its last checkpoint."""
    result = json.loads((run / "result.json").read_text())
    write_json(run / "result.json", result | {"status": "interrupted"})


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["resume_from=zzz"], "there is no run directory 'zzz'\n"),
        (["resume_from=parent", "trainer.max_epochs=1"], "'parent' has done 8 steps, and trainer.max_epochs=1 asks"),
        (["resume_from=parent", "trainer.max_epochs=4", "optimizer.lr=77"], "optimizer.lr=77, but 'parent' has opt"),
        (["resume_from=parent", "model.hidden=[9]"], "model.hidden=[9], but 'parent' has model.hidden=[8]\n"),
        (["run.dir=parent", "optimizer.lr=77"], "optimizer.lr=77, but the run has optimizer.lr=0.003\n"),
        (["run.dir=parent", "model.hidden=[9]"], "model.hidden=[9], but the run has model.hidden=[8]\n"),
        (["run.dir=afile", "data=wine"], "'afile' cannot be made: File exists\n  where    run.dir\n"),
        (["run.root=afile", "data=wine"], "'afile/wine' cannot be made: Not a directory\n  where    run.root, run.na"),
    ],
)
@pytest.mark.parametrize("command", ["fit", "check"])
def test_check_refuses_what_fit_refuses(
    command: str, overrides: list[str], text: str, cli: Cli, parent: Path, tmp_path: Path
) -> None:
    (tmp_path / "afile").touch()
    code, _, err = cli(command, *overrides)
    assert code == 2 and err.startswith(text), err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["afile", "parent"]


def test_a_folder_that_may_not_be_written_to_is_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    code, _, err = cli("check", "data=wine", "run.dir=new/run")
    assert (code, err) == (2, "'new/run' cannot be made: Permission denied\n  where    run.dir\n")


def test_check_looks_at_the_job_that_would_go_on(cli: Cli, parent: Path, tmp_path: Path) -> None:
    code, out, _ = cli("check", "resume_from=parent", "trainer.max_epochs=4")
    assert code in (0, 1) and "resume parent at step 8\nplan   4 epochs = 16 steps" in out
    assert "check  dry batch ok\n" in out
    code, out, _ = cli("check", "run.dir=parent")
    assert code == 0 and "run    parent is finished; nothing to do\ntest   " in out and "check  " not in out
    unfinish(parent)
    config = tk.check(overrides=["run.dir=parent"])
    assert config.plan is not None and [path.name for path in tmp_path.iterdir()] == ["parent"]


def test_overrides_go_on_top_of_those_of_the_parent(cli: Cli, parent: Path, tmp_path: Path) -> None:
    patient = "callbacks.early_stopping.patience=20"
    assert cli("fit", "run.dir=run", "resume_from=parent", "trainer.max_epochs=3", patient).code == 0
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["callbacks"]["early_stopping"]["patience"] == 20 and config["model"]["hidden"] == [8]
    kept = yaml.safe_load((tmp_path / "run" / "overrides.yaml").read_text())["overrides"]
    assert "callbacks=early_stopping" in kept and patient in kept and "trainer.max_epochs=2" not in kept
    result = tk.fit(
        resume_from="run", max_epochs=4, overrides=["callbacks.early_stopping.min_delta=0.1", "run.dir=again"]
    )
    config = yaml.safe_load((tmp_path / "again" / "config.yaml").read_text())["callbacks"]["early_stopping"]
    assert (result.steps, config["patience"], config["min_delta"]) == (16, 20, 0.1)
    code, out, _ = cli("fit", "--cfg", "job", "resume_from=again", "trainer.max_steps=20")
    shown = yaml.safe_load(out)
    assert code == 0 and shown["callbacks"]["early_stopping"]["patience"] == 20 and shown["data"]["name"] == "wine"
    assert (shown["trainer"]["max_steps"], shown["trainer"]["max_epochs"]) == (20, None)


def test_the_word_of_a_foreign_run_is_not_the_users_own(cli: Cli, parent: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((parent / "config.yaml").read_text())
    config["model"] = {"_target_": "os.system", "command": "touch broken-in"}
    (parent / "config.yaml").write_text(yaml.safe_dump(config))
    foreign = {"overrides": ["data=wine", "model=custom", "model._target_=os.system", "run.trust=[os]"]}
    (parent / "overrides.yaml").write_text(yaml.safe_dump(foreign))
    code, out, err = cli("fit", "run.dir=run", "resume_from=parent", "trainer.max_epochs=4")
    assert (code, out) == (2, "") and err.startswith("'os.system' is not code that trainkit runs unasked\n")
    assert [path.name for path in tmp_path.iterdir()] == ["parent"]


@pytest.mark.parametrize("key", ["resume_from", "run.dir"])
def test_a_net_that_changed_since_is_refused_by_its_first_tensor(
    key: str, cli: Cli, parent: Path, tmp_path: Path
) -> None:
    unfinish(parent)
    config = yaml.safe_load((parent / "config.yaml").read_text())
    config["model"]["hidden"] = [9]  # as a class would do that was edited
    (parent / "config.yaml").write_text(yaml.safe_dump(config))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    code, out, err = cli("fit", f"{key}=parent", *(["trainer.max_epochs=4"] if key == "resume_from" else []))
    note = "note   config.yaml is damaged, or was changed after the run wrote it\n"
    assert (code, out) == (2, note) and err == (
        "net.trunk.1.weight [9, 13] in the net is [8, 13] in the checkpoint of 'parent'\n"
        f"  where    {key}\n  expected the net and the optimizer of that run\n"
        "  hint     init_from=parent takes the weights that fit\n"
    )
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_tensors_of_other_names_and_other_optimizer_groups_are_told(parent: Path) -> None:
    with pytest.raises(tk.RunError, match=r"^the net has net\.weight \[3, 13\], and the checkpoint of 'parent' has no"):
        tk.fit(model=nn.Linear(13, 3), resume_from="parent", max_epochs=4)

    def one_group(params: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW([p for group in params for p in group["params"]], lr=0.003)

    with pytest.raises(tk.RunError, match=r"^the optimizer holds groups of \d parameters, and .* of \d \+ \d\n"):
        tk.fit(optimizer=one_group, resume_from="parent", max_epochs=4)


def test_an_optimizer_of_another_setting_is_told_by_that_setting(parent: Path) -> None:
    with pytest.raises(tk.ConfigError, match=r"^optimizer\.lr=0\.5, but 'parent' has optimizer\.lr=0\.003\n"):
        tk.fit(optimizer=tk.adamw(lr=0.5), resume_from="parent", max_epochs=4)


class Module(L.LightningModule):
    """A classifier of points whose width and number of parameter groups are given."""

    def __init__(self, width: int = 8, groups: int = 1) -> None:
        super().__init__()
        self.groups = groups
        self.net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        params = list(self.parameters())
        return torch.optim.Adam([{"params": params[place :: self.groups]} for place in range(self.groups)])


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (Module(width=9), r"^net\.0\.weight \[9, 4\] in the net is \[8, 4\] in the checkpoint of 'first'$"),
        (Module(groups=2), r"^the optimizer holds groups of 2 \+ 2 parameters, and the .* of 'first' groups of 4$"),
    ],
)
def test_a_module_of_ones_own_that_changed_is_refused(
    module: Module, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["logger=none", "trainer.threads=1"]
    tk.fit(module=Module(), data=TrainOnly(), max_epochs=1, overrides=[*options, "run.dir=first"])
    with pytest.raises(tk.RunError, match=text.removesuffix("$")):
        tk.fit(module=module, data=TrainOnly(), max_epochs=2, resume_from="first")
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_values_are_logged_as_often_as_by_the_parent_and_curves_are_whole(cli: Cli, tmp_path: Path) -> None:
    common = ("model=mlp", "scheduler=constant", *FAST)
    assert cli("fit", "run.dir=two", "trainer.max_epochs=2", *common).code == 0
    assert cli("fit", "run.dir=four", "resume_from=two", "trainer.max_epochs=4").code == 0
    assert cli("fit", "run.dir=six", "resume_from=four", "trainer.max_epochs=6").code == 0
    assert cli("fit", "run.dir=whole", "trainer.max_epochs=6", "trainer.log_every_n_steps=2", *common).code == 0

    def curve(name: str) -> list[tuple[str, str]]:
        rows = read_metrics(RunDirectory(tmp_path / name).metrics)
        return [(row["step"], row["value"]) for row in rows if row["name"] == "loss"]

    assert curve("six") == curve("whole")
    events = EventAccumulator(str(tmp_path / "six")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 120, 2))
    assert len(events.Scalars("hp/objective")) == 1
    assert (
        cli("fit", "run.dir=own", "resume_from=two", "trainer.max_epochs=6", "trainer.log_every_n_steps=null").code == 0
    )
    assert int(curve("own")[-1][0]) == 119 and curve("own") != curve("six")


def test_a_moved_project_goes_on(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = "x,y\n" + "".join(f"{i % 7}.5,{'ab'[i % 2]}\n" for i in range(80))
    (tmp_path / "t.csv").write_text(table)
    options = ("data=table", "data.path=t.csv", "data.target=y", "model=mlp", "logger=none", *FAST)
    assert cli("fit", "run.dir=parent", "trainer.max_epochs=2", *options).code == 0
    (tmp_path / "new").mkdir()
    (tmp_path / "t.csv").rename(tmp_path / "new" / "moved.csv")
    moved = "data.path=new/moved.csv"
    assert cli("fit", "run.dir=run", "resume_from=parent", "trainer.max_epochs=3", moved).code == 0
    unfinish(tmp_path / "parent")
    assert cli("fit", "run.dir=parent", moved).code == 0
    assert yaml.safe_load((tmp_path / "parent" / "config.yaml").read_text())["data"]["path"] == "new/moved.csv"
    assert cli("evaluate", "parent").code == 0
    (tmp_path / "new" / "moved.csv").write_text(table.replace("0.5", "0.25"))
    code, _, err = cli("fit", "resume_from=parent", "trainer.max_epochs=4", moved)
    assert code == 2 and err.startswith("the data has changed since this run began\n")
    code, _, err = cli("fit", "resume_from=parent", "trainer.max_epochs=4", "data.target=x")
    assert code == 2 and err.startswith("data.target=x, but 'parent' has data.target=y\n")


def test_data_given_as_an_object_with_another_setting_is_refused(tmp_path: Path) -> None:
    stored = OmegaConf.create({"data": {"live": "a.B", "batch_size": 16}})
    config = OmegaConf.create({"data": {"live": "a.B", "batch_size": 64}, "run": {"trust": []}})
    given: Any = object()
    with pytest.raises(tk.ConfigError, match=r"given with batch_size=64, but the run has data\.batch_size=16"):
        taken_up(RunDirectory(tmp_path), stored, config, LiveObjects(data=given), "run.dir")
