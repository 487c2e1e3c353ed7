"""Where a run's time goes: a short real run in a folder of its own, its parts timed, and a trace of a few steps."""

from __future__ import annotations

import copy
import functools
import os
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
from omegaconf import OmegaConf
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.profiler import profile, record_function

from trainkit.config.copying import copied
from trainkit.data.augment import Augment
from trainkit.data.fetching import Fetcher
from trainkit.errors import ConfigError
from trainkit.optim.flat import FlatParameters
from trainkit.runs.devices import Devices
from trainkit.runs.directory import begin
from trainkit.runs.parts import Parts
from trainkit.runs.schedule import RunSchedule, run_schedule
from trainkit.runs.train import train
from trainkit.tasks import Classification, Task
from trainkit.training import CheckpointWriter, TrainModule
from trainkit.training.chain import Chain
from trainkit.training.evaluation_steps import EvaluationSteps
from trainkit.training.gradient_norm import GradientNorm
from trainkit.training.window import LogWindow

SECONDS = 8.0
"""Of training that is timed, about."""

FEWEST, MOST, TRACED = 20, 2_000, 20
"""Optimizer steps that are timed, and such that are traced."""

REST = "loop"
LOOP_PHASES = ("data", "augmentation", "forward", "backward", "optimizer", "metrics", "logging", REST)


@dataclass(frozen=True)
class Profile:
    """Where the time of a whole run goes, by what was measured of a part of it.

    Attributes:
        seconds: Of the run by phase: ``data`` (fetching, and waiting for it), ``augmentation``, ``forward`` (the loss
            with it), ``backward``, ``optimizer`` (clipping and averages with it), ``metrics``, ``logging``, ``loop``
            (Lightning and callbacks), ``validation``, ``checkpoint``.
        steps: Optimizer steps that were timed.
        total_steps: Of the run.
        trace: File of the traced steps.
    """

    seconds: dict[str, float]
    steps: int
    total_steps: int
    trace: Path

    @property
    def shares(self) -> dict[str, float]:
        """Of the run's time by phase."""
        whole = sum(self.seconds.values())
        return {name: seconds / whole for name, seconds in self.seconds.items()}


class Stopwatch:
    """Time by phase; a phase within another one is not counted twice.

    Args:
        device: Waited for between phases, where it computes on its own.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.counts = device, Counter[str]()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._stack, self._since = [REST], 0.0

    def start(self) -> None:
        """Forgets what was before."""
        self.seconds.clear()
        self.counts.clear()
        self._since = time.perf_counter()

    def _switch(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.seconds[self._stack[-1]] += now - self._since
        self._since = now

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts what is done within for a phase; what a validation does is its own, except for saving."""
        if self._stack[-1] == "validation" and name != "checkpoint":
            yield
            return
        self._switch()
        self._stack.append(name)
        self.counts[name] += 1
        try:
            with record_function(f"trainkit: {name}"):
                yield
        finally:
            self._switch()
            self._stack.pop()


TIMED: tuple[tuple[Any, str, str], ...] = (
    (Augment, "__call__", "augmentation"),
    (EvaluationSteps, "loss", "forward"),
    (Chain, "prepare", "forward"),
    (Chain, "forward", "forward"),
    (Task, "loss_and_gradient", "forward"),
    (Classification, "loss_and_gradient", "forward"),
    (Chain, "backward", "backward"),
    (torch.autograd, "backward", "backward"),
    (GradientNorm, "clip", "optimizer"),
    (FlatParameters, "step", "optimizer"),
    (FlatParameters, "zero_grad", "optimizer"),
    (LogWindow, "update", "metrics"),
    (TrainModule, "_log_window", "logging"),
    (CheckpointWriter, "_save", "checkpoint"),
    (_EvaluationLoop, "run", "validation"),
)


def profile_run(parts: Parts, devices: Devices, samples_per_second: float, trace: Path) -> Profile:
    """Trains a copy for some seconds and writes the trace of a few steps.

    Args:
        parts: Of a net.
        devices: Where it trains; one process.
        samples_per_second: That are about to be expected.
        trace: Where the trace goes, a ``.json`` or ``.json.gz`` as chrome://tracing and ui.perfetto.dev open it.

    Raises:
        ConfigError: The run is on several processes, or the trace cannot be written there.
    """
    if devices.count > 1:
        raise ConfigError("a run on several processes is not profiled", where="profile", hint="trainer.devices=1")
    if not trace.name.endswith((".json", ".json.gz")) or not trace.absolute().parent.is_dir():
        raise ConfigError(f"the trace cannot be written to '{trace}'", where="profile", expected="a .json or .json.gz")
    schedule = run_schedule(parts)
    wanted = int(SECONDS * samples_per_second / parts.data.batch_size)
    steps = min(schedule.total_steps, max(FEWEST, min(MOST, wanted)))
    watch = Stopwatch(devices.torch_device)
    done = _timed(parts, devices, schedule, steps, watch)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it tells of every GPU that is not there
    with profile() as traced:
        _timed(parts, devices, schedule, min(TRACED, schedule.total_steps), Stopwatch(devices.torch_device))
    traced.export_chrome_trace(str(trace))
    return Profile(_of_whole_run(watch, parts, schedule, done), done, schedule.total_steps, trace)


def _timed(parts: Parts, devices: Devices, schedule: RunSchedule, steps: int, watch: Stopwatch) -> int:
    """Trains so many steps; gives those that came after the first execution, which reserves memory."""
    config = copied(parts.config)
    OmegaConf.update(config, "trainer.max_steps", steps)
    OmegaConf.update(config, "trainer.log_every_n_steps", schedule.log_every)
    short = replace(
        parts, config=config, network=copy.deepcopy(parts.network), live=replace(parts.live, loggers=(), callbacks=())
    )
    first = list[int]()
    step = TrainModule.training_step

    def begins_to_count(self: TrainModule, batch: Any, batch_idx: int) -> None:
        step(self, batch, batch_idx)
        if not first:
            first.append(self.trainer.global_step)
            watch.start()

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        OmegaConf.update(config, "run.dir", str(Path(folder) / "run"))
        stack.enter_context(mock.patch.object(TrainModule, "training_step", begins_to_count))
        stack.enter_context(mock.patch.object(Fetcher, "fetch_all", _timed_fetches(watch)))
        for owner, name, phase in TIMED:
            stack.enter_context(mock.patch.object(owner, name, _timed_call(getattr(owner, name), watch, phase)))
        for handle in _timed_optimizers(watch):
            stack.callback(handle.remove)
        outcome = train(short, begin(short, devices, []), devices)
    return max(1, outcome.steps - first[0])


def _timed_call(function: Callable[..., Any], watch: Stopwatch, phase: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        with watch.phase(phase):
            return function(*args, **options)

    return call


def _timed_fetches(watch: Stopwatch) -> Callable[..., Iterator[Any]]:
    fetch_all = Fetcher.fetch_all

    def fetches(self: Fetcher, requests: Any) -> Iterator[Any]:
        given, end = fetch_all(self, requests), object()
        while True:
            with watch.phase("data"):
                item = next(given, end)
            if item is end:
                return
            yield item

    return fetches


def _timed_optimizers(watch: Stopwatch) -> list[Any]:
    """Of optimizers that step themselves."""
    open_phases: list[Any] = []

    def begin(*_: Any) -> None:
        open_phases.append(watch.phase("optimizer"))
        open_phases[-1].__enter__()

    def end(*_: Any) -> None:
        open_phases.pop().__exit__(None, None, None)

    return [register_optimizer_step_pre_hook(begin), register_optimizer_step_post_hook(end)]


def _of_whole_run(watch: Stopwatch, parts: Parts, schedule: RunSchedule, steps: int) -> dict[str, float]:
    """Seconds by phase: those of steps by their number, those of events by how often they come."""
    checkpoint, plan = parts.config.checkpoint, schedule.plan
    validations = schedule.epochs / plan.val_every_n_epochs if plan.val_every_n_epochs else 0.0
    validations += schedule.total_steps / plan.val_every_n_steps if plan.val_every_n_steps else 0.0
    saves = schedule.epochs / checkpoint.every_n_epochs if checkpoint.every_n_epochs else 0.0
    saves += schedule.total_steps / checkpoint.every_n_steps if checkpoint.every_n_steps else 0.0
    seconds = {name: watch.seconds[name] * schedule.total_steps / steps for name in LOOP_PHASES if watch.seconds[name]}
    for name, times in (("validation", validations), ("checkpoint", saves)):
        if watch.counts[name]:
            seconds[name] = watch.seconds[name] / watch.counts[name] * max(1.0, times)
    return seconds
