"""One process of a run on several devices: ``python -m trainkit.runs.worker RUN_DIR FOLDER``."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import pickle
import runpy
import signal
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch.distributed

from trainkit.data import Splits
from trainkit.errors import TrainkitError
from trainkit.rundir import RunDirectory
from trainkit.runs.build import build_parts
from trainkit.runs.devices import find_devices
from trainkit.runs.launch import IMPORTING_MAIN, LIVE, OUTCOME
from trainkit.runs.load import load_initial
from trainkit.runs.own_module import build_module_parts, has_own_module
from trainkit.runs.own_training import train_own
from trainkit.runs.own_trial import look
from trainkit.runs.parts import LiveObjects, ModuleParts, trained_net
from trainkit.runs.stored import load_config
from trainkit.runs.train import train
from trainkit.training import usable_checkpoint

PR_SET_PDEATHSIG = 1
"""Of Linux's ``prctl``."""


def main(run_dir: str, folder: str, callbacks: Sequence[L.Callback] = ()) -> bool:
    """Trains as one process of the group; the first tells the parent what came of it.

    Args:
        run_dir: The run.
        folder: What the parent has put down for its processes, and where it is told.
        callbacks: Further ones.

    Returns:
        Whether it went well.
    """
    outcome: dict[str, Any]
    try:
        run = RunDirectory(Path(run_dir))
        live = _live(Path(folder) / LIVE)
        live.callbacks = (*live.callbacks, *callbacks)
        config, splits = load_config(run), Splits.load(run.splits)
        parts = (build_module_parts if has_own_module(config) else build_parts)(config, live, splits)
        if (net := trained_net(parts)) is not None:
            load_initial(run, net)
        checkpoint, _ = usable_checkpoint(run)
        devices = find_devices(parts.config)
        if isinstance(parts, ModuleParts):
            made = train_own(parts, look(parts, devices), run, devices, checkpoint)
        else:
            made = train(parts, run, devices, checkpoint)
        outcome = dataclasses.asdict(made)
    except TrainkitError as error:
        outcome = {name: getattr(error, name) for name in ("what", "where", "expected", "hint")}
        outcome["error"] = type(error).__name__
    if os.environ.get("RANK", "0") == "0" or "error" in outcome:
        (Path(folder) / OUTCOME).write_text(json.dumps(outcome), encoding="utf-8")
    return "error" not in outcome


def die_with_parent() -> None:
    """Has Linux kill this process when its parent dies: one that goes on would write into a run that was continued."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died in between
        os.kill(os.getpid(), signal.SIGKILL)


def leave_group() -> None:
    """Ends the threads of the process group, under which an interpreter that ends may be aborted."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _live(path: Path) -> LiveObjects:
    """Objects of the parent's script; written by the parent into a private folder, never a user's file."""
    if not path.is_file():
        return LiveObjects()
    payload = pickle.loads(path.read_bytes())
    if payload["main"] is not None:
        _import_main(payload["main"], payload["argv"])
    return LiveObjects(**pickle.loads(payload["objects"]))


def _import_main(script: str, argv: list[str]) -> None:
    """Imports the user's script under another name than ``__main__``, so that what it guards does not run."""
    os.environ[IMPORTING_MAIN] = script
    sys.argv = argv
    module = types.ModuleType("__mp_main__")
    module.__dict__.update(runpy.run_path(script, run_name="__mp_main__"))
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    del os.environ[IMPORTING_MAIN]


if __name__ == "__main__":
    die_with_parent()
    if main(sys.argv[1], sys.argv[2]):  # else others may wait for this process, and leaving would wait for them
        leave_group()
