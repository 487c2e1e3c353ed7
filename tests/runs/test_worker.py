from __future__ import annotations

import json
import pickle
import runpy
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import trainkit as tk
from trainkit.rundir import RunDirectory
from trainkit.runs import worker
from trainkit.runs.build import build_parts
from trainkit.runs.devices import Devices
from trainkit.runs.directory import begin
from trainkit.runs.launch import IMPORTING_MAIN, LIVE, OUTCOME, Payload
from trainkit.runs.stored import load_config
from trainkit.runs.worker import main

SCRIPT = """
import sys
from torch import nn

class Net(nn.Linear):
    pass

assert sys.argv[1:] == ["--option"]
if __name__ == "__main__":
    raise AssertionError("what is guarded must not run")
"""


def begun(folder: Path, *overrides: str) -> RunDirectory:
    config = tk.compose(["data=wine", "model=mlp", "trainer.max_steps=4", "logger=none", *overrides])
    config.run.dir = str(folder)
    return begin(build_parts(config), Devices("cpu", 1, 1), [])


def test_a_worker_trains_a_run_and_tells_what_came_of_it(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    assert main(str(run.path), str(tmp_path))
    told = json.loads((tmp_path / OUTCOME).read_text())
    assert (told["steps"], told["interrupted"]) == (4, 0)
    assert run.weights.is_file() and (run.checkpoints / "step-4.ckpt").is_file()
    run.weights.unlink()
    assert main(str(run.path), str(tmp_path))  # goes on from the last checkpoint, which is the end
    assert json.loads((tmp_path / OUTCOME).read_text())["steps"] == 4 and load_file(run.weights)


@pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")
def test_a_process_leaves_its_group_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, meeting = begun(tmp_path / "run"), f"file://{tmp_path / 'meeting'}"
    monkeypatch.setattr(sys, "argv", ["worker", str(run.path), str(tmp_path)])
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    try:
        runpy.run_path(worker.__file__, run_name="__main__")
        assert not torch.distributed.is_initialized()
    finally:
        worker.leave_group()


def test_a_worker_starts_from_the_weights_that_the_run_was_begun_with(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", "optimizer.lr=1e-12", "scheduler=constant", "optimizer.weight_decay=0")
    initial = {name: torch.full_like(tensor, 0.25) for name, tensor in net_state(run).items()}
    save_file(initial, run.initial_weights)
    assert main(str(run.path), str(tmp_path))
    for name, tensor in load_file(run.weights).items():
        if name.startswith("net."):
            torch.testing.assert_close(tensor, initial[name.removeprefix("net.")])


def net_state(run: RunDirectory) -> dict[str, torch.Tensor]:
    network = build_parts(load_config(run)).network
    assert network is not None
    state: dict[str, torch.Tensor] = network.net.state_dict()
    return state


def test_a_mistake_is_told_too(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    run.config.write_text(run.config.read_text().replace("devices: 1", "devices: 2"))
    assert not main(str(run.path), str(tmp_path))
    assert json.loads((tmp_path / OUTCOME).read_text()) == {
        **{"error": "ConfigError", "what": "1 processes for 2 devices", "where": "trainer.devices"},
        **{"expected": None, "hint": None},
    }


def test_objects_of_a_script_come_by_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("__main__", "__mp_main__"):
        monkeypatch.setitem(sys.modules, name, sys.modules["__main__"])
    monkeypatch.setattr(sys, "argv", sys.argv)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec("from torch import nn\nclass Net(nn.Linear): pass", scope)
    monkeypatch.setattr(sys.modules["__main__"], "Net", scope["Net"], raising=False)
    net = scope["Net"](13, 3)
    payload = Payload(pickle.dumps({"model": net}), str(script), ["script.py", "--option"])
    (tmp_path / LIVE).write_bytes(pickle.dumps(asdict(payload)))
    run = begun(tmp_path / "run", "model=custom", "model._target_=torch.nn.Linear", "+model.in_features=13",
                "+model.out_features=3")  # fmt: skip
    assert main(str(run.path), str(tmp_path))
    assert "error" not in json.loads((tmp_path / OUTCOME).read_text())
    assert load_file(run.weights)["net.weight"].shape == (3, 13)


def test_a_script_that_calls_fit_unguarded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IMPORTING_MAIN, "")  # set again by the worker, which ends here
    monkeypatch.setattr(sys, "argv", sys.argv)
    script = tmp_path / "forgetful.py"
    script.write_text("import trainkit as tk\n\ntk.fit(data='wine', devices=2)\n")
    payload = Payload(pickle.dumps({}), str(script), ["forgetful.py"])
    (tmp_path / LIVE).write_bytes(pickle.dumps(asdict(payload)))
    assert not main(str(begun(tmp_path / "run").path), str(tmp_path))
    assert json.loads((tmp_path / OUTCOME).read_text()) == {
        "error": "LaunchError",
        "what": "'forgetful.py' calls fit as soon as it is imported, and the processes have to import it",
        "where": "trainer.devices",
        "expected": None,
        "hint": "put the call under  if __name__ == '__main__':  or give functools.partial(Class, …) of a module",
    }
