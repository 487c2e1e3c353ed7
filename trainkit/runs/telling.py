"""A run in which a disk that does not take a file is a mistake that is told of, and no bug; called by ``fit``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from trainkit.errors import DISK, TrainkitError, unwritten
from trainkit.runs.completion import Reporter
from trainkit.runs.parts import LiveObjects
from trainkit.runs.pipeline import run_pipeline
from trainkit.runs.result import Result


def run_told(config: DictConfig, live: LiveObjects, overrides: Sequence[str], report: Reporter) -> Result:
    """As ``run_pipeline``.

    Raises:
        TrainkitError: A mistake of the user's, or a disk that is full, failing or closed. A mistake comes before a disk
            on which it could not be recorded.
    """
    try:
        return run_pipeline(config, live, overrides, report)
    except OSError as error:
        if error.errno not in DISK:
            raise
        told = unwritten(Path(error.filename or config.run.dir or config.run.root), error)
        if isinstance(before := error.__context__, TrainkitError):
            before.add_note(told.what)
            raise before from error
        raise told from error
