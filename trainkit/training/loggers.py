"""Loggers of a run directory: the long table ``metrics.csv``, TensorBoard without files beside its events, W&B."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger, Logger
from lightning.pytorch.utilities import rank_zero_only

from trainkit.errors import RunError, writing
from trainkit.rundir import atomic_path

COLUMNS = ("step", "epoch", "split", "name", "value")


class MetricsCSV(Logger):
    """Appends every logged value to a CSV with the columns step, epoch, split, name, value.

    Args:
        path: The file; rows from ``resume_step`` on are dropped first, so that a resumed run doubles nothing.
        resume_step: Optimizer steps done before this process; 0 starts the file afresh.
    """

    def __init__(self, path: Path, resume_step: int = 0) -> None:
        super().__init__()
        self.path, self._last_step = path, resume_step
        self._buffer = io.StringIO()
        self._prepare(resume_step)

    @rank_zero_only
    def _prepare(self, resume_step: int) -> None:
        kept = []
        if resume_step and self.path.is_file():
            kept = [row for row in read_metrics(self.path) if int(row["step"]) < resume_step]
        with atomic_path(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "metrics"

    @property
    def version(self) -> str:
        """None beside the run's own."""
        return ""

    @property
    def experiment(self) -> Any:
        """Takes pictures and texts of a module of the user's own, and keeps none of them."""
        return DummyLogger().experiment

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Hyper-parameters stand in ``config.yaml``."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Adds a row per value; names like ``val/loss`` are split at the slash. No step means the last one logged."""
        self._last_step = step = self._last_step if step is None else step
        epoch = int(metrics.get("epoch", 0))
        writer = csv.writer(self._buffer, lineterminator="\n")
        for key, value in metrics.items():
            if key != "epoch":
                split, name = split_and_name(key)
                writer.writerow([step, epoch, split, name, repr(float(value))])

    @rank_zero_only
    def save(self) -> None:
        """Writes what was added."""
        if self._buffer.tell():
            with writing(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(self._buffer.getvalue())
            self._buffer = io.StringIO()

    def finalize(self, status: str) -> None:
        """Writes what is left."""
        self.save()


def split_and_name(key: str) -> tuple[str, str]:
    """``val/loss``, and ``val_loss`` as many a module says, are ``val``'s loss; what says nothing is ``train``'s."""
    split, _, name = key.rpartition("/")
    if split:
        return split, name
    before, _, after = key.partition("_")
    return (before, after) if before in ("train", "val", "test") and after else ("train", key)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Rows of a ``metrics.csv``; a last line cut short by a kill is left out.

    Raises:
        RunError: It is no such table.
    """
    content = path.read_bytes()
    try:
        text = content[: content.rfind(b"\n") + 1].decode("utf-8")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        is_ours = all(row.keys() == set(COLUMNS) and None not in row.values() for row in rows)
        for row in rows if is_ours else ():
            int(row["step"]), int(row["epoch"]), float(row["value"])
    except (ValueError, csv.Error) as error:
        raise _damaged_metrics(path, error) from error
    if not is_ours:
        raise _damaged_metrics(path, f"a row without {', '.join(COLUMNS)}")
    return rows


def _damaged_metrics(path: Path, reason: object) -> RunError:
    hint = "without the file the run goes on, and its curves begin there"
    return RunError(f"'{path}' is damaged: {reason}", where=str(path), hint=hint)


class TensorBoard(TensorBoardLogger):
    """Lightning's TensorBoard logger, with events straight in the run directory and nothing beside them.

    Args:
        save_dir: Directory of the events.
        resume_step: Optimizer steps done before this process; later points of an earlier one are hidden, all of them
            where it was killed before its first checkpoint.
    """

    def __init__(self, save_dir: str | Path, resume_step: int = 0) -> None:
        has_earlier = any(Path(save_dir).glob("events.out.tfevents.*"))
        purge: dict[str, Any] = {"purge_step": resume_step} if resume_step or has_earlier else {}
        super().__init__(save_dir=str(save_dir), name="", version="", default_hp_metric=False, **purge)

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Hyper-parameters are written once a run has its final metrics."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes curves; the epoch goes with each point in ``metrics.csv`` instead."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)

    @rank_zero_only
    def save(self) -> None:
        """Writes what was added, and no file of hyper-parameters: they stand in ``config.yaml``."""
        self.experiment.flush()


def quieted(logger: Logger) -> Logger:
    """The logger, spared a warning of W&B's about an argument that Lightning passes even where nobody gave it."""
    if isinstance(logger, WandbLogger) and logger._wandb_init.get("anonymous") is None:
        logger._wandb_init.pop("anonymous", None)
    return logger


def close(loggers: Iterable[Logger]) -> None:
    """Ends runs of Weights & Biases: one left open would take in the next run of this process."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and logger._experiment is not None:
            logger._experiment.finish()
