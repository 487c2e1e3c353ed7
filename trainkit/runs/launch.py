"""Several processes for one run: a fresh group per attempt, started by torch's elastic launcher."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainkit import errors
from trainkit.errors import LaunchError, TrainkitError
from trainkit.rundir import RunDirectory
from trainkit.runs.devices import Devices
from trainkit.runs.narrate import continue_command
from trainkit.runs.parts import LiveObjects, Parts
from trainkit.runs.train import TrainOutcome
from trainkit.training import all_saved

IMPORTING_MAIN = "TRAINKIT_IMPORTING_MAIN"
"""Set in a worker while it imports the user's script again for the classes in it."""

LIVE, OUTCOME = "live.pickle", "outcome.json"


@dataclass(frozen=True)
class Payload:
    """What the workers of a script with live objects get, through a private file of ours.

    Attributes:
        objects: The live objects, pickled.
        main: The user's script, to be imported first; None where no object is defined in it.
        argv: Its command line.
    """

    objects: bytes
    main: str | None
    argv: list[str]


def train_in_processes(parts: Parts, run: RunDirectory, devices: Devices) -> TrainOutcome:
    """Trains a run in processes of its own; after a crash, on from the last checkpoint in a fresh group.

    Raises:
        LaunchError: An object cannot be sent to the processes, or they died more often than allowed, or of a bug.
        TrainkitError: What a worker found wrong.
    """
    payload = packed(parts.live)
    for restarts_left in range(parts.config.launch.max_restarts, -1, -1):
        with tempfile.TemporaryDirectory(prefix="trainkit-") as folder:
            if payload is not None:
                (Path(folder) / LIVE).write_bytes(pickle.dumps(asdict(payload)))
            died = _launch(run, devices, folder)
            told = Path(folder) / OUTCOME
            if told.is_file():
                return _outcome(json.loads(told.read_text(encoding="utf-8")))
        if not died.startswith("SIG") or not restarts_left:
            break
        print(f"launch a process died ({died}); going on from step {_saved_step(run)} in a fresh group", flush=True)
    hint = f"{continue_command(parts, run)} continues from step {_saved_step(run):,}" if all_saved(run) else None
    raise LaunchError(f"a process died ({died})", where="trainer.devices", hint=hint)


def refuse_unguarded() -> None:
    """Raises LaunchError where a process imports a script that calls ``fit`` as soon as it is imported."""
    script = os.environ.get(IMPORTING_MAIN)
    if script:
        raise LaunchError(
            f"'{Path(script).name}' calls fit as soon as it is imported, and the processes have to import it",
            where="trainer.devices",
            hint="put the call under  if __name__ == '__main__':  or give functools.partial(Class, …) of a module",
        )


def _saved_step(run: RunDirectory) -> int:
    saved = all_saved(run)
    return int(saved[0]["step"]) if saved else 0


def _outcome(values: dict[str, Any]) -> TrainOutcome:
    if "error" not in values:
        return TrainOutcome(**values)
    kind = getattr(errors, values["error"], TrainkitError)
    raise kind(values["what"], where=values["where"], expected=values["expected"], hint=values["hint"])


def _launch(run: RunDirectory, devices: Devices, folder: str) -> str:
    """Runs one group; gives what ended it, the name of a signal or an exit code."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices.count,
        run_id=run.path.name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    arguments = ("-m", "trainkit.runs.worker", str(run.path), folder)
    with surroundings(devices):
        try:
            elastic_launch(config, sys.executable)(*arguments)
        except SignalException as stop:
            return f"stopped by signal {int(stop.sigval)}"
        except ChildFailedError as error:
            return _cause(error.get_first_failure()[1], list(error.failures.values()))
    return "exit code 0, without a word"


def _cause(first: Any, failures: list[Any]) -> str:
    """What ended a group: the signal that killed a process, though another may have failed for want of it before.

    Args:
        first: The first ``ProcessFailure`` that the launcher saw.
        failures: All of them; those it ended itself are of later.
    """
    at_once = [failure for failure in failures if failure.timestamp <= first.timestamp + 1]
    killed = (f for f in at_once if f.exitcode < 0 and f.exitcode != -signal.SIGTERM)
    cause = next(killed, first)
    return str(cause.signal_name()) if cause.exitcode < 0 else f"exit code {cause.exitcode}"


@contextmanager
def surroundings(devices: Devices) -> Iterator[None]:
    """Threads and import path of the workers; the launcher's own log is kept to what is fatal."""
    wanted = {
        "OMP_NUM_THREADS": str(devices.threads),
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "TORCHELASTIC_ERROR_FILE": "",
    }
    before = {name: os.environ.get(name) for name in wanted}
    names = [name for name in logging.root.manager.loggerDict if name.startswith("torch.distributed")]
    levels = {name: logging.getLogger(name).level for name in names}
    os.environ.update({name: value for name, value in wanted.items() if value})
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def packed(live: LiveObjects) -> Payload | None:
    """Pickles the live objects one by one, so that the one at fault is named.

    Raises:
        LaunchError: One cannot be pickled, or is defined where another process cannot import it from.
    """
    given: dict[str, Any] = {name: getattr(live, name) for name in sorted(live.sections())}
    given |= {name: list(things) for name in ("callbacks", "loggers") if (things := getattr(live, name))}
    if not given:
        return None
    needs_main = False
    for name, thing in given.items():
        buffer = io.BytesIO()
        try:
            pickle.dump(thing, buffer)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise LaunchError(
                f"{name} cannot be sent to other processes: {error}",
                where=name,
                hint="define it at the top of a module, or give functools.partial(Class, …) instead of an object",
            ) from error
        needs_main |= b"__main__" in buffer.getvalue()
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if needs_main and main is None:
        raise LaunchError(
            f"{', '.join(given)} is defined in a notebook or a shell, which other processes cannot import",
            where="trainer.devices",
            hint="move the classes to a module, or train with devices=1",
        )
    return Payload(pickle.dumps(given), os.path.abspath(main) if needs_main and main else None, sys.argv)
