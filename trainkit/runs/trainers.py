"""What a run is trained with: its LightningModule, its Trainer, and what looks after both."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial
from pathlib import Path

import lightning as L
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import DictConfig

from trainkit.errors import ConfigError
from trainkit.rundir import RunDirectory
from trainkit.runs.check import monitored
from trainkit.runs.computing import lightning_precision
from trainkit.runs.devices import Devices
from trainkit.runs.finetuning import Unfreezing, tuning_of
from trainkit.runs.observers import build_callbacks, build_loggers
from trainkit.runs.parts import Parts
from trainkit.runs.schedule import RunSchedule
from trainkit.training import (
    AtomicCheckpointIO,
    Background,
    CheckpointWriter,
    FiniteGuard,
    Health,
    MemoryGuard,
    ProgressLine,
    StopFlag,
    TrainModule,
    roll_back,
    step_of,
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
        ema=trainer.ema,
        augment=parts.augment,
    )
    module.total_steps, module.extra_val = schedule.total_steps, parts.data.extra_val
    module.wants_lean, module.wants_flat = True, bool(trainer.flat_parameters)
    monitor, mode = monitored(parts)
    if monitor is not None:
        module.monitor = monitor, mode
    tuning = tuning_of(parts.network, parts.config, schedule.total_steps)
    if tuning is not None and tuning.every is not None:
        module.before_step = Unfreezing(tuning, parts.network)
    return module


def build_trainer(
    parts: Parts, run: RunDirectory, devices: Devices, schedule: RunSchedule, checkpoint: Path | None
) -> tuple[L.Trainer, ProgressLine]:
    """The Trainer of a run, and its progress line, which has the writer of its checkpoints.

    Args:
        parts: The parts of the run.
        run: Its directory.
        devices: Where it trains.
        schedule: Its steps.
        checkpoint: Where it goes on from; None starts.
    """
    config = parts.config
    rank, world = process()
    if world != devices.count:
        raise ConfigError(f"{world} processes for {devices.count} devices", where="trainer.devices")
    in_pairs = parts.augment is not None and parts.augment.mixes
    loader = parts.data.train_loader(schedule.plan, config.seed, config.trainer.accumulate, rank, world, in_pairs)
    monitor, mode = monitored(parts)
    stop = StopFlag(second_stops=devices.count == 1)
    background = Background()
    writer = CheckpointWriter(
        run,
        loader,
        monitor=monitor,
        mode="max" if mode == "max" else "min",
        every_n_steps=config.checkpoint.every_n_steps,
        every_n_epochs=config.checkpoint.every_n_epochs,
        keep=config.checkpoint.keep,
        stop=stop,
        background=background,
        every_n_minutes=config.checkpoint.every_n_minutes,
    )
    progress = ProgressLine(schedule.total_steps, writer)
    if config.checkpoint.on_error == "warn":
        writer.tell = progress.tell
    resume_step = step_of(checkpoint) if checkpoint else 0
    trainer = L.Trainer(
        accelerator=devices.accelerator,
        devices=devices.count,
        strategy=_group(config) if world > 1 else "auto",
        precision=lightning_precision(config.trainer.precision),
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
        plugins=[AtomicCheckpointIO(background)],
    )
    return trainer, progress


def _group(config: DictConfig) -> DDPStrategy:
    """Several processes; what does not train yet has no gradient to wait for, and is looked for where that changes."""
    section = config.get("finetune")
    unfreezes = section is not None and section.unfreeze_every is not None
    timeout = timedelta(seconds=config.launch.timeout_seconds)
    return DDPStrategy(timeout=timeout, find_unused_parameters=unfreezes)


def process() -> tuple[int, int]:
    """Rank of this process, and processes of its group."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def watch(module: TrainModule, parts: Parts, progress: ProgressLine) -> None:
    """Has a module's steps looked after: gradients that are not finite, losses that jump, parameters that are dead.

    Args:
        module: Of the run.
        parts: The parts of the run.
        progress: Tells what is found.
    """
    writer = progress.writer
    policy = parts.config.trainer.on_nonfinite
    module.guard = FiniteGuard(policy, str(writer.run.path), progress.tell, partial(roll_back, module, writer))
    module.health = Health(progress.tell)
    module.memory = MemoryGuard(progress.tell, can_cut=parts.config.trainer.devices == 1)
