"""A run's settings in its loggers; for TensorBoard's HParams tab those that were tried, with the final metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from lightning.pytorch.loggers.logger import Logger

from trainkit.config.check import SIZES
from trainkit.config.copying import plain
from trainkit.rundir import RunDirectory
from trainkit.runs.parts import RunParts
from trainkit.runs.result import Result

SECTIONS = ("seed", "data", "model", "module", "task", "optimizer", "scheduler", "augment", "trainer")
"""Sections of the config that make up the hyper-parameters."""

LEFT_OUT = {
    "data": (
        *("name", "path", "table", "target", "val_path", "test_path", "eval_batch_size", "num_workers", "ignore"),
        *("images", "file", "cache", "cache_dir"),
        *("val_share", "test_share", "stratify", "drop_last"),
    ),
    "model": tuple(sorted(SIZES)),
    "task": (
        "class_counts",
        "label_counts",
        "num_classes",
        "num_labels",
        "target_mean",
        "target_scale",
        "target_names",
    ),
    "trainer": (
        *("devices", "accelerator", "threads", "monitor", "mode", "steps_per_execution", "deterministic"),
        "val_every_n_epochs",
    ),
}
"""Keys that say where and how a run was made, or that the data decided: not what was tried."""


def log_hparams(parts: RunParts, run: RunDirectory, result: Result) -> None:
    """Writes the run's settings and final metrics, where it keeps TensorBoard events; in place of earlier ones."""
    files = list(run.path.glob("events.out.tfevents.*"))
    if not files:
        return
    for earlier in set(files) - set(run.events()):  # of a run that was killed between here and its end
        earlier.unlink()
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    settings = tried(parts)
    metrics = {f"hp/test_{name}": estimate.value for name, estimate in result.test.items()}
    if result.objective is not None:
        metrics["hp/objective"] = result.objective
    metrics = {name: value for name, value in metrics.items() if not math.isnan(value)}
    with SummaryWriter(str(run.path)) as writer:
        for summary in hparams(settings, metrics):  # type: ignore[no-untyped-call]
            writer.file_writer.add_summary(summary)
        for name, value in metrics.items():
            writer.add_scalar(name, value, max(0, (result.facts["steps"] or 0) - 1))  # where the curves end


def tried(parts: RunParts) -> dict[str, int | float | str]:
    """The settings by which runs are told apart: classes by their last name, the data by its own.

    TensorBoard shows a truth value as 1.0000, so that it is written as a word.
    """
    config = plain(parts.config)
    left_out = {f"{section}.{key}" for section, keys in LEFT_OUT.items() for key in keys}
    settings = dict(item for section in SECTIONS for item in flat(config.get(section), section, short_names=True))
    words: dict[str, int | float | str] = {
        key: str(value).lower() if isinstance(value, bool) else value for key, value in settings.items()
    }
    chosen: dict[str, int | float | str] = {"data": parts.data.name, "data.batch_size": parts.data.batch_size}
    return {key: value for key, value in words.items() if key not in left_out} | chosen


def log_settings(parts: RunParts, loggers: Iterable[Logger]) -> None:
    """Gives the whole resolved config, as dotted keys and plain values, to loggers that keep hyper-parameters."""
    config = plain(parts.config)
    settings = {key: value for section in config for key, value in flat(config[section], section)}
    for logger in loggers:
        logger.log_hyperparams(settings)


def flat(value: Any, prefix: str, short_names: bool = False) -> Iterator[tuple[str, bool | int | float | str]]:
    """Dotted keys and plain values of a nested config.

    Args:
        value: A plain container, or a value.
        prefix: Its key.
        short_names: Whether a ``_target_`` is told by its last name.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("_partial_", "_recursive_", "_convert_"):
                continue
            if key == "_target_":
                yield from flat(inner.rpartition(".")[2] if short_names else inner, prefix)
            else:
                yield from flat(inner, f"{prefix}.{key}", short_names)
    elif value is not None:
        yield prefix, value if isinstance(value, (bool, int, float, str)) else str(value)
