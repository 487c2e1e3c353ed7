"""The keyword arguments of ``fit`` and ``check``, and how they come into one config and the objects beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trainkit.config.compose import compose
from trainkit.config.copying import copied
from trainkit.config.earlier import earlier_overrides, remember_typed
from trainkit.config.messages import from_omegaconf
from trainkit.errors import ConfigError
from trainkit.runs.live import check_lists, is_arrays, put_objects
from trainkit.runs.parts import LiveObjects

if TYPE_CHECKING:
    from lightning import LightningDataModule, LightningModule
    from lightning.pytorch.callbacks import Callback
    from lightning.pytorch.loggers.logger import Logger
    from torch import nn
    from torch.utils.data import Dataset

    from trainkit.optim import OptimizerFactory, SchedulerFactory
    from trainkit.tasks import Task


class FitArguments(TypedDict, total=False):
    """The keyword arguments of ``fit``."""

    model: nn.Module | Any
    module: LightningModule | Any
    train: Dataset[Any] | Any
    val: Dataset[Any] | Any
    test: Dataset[Any] | Any
    data: LightningDataModule | str | None
    task: Task | str | Any
    optimizer: OptimizerFactory | str | None
    scheduler: SchedulerFactory | str | None
    augment: str | Sequence[str] | None
    finetune: str | None
    callbacks: Sequence[Callback]
    loggers: Sequence[Logger]
    max_epochs: int | None
    max_steps: int | None
    batch_size: int | None
    devices: int | None
    precision: str | None
    seed: int | None
    name: str | None
    resume_from: str | Path | None
    init_from: str | Path | None
    overrides: Sequence[str]


def gathered(cfg: DictConfig | None, arguments: FitArguments) -> tuple[DictConfig, LiveObjects, list[str]]:
    """Puts the arguments of ``fit`` into one config.

    Args:
        cfg: A composed config; composed from the overrides by default.
        arguments: As they were given.

    Returns:
        The config, the objects beside it, and the overrides to be kept with the run.

    Raises:
        TrainkitError: An argument is not what it is given as, or has no effect beside another.
    """
    named = {key: arguments.get(key) for key in ("data", "model", "task", "optimizer", "scheduler")}
    parts = {key: arguments.get(key) for key in ("train", "val", "test")}
    datasets = {part: given for part, given in parts.items() if given is not None}
    values = {
        "trainer.max_epochs": arguments.get("max_epochs"),
        "trainer.max_steps": arguments.get("max_steps"),
        "trainer.devices": arguments.get("devices"),
        "trainer.precision": arguments.get("precision"),
        "data.batch_size": arguments.get("batch_size"),
        "seed": arguments.get("seed"),
        "run.name": arguments.get("name"),
        "resume_from": _text(arguments.get("resume_from")),
        "init_from": _text(arguments.get("init_from")),
    }
    callbacks, loggers = arguments.get("callbacks", ()), arguments.get("loggers", ())
    choices = [f"{group}={choice}" for group, choice in named.items() if isinstance(choice, str)]
    choices += [
        f"{group}={_listed(group, choice)}"
        for group in ("augment", "finetune")
        if (choice := arguments.get(group)) is not None
    ]
    module = arguments.get("module")
    if cfg is None:
        of_data = [f"data={'arrays' if is_arrays(parts['train']) else 'dataset'}"] if datasets else []
        choices += ["module=custom"] if module is not None else of_data
    given = [*choices, *arguments.get("overrides", ())]
    if cfg is not None and given:
        raise ConfigError(f"{given[0]} beside a composed config", where="fit", hint=f"tk.compose(['{given[0]}'])")
    if cfg is not None and values["resume_from"] is not None:
        what = "resume_from beside a composed config, which does not tell what else was asked for"
        raise ConfigError(what, where="fit", hint="tk.fit(resume_from=…, overrides=[…])")
    size = arguments.get("batch_size") if module is not None and not isinstance(named["data"], str) else None
    if size is not None:
        del values["data.batch_size"]
    settings = [f"{key}={value}" for key, value in values.items() if value is not None]
    replaced = [name for name, thing in named.items() if thing is not None and not isinstance(thing, str)]
    if cfg is None:
        given = [*earlier_overrides([*given, *settings], replaced=replaced), *given]
    config = compose(given) if cfg is None else copied(cfg)
    if cfg is not None and HydraConfig.initialized():
        given += take_job(config)
        remember_typed(given)
    for key, value in values.items():
        if value is not None:
            _set(config, key, value)
            given.append(f"{key}={value}")
    _refuse_ignored(named["data"], bool(datasets), given)
    if values["trainer.max_steps"] is not None and values["trainer.max_epochs"] is None:
        config.trainer.max_epochs = None
    objects: dict[str, Any] = {name: None if isinstance(thing, str) else thing for name, thing in named.items()}
    live = put_objects(config, datasets=datasets, module=module, batch_size=size, **objects)
    check_lists(callbacks, loggers)
    asked = {name for name, thing in objects.items() if thing is not None} | ({"data"} if datasets else set())
    named_here = [f"{name}={config[name]._target_}" for name in sorted(asked - live.sections())]
    return config, replace(live, callbacks=callbacks, loggers=loggers, named=named_here), given


def _listed(group: str, names: Any) -> str:
    """Names of YAMLs as an override takes them."""
    if isinstance(names, str):
        return names
    if not (isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)):
        expected = f"names of YAMLs in conf/{group}"
        raise ConfigError(f"{group} is a {type(names).__name__}", where=group, expected=expected)
    return f"[{','.join(names)}]"


def _text(path: str | Path | None) -> str | None:
    if path is not None and not isinstance(path, (str, os.PathLike)):
        raise ConfigError(
            f"a run is given as a {type(path).__name__}", where="resume_from, init_from", expected="a path"
        )
    return None if path is None else os.fspath(path)


def _set(config: DictConfig, key: str, value: Any) -> None:
    try:
        OmegaConf.update(config, key, value, force_add=True)
    except OmegaConfBaseException as error:
        raise from_omegaconf(error, config, f"{key}={value}") from error


def _refuse_ignored(data: Any, has_datasets: bool, given: Sequence[str]) -> None:
    """Refuses what a data module given as an object would leave without effect."""
    if data is not None and has_datasets:
        raise ConfigError("data is given beside train, val or test", where="data", expected="one or the other")
    settings = [text for text in given if text.startswith("data.")]
    if data is not None and not isinstance(data, str) and settings:
        what = f"{settings[0]} beside a data module, which has settings of its own"
        raise ConfigError(what, where="data", hint=f"give it to {type(data).__name__}")


def take_job(config: DictConfig) -> list[str]:
    """Gives a job of a multirun the directory that Hydra made for it; returns the job's overrides."""
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN and not OmegaConf.select(config, "run.dir"):
        output = Path(hydra.runtime.output_dir)
        short = output.relative_to(Path.cwd()) if output.is_relative_to(Path.cwd()) else output
        OmegaConf.update(config, "run.dir", str(short), force_add=True)
    return [str(text) for text in OmegaConf.to_container(hydra.overrides.task, resolve=False)]  # type: ignore[union-attr]
