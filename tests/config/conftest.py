"""Stand-ins for what a config names, so that checks are tested apart from the classes that trainkit ships."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from trainkit.config import register

register()

STANDINS = """
from __future__ import annotations
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal
if TYPE_CHECKING:
    from nowhere import Unknown

class Data:
    def __init__(self, name: str = "toy", batch_size: int = 64, val_share: float = 0.15, train: object = None): ...

class Net:
    def __init__(self, in_features: int, num_outputs: int, hidden: Sequence[int] = (8,), dropout: float = 0.1,
                 norm: Literal["batch", "none"] = "batch", bias: bool = True, extra: Unknown = None): ...

class Wide:
    def __init__(self, num_classes: int, width: int = 8): ...

class Open:
    def __init__(self, **anything): ...

class Task:
    def __init__(self, weights: list[float] | None = None): ...

class Rows:
    def __init__(self, part: str): ...

def optimizer(params, lr: float = 0.1, betas: tuple[float, float] = (0.9, 0.999)): ...

def schedule(optimizer, warmup: float = 0.0): ...

def pair(first, second): ...

number = 3
"""


@pytest.fixture
def standins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of an importable module of stand-ins."""
    (tmp_path / "standins.py").write_text(STANDINS)
    monkeypatch.syspath_prepend(tmp_path)
    yield "standins"
    sys.modules.pop("standins", None)


@pytest.fixture
def config(standins: str) -> Callable[..., DictConfig]:
    """``config(model={…}, trainer={…})`` gives a job of stand-ins with sections updated."""

    def make(**sections: Any) -> DictConfig:
        base: dict[str, Any] = {
            "seed": 0,
            "data": {"_target_": "standins.Data"},
            "model": {"_target_": "standins.Net", "in_features": "???", "num_outputs": "???"},
            "task": {"_target_": "standins.Task"},
            "optimizer": {"_target_": "standins.optimizer", "_partial_": True, "lr": 0.1},
            "scheduler": {"_target_": "standins.schedule", "_partial_": True},
            "callbacks": {},
            "logger": {},
        }
        for name, section in sections.items():
            mergeable = isinstance(section, dict) and isinstance(base.get(name), dict) and "_target_" not in section
            base[name] = base[name] | section if mergeable else section
        return OmegaConf.create(base)

    return make
