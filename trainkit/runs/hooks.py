"""What callbacks and loggers of Lightning's or the user's own can do in a run, found out before it trains."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import DeviceStatsMonitor, EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import Logger
from torch import nn

from trainkit.config.targets import resolve_target
from trainkit.errors import ConfigError, did_you_mean, one_of
from trainkit.runs.parts import Parts, RunParts
from trainkit.training import Pictures

REFUSED = {
    "BackboneFinetuning": ("it looks for a 'backbone' in the LightningModule", "subclass BaseFinetuning"),
    "BatchSizeFinder": ("it changes the batch size, and with it what is learned", "data.batch_size=…"),
    "GradientAccumulationScheduler": ("micro-batches are the run's own", "trainer.accumulate=…"),
    "LearningRateFinder": ("its trial steps would be part of the run", "trainkit fit -m optimizer.lr=1e-4,1e-3,1e-2"),
    "ModelPruning": (
        "its masks are in no checkpoint, and a resumed run would train what was pruned",
        "torch.nn.utils.prune on trainkit.load_run(RUN).model",
    ),
    "ModelSummary": ("it writes to a log that is silent here", "lightning.pytorch.callbacks.RichModelSummary"),
    "OnExceptionCheckpoint": (
        "a failed run continues from its last checkpoint, which holds more",
        "checkpoint.every_n_steps=…",
    ),
    "ProgressBar": ("the run has a progress line of its own", "leave it out"),
    "SpikeDetection": (
        "it wants the loss of automatic optimization",
        "a run whose loss is not finite ends by itself; trainer.clip_norm=1 keeps off spikes",
    ),
    "StochasticWeightAveraging": (
        "its pass for BatchNorm would train the model",
        "lightning.pytorch.callbacks.EMAWeightAveraging",
    ),
    "ThroughputMonitor": ("train/samples_per_second is logged in any case", "leave it out"),
}
"""Lightning's callbacks that cannot work in a run: why not, and what to do instead."""

LOOK_AT_BATCHES = ("DeviceStatsMonitor", "LearningRateMonitor", "WeightAveraging")
"""Lightning's callbacks that must be called with every step; the others look at time or at validations."""

BATCH_HOOKS = (
    *("on_train_batch_start", "on_train_batch_end", "on_before_zero_grad", "on_before_backward", "on_after_backward"),
    "on_before_optimizer_step",
)
"""Hooks that run with every batch, or with every step inside one."""

PACKAGES = {
    "CometLogger": "comet_ml",
    "LitLogger": "litlogger",
    "MLFlowLogger": "mlflow",
    "NeptuneLogger": "neptune",
    "WandbLogger": "wandb",
}
"""Package that each of Lightning's loggers needs."""

EXTRAS = ("wandb",)
"""Those of them that an extra of this distribution brings."""

OURS = ("trainkit", "lightning")


def check_callbacks(parts: RunParts, callbacks: Sequence[L.Callback], names: Sequence[str]) -> None:
    """Raises ConfigError for callbacks that watch a value nobody logs, or that cannot work here.

    Args:
        parts: The parts of the run.
        callbacks: Of the config and the user's script.
        names: What is logged.
    """
    loggers = check_loggers(parts)
    seen: dict[str, L.Callback] = {}
    for callback in callbacks:
        kind = type(callback).__name__
        _refuse(callback, parts)
        if isinstance(callback, EarlyStopping) and callback.patience < 0:
            where = f"callbacks, {kind}.patience"
            raise ConfigError(f"{kind}.patience is {callback.patience}", where=where, expected="at least 0 validations")
        name = getattr(callback, "monitor", None)
        if isinstance(name, str) and name not in names:
            where = f"callbacks, {kind}.monitor"
            raise ConfigError(
                f"nobody logs '{name}'", where=where, expected=one_of(names), hint=did_you_mean(name, names)
            )
        if isinstance(callback, Pictures):
            _refuse_pictures(parts, kind)
            callback.attach(parts.data)
            callback.check_loggers(loggers)
        _check_state_key(callback, seen)
    _check_wandb_key(parts)
    if not isinstance(parts, Parts):  # its module takes single batches, and so does every callback
        return
    looker = looks_at_batches(parts)
    steps = parts.config.trainer.steps_per_execution
    if looker and steps not in ("auto", 1):
        raise ConfigError(
            f"{looker} looks at every batch, and cannot see the {steps} steps of an execution",
            where="trainer.steps_per_execution",
            hint="trainer.steps_per_execution=1, or auto",
        )


def _refuse_pictures(parts: RunParts, kind: str) -> None:
    if not isinstance(parts, Parts):
        what = f"{kind} shows what a task of trainkit predicts, and a LightningModule of your own has none"
        raise ConfigError(what, where="callbacks", hint="self.logger.experiment.add_figure(…) in the module")
    if kind == "AugmentedSamples" and parts.augment is None:
        what = "AugmentedSamples shows what augmentation does, and there is none"
        raise ConfigError(what, where="callbacks", expected="an augmentation", hint="augment=standard")


def _refuse(callback: L.Callback, parts: RunParts) -> None:
    network = parts.network if isinstance(parts, Parts) else None
    for base in type(callback).__mro__:
        if base.__name__ in REFUSED and base.__module__.partition(".")[0] == "lightning":
            if base.__name__ == "ModelSummary" and type(callback) is not base:
                continue
            why, hint = REFUSED[base.__name__]
            raise ConfigError(f"{type(callback).__name__} cannot work here: {why}", where="callbacks", hint=hint)
    if isinstance(callback, DeviceStatsMonitor) and callback._cpu_stats is not False and not find_spec("psutil"):
        raise ConfigError("psutil is not installed", where="callbacks, DeviceStatsMonitor", hint="pip install psutil")
    if type(callback) is WeightAveraging and callback._use_buffers and _has_flags(network):
        raise ConfigError(
            "WeightAveraging cannot average the truth values among the model's buffers",
            where="callbacks, WeightAveraging",
            hint="use_buffers=false, or lightning.pytorch.callbacks.EMAWeightAveraging",
        )
    if (
        network is not None
        and isinstance(callback, ModelCheckpoint)
        and (callback._every_n_train_steps or callback._train_time_interval)
    ):
        raise ConfigError(
            "ModelCheckpoint cannot save by steps or time here: an execution carries several steps",
            where="callbacks",
            expected="every_n_epochs, or a save at each validation, which is its default",
            hint="checkpoint.every_n_steps=… saves what a run continues from, checkpoint.keep=… says how many",
        )


def _saves_by_steps(callback: L.Callback) -> bool:
    if not isinstance(callback, ModelCheckpoint):
        return False
    return bool(callback._every_n_train_steps or callback._train_time_interval)


def _has_flags(network: nn.Module | None) -> bool:
    return network is not None and any(buffer.dtype is torch.bool for buffer in network.buffers())


def _check_state_key(callback: L.Callback, seen: dict[str, L.Callback]) -> None:
    """Two callbacks whose state would be saved under one name would load each other's."""
    if type(callback).state_dict is L.Callback.state_dict:
        return
    key = callback.state_key
    if key in seen:
        raise ConfigError(
            f"two callbacks {type(callback).__name__} would save their state under one name",
            where="callbacks",
            expected="one of them, or a state_key of its own for each",
        )
    seen[key] = callback


def check_loggers(parts: RunParts) -> list[type[Logger]]:
    """Classes of the run's loggers beside the table of metrics.

    Raises:
        ConfigError: The package behind one is not installed.
    """
    kinds: list[type[Logger]] = [type(logger) for logger in parts.live.loggers]
    for name, node in (parts.config.get("logger") or {}).items():
        if node is None:
            continue
        kind = resolve_target(node._target_)
        package = PACKAGES.get(getattr(kind, "__name__", ""))
        if package and not find_spec(package):
            wanted = f"'trainkit-lightning[{package}]'" if package in EXTRAS else package
            raise ConfigError(f"{package} is not installed", where=f"logger.{name}", hint=f"pip install {wanted}")
        if inspect.isclass(kind) and issubclass(kind, Logger):
            kinds.append(kind)
    return kinds


def _check_wandb_key(parts: RunParts) -> None:
    """Raises ConfigError where Weights & Biases would ask for a key in the middle of a run's start."""
    for name, node in (parts.config.get("logger") or {}).items():
        if node is None or resolve_target(node._target_) is not WandbLogger or node.get("offline"):
            continue
        if os.environ.get("WANDB_MODE", "online") not in ("online", "run"):
            continue
        import wandb

        if not wandb.login(prompt=False, verify=False):
            raise ConfigError(
                "Weights & Biases has no key to log in with",
                where=f"logger.{name}",
                hint=f"wandb login, or logger.{name}.offline=true",
            )


def looks_at_batches(parts: RunParts) -> str | None:
    """Class name of the first callback that has to see every step, so that they are run one at a time."""
    for kind, given in _kinds(parts):
        names = {name for name in BATCH_HOOKS if name in given or _is_foreign(kind, name)}
        is_counting = any(
            base.__name__ in LOOK_AT_BATCHES and base.__module__.partition(".")[0] == "lightning"
            for base in kind.__mro__
        )
        if names or is_counting:
            return kind.__name__
    return None


def _kinds(parts: RunParts) -> Iterator[tuple[type, set[str]]]:
    """Class of each callback, and the names of what it was given: a ``LambdaCallback`` gets its hooks that way."""
    for callback in parts.live.callbacks:
        yield type(callback), set(vars(callback))
    for node in (parts.config.get("callbacks") or {}).values():
        kind: Any = None if node is None else resolve_target(node._target_)
        if inspect.isclass(kind):
            yield kind, set(map(str, node))


def _is_foreign(kind: type, hook: str) -> bool:
    """Whether a hook's code is neither Lightning's nor ours, which know of executions."""
    definer = next((base for base in kind.__mro__ if hook in vars(base)), None)
    return definer is not None and definer.__module__.partition(".")[0] not in OURS


def place_checkpoints(callback: ModelCheckpoint, folder: Path, at_validations: bool) -> None:
    """Decides what a user's ``ModelCheckpoint`` leaves open: its folder beside our files, and when it saves.

    Args:
        callback: Changed where it says nothing itself.
        folder: Where it saves.
        at_validations: Whether it saves after validations and not at the end of epochs: a run that goes on at the end
            of an epoch has no metric of it any more.
    """
    if callback.dirpath is None:
        callback.dirpath = str(folder)
    if callback._save_on_train_epoch_end is None and at_validations:
        callback._save_on_train_epoch_end = False
