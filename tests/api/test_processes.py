"""``fit`` with two processes in a user's script: it survives a death, and what cannot reach them is named."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

import trainkit as tk
from trainkit.rundir import read_json

SCRIPT = '''
import os, signal, sys
from pathlib import Path

import lightning as L
import torch
from clouds import Points
from torch import nn

import trainkit as tk


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


class KillsOnce(L.Callback):
    """The second process dies at the sixth step, unless it did so before."""

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_rank == 1 and trainer.global_step == 6 and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    torch.manual_seed(0)
    results = []
    for devices in (1, 2):
        torch.manual_seed(0)
        net = Net()
        kills = [KillsOnce()] if devices == 2 else []
        result = tk.fit(
            model=net, train=Points(60, 0), val=Points(31, 1), test=Points(30, 2), max_steps=8, batch_size=12,
            devices=devices, callbacks=kills, overrides=["logger=none", "evaluation.resamples=20",
            "checkpoint.every_n_steps=2", f"run.dir=run{devices}"],
        )
        loaded = tk.load_run(result.run_dir, model=Net())
        assert all(map(torch.equal, net.state_dict().values(), loaded.model.net.state_dict().values()))
        results.append((result, net))
    for one, two in zip(results[0][1].parameters(), results[1][1].parameters()):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
    assert results[0][0].objective == results[1][0].objective
    print("the same")
'''


def test_a_guarded_script_with_live_objects_survives_the_death_of_a_process(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).with_name("clouds.py"), tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("the same\n")
    assert "launch a process died (SIGKILL); going on from step 5 in a fresh group\n" in done.stdout
    assert (tmp_path / "killed").exists()
    assert [read_json(tmp_path / f"run{n}" / "result.json")["steps"] for n in (1, 2)] == [8, 8]


UNGUARDED = """
import torch
import trainkit as tk


class Net(torch.nn.Linear):
    pass


tk.fit(model=Net(13, 3), data="wine", max_steps=2, devices=2, overrides=["logger=none"])
"""


@pytest.mark.slow
def test_an_unguarded_script_is_named(tmp_path: Path) -> None:
    (tmp_path / "forgetful.py").write_text(UNGUARDED)
    done = subprocess.run([sys.executable, "forgetful.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.count("Traceback") == 1
    assert done.stderr.endswith(
        "trainkit.errors.LaunchError: 'forgetful.py' calls fit as soon as it is imported, and the processes have to "
        "import it\n  where    trainer.devices\n"
        "  hint     put the call under  if __name__ == '__main__':  or give functools.partial(Class, …) of a module\n"
    )
    assert not list(tmp_path.glob("runs/*/*"))


class Closure(nn.Linear):
    def __init__(self) -> None:
        super().__init__(13, 3)
        self.activation = lambda outputs: outputs


def test_an_object_that_cannot_be_sent_to_processes_is_named_first(tmp_path: Path) -> None:
    with pytest.raises(tk.LaunchError) as caught:
        tk.fit(model=Closure(), data="wine", devices=2, overrides=[f"run.root={tmp_path}"])
    assert caught.value.where == "model" and caught.value.what.startswith("model cannot be sent to other processes")
    assert caught.value.hint is not None and "functools.partial(Class, …)" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
