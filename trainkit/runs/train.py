"""Training: the only place that drives the Trainer. From the parts of a run to its checkpoints and weights."""

from __future__ import annotations

import logging
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import DictConfig, OmegaConf

from trainkit.config.copying import copied
from trainkit.errors import ConfigError
from trainkit.rundir import RunDirectory
from trainkit.runs.build import build, seed_everything
from trainkit.runs.check import logged_names, monitored
from trainkit.runs.devices import Devices
from trainkit.runs.hooks import check_callbacks, place_checkpoints
from trainkit.runs.hparams import log_settings
from trainkit.runs.parts import Parts, RunParts
from trainkit.runs.provenance import run_id
from trainkit.runs.schedule import RunSchedule, run_schedule
from trainkit.runs.weights import save_weights
from trainkit.training import (
    AtomicCheckpointIO,
    CheckpointWriter,
    Interrupted,
    MetricsCSV,
    ProgressLine,
    StopFlag,
    TrainModule,
    close,
    load_best_weights,
    quieted,
)

PRECISIONS = {"fp32": "32-true", "bf16-mixed": "bf16-mixed"}


@dataclass(frozen=True)
class TrainOutcome:
    """What training came to.

    Attributes:
        steps: Optimizer steps done in the run.
        epochs: Epochs begun in the run.
        seconds: Of the training loop in this process, validations and checkpoints included.
        samples_per_second: Training samples over these seconds.
        peak_memory_bytes: Largest memory of this process (of the device, on a GPU).
        best: Name, value, step and epoch of the best validation; None without one.
        line: The last line of the progress display.
        interrupted: The signal that stopped it, or 0.
    """

    steps: int
    epochs: int
    seconds: float
    samples_per_second: float
    peak_memory_bytes: int
    best: dict[str, Any] | None
    line: str
    interrupted: int = 0


def build_callbacks(parts: Parts, run: RunDirectory | None = None) -> list[L.Callback]:
    """Callbacks of the config, with monitor, mode and dirpath filled in, then those of the user's script.

    Args:
        parts: The parts of the run.
        run: Its directory; None for a check before there is one.

    Raises:
        ConfigError: One cannot be built, watches a value nobody logs, or cannot work here.
    """
    names = [*logged_names(parts), "lr", "grad_norm", "train/samples_per_second"]
    if not len(parts.data.splits.val):
        names = [name for name in names if not name.startswith("val/")]
    return checked_callbacks(parts, *monitored(parts), names, parts.task.mode_of, run)


def checked_callbacks(
    parts: RunParts,
    monitor: str | None,
    mode: str,
    names: Sequence[str],
    mode_of: Callable[[str], str],
    run: RunDirectory | None = None,
) -> list[L.Callback]:
    """Callbacks of the config, with monitor and mode filled in, then those of the user's script.

    Args:
        parts: The parts of the run.
        monitor: The value that chooses the best epoch.
        mode: Its better direction.
        names: What is logged.
        mode_of: Better direction of another value that a callback watches.
        run: Where the run is kept, once it has begun.

    Raises:
        ConfigError: One cannot be built, watches a value nobody logs, or cannot work here.
    """
    folder = run.checkpoints if run else Path(parts.config.run.root)
    named: dict[str, L.Callback] = {}
    for name, node in (parts.config.get("callbacks") or {}).items():
        if node is not None:
            where = f"callbacks.{name}"
            own = None if OmegaConf.is_missing(node, "monitor") else node.get("monitor")
            is_another = own not in (None, monitor) and OmegaConf.is_missing(node, "mode")
            values = {"monitor": monitor, "mode": mode_of(str(own)) if is_another else mode}
            values["dirpath"] = str(folder / str(name))
            named[str(name)] = build(_filled(node, values, where), where, L.Callback)
    named |= {f"callback_{place}": callback for place, callback in enumerate(parts.live.callbacks)}
    callbacks = list(named.values())
    check_callbacks(parts, callbacks, names)
    if run:
        for name, callback in named.items():
            if isinstance(callback, ModelCheckpoint):
                place_checkpoints(callback, folder / name, at_validations=monitor is not None)
    return callbacks


def _filled(node: DictConfig, values: dict[str, Any], where: str) -> DictConfig:
    copy = copied(node, resolve=True)
    for key in map(str, list(copy)):
        if not OmegaConf.is_missing(copy, key):
            continue
        if values.get(key) is None:
            why = ": there is no validation part" if key == "monitor" else ""
            raise ConfigError(f"{where}.{key} is not given{why}", where=f"{where}.{key}", hint=f"{where}.{key}=…")
        copy[key] = values[key]
    return copy


def build_loggers(parts: RunParts, run: RunDirectory, resume_step: int) -> list[Logger]:
    """Loggers of the config, those of the user's script, and the table of the run, the last for ``self.logger``."""
    loggers: list[Logger] = []
    folder = run.path.absolute()  # W&B's files are written by a process that may stand elsewhere
    values = {
        "save_dir": str(folder),
        "resume_step": resume_step,
        "id": run_id(run),
        "name": "/".join(folder.parts[-2:]),
    }
    for name, node in (parts.config.get("logger") or {}).items():
        if node is not None:
            where = f"logger.{name}"
            loggers.append(quieted(build(_filled(node, values, where), where, Logger)))
    return [*loggers, *parts.live.loggers, MetricsCSV(run.metrics, resume_step)]


def train(parts: Parts, run: RunDirectory, devices: Devices, checkpoint: Path | None = None) -> TrainOutcome:
    """Trains a net from the start, or on from a checkpoint, and writes its best weights.

    Args:
        parts: The parts of the run.
        run: Its directory.
        devices: Where it trains; with several processes, this is one of them.
        checkpoint: Where to go on from; None starts.

    Returns:
        What it came to; ``interrupted`` where a signal stopped it after its state was saved.
    """
    started = time.perf_counter()
    schedule = run_schedule(parts)
    torch.set_num_threads(devices.threads)
    module = train_module(parts, schedule)
    with quiet_lightning():
        trainer, progress = _trainer(parts, run, devices, schedule, checkpoint)
        loader = progress.writer.loader
        assert loader is not None
        validation = parts.data.val_loaders(loader.rank, loader.world_size)
        seed_everything(parts.config.seed + loader.rank)
        interrupted = 0
        try:
            if loader.rank == 0:
                log_settings(parts, trainer.loggers)
            has_val = len(parts.data.splits.val) > 0
            path = None if checkpoint is None else str(checkpoint)
            trainer.fit(module, loader, validation if has_val else None, ckpt_path=path, weights_only=True)
        except Interrupted as stop:
            interrupted = stop.signum
        finally:
            progress.writer.stop.restore()
            close(logger for logger in trainer.loggers if logger not in parts.live.loggers)
    if trainer.is_global_zero and not interrupted:
        module.load_state_dict(load_best_weights(run))
        save_weights(run, parts, module)
    position, seconds = progress.writer.position, time.perf_counter() - started
    return TrainOutcome(
        steps=position.step,
        epochs=position.epoch + (position.position > 0),
        seconds=seconds,
        samples_per_second=progress.num_samples / max(progress.seconds, 1e-9),
        peak_memory_bytes=peak_memory(devices),
        best=progress.writer.best,
        line=progress.text(position.step),
        interrupted=interrupted,
    )


def train_module(parts: Parts, schedule: RunSchedule) -> TrainModule:
    """The LightningModule of a run."""
    trainer = parts.config.trainer
    assert parts.network is not None
    module = TrainModule(
        parts.network,
        parts.task,
        parts.optimizer,
        parts.scheduler,
        accumulate=trainer.accumulate,
        clip_norm=trainer.clip_norm,
        clip_value=trainer.clip_value,
    )
    module.total_steps, module.extra_val = schedule.total_steps, parts.data.extra_val
    return module


def _trainer(
    parts: Parts, run: RunDirectory, devices: Devices, schedule: RunSchedule, checkpoint: Path | None
) -> tuple[L.Trainer, ProgressLine]:
    config = parts.config
    rank, world = _process()
    if world != devices.count:
        raise ConfigError(f"{world} processes for {devices.count} devices", where="trainer.devices")
    loader = parts.data.train_loader(schedule.plan, config.seed, config.trainer.accumulate, rank, world)
    monitor, mode = monitored(parts)
    stop = StopFlag(second_stops=devices.count == 1)
    writer = CheckpointWriter(
        run,
        loader,
        monitor=monitor,
        mode="max" if mode == "max" else "min",
        every_n_steps=config.checkpoint.every_n_steps,
        every_n_epochs=config.checkpoint.every_n_epochs,
        keep=config.checkpoint.keep,
        stop=stop,
    )
    progress = ProgressLine(schedule.total_steps, writer)
    resume_step = int(checkpoint.stem.removeprefix("step-")) if checkpoint else 0
    trainer = L.Trainer(
        accelerator=devices.accelerator,
        devices=devices.count,
        strategy=DDPStrategy(timeout=timedelta(seconds=config.launch.timeout_seconds)) if world > 1 else "auto",
        precision=PRECISIONS[config.trainer.precision],  # type: ignore[arg-type]
        max_steps=schedule.total_steps,
        max_epochs=-1,
        logger=build_loggers(parts, run, resume_step),
        callbacks=[*build_callbacks(parts, run), progress, stop, writer],
        log_every_n_steps=schedule.log_every,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        deterministic=config.trainer.deterministic or None,
        default_root_dir=run.path,
        plugins=[AtomicCheckpointIO()],
    )
    return trainer, progress


def _process() -> tuple[int, int]:
    """Rank of this process, and processes of its group."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def peak_memory(devices: Devices) -> int:
    """Largest memory so far, in bytes: of the device on a GPU, else of the process."""
    if devices.accelerator == "cuda":
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silences Lightning's hints, which are about choices that are made here."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*", category=FutureWarning)
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        warnings.filterwarnings("ignore", message="You defined a `validation_step` but have no `val_dataloader`")
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
