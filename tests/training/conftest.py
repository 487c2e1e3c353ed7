"""A small run, built the way ``trainkit.runs.train`` builds one, and everything about it that two runs must share."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor

from trainkit.data.augment import Augment
from trainkit.data.evaluation_loader import EvaluationLoader
from trainkit.data.loader import BatchLoader
from trainkit.data.plan import ExecutionPlan
from trainkit.data.sources import Source, TensorSource
from trainkit.models import MLP
from trainkit.optim import adamw, cosine
from trainkit.rundir import RunDirectory
from trainkit.tasks import Classification
from trainkit.training import (
    AtomicCheckpointIO,
    CheckpointWriter,
    FiniteGuard,
    Health,
    MemoryGuard,
    MetricsCSV,
    ProgressLine,
    StopFlag,
    TrainModule,
    roll_back,
    usable_checkpoint,
)
from trainkit.training.finite import Policy
from trainkit.training.random_state import get_random_state

NUM_TRAIN, NUM_VAL, NUM_FEATURES, NUM_CLASSES, BATCH_SIZE = 103, 40, 6, 3, 12
"""103 = 8 batches of 12 and one of 7: nine steps an epoch, the last of them short."""


class Killed(Exception):
    """Stands for a process that ended without a word.

    The files are set aside as they were at that moment: what Lightning writes on an exception, a SIGKILL would not.

    Args:
        run: Where its files are.
    """

    def __init__(self, run: RunDirectory) -> None:
        self.aside = run.path.with_name(f"{run.path.name} killed")
        shutil.copytree(run.path, self.aside)


class KillAfter(Checkpoint):
    """Ends the run once a step is committed; listed after the writer, it is called after it.

    Args:
        writer: Tells which step was committed.
        step: The step.
    """

    def __init__(self, writer: CheckpointWriter, step: int) -> None:
        self.writer, self.step = writer, step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not batch.validate:
            self._kill()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._kill()

    def _kill(self) -> None:
        if self.writer.position.step >= self.step:
            raise Killed(self.writer.run)


class Recorder(Logger):
    """Keeps what is logged as (x, name, value) in ``rows``; throughput, which is never the same twice, is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, str, float]] = []

    name = property(lambda self: "recorder")
    version = property(lambda self: "")

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """None to keep."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows += [(step, name, float(v)) for name, v in metrics.items() if name != "train/samples_per_second"]


@dataclass
class Outcome:
    """A finished or killed run."""

    module: TrainModule
    trainer: L.Trainer
    loader: BatchLoader
    writer: CheckpointWriter
    progress: ProgressLine
    run: RunDirectory
    recorder: Recorder
    random_state: dict[str, Any]
    error: Exception | None
    told: list[str] = field(default_factory=list)

    weights = property(lambda self: self.module.state_dict())
    optimizer_state = property(lambda self: self.trainer.optimizers[0].state_dict())
    checkpoint_names = property(lambda self: sorted(path.name for path in self.run.checkpoints.glob("*.ckpt")))

    def logged(self, prefix: str) -> list[tuple[int | None, str, float]]:
        return [row for row in self.recorder.rows if row[1].startswith(prefix)]

    def csv_rows(self) -> list[str]:
        lines = self.run.metrics.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if "samples_per_second" not in line]


@dataclass
class Job:
    """What a run is to do; ``fit`` does it.

    Args:
        run: Where it keeps its files.
        source: NUM_TRAIN samples, then NUM_VAL.
    """

    run: RunDirectory
    source: Source
    steps_per_execution: int = 1
    accumulate: int = 1
    precision: Any = "32-true"
    max_steps: int = 40
    clip_norm: float | None = 1.0
    clip_value: float | None = None
    ema: float | None = None
    augment: Augment | None = None
    steps_by: Literal["lightning", "own", "flat"] = "lightning"
    val_every_n_steps: int | None = 10
    val_every_n_epochs: int | None = 1
    save_every_n_steps: int | None = 5
    save_every_n_epochs: int | None = 1
    log_every: int = 4
    keep: int = 2
    monitor: str | None = "val/accuracy"
    mode: Any = "max"
    num_workers: int = 0
    on_nonfinite: Policy | None = None
    health: Callable[[str], None] | None = None
    halves: bool = False
    model: Callable[[], torch.nn.Module] = lambda: MLP(NUM_FEATURES, NUM_CLASSES, [16], 0.3, norm="batch")
    task: Callable[[], Any] = lambda: Classification(NUM_CLASSES, class_weights=[1.0, 2.0, 0.5])
    callbacks: Callable[[], Sequence[Callback]] = tuple
    loggers: Callable[[Path], Sequence[Logger]] = lambda folder: ()

    def plan(self) -> ExecutionPlan:
        return ExecutionPlan(
            steps_per_execution=self.steps_per_execution,
            max_steps=self.max_steps,
            intervals=(self.log_every, *([self.save_every_n_steps] if self.save_every_n_steps else [])),
            val_every_n_steps=self.val_every_n_steps,
            val_every_n_epochs=self.val_every_n_epochs,
        )

    def fit(
        self, *, resume: bool = False, kill_after: int | None = None, seed: int = 0, validate: bool = True
    ) -> Outcome:
        """Trains, from the start or from the newest whole checkpoint.

        Args:
            resume: Whether to go on; ``seed`` then only makes sure that the saved state is what counts.
            kill_after: Step after whose commit the run ends with ``Killed``.
            seed: Of the weights and the draws in training.
            validate: Whether there is a validation part.
        """
        checkpoint = usable_checkpoint(self.run)[0] if resume else None
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        names = ("accumulate", "clip_norm", "clip_value", "ema", "augment")
        steps: dict[str, Any] = {name: getattr(self, name) for name in names}
        module = TrainModule(self.model(), self.task(), adamw(lr=0.02), cosine(warmup=0.1), **steps)
        module.total_steps = self.max_steps
        module.wants_lean, module.wants_flat = self.steps_by != "lightning", self.steps_by == "flat"
        outcome = self._outcome(module, int(checkpoint.stem.removeprefix("step-")) if checkpoint else 0, kill_after)
        rows = torch.arange(NUM_TRAIN, NUM_TRAIN + NUM_VAL)
        validation = EvaluationLoader(self.source, rows, batch_size=16) if validate else None
        torch.manual_seed(seed)
        path = str(checkpoint) if checkpoint else None
        if self.on_nonfinite is not None:
            back = partial(roll_back, module, outcome.writer)
            module.guard = FiniteGuard(self.on_nonfinite, "run", outcome.told.append, back)
        if self.halves:
            module.memory = MemoryGuard(outcome.told.append)
        if self.health is not None:
            module.health = Health(self.health)
        try:
            outcome.trainer.fit(module, outcome.loader, validation, ckpt_path=path, weights_only=True)
        except Exception as error:  # handed to the test, which asserts what it is
            outcome.error = error
            if isinstance(error, Killed):
                self.run = outcome.run = RunDirectory(error.aside)
        finally:
            outcome.writer.stop.restore()
            module.release()
        outcome.random_state = get_random_state()
        return outcome

    def _outcome(self, module: TrainModule, resume_step: int, kill_after: int | None) -> Outcome:
        rows = torch.arange(NUM_TRAIN)
        cut: dict[str, Any] = {"accumulate": self.accumulate, "num_workers": self.num_workers}
        loader = BatchLoader(self.source, rows, batch_size=BATCH_SIZE, plan=self.plan(), seed=1, **cut)
        stop = StopFlag()
        writer = CheckpointWriter(
            self.run,
            loader,
            monitor=self.monitor,
            mode=self.mode,
            every_n_steps=self.save_every_n_steps,
            every_n_epochs=self.save_every_n_epochs,
            keep=self.keep,
            stop=stop,
        )
        progress, recorder = ProgressLine(self.max_steps, writer), Recorder()
        last = [KillAfter(writer, kill_after)] if kill_after is not None else []
        trainer = _trainer(
            self.run.path,
            precision=self.precision,
            max_steps=self.max_steps,
            max_epochs=-1,
            logger=[recorder, MetricsCSV(self.run.metrics, resume_step), *self.loggers(self.run.path)],
            callbacks=[*self.callbacks(), progress, stop, writer, *last],
            log_every_n_steps=self.log_every,
            num_sanity_val_steps=0,
        )
        return Outcome(module, trainer, loader, writer, progress, self.run, recorder, {}, None)


def _trainer(folder: Path, **settings: Any) -> L.Trainer:
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False}
    plugins: Any = [AtomicCheckpointIO()]
    return L.Trainer(accelerator="cpu", devices=1, default_root_dir=folder, plugins=plugins, **quiet, **settings)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="lightning.pytorch")


@pytest.fixture(scope="session")
def toy() -> TensorSource:
    """Three classes that overlap a little, training samples first."""
    generator = torch.Generator().manual_seed(0)
    total = NUM_TRAIN + NUM_VAL
    inputs = torch.randn(total, NUM_FEATURES, generator=generator)
    noise = torch.randn(total, NUM_CLASSES, generator=generator)
    return TensorSource(inputs, (2 * inputs[:, :NUM_CLASSES] + noise).argmax(dim=1))


@pytest.fixture(scope="session")
def make_job(toy: TensorSource) -> Callable[..., Job]:
    """``make_job(folder, steps_per_execution=7)`` is a run in that folder."""

    def make(folder: Path, **settings: Any) -> Job:
        folder.mkdir(exist_ok=True)
        return Job(RunDirectory(folder), **{"source": toy, **settings})

    return make


@pytest.fixture
def job(tmp_path: Path, make_job: Callable[..., Job]) -> Callable[..., Job]:
    """``job("name", steps_per_execution=7)`` is a run in a folder of its own."""

    def make(name: str = "run", **settings: Any) -> Job:
        return make_job(tmp_path / name, **settings)

    return make


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    """A bare Trainer on one CPU that writes below ``tmp_path`` and stays quiet."""

    def make(**settings: Any) -> L.Trainer:
        return _trainer(tmp_path, **{"logger": False, "enable_checkpointing": False, **settings})

    return make


def _differences(first: Any, second: Any, path: str = "") -> list[str]:
    if isinstance(first, Tensor):
        same = isinstance(second, Tensor) and first.dtype == second.dtype and torch.equal(first, second)
        return [] if same else [path]
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        first, second = dict(enumerate(first)), dict(enumerate(second))
    if isinstance(first, dict):
        if not isinstance(second, dict) or first.keys() != second.keys():
            return [f"{path} keys"]
        return [d for key in first for d in _differences(first[key], second[key], f"{path}.{key}")]
    return [] if first == second else [path]


@pytest.fixture
def differences() -> Callable[[Any, Any], list[str]]:
    """Paths at which two nested states differ in any bit."""
    return _differences
