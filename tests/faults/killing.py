"""Runs in processes that the system kills at a chosen point, and what is compared of them afterwards."""

from __future__ import annotations

import atexit
import functools
import io
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from torch import Tensor
from torch.utils.data import Dataset

from trainkit.cli import main
from trainkit.rundir import RunDirectory, read_json, write_json
from trainkit.runs import completion
from trainkit.runs.inspection.sameness import differences
from trainkit.runs.result import Result
from trainkit.training import CheckpointWriter, MetricsCSV, TrainModule
from trainkit.training import checkpoint as checkpoints
from trainkit.training.evaluation_steps import EvaluationSteps


@dataclass(frozen=True)
class Kill:
    """Where a process is killed.

    Attributes:
        place: ``save``, ``validation``, ``first`` or ``last`` execution of an epoch, ``step``, ``curves`` or ``end``.
        number: Of the checkpoint, validation or write of curves that the process comes to, of the epoch, or of the
            step, from 1.
        stage: Of a save: ``half``, ``written``, ``renamed``, ``pointing`` or ``pointed``; of the end: ``weights``,
            ``scored``, ``reported``; of an execution: ``before`` or ``after`` its steps.
    """

    place: str
    number: int = 1
    stage: str = ""

    def __str__(self) -> str:
        return "-".join(str(part) for part in (self.place, self.number, self.stage) if part)


class Noisy(Dataset[tuple[Tensor, int]]):
    """Draws anew at each reading."""

    def __init__(self, size: int = 96) -> None:
        self.inputs = torch.randn(size, 5, generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.inputs[row] + 0.1 * torch.rand(5), int(self.inputs[row].sum() > 0)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def put(owner: Any, name: str, function: Callable[..., Any]) -> None:
    setattr(owner, name, function)


def arm(kill: Kill) -> None:
    """Has this process be killed there."""
    {"save": _in_save, "validation": _in_validation, "step": _at_step, "curves": _in_curves, "end": _at_end}.get(
        kill.place, _in_execution
    )(kill)


def _counting(number: int, strike: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """Calls ``plain`` until the call of that number, and then ``strike``."""
    count = 0

    def call(*args: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        return (strike if count == number else plain)(*args, **options)

    return call


def _in_save(kill: Kill) -> None:
    save, point, write = torch.save, CheckpointWriter._point, write_json

    def half(state: Any, target: Any) -> None:
        buffer = io.BytesIO()
        save(state, buffer)
        content = buffer.getvalue()[: buffer.tell() // 2]
        target.write_bytes(content) if isinstance(target, Path) else target.write(content)
        die()

    def written(state: Any, target: Any) -> None:
        save(state, target)
        die()

    if kill.stage in ("half", "written"):
        put(torch, "save", _counting(kill.number, {"half": half, "written": written}[kill.stage], save))
    elif kill.stage == "renamed":
        put(CheckpointWriter, "_point", _counting(kill.number, lambda *args: die(), point))
    elif kill.stage == "pointing":
        put(checkpoints, "write_json", _counting(kill.number, lambda *args: die(), write))
    else:

        def pointed(*args: Any) -> None:
            point(*args)
            die()

        put(CheckpointWriter, "_point", _counting(kill.number, pointed, point))


def _in_validation(kill: Kill) -> None:
    begin, step = EvaluationSteps.on_validation_start, EvaluationSteps.validation_step
    is_there: list[bool] = []

    def begins(self: EvaluationSteps) -> None:
        begin(self)
        is_there.append(True)

    def steps(self: EvaluationSteps, *args: Any, **options: Any) -> Any:
        made = step(self, *args, **options)
        if len(is_there) >= kill.number:
            die()
        return made

    put(EvaluationSteps, "on_validation_start", begins)
    put(EvaluationSteps, "validation_step", steps)


def _in_execution(kill: Kill) -> None:
    step, one = TrainModule.training_step, TrainModule._optimizer_step
    armed: list[bool] = []
    epochs: list[int] = [-1]

    def is_meant(batch: Any) -> bool:
        is_first, is_last = batch.epoch != epochs[-1], batch.state.position == 0
        epochs.append(batch.epoch)
        return bool(batch.epoch + 1 == kill.number and (is_first if kill.place == "first" else is_last))

    def steps(self: TrainModule, batch: Any, batch_idx: int) -> None:
        if is_meant(batch):
            armed.append(True)
        step(self, batch, batch_idx)
        if armed:
            die()  # after its steps, before it is committed

    def optimizer_step(self: TrainModule, *args: Any) -> Any:
        made = one(self, *args)
        if armed and kill.stage == "before":
            die()  # in the midst of the execution
        return made

    put(TrainModule, "training_step", steps)
    put(TrainModule, "_optimizer_step", optimizer_step)


def _at_step(kill: Kill) -> None:
    one = TrainModule._optimizer_step

    def optimizer_step(self: TrainModule, *args: Any) -> Any:
        if self.trainer.global_step >= kill.number:
            die()
        return one(self, *args)

    put(TrainModule, "_optimizer_step", optimizer_step)


def _in_curves(kill: Kill) -> None:
    save = MetricsCSV.save

    def half(self: MetricsCSV) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(self._buffer.getvalue()[: self._buffer.tell() // 2])
        die()

    put(MetricsCSV, "save", _counting(kill.number, half, save))


def _at_end(kill: Kill) -> None:
    if kill.stage == "weights":
        put(completion, "load_best", lambda *args: die())
    elif kill.stage == "scored":
        put(completion, "log_hparams", lambda *args: die())
    else:
        put(Result, "save", lambda self: die())


def _work(place: str, overrides: list[str], kill: Kill | None) -> None:
    """A process that trains, and is killed."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, open(f"{place}.err", "w", encoding="utf-8") as errors:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(errors.fileno(), 2)
        torch.set_num_threads(1)
        if kill is not None:
            arm(kill)
        os.chdir(Path(place).parent)
        try:
            os._exit(main(["fit", f"run.dir={place}", *overrides]))
        except BaseException:
            traceback.print_exc()
            os._exit(1)


def serve() -> None:
    """Forks a process for each line that it reads, and tells how it ended: what it needs is imported once."""
    for line in sys.stdin:
        place, overrides, kill = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _work(place, overrides, None if kill is None else Kill(*kill))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


@functools.cache
def _server() -> subprocess.Popen[str]:
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=surroundings
    )
    atexit.register(server.kill)
    return server


def train(place: Path, overrides: tuple[str, ...] = (), kill: Kill | None = None) -> int:
    """Begins a run or goes on with one in another process; its exit code, -9 where it was killed."""
    time.sleep(1.0 - time.time() % 1.0)  # TensorBoard reads files in the order of whole seconds
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    asked = [str(place), list(overrides), None if kill is None else [kill.place, kill.number, kill.stage]]
    server.stdin.write(json.dumps(asked) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())


def changed(run: RunDirectory, **trainer: Any) -> None:
    """Sets keys of the run's own config that make no difference to what is learned."""
    config = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    config["trainer"].update(trainer)
    run.config.write_text(yaml.safe_dump(config), encoding="utf-8")


def different(whole: RunDirectory, killed: RunDirectory) -> list[str]:
    """What is not the same to the bit."""
    found = list(differences(whole, killed))
    frames = [pd.read_parquet(run.predictions) for run in (whole, killed)]
    if not frames[0].equals(frames[1]):
        found.append("predictions.parquet")
    results = [read_json(run.result) for run in (whole, killed)]
    keys = ("status", "metrics", "objective", "steps", "epochs", "best_checkpoint", "baseline")
    return found + [f"result.json {key}" for key in keys if results[0][key] != results[1][key]]


if __name__ == "__main__":
    serve()
