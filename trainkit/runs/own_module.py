"""A run of a ``LightningModule`` of the user's own: trained as it is, by Lightning's loop, a batch at a time.

Called by ``pipeline`` in place of what it does with a net and a task. What the module logs is all that is known of it.
"""

from __future__ import annotations

import copy
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from lightning.pytorch.core.optimizer import _MockOptimizer
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.model_helpers import is_overridden
from omegaconf import DictConfig
from torch import nn

from trainkit.config.copying import copied
from trainkit.data import DataModule, LoaderData, Splits
from trainkit.data.replay import AtStart, Follower, PlainEvaluation, PlainLoader, replayed
from trainkit.data.sources import seeded
from trainkit.errors import ConfigError, LaunchError, TrainkitError, did_you_mean, one_of
from trainkit.runs.build import build, fill, seed_everything
from trainkit.runs.check import is_own_file
from trainkit.runs.devices import Devices
from trainkit.runs.parts import LiveObjects, ModuleParts
from trainkit.runs.train import PRECISIONS, configured_callbacks, quiet_lightning

AUTO_MONITORS = ("val_loss", "val/loss", "valid_loss", "validation_loss")
"""Logged names that choose the best epoch where none is asked for; they fall."""

FALLING = ("loss", "rmse", "mae", "mse", "error", "nll", "perplexity")
"""Last words of names whose lower values are better."""

_NEEDED = (
    ("training_step", "training_step", "a LightningModule that trains"),
    ("configure_optimizers", "optimizer", "a configure_optimizers that gives one or several"),
)

UNRECORDED: dict[str, Any] = {"logger": DummyLogger(), "enable_checkpointing": False}
"""Options of a Trainer that leaves nothing behind, under a module that asks for ``self.logger.experiment``."""

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
    """

    names: tuple[str, ...]
    num_optimizers: int | None
    monitor: str | None
    mode: str
    notice: str | None = None


def has_own_module(config: DictConfig) -> bool:
    """Whether a config is of a ``LightningModule`` of the user's own."""
    return config.get("module") is not None


def build_module_parts(config: DictConfig, live: LiveObjects, splits: Splits | None = None) -> ModuleParts:
    """Builds the module and its data; sections that the module stands in for become null.

    Args:
        config: Checked; it is not changed.
        live: Objects that stand in for sections of the config.
        splits: Parts drawn by an earlier process of the same run; drawn afresh by default.

    Raises:
        ConfigError: A part cannot be built.
        DataError: The data cannot be used.
    """
    config = copied(config)
    for section in ("model", "task", "optimizer", "scheduler"):
        config[section] = None
    data = live.data or build(config.data, "data", L.LightningDataModule)
    if not isinstance(data, DataModule):
        data = LoaderData.of(data)
    data.given_splits = None if isinstance(data, LoaderData) else splits
    data.setup()
    fill(config, data, ("module",))
    seed_everything(config.seed)
    module = live.module or build(config.module, "module", L.LightningModule)
    for hook, lacks, expected in _NEEDED:
        if not is_overridden(hook, module):
            raise ConfigError(f"{type(module).__name__} has no {lacks}", where="module", expected=expected)
    return ModuleParts(config, data, module, live=live)


def train_loaders(parts: ModuleParts, follower: Follower) -> Any:
    """Training batches as the module takes them, from where the follower stands."""
    data = parts.data
    if isinstance(data, LoaderData):
        return replayed(data.loaders["train"], parts.config.seed, follower)
    return PlainLoader(_preprocessing(parts), follower, data.source, **data.training_options(), seed=parts.config.seed)


def evaluation_loaders(parts: ModuleParts, part: str) -> Any:
    """Batches of validation or test; None without any."""
    data = parts.data
    if isinstance(data, LoaderData):
        return data.loaders[part]
    rows = data.rows(part)  # type: ignore[arg-type]
    if not len(rows):
        return None
    return PlainEvaluation(_preprocessing(parts), data.source, rows, batch_size=data.eval_batch_size)


def _preprocessing(parts: ModuleParts) -> nn.Module:
    return parts.data.input_module(parts.module) or nn.Identity()


def validation_loaders(parts: ModuleParts) -> Any:
    """Batches of the validation; None where there are none, or the module has no step for them."""
    return evaluation_loaders(parts, "val") if has_part(parts, "val") else None


def has_part(parts: ModuleParts, part: str) -> bool:
    """Whether the module can be evaluated on a part: there are batches, and a step for them."""
    step = {"val": "validation_step", "test": "test_step"}[part]
    return is_overridden(step, parts.module) and evaluation_loaders(parts, part) is not None


def run_on(
    method: Callable[..., Any], module: L.LightningModule, parts: ModuleParts, loaders: dict[str, Any], **options: Any
) -> Any:
    """Calls ``fit``, ``validate`` or ``test`` of a Trainer, through the user's own ``data module if there is one.

    Its hooks then move and change batches as he wrote them. It has been prepared and set up, and is not again.

    Args:
        method: Of the Trainer.
        module: What it runs.
        parts: The data.
        loaders: By part; None for a part that the module does not see.
        options: Further keywords of the method.
    """
    datamodule = parts.data.datamodule if isinstance(parts.data, LoaderData) else None
    given = {part: loader for part, loader in loaders.items() if loader is not None}
    if datamodule is None:
        keywords = {f"{part}_dataloaders" if "train" in loaders else "dataloaders": given[part] for part in given}
        return method(module, **keywords, **options)
    own = {f"{part}_dataloader": _giving(loader) for part, loader in given.items()}
    own |= {"prepare_data": _giving(None), "setup": _giving(None)}
    vars(datamodule).update(own)
    try:
        return method(module, datamodule=datamodule, **options)
    finally:
        for name in own:
            del vars(datamodule)[name]


def _giving(value: Any) -> Callable[..., Any]:
    return lambda *args, **keywords: value


def trainer_options(parts: ModuleParts, devices: Devices) -> dict[str, Any]:
    """What every Trainer of a run has in common.

    Raises:
        LaunchError: Several processes are asked for.
        ConfigError: Something is asked for that the module does itself.
    """
    trainer = parts.config.trainer
    if devices.count > 1:
        raise LaunchError(
            "a LightningModule of your own trains in one process",
            where="trainer.devices",
            expected="trainer.devices=1",
            hint="a net with model=custom trains in several",
        )
    if trainer.steps_per_execution not in ("auto", 1):
        what = f"a LightningModule takes single batches, not {trainer.steps_per_execution} steps at once"
        raise ConfigError(what, where="trainer.steps_per_execution", expected="auto or 1")
    if not parts.module.automatic_optimization:
        _refuse_by_hand(parts)
    if trainer.clip_norm is not None and trainer.clip_value is not None:
        raise ConfigError("both clip_norm and clip_value", where="trainer", expected="one of them with a module")
    return {
        "accelerator": devices.accelerator,
        "devices": 1,
        "precision": PRECISIONS[trainer.precision],
        "accumulate_grad_batches": trainer.accumulate,
        "gradient_clip_val": trainer.clip_norm if trainer.clip_norm is not None else trainer.clip_value,
        "gradient_clip_algorithm": "value" if trainer.clip_value is not None else None,
        "deterministic": trainer.deterministic or None,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
    }


def _refuse_by_hand(parts: ModuleParts) -> None:
    trainer = parts.config.trainer
    asked = [name for name in ("clip_norm", "clip_value") if trainer[name] is not None]
    asked += ["accumulate"] * (trainer.accumulate > 1)
    if asked:
        raise ConfigError(
            f"{type(parts.module).__name__} optimizes by hand, and trainer.{asked[0]} would have no effect",
            where=f"trainer.{asked[0]}",
            expected="1" if asked[0] == "accumulate" else "null",
            hint="do it in training_step",
        )


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
    options = {**options, "accumulate_grad_batches": 1, "fast_dev_run": True, **UNRECORDED}
    devices_of_torch = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices_of_torch), seeded(parts.config.seed), _silent():
        trainer = L.Trainer(**options)
        try:
            run_on(trainer.fit, module, parts, loaders)
            names = tuple(sorted(trainer.callback_metrics))
            num_optimizers = sum(not isinstance(optimizer, _MockOptimizer) for optimizer in trainer.optimizers)
            if has_part(parts, "test"):
                run_on(trainer.test, module, parts, {"test": evaluation_loaders(parts, "test")}, verbose=False)
        except TrainkitError:
            raise
        except MisconfigurationException as error:
            raise ConfigError(_first_line(error), where="module") from error
        except Exception as error:
            raise _failure(parts.module, error) from error
    if not num_optimizers:
        what = f"{type(module).__name__} has no optimizer: configure_optimizers gives none"
        raise ConfigError(what, where="module", expected="a configure_optimizers that gives one or several")
    return Look(names, num_optimizers, *watched(parts, names))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].strip()


def _failure(module: L.LightningModule, error: Exception) -> ConfigError:
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if is_own_file(frame.filename)]
    at = f", {own[-1].filename}:{own[-1].lineno}" if own else ""
    what = f"{type(module).__name__} fails on a batch: {type(error).__name__}: {_first_line(error)}"
    return ConfigError(what, where=f"module{at}", hint="HYDRA_FULL_ERROR=1 in the environment shows the traceback")


@contextmanager
def _silent() -> Iterator[None]:
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
    falls = name.replace("/", "_").rpartition("_")[2] in FALLING
    return name, str(trainer.mode or ("min" if falls else "max"))


def check_module_callbacks(parts: ModuleParts, seen: Look) -> None:
    """Raises ConfigError for a callback that watches a value which the module does not log."""
    for callback in configured_callbacks(parts, seen.monitor, seen.mode):
        name = getattr(callback, "monitor", None)
        if seen.notice is None and isinstance(name, str) and name not in seen.names:
            where = f"callbacks, {type(callback).__name__}.monitor"
            hint = did_you_mean(name, seen.names)
            raise ConfigError(f"nobody logs '{name}'", where=where, expected=one_of(seen.names), hint=hint)


def plan(parts: ModuleParts, devices: Devices) -> str:
    """For the ``plan`` line: epochs, batches, precision and devices.

    Raises:
        ConfigError: Nothing is known to end the training.
    """
    trainer, total = parts.config.trainer, total_steps(parts)
    size = parts.data.batch_size
    batches = f"{total:,} batches" if total else "batches of a loader without a length"
    epochs = f"{trainer.max_epochs} epoch" + "s" * (trainer.max_epochs != 1) if trainer.max_epochs else "steps"
    accumulated = f" · {trainer.accumulate} batches an optimizer step" if trainer.accumulate > 1 else ""
    return f"{epochs} = {batches} × {size}{accumulated} · {trainer.precision} · {devices.describe()}"


def describe(parts: ModuleParts, seen: Look) -> str:
    """For the ``module`` line: class, size, and how it optimizes."""
    module = parts.module
    count = sum(p.numel() for p in module.parameters() if p.requires_grad)
    by_hand = "" if module.automatic_optimization else " by hand"
    number = seen.num_optimizers
    optimizers = "" if number is None else f" · {number} optimizer" + "s" * (number > 1) + by_hand
    monitor = f"monitor {seen.monitor} {ARROWS[seen.mode]}" if seen.monitor else "no monitor: the last weights are kept"
    return f"{type(module).__name__} (your own) · {count:,} parameters{optimizers} · {monitor}"


def total_steps(parts: ModuleParts) -> int:
    """Batches of the run; 0 where they are not known beforehand.

    Raises:
        ConfigError: Nothing ends the training.
    """
    trainer, per_epoch = parts.config.trainer, parts.data.steps_per_epoch()
    if per_epoch < 0:
        return trainer.max_steps or 0
    limits = [trainer.max_epochs * per_epoch] if trainer.max_epochs else []
    return int(min(limits + ([trainer.max_steps] if trainer.max_steps else [])))
