"""Trains a ``LightningModule`` of the user's own, and has it score itself with the weights to use."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch

from trainkit.data import LoaderData, Splits
from trainkit.errors import RunError
from trainkit.rundir import RunDirectory
from trainkit.runs.build import seed_everything
from trainkit.runs.devices import Devices, find_devices
from trainkit.runs.hparams import log_settings
from trainkit.runs.load import load_run
from trainkit.runs.observers import build_loggers, checked_callbacks
from trainkit.runs.own_module import (
    UNRECORDED,
    build_data,
    evaluation_loaders,
    has_part,
    run_on,
    total_steps,
    train_loaders,
    validation_loaders,
)
from trainkit.runs.own_module import trainer_options as common_options
from trainkit.runs.own_trial import Look, mode_of
from trainkit.runs.parts import ModuleParts
from trainkit.runs.train import TrainOutcome, peak_memory, quiet_lightning, too_large
from trainkit.runs.weights import save_state, stored_fingerprint
from trainkit.training import (
    AtomicCheckpointIO,
    Background,
    Interrupted,
    ModuleCheckpointWriter,
    ProgressLine,
    StopFlag,
    close,
    is_out_of_memory,
    load_best_weights,
    step_of,
)
from trainkit.types import Estimate

LOG_POINTS, LOG_EVERY_AT_MOST = 20, 50


def train_own(
    parts: ModuleParts, seen: Look, run: RunDirectory, devices: Devices, checkpoint: Path | None = None
) -> TrainOutcome:
    """Trains the module from the start, or on from a checkpoint, and writes its best weights.

    Args:
        parts: The module and its data.
        seen: What a trial of one batch showed.
        run: The run's directory.
        devices: Where it trains.
        checkpoint: Where to go on from; None starts.

    Returns:
        What it came to; ``interrupted`` where a signal stopped it after its state was saved.
    """
    started = time.perf_counter()
    torch.set_num_threads(devices.threads)
    background = Background()
    writer = _writer(parts, seen, run, background)
    progress = ProgressLine(total_steps(parts), writer)
    if parts.config.checkpoint.on_error == "warn":
        writer.tell = progress.tell
    loaders = {"train": train_loaders(parts, writer), "val": validation_loaders(parts)}
    interrupted = 0
    with warnings.catch_warnings(), quiet_lightning():
        trainer = _trainer(parts, seen, run, devices, [progress, writer.stop, writer], checkpoint, background)
        seed_everything(parts.config.seed)
        try:
            log_settings(parts, trainer.loggers)
            path = None if checkpoint is None else str(checkpoint)
            run_on(trainer.fit, parts.module, parts, loaders, ckpt_path=path, weights_only=True)
        except Interrupted as stop:
            interrupted = stop.signum
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise too_large(parts, error) from error
        finally:
            writer.stop.restore()
            writer.close()
            close(logger for logger in trainer.loggers if logger not in parts.live.loggers)
    if not interrupted:
        parts.module.load_state_dict(load_best_weights(run))
        save_state(run, parts, parts.module.state_dict())
    return TrainOutcome(
        steps=writer.position.step,
        epochs=writer.position.epoch + (writer.position.position > 0),
        seconds=time.perf_counter() - started,
        samples_per_second=progress.num_samples / max(progress.seconds, 1e-9),
        peak_memory_bytes=peak_memory(devices),
        best=writer.best,
        line=progress.text(writer.position.step),
        interrupted=interrupted,
    )


def own_callbacks(parts: ModuleParts, seen: Look, run: RunDirectory | None = None) -> list[L.Callback]:
    """Callbacks of the config and the user's script.

    Raises:
        ConfigError: One cannot be built, watches a value that the module does not log, or cannot work here.
    """
    names = seen.names if seen.notice is None else [getattr(c, "monitor", "") for c in parts.live.callbacks]
    return checked_callbacks(parts, seen.monitor, seen.mode, names, mode_of, run)


def log_interval(parts: ModuleParts) -> int:
    """Batches between logged values: where trainkit chooses, a point in each epoch at least."""
    trainer, per_epoch = parts.config.trainer, parts.data.steps_per_epoch()
    limits = [LOG_EVERY_AT_MOST, total_steps(parts) // LOG_POINTS]
    limits += [per_epoch // trainer.accumulate] if per_epoch > 0 else []
    return int(trainer.log_every_n_steps or max(1, min(limits)))


def _writer(parts: ModuleParts, seen: Look, run: RunDirectory, background: Background) -> ModuleCheckpointWriter:
    settings = parts.config.checkpoint
    return ModuleCheckpointWriter(
        run,
        max_steps=parts.config.trainer.max_steps,
        monitor=seen.monitor,
        mode="max" if seen.mode == "max" else "min",
        every_n_steps=settings.every_n_steps,
        every_n_epochs=settings.every_n_epochs,
        keep=settings.keep,
        stop=StopFlag(),
        background=background,
        every_n_minutes=settings.every_n_minutes,
    )


def _trainer(
    parts: ModuleParts,
    seen: Look,
    run: RunDirectory,
    devices: Devices,
    callbacks: list[L.Callback],
    checkpoint: Path | None,
    background: Background,
) -> L.Trainer:
    trainer = parts.config.trainer
    resume_step = step_of(checkpoint) if checkpoint else 0
    options: dict[str, Any] = common_options(parts, devices) | {
        "max_epochs": trainer.max_epochs or -1,
        "logger": build_loggers(parts, run, resume_step),
        "callbacks": [*own_callbacks(parts, seen, run), *callbacks],
        "log_every_n_steps": log_interval(parts),
        "num_sanity_val_steps": 0,
        "check_val_every_n_epoch": trainer.val_every_n_epochs,
        "val_check_interval": trainer.val_every_n_steps,
        "default_root_dir": run.path,
        "plugins": [AtomicCheckpointIO(background)],
    }
    return L.Trainer(**options)


def scores(parts: ModuleParts, devices: Devices) -> dict[str, dict[str, Estimate]]:
    """What the module itself logs of the validation and test parts: values without intervals, by part and name."""
    found: dict[str, dict[str, Estimate]] = {}
    with warnings.catch_warnings(), quiet_lightning():
        trainer = L.Trainer(**common_options(parts, devices), **UNRECORDED)
        for part, title, run in (("val", "validation", trainer.validate), ("test", "test", trainer.test)):
            if not has_part(parts, part):
                continue
            loaders = {part: evaluation_loaders(parts, part)}
            logged = run_on(run, parts.module, parts, loaders, verbose=False)
            counts = _counts(parts, part, len(logged))
            values = {name: value for values in logged for name, value in values.items()}
            found[title] = {
                stripped(name): _estimate(
                    value, sum(n for n, names in zip(counts, logged, strict=True) if name in names)
                )
                for name, value in values.items()
            }
    return {title: values for title, values in found.items() if values}


def score_again(directory: RunDirectory, title: str, trust: Sequence[str] = ()) -> dict[str, Estimate]:
    """What the trained module of a finished run logs of a part of its data now.

    Args:
        directory: The run.
        title: ``validation`` or ``test``.
        trust: Packages of the user's own that the run may name.

    Raises:
        RunError: The module or its data was given in Python, the data has changed, or there is no such part.
        ConfigError: The run names code that is not trusted.
    """
    loaded = load_run(directory.path, trust=trust)
    assert loaded.module is not None
    node = loaded.config.data
    if node is not None and "_target_" not in node:
        where = str(directory.result)
        raise RunError("the data of this run was given in Python", where="RUN", hint=f"its scores stand in {where}")
    data = build_data(loaded.config, loaded.module)
    data.given_splits = None if isinstance(data, LoaderData) else Splits.load(directory.splits)
    if data.given_splits is not None:
        directory.check(directory.splits)
    data.setup()
    if data.fingerprint != stored_fingerprint(directory):
        raise RunError(
            "the data has changed since this run", where="RUN", hint=f"its scores stand in {directory.result}"
        )
    parts = ModuleParts(loaded.config, data, loaded.module)
    found = scores(parts, find_devices(loaded.config))
    if title not in found:
        step = f"{title}_step"
        raise RunError(
            f"the module scores no {title} part",
            where="split",
            expected=f"a {title} part of the data, and a {step} that logs",
            hint=f"trainkit evaluate {directory.path} --split {next(iter(found))}" if found else None,
        )
    return found[title]


def _counts(parts: ModuleParts, part: str, num_loaders: int) -> list[int]:
    """Samples of each loader of a part, whose values Lightning gives one by one; 0 where they are not known."""
    if not isinstance(parts.data, LoaderData):
        return [len(getattr(parts.data.splits, part))]
    counts = [count or 0 for count in parts.data.counts(part)]
    return counts if len(counts) == num_loaders else [parts.data.count(part) or 0] * num_loaders


def _estimate(value: float, count: int) -> Estimate:
    return Estimate(float(value), math.nan, math.nan, count, "the module's own")


def stripped(name: str) -> str:
    """A logged name without the part that it begins with: ``val_loss`` and ``test/loss`` become ``loss``."""
    for prefix in ("validation", "valid", "val", "test"):
        for mark in "_/":
            if name.startswith(prefix + mark):
                return name.removeprefix(prefix + mark)
    return name
