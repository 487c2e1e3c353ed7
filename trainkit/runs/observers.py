"""Who looks on while a run trains: callbacks and loggers, built from the config and checked before it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig, OmegaConf

from trainkit.config.copying import copied
from trainkit.config.targets import resolve_target
from trainkit.errors import ConfigError
from trainkit.rundir import RunDirectory
from trainkit.runs.build import build
from trainkit.runs.check import logged_names, monitored
from trainkit.runs.hooks import check_callbacks, place_checkpoints
from trainkit.runs.parts import Parts, RunParts
from trainkit.runs.provenance import run_id
from trainkit.training import (
    MetricsCSV,
    quieted,
)


def build_callbacks(parts: Parts, run: RunDirectory | None = None) -> list[L.Callback]:
    """Callbacks of the config, with monitor, mode and dirpath filled in, then those of the user's script.

    Args:
        parts: The parts of the run.
        run: Its directory; None for a check before there is one.

    Raises:
        ConfigError: One cannot be built, watches a value nobody logs, or cannot work here.
    """
    check_loggers(parts)
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


def check_loggers(parts: RunParts) -> None:
    """Raises ConfigError for a class in the config that is no logger, before the run has a directory to log to."""
    for name, node in (parts.config.get("logger") or {}).items():
        kind = None if node is None else resolve_target(str(node["_target_"]), f"logger.{name}._target_")
        if isinstance(kind, type) and not issubclass(kind, Logger):
            raise ConfigError(f"logger.{name} is a {kind.__name__}", where=f"logger.{name}", expected="a Logger")


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
