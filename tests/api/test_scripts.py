"""``fit`` in a user's script: run again with fresh objects, in a Hydra job and in a multirun."""

from __future__ import annotations

import os
import re
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import trainkit as tk
from tests.api.clouds import Net, Points
from tests.api.conftest import OVERRIDES, fit
from trainkit.rundir import read_json
from trainkit.training import TrainModule


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


def test_in_a_multirun_a_mistake_gives_a_failed_result_and_the_next_job_follows(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "trainer.monitor=val/los,val/loss"])
    runpy.run_path("train.py", run_name="__main__")
    out, err = capsys.readouterr()
    lines = [line for line in out.splitlines() if line.startswith("status ")]
    assert lines[0] == "status failed None" and re.fullmatch(r"status completed \d\.\d+", lines[1])
    assert err.startswith("nobody logs 'val/los'\n")
    statuses = [read_json(file)["status"] for file in project.glob("runs/wine/*/result.json")]
    assert statuses == ["completed"]
