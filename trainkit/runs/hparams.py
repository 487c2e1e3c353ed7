"""TensorBoard's HParams tab: a run's settings with its final metrics, in the event files of the run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from trainkit.config.copying import plain
from trainkit.rundir import RunDirectory
from trainkit.runs.parts import RunParts
from trainkit.runs.result import Result

SECTIONS = ("seed", "data", "model", "module", "task", "optimizer", "scheduler", "trainer")
"""Sections of the config that make up the hyper-parameters."""

LEFT_OUT = {
    "data": ("eval_batch_size", "num_workers", "ignore"),
    "task": ("class_counts", "num_classes", "target_mean", "target_scale"),
    "trainer": (
        *("devices", "accelerator", "threads", "monitor", "mode", "steps_per_execution", "deterministic"),
        "val_every_n_epochs",
    ),
}
"""Keys that say where and how a run was made, not what was tried."""


def log_hparams(parts: RunParts, run: RunDirectory, result: Result) -> None:
    """Writes the run's settings and final metrics, where it keeps TensorBoard events."""
    if not any(run.path.glob("events.out.tfevents.*")):
        return
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    config = plain(parts.config)
    left_out = {f"{section}.{key}" for section, keys in LEFT_OUT.items() for key in keys}
    settings = {
        key: value for section in SECTIONS for key, value in flat(config.get(section), section) if key not in left_out
    }
    metrics = {f"hp/test_{name}": estimate.value for name, estimate in result.test.items()}
    if result.objective is not None:
        metrics["hp/objective"] = result.objective
    metrics = {name: value for name, value in metrics.items() if not math.isnan(value)}
    with SummaryWriter(str(run.path)) as writer:
        for summary in hparams(settings, metrics):  # type: ignore[no-untyped-call]
            writer.file_writer.add_summary(summary)
        for name, value in metrics.items():
            writer.add_scalar(name, value, result.facts["steps"] or 0)


def flat(value: Any, prefix: str) -> Iterator[tuple[str, bool | int | float | str]]:
    """Dotted keys and plain values of a nested config."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, prefix if key == "_target_" else f"{prefix}.{key}")
    elif value is not None:
        yield prefix, value if isinstance(value, (bool, int, float, str)) else str(value)
