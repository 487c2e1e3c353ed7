"""Runs of the LightningModules of ``own_modules.py``, which a test has copied and imported as ``own``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trainkit as tk
from tests.runs.conftest import checkpoint
from trainkit.rundir import RunDirectory

QUIET = ["logger=none", "trainer.threads=1"]


def fit(directory: str, *overrides: str, **given: Any) -> tk.Result:
    return tk.fit(**given, overrides=[*QUIET, f"run.dir={directory}", *overrides])


def last_checkpoint(directory: str) -> dict[str, Any]:
    return checkpoint(RunDirectory(Path(directory)))


def gan(own: Any) -> dict[str, Any]:
    return {"module": own.GAN(), "train": own.loader(), "max_epochs": 2}


def classifier(own: Any, schedule: str) -> dict[str, Any]:
    return {"module": own.Classifier(schedule), "train": own.loader(), "val": own.fixed(), "max_epochs": 3}


def pairs(own: Any) -> dict[str, Any]:
    return {"module": own.Pairs("epoch"), "train": {"a": own.loader(), "b": own.loader(50)}, "max_epochs": 2}


def by_hand(own: Any) -> dict[str, Any]:
    return {"module": own.ByHand(), "train": own.loader(), "val": own.fixed(), "max_epochs": 2}


def datamodule(own: Any) -> dict[str, Any]:
    return {"module": own.Classifier("plateau"), "data": own.Points(), "max_epochs": 2}
