"""One process a run directory; a crash leaves no lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainkit.errors import RunError
from trainkit.rundir import RunDirectory
from trainkit.runs.lock import locked

Cli = Callable[..., Any]
HOLD = """
import sys, time
from pathlib import Path
from trainkit.rundir import RunDirectory
from trainkit.runs.lock import locked
with locked(RunDirectory(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that works in ``run``."""
    (tmp_path / "run").mkdir()
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told_so(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught, locked(RunDirectory(tmp_path / "run")):
        pass
    assert f"is in use by process {holder.pid} on " in caught.value.what
    holder.kill()
    holder.communicate()


def test_a_killed_process_leaves_no_lock(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert (tmp_path / "run" / ".lock").exists()
    with locked(RunDirectory(tmp_path / "run")):
        pass
    assert not (tmp_path / "run" / ".lock").exists()


def test_children_do_not_hold_it(tmp_path: Path) -> None:
    with locked(RunDirectory(tmp_path)):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
    command = [sys.executable, "-c", HOLD.replace("time.sleep(60)", "pass"), str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "held\n"
    child.kill()
    child.wait()


def test_a_run_under_way_is_not_continued_by_another(cli: Cli, tmp_path: Path) -> None:
    options = ("data=wine", "model=mlp", "trainer.max_epochs=1", "evaluation.resamples=5", "evaluation.baseline=false")
    assert cli("fit", "run.dir=run", *options).code == 0
    (tmp_path / "run" / "result.json").unlink()
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    started = time.monotonic()
    code, _, err = cli("fit", "run.dir=run")
    assert code == 2 and f"'run' is in use by process {process.pid}" in err
    assert time.monotonic() - started < 5
    process.kill()
    process.communicate()
    assert cli("fit", "run.dir=run").code == 0
    assert not (tmp_path / "run" / ".lock").exists()
