"""trainkit trains a PyTorch model fast, resumes it exactly, and says how far to believe the result.

Importing it registers the config schema with Hydra and loads no torch; public names are loaded when first used.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from trainkit.config import register

if TYPE_CHECKING:
    from trainkit.api import check, compose, evaluate, fit, load_run, predict
    from trainkit.data import ArrayData, DataModule, DatasetData, ImageData, LoaderData, TableData
    from trainkit.data.augment import Augment, Augmentation
    from trainkit.errors import ConfigError, DataError, LaunchError, RunError, TrainkitError
    from trainkit.models import CNN, MLP
    from trainkit.optim import adamw, constant, cosine, sgd
    from trainkit.project import new
    from trainkit.runs.inspection import CheckResult, Finding
    from trainkit.runs.load import Run
    from trainkit.runs.query import find_runs
    from trainkit.runs.result import Result
    from trainkit.tasks import Classification, Multilabel, Quantile, Regression, Task
    from trainkit.training import TrainModule
    from trainkit.types import DataSpec, Estimate, StepOutput

__version__ = "0.6.0"

_HOMES = {
    "trainkit.api": ("check", "compose", "evaluate", "fit", "load_run", "predict"),
    "trainkit.data": ("ArrayData", "DataModule", "DatasetData", "ImageData", "LoaderData", "TableData"),
    "trainkit.data.augment": ("Augment", "Augmentation"),
    "trainkit.errors": ("ConfigError", "DataError", "LaunchError", "RunError", "TrainkitError"),
    "trainkit.models": ("CNN", "MLP"),
    "trainkit.optim": ("adamw", "constant", "cosine", "sgd"),
    "trainkit.project": ("new",),
    "trainkit.runs.inspection": ("CheckResult", "Finding"),
    "trainkit.runs.load": ("Run",),
    "trainkit.runs.query": ("find_runs",),
    "trainkit.runs.result": ("Result",),
    "trainkit.tasks": ("Classification", "Multilabel", "Quantile", "Regression", "Task"),
    "trainkit.training": ("TrainModule",),
    "trainkit.types": ("DataSpec", "Estimate", "StepOutput"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CNN",
    "MLP",
    "ArrayData",
    "Augment",
    "Augmentation",
    "CheckResult",
    "Classification",
    "ConfigError",
    "DataError",
    "DataModule",
    "DataSpec",
    "DatasetData",
    "Estimate",
    "Finding",
    "ImageData",
    "LaunchError",
    "LoaderData",
    "Multilabel",
    "Quantile",
    "Regression",
    "Result",
    "Run",
    "RunError",
    "StepOutput",
    "TableData",
    "Task",
    "TrainModule",
    "TrainkitError",
    "adamw",
    "check",
    "compose",
    "constant",
    "cosine",
    "evaluate",
    "find_runs",
    "fit",
    "load_run",
    "new",
    "predict",
    "sgd",
]

# MKL otherwise picks kernels by how arrays lie in memory: a resumed or rescored run would differ in the last bit.
os.environ.setdefault("MKL_CBWR", "AUTO")

register()


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'trainkit' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
