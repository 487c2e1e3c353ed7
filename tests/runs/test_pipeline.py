from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainkit.rundir import RunDirectory, read_json
from trainkit.runs import completion

Cli = Callable[..., Any]
Same = Callable[[RunDirectory, RunDirectory], None]
StopAt = Callable[..., None]
SMALL = ("model=mlp", "evaluation.resamples=50", "trainer.threads=1")
WHOLE = ("trainer.max_steps=50", "checkpoint.every_n_steps=15", "trainer.log_every_n_steps=10", *SMALL)
KILLED = """
import os, signal, sys
from trainkit.cli import main
from trainkit.training import TrainModule
step = TrainModule.training_step
def killed(self, batch, batch_idx):
    step(self, batch, batch_idx)
    if self.trainer.global_step >= 35:
        os.kill(os.getpid(), signal.SIGKILL)
TrainModule.training_step = killed
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("at", "saved"), [(3, 10), (13, 15), (20, 20), (27, 30), (50, 50)])
def test_a_stopped_run_goes_on_to_the_same_bits_as_the_whole_one(
    at: int, saved: int, cli: Cli, stop_at: StopAt, digits: RunDirectory, assert_same_run: Same, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "stopped")
    stop_at(at)
    code, out, err = cli("fit", f"run.dir={run.path}", *WHOLE)
    assert (code, err) == (128 + signal.SIGTERM, "")
    assert out.endswith(f"stop   saved at step {saved} · trainkit fit run.dir={run.path} continues\n")
    assert (run.status(), read_json(run.result)["steps"]) == ("interrupted", saved)
    assert not run.weights.exists() and (run.checkpoints / f"step-{saved}.ckpt").is_file()
    stop_at(None)
    code, out, err = cli("fit", f"run.dir={run.path}")
    assert (code, err) == (0, "") and f"run    {run.path} continues from step-{saved}.ckpt\n" in out
    assert_same_run(digits, run)


def test_ctrl_c_saves_too(cli: Cli, stop_at: StopAt, tmp_path: Path) -> None:
    stop_at(3, signal.SIGINT)
    code, out, err = cli("fit", "run.dir=run", "logger=none", *WHOLE)
    assert (code, err) == (130, "interrupted\n") and "stop   saved at step 10 · " in out
    assert RunDirectory(tmp_path / "run").status() == "interrupted"


def test_a_killed_run_goes_on_to_the_same_bits_as_the_whole_one(
    cli: Cli, digits: RunDirectory, assert_same_run: Same, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "killed")
    command = [sys.executable, "-c", KILLED, "fit", f"run.dir={run.path}", *WHOLE]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
    assert run.status() is None
    code, out, err = cli("fit", f"run.dir={run.path}")
    # That of step 30 was being written when the run was killed at step 35: it is whole, or the one before it is used.
    assert (code, err) == (0, "") and re.search(r"continues from step-(15|20|30)\.ckpt\n", out)
    assert_same_run(digits, run)


@pytest.mark.parametrize("stage", ["save_predictions", "log_hparams"])
def test_a_run_stopped_while_it_is_scored_is_scored_again(
    stage: str,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    digits: RunDirectory,
    assert_same_run: Same,
    tmp_path: Path,
) -> None:
    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    run = RunDirectory(tmp_path / "stopped")
    with monkeypatch.context() as patch:
        patch.setattr(completion, stage, stop)
        assert cli("fit", f"run.dir={run.path}", *WHOLE).code == 130
    assert run.status() is None
    assert cli("fit", f"run.dir={run.path}").code == 0
    assert_same_run(digits, run)


@pytest.mark.parametrize("fault", ["damaged", "missing"])
def test_the_checkpoint_before_a_broken_one_is_used(
    fault: str, cli: Cli, stop_at: StopAt, digits: RunDirectory, assert_same_run: Same, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "stopped")
    stop_at(27)
    cli("fit", f"run.dir={run.path}", *WHOLE)
    stop_at(None)
    last = run.checkpoints / "step-30.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.unlink() if fault == "missing" else last.write_bytes(content)
    code, out, _ = cli("fit", f"run.dir={run.path}")
    assert code == 0 and f"broken step-30.ckpt is {fault}; the newest whole checkpoint is used\n" in out
    assert "continues from step-20.ckpt\n" in out
    assert_same_run(digits, run)


def test_where_every_checkpoint_is_broken_nothing_is_trained(cli: Cli, stop_at: StopAt, tmp_path: Path) -> None:
    stop_at(27)
    cli("fit", "run.dir=run", "logger=none", *WHOLE)
    stop_at(None)
    run = RunDirectory(tmp_path / "run")
    for file in run.checkpoints.glob("*.ckpt"):
        file.write_bytes(b"nothing")
    assert cli("fit", "run.dir=run") == (
        2,
        "",
        "no checkpoint of 'run' can be used: step-30.ckpt is damaged; step-20.ckpt is damaged\n  where    run.dir\n",
    )
    assert run.status() == "interrupted"


def test_a_finished_run_is_left_alone(cli: Cli, digits: RunDirectory) -> None:
    before = {path: path.stat().st_mtime_ns for path in digits.path.rglob("*")}
    code, out, err = cli("fit", f"run.dir={digits.path}", *WHOLE)
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first == f"run    {digits.path} is finished; nothing to do" and second.startswith("test   accuracy ")
    assert {path: path.stat().st_mtime_ns for path in digits.path.rglob("*")} == before


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("value", "the data has changed since this run began"),
        ("rows", "the train part names rows beyond the 60 there are"),
        ("file", "there is no file t.csv"),
    ],
)
def test_data_that_changed_since_is_refused(change: str, cause: str, cli: Cli, stop_at: StopAt, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"x": generator.normal(size=100), "y": generator.choice(["a", "b"], 100)})
    file = tmp_path / "t.csv"
    table.to_csv(file, index=False)
    stop_at(3)
    assert cli("fit", "run.dir=run", "data=table", "data.path=t.csv", "data.target=y", "logger=none", *SMALL).code
    stop_at(None)
    if change == "value":
        table.assign(x=table["x"].where(table.index != 0, 0.5)).to_csv(file, index=False)
    elif change == "rows":
        table[:60].to_csv(file, index=False)
    else:
        file.unlink()
    code, out, err = cli("fit", "run.dir=run")
    assert (code, out) == (2, "") and err.splitlines()[0] == cause
    assert RunDirectory(tmp_path / "run").status() == "interrupted"


FAILING = """
import torch
from torch import nn

class Net(nn.Linear):
    calls = 0
    def forward(self, x):
        Net.calls += 1
        if Net.calls == 5:
            raise ZeroDivisionError("five is enough")
        return super().forward(x)
"""


def test_a_run_that_fails_says_why_and_can_go_on(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "failing_net.py").write_text(FAILING)
    monkeypatch.syspath_prepend(str(tmp_path))
    model = ("model=custom", "model._target_=failing_net.Net", "+model.in_features=???", "+model.out_features=???")
    options = ("data=wine", "trainer.max_steps=6", "evaluation.resamples=50", "checkpoint.every_n_steps=1")
    with pytest.raises(ZeroDivisionError):
        cli("fit", "run.dir=run", *options, *model)
    run = RunDirectory(tmp_path / "run")
    assert (run.status(), run.error.read_text()) == ("failed", "ZeroDivisionError: five is enough\n")
    assert read_json(run.result)["error"] == "ZeroDivisionError: five is enough"
    text = "'failing_net.Net' is not code that trainkit runs unasked"
    code, out, err = cli("fit", "run.dir=run")
    assert (code, out) == (2, "") and err.startswith(text) and "run.trust=[failing_net]" in err
    code, out, err = cli("fit", "run.dir=run", "run.trust=[failing_net]")
    assert (code, err) == (0, "") and "continues from step-2.ckpt\n" in out
    assert run.status() == "completed" and not run.error.exists()


def test_the_same_command_continues_a_run_with_a_net_of_the_users_own(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, stop_at: StopAt, tmp_path: Path
) -> None:
    (tmp_path / "own_net.py").write_text("from torch import nn\n\nclass Net(nn.Linear):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    model = ("model=custom", "model._target_=own_net.Net", "+model.in_features=???", "+model.out_features=???")
    command = ("fit", "run.dir=run", "data=wine", "trainer.max_steps=6", "evaluation.resamples=50", *model)
    stop_at(4)
    assert cli(*command).code == 128 + signal.SIGTERM
    stop_at(None)
    code, out, err = cli(*command)
    assert (code, err) == (0, "") and "continues from step-4.ckpt\n" in out
