"""Training: the only place that drives the Trainer. From the parts of a run to its checkpoints and weights."""

from __future__ import annotations

import logging
import os
import resource
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainkit.data import LoaderData
from trainkit.data.ahead import Ahead
from trainkit.errors import RunError
from trainkit.rundir import RunDirectory
from trainkit.runs.build import seed_everything
from trainkit.runs.computing import computing
from trainkit.runs.devices import Devices
from trainkit.runs.features import features_of
from trainkit.runs.hparams import log_settings
from trainkit.runs.parts import Parts, RunParts
from trainkit.runs.schedule import evaluated_at_once, run_schedule
from trainkit.runs.trainers import build_trainer, train_module, watch
from trainkit.runs.weights import save_weights
from trainkit.runs.workers import settle_workers
from trainkit.training import (
    Interrupted,
    close,
    is_out_of_memory,
    load_best_weights,
)

NVML_CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"


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
    settle_workers(parts, schedule.total_steps)
    torch.set_num_threads(devices.threads)
    module = train_module(parts, schedule).train()
    with quiet_lightning(), no_look_for_gpus(devices), features_of(parts, devices.torch_device):
        trainer, progress = build_trainer(parts, run, devices, schedule, checkpoint)
        watch(module, parts, progress)
        loader = progress.writer.loader
        assert loader is not None
        validation = parts.data.val_loaders(loader.rank, loader.world_size)
        for part in validation:
            part.at_once = evaluated_at_once(parts, trainer.callbacks)  # type: ignore[attr-defined]
        seed_everything(parts.config.seed + loader.rank)
        interrupted = 0
        try:
            if devices.accelerator == "cuda":
                loader.send_ahead(Ahead(torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))))
                for part in validation:
                    part.fetcher.pins = True
            if loader.rank == 0:
                log_settings(parts, trainer.loggers)
            has_val = len(parts.data.splits.val) > 0
            path = None if checkpoint is None else str(checkpoint)
            with computing(parts.network, parts.config.trainer) as module.compiled:  # type: ignore[arg-type]
                trainer.fit(module, loader, validation if has_val else None, ckpt_path=path, weights_only=True)
        except Interrupted as stop:
            interrupted = stop.signum
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise too_large(parts, error) from error
        finally:
            progress.writer.stop.restore()
            for fetcher in (loader.fetcher, *(part.fetcher for part in validation)):
                fetcher.close()
            progress.writer.close()
            module.release()
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


def too_large(parts: RunParts, error: BaseException) -> RunError:
    """What is to be said where memory runs out and no smaller micro-batch helps.

    Args:
        parts: Of the run.
        error: What torch said.
    """
    trainer, data = parts.config.trainer, parts.data
    hint = f"data.eval_batch_size={max(1, data.eval_batch_size // 2)} if it was in validation, a smaller model"
    if isinstance(data, LoaderData):
        hint = "smaller batches of the loaders, and trainer.accumulate=2 for the same steps; a smaller model"
    elif trainer.devices > 1:
        hint = f"trainer.accumulate={2 * trainer.accumulate}, which processes cannot choose by themselves; {hint}"
    return RunError(f"out of memory: {str(error).splitlines()[0]}", where="trainer, data", hint=hint)


def peak_memory(devices: Devices) -> int:
    """Largest memory so far, in bytes: of the device on a GPU, else of the process."""
    if devices.accelerator == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return process_memory()


def process_memory() -> int:
    """Largest memory of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def no_look_for_gpus(devices: Devices) -> Iterator[None]:
    """On a CPU: has torch not ask the driver at every optimizer step whether there is a GPU after all.

    Importing Lightning has it ask so, lest asking otherwise start CUDA before a fork; a step took 0.1 ms longer.
    """
    before = os.environ.pop(NVML_CHECK, None) if devices.accelerator == "cpu" else None
    try:
        yield
    finally:
        if before is not None:
            os.environ[NVML_CHECK] = before


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
        warnings.filterwarnings("ignore", message="Found .* in eval mode at the start of training")  # frozen ones
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        warnings.filterwarnings("ignore", message="You defined a `validation_step` but have no `val_dataloader`")
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
