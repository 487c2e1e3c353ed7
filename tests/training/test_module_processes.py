"""Two processes train as one does: the same gradients, metrics and checkpoints, and one signal stops both."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from trainkit.rundir import RunDirectory
from trainkit.training import all_saved, read_metrics

SCRIPT = Path(__file__).with_name("group_run.py")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def start(folder: Path, rank: int, port: int) -> subprocess.Popen[str]:
    group = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "group"}
    environment = {**os.environ, **{name: str(value) for name, value in (group | meeting).items()}}
    command = [sys.executable, "-W", "ignore", str(SCRIPT), str(folder)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def run_group(folder: Path) -> None:
    port = free_port()
    processes = [start(folder, rank, port) for rank in (0, 1)]
    try:
        errors = [process.communicate(timeout=150)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)


def run_alone(folder: Path) -> None:
    spec = importlib.util.spec_from_file_location("group_run", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(folder, 0, 1, steps_per_execution=1)


def rows(run: RunDirectory) -> dict[tuple[str, str], float]:
    """Logged values by step and name."""
    named = {(row["step"], f"{row['split']}/{row['name']}"): float(row["value"]) for row in read_metrics(run.metrics)}
    return {key: value for key, value in named.items() if "samples_per_second" not in key[1]}


@pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    two, one = RunDirectory(tmp_path / "two"), RunDirectory(tmp_path / "one")
    for run, start_run in ((two, run_group), (one, run_alone)):
        run.path.mkdir()
        start_run(run.path)
    ends: list[dict[str, Any]] = [json.loads((two.path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert [end["signal"] for end in ends] == [signal.SIGTERM] * 2
    assert ends[0]["best"] == ends[1]["best"]
    assert [entry["step"] for entry in all_saved(two)] == [entry["step"] for entry in all_saved(one)] == [6, 4]
    assert rows(two).keys() == rows(one).keys()
    assert rows(two) == pytest.approx(rows(one), rel=1e-5)
    for step in (4, 6):
        states = [torch.load(run.checkpoints / f"step-{step}.ckpt", weights_only=True) for run in (two, one)]
        assert [len(state["trainkit"]["processes"]) for state in states] == [2, 1]
        assert states[0]["state_dict"].keys() == states[1]["state_dict"].keys()
        for name, value in states[1]["state_dict"].items():
            torch.testing.assert_close(states[0]["state_dict"][name], value, rtol=1e-5, atol=1e-6)
