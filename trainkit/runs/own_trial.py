"""A trial of a user's own ``LightningModule`` on one batch, before its run begins, and what it says of it."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.core.optimizer import _MockOptimizer

from trainkit.data.replay import AtStart
from trainkit.data.sources import seeded
from trainkit.errors import ConfigError, TrainkitError, did_you_mean, first_line, one_of, place_of
from trainkit.runs.devices import Devices
from trainkit.runs.own_module import (
    UNRECORDED,
    evaluation_loaders,
    has_part,
    run_on,
    total_steps,
    train_loaders,
    trainer_options,
    validation_loaders,
)
from trainkit.runs.parts import ModuleParts
from trainkit.runs.train import quiet_lightning
from trainkit.training import AtomicCheckpointIO, make_plain

AUTO_MONITORS = ("val_loss", "val/loss", "valid_loss", "validation_loss")
"""Logged names that choose the best epoch where none is asked for; they fall."""

FALLING = ("loss", "rmse", "mae", "mse", "error", "nll", "perplexity")
"""Last words of names whose lower values are better."""

ARROWS = {"max": "↑", "min": "↓"}


@dataclass(frozen=True)
class Look:
    """What a trial of one batch on a copy showed.

    Attributes:
        names: What the module logs.
        num_optimizers: Its optimizers.
        monitor: The name that chooses the best epoch; None keeps the last.
        mode: ``max`` or ``min``: the better direction of ``monitor``.
        notice: Why there was no trial; None where there was one.
        group_sizes: Parameters in each group of each optimizer.
    """

    names: tuple[str, ...]
    num_optimizers: int | None
    monitor: str | None
    mode: str
    notice: str | None = None
    group_sizes: tuple[tuple[int, ...], ...] = ()


def look(parts: ModuleParts, devices: Devices) -> Look:
    """Trains, validates and tests a copy on one batch; random generators stay as they are.

    Raises:
        ConfigError: It fails on a batch, has no optimizer, or does not log what is watched.
    """
    options = trainer_options(parts, devices)
    try:
        module = copy.deepcopy(parts.module)
    except Exception as error:
        why = f"{type(parts.module).__name__} cannot be copied ({type(error).__name__}): no batch was tried"
        return Look((), None, parts.config.trainer.monitor, parts.config.trainer.mode or "min", why)
    loaders = {"train": train_loaders(parts, AtStart()), "val": validation_loaders(parts)}
    options |= {"accumulate_grad_batches": 1, "fast_dev_run": True, **UNRECORDED}
    options |= {"callbacks": [_Plain()], "plugins": [AtomicCheckpointIO()]}
    devices_of_torch = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices_of_torch), seeded(parts.config.seed), silent():
        trainer = L.Trainer(**options)
        try:
            run_on(trainer.fit, module, parts, loaders)
            names = tuple(sorted(trainer.callback_metrics))
            optimizers = [optimizer for optimizer in trainer.optimizers if not isinstance(optimizer, _MockOptimizer)]
            groups = tuple(tuple(len(group["params"]) for group in optimizer.param_groups) for optimizer in optimizers)
            with tempfile.TemporaryDirectory(prefix="trainkit-") as folder:
                trainer.save_checkpoint(Path(folder) / "trial.ckpt")  # refused if it would not load again
            if has_part(parts, "test"):
                run_on(trainer.test, module, parts, {"test": evaluation_loaders(parts, "test")}, verbose=False)
        except TrainkitError:
            raise
        except MisconfigurationException as error:
            raise ConfigError(first_line(error), where="module") from error
        except Exception as error:
            if "_MockOptimizer" in str(error):  # what Lightning gives to a module without an optimizer
                raise _without_optimizer(parts.module) from error
            raise _failure(parts.module, error) from error
    if not optimizers:
        raise _without_optimizer(module)
    return Look(names, len(optimizers), *watched(parts, names), group_sizes=groups)


class _Plain(L.Callback):
    """Makes the trial's checkpoint what the run's will be."""

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        make_plain(checkpoint)


def _without_optimizer(module: L.LightningModule) -> ConfigError:
    what = f"{type(module).__name__} has no optimizer: configure_optimizers gives none"
    return ConfigError(what, where="module", expected="a configure_optimizers that gives one or several")


def _failure(module: L.LightningModule, error: Exception) -> ConfigError:
    what = f"{type(module).__name__} fails on a batch: {type(error).__name__}: {first_line(error)}"
    return ConfigError(
        what, where=f"module{place_of(error)}", hint="HYDRA_FULL_ERROR=1 in the environment shows the traceback"
    )


@contextmanager
def silent() -> Iterator[None]:
    """Neither Lightning nor a warning says a word."""
    with warnings.catch_warnings(), quiet_lightning():
        warnings.simplefilter("ignore")
        yield


def watched(parts: ModuleParts, names: tuple[str, ...]) -> tuple[str | None, str]:
    """Name and direction of the value that chooses the best epoch; no name keeps the last.

    Raises:
        ConfigError: The module does not log the name.
    """
    trainer = parts.config.trainer
    name = trainer.monitor or next((known for known in AUTO_MONITORS if known in names), None)
    if name is None:
        return None, "min"
    if name not in names:
        expected = one_of(names) if names else "null: it logs nothing"
        raise ConfigError(
            f"nobody logs '{name}'", where="trainer.monitor", expected=expected, hint=did_you_mean(name, names)
        )
    return name, str(trainer.mode or mode_of(name))


def mode_of(name: str) -> str:
    """The better direction of a value that a module logs, judged by the last word of its name."""
    return "min" if name.replace("/", "_").rpartition("_")[2] in FALLING else "max"


def plan(parts: ModuleParts, devices: Devices) -> str:
    """For the ``plan`` line: epochs, batches, precision and devices."""
    trainer, total = parts.config.trainer, total_steps(parts)
    size = parts.data.batch_size
    epochs = f"{trainer.max_epochs} epoch" + "s" * (trainer.max_epochs != 1) if trainer.max_epochs else ""
    length = f"{total:,} batches × {size}" if total else f"in batches of {size}"
    if epochs and parts.data.steps_per_epoch() < 0:
        length = f"{epochs} of unknown length{' or ' if total else ', '}{length}"
    elif epochs:
        length = f"{epochs} = {length}"
    accumulated = f" · {trainer.accumulate} batches an optimizer step" if trainer.accumulate > 1 else ""
    return f"{length}{accumulated} · {trainer.precision} · {devices.describe()}"


def describe(parts: ModuleParts, seen: Look) -> str:
    """For the ``module`` line: class, size, and how it optimizes."""
    module = parts.module
    count = sum(p.numel() for p in module.parameters() if p.requires_grad)
    by_hand = "" if module.automatic_optimization else " by hand"
    number = seen.num_optimizers
    optimizers = "" if number is None else f" · {number} optimizer" + "s" * (number > 1) + by_hand
    monitor = f"monitor {seen.monitor} {ARROWS[seen.mode]}" if seen.monitor else "no monitor: the last weights are kept"
    return f"{type(module).__name__} (your own) · {count:,} parameters{optimizers} · {monitor}"
