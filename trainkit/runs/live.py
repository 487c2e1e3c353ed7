"""Objects of a script, put into the config where they can be imported again, else beside it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig, OmegaConf, open_dict
from sklearn.base import BaseEstimator
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from trainkit.config.copying import plain_entries
from trainkit.config.targets import resolve_target
from trainkit.data import ArrayFiles, DataModule, DatasetData, GivenArrays, LoaderData
from trainkit.data.splits import EXTRA
from trainkit.errors import ConfigError, DataError
from trainkit.runs.build import wrong_data
from trainkit.runs.nodes import as_node, estimator_node, record
from trainkit.runs.parts import LiveObjects
from trainkit.tasks import Task


def put_objects(
    config: DictConfig,
    *,
    model: Any,
    module: Any = None,
    batch_size: int | None = None,
    datasets: Mapping[str, Any],
    data: L.LightningDataModule | None,
    task: Any,
    optimizer: Any,
    scheduler: Any,
) -> LiveObjects:
    """Puts what the user gave into the config, or beside it.

    Args:
        config: Changed in place.
        model: A net, or a class or partial of one.
        module: A LightningModule of the user's own, or a class or partial of one.
        batch_size: Samples of a batch of the module's, where datasets are given; 64 by default.
        datasets: ``train``, ``val`` and ``test``, those that were given.
        data: A data module.
        task: A task, or a class or partial of one.
        optimizer: A callable that takes parameter groups.
        scheduler: A callable that takes an optimizer.

    Returns:
        The objects that stay objects.

    Raises:
        ConfigError: Something is not what it is given as.
    """
    live = LiveObjects()
    with open_dict(config):
        if module is not None:
            _put_module(
                config, live, module, {"model": model, "task": task, "optimizer": optimizer, "scheduler": scheduler}
            )
        if model is not None:
            live.model = _put_model(config, model)
        if task is not None:
            _expect(task, Task, "task", "a name, a Task, or a class or functools.partial that gives one")
            live.task = _put(config, "task", task, Task)
        for name, factory in (("optimizer", optimizer), ("scheduler", scheduler)):
            if factory is None:
                continue
            if not callable(factory) or isinstance(factory, (torch.optim.Optimizer, nn.Module)):
                example = "tk.adamw(lr=3e-4)" if name == "optimizer" else "tk.cosine()"
                what = f"the {name} is a {type(factory).__name__}"
                raise ConfigError(what, where=name, expected=f"a callable that builds one, such as {example}")
            node = as_node(factory, partial=True)
            config[name] = node or record(factory)
            setattr(live, name, None if node else factory)
        if batch_size is not None and not any(map(_takes_loader, datasets.values())):
            what = "batch_size has no effect on loaders of your own"
            raise ConfigError(what, where="batch_size", hint="give it to the DataLoader or the data module")
        if data is not None:
            live.data = _put_data(config, data, module is not None)
        elif module is not None and datasets:
            live.data = _put_loaders(config, datasets, batch_size)
        elif datasets:
            live.data = _put_datasets(config, datasets)
    return live


def _put_model(config: DictConfig, model: Any) -> nn.Module | None:
    if isinstance(model, BaseEstimator):
        config.model = estimator_node(model)
        return None
    _expect(model, nn.Module, "model", "an nn.Module or a scikit-learn estimator, or what gives one when called")
    live: nn.Module | None = _put(config, "model", model, nn.Module)
    return live


def _put_module(config: DictConfig, live: LiveObjects, module: Any, others: dict[str, Any]) -> None:
    given = [name for name, thing in others.items() if thing is not None]
    if given:
        what = f"{given[0]} is given beside a LightningModule, which has its own"
        raise ConfigError(what, where=given[0], expected="one or the other")
    _expect(module, L.LightningModule, "module", "a LightningModule, or a class or functools.partial that gives one")
    live.module = _put(config, "module", module, L.LightningModule)
    if live.module is not None and live.module.hparams:
        config.module.hparams = plain_entries(live.module.hparams)


def _put_data(config: DictConfig, data: Any, for_module: bool) -> DataModule:
    if for_module and isinstance(data, L.LightningDataModule) and not isinstance(data, DataModule):
        config.data = record(data)
        return LoaderData.of(data)
    if not isinstance(data, DataModule):
        raise wrong_data(data)
    sizes = {"batch_size": data.given_batch_size, "eval_batch_size": data.eval_batch_size}
    config.data = record(data) | ({} if isinstance(data, LoaderData) else sizes)
    live: DataModule = data
    return live


def _put_loaders(config: DictConfig, datasets: Mapping[str, Any], batch_size: int | None) -> DataModule:
    """Data of a LightningModule's own: loaders, or datasets that loaders are made of."""
    if "train" not in datasets:
        raise DataError("there is no training data", where="train", expected="a DataLoader or a Dataset")
    size = batch_size or 64
    loaders = {name: _as_loader(given, size, name == "train") for name, given in datasets.items()}
    config.data = record(getattr(loaders["train"], "dataset", loaders["train"]))
    return LoaderData(**loaders)


def _as_loader(given: Any, batch_size: int, shuffle: bool) -> Any:
    if _takes_loader(given):
        return DataLoader(given, batch_size, shuffle=shuffle and not isinstance(given, IterableDataset))
    return given


def _takes_loader(given: Any) -> bool:
    return isinstance(given, Dataset) or (hasattr(given, "__getitem__") and not isinstance(given, (list, tuple, dict)))


def check_lists(callbacks: Any, loggers: Any) -> None:
    """Raises ConfigError where something else than a list of Lightning's callbacks or loggers is given."""
    for name, things, kind in (("callbacks", callbacks, Callback), ("loggers", loggers, Logger)):
        wrong = [thing for thing in things if not isinstance(thing, kind)] if isinstance(things, Sequence) else [things]
        if wrong:
            found = f"the class {wrong[0].__name__}" if inspect.isclass(wrong[0]) else f"a {type(wrong[0]).__name__}"
            raise ConfigError(f"{name} has {found}", where=name, expected=f"a list of Lightning {name}")


def _expect(thing: Any, kind: type, where: str, expected: str) -> None:
    is_factory = callable(thing) and not isinstance(thing, nn.Module)
    if not isinstance(thing, kind) and not is_factory:
        raise ConfigError(f"the {where} is a {type(thing).__name__}", where=where, expected=expected)


def _put(config: DictConfig, section: str, thing: Any, kind: type) -> Any:
    if isinstance(thing, kind):
        config[section] = record(thing)
        return thing
    node = as_node(thing)
    if node is not None:
        config[section] = node
        return None
    built = _called(thing, section)
    _expect_built(built, kind, section)
    config[section] = record(built)
    return built


def _called(thing: Any, where: str) -> Any:
    try:
        inspect.signature(thing).bind()
    except TypeError as error:
        name = getattr(thing, "__name__", type(thing).__name__)
        hint = f"functools.partial({name}, …), or an object"
        raise ConfigError(f"{name} cannot be called: {error}", where=where, hint=hint) from error
    return thing()


def _expect_built(built: Any, kind: type, section: str) -> None:
    if not isinstance(built, kind):
        what = f"the {section} gives a {type(built).__name__}"
        raise ConfigError(what, where=section, expected=f"a {kind.__name__}")


def _put_datasets(config: DictConfig, datasets: Mapping[str, Any]) -> DataModule | None:
    if "train" not in datasets:
        raise DataError("there is no training data", where="train", expected="a map-style Dataset")
    datasets = _separated(datasets)
    if is_arrays(datasets["train"]):
        return _put_arrays(config, datasets)
    for name, given in datasets.items():
        if isinstance(given, DataLoader):
            hint = f"give {name}=loader.dataset and batch_size={given.batch_size}"
            raise DataError(f"{name} is a DataLoader", where=name, expected="a map-style Dataset", hint=hint)
        if not (callable(given) or hasattr(given, "__getitem__")) or isinstance(given, tuple):
            expected = "a map-style Dataset" + ", or two arrays" * isinstance(given, tuple)
            raise DataError(f"{name} is a {type(given).__name__}", where=name, expected=expected)
    if resolve_target(str(config.data.get("_target_")), "data._target_") is not DatasetData:
        what = f"train is given, but the config has data {config.data.get('_target_')}"
        raise ConfigError(what, where="data", hint="compose it with data=dataset")
    nodes = {name: as_node(given) for name, given in datasets.items()}
    if all(nodes.values()):
        for name, node in _by_argument(nodes).items():
            config.data[name] = node
        return None
    settings = _settings(config, "train", "val", "test")
    made: dict[str, Any] = {
        name: _called(given, name) if isinstance(given, functools.partial) or inspect.isclass(given) else given
        for name, given in datasets.items()
    }
    config.data = record(made["train"]) | settings
    return DatasetData(**_by_argument(made), **settings)


def is_arrays(given: Any) -> bool:
    """Whether something is inputs and targets as two arrays or tensors, or a dict that holds such."""
    kinds = (np.ndarray, torch.Tensor)
    if isinstance(given, Mapping):
        return any(isinstance(values, kinds) for values in given.values())
    is_two = isinstance(given, (tuple, list)) and len(given) == 2
    return is_two and all(isinstance(values, kinds) for values in given)


def _put_arrays(config: DictConfig, datasets: Mapping[str, Any]) -> DataModule:
    for name, given in datasets.items():
        if not is_arrays(given):
            expected = "two arrays, or a dict of them, as train is"
            raise DataError(f"{name} is a {type(given).__name__}", where=name, expected=expected)
    if resolve_target(str(config.data.get("_target_")), "data._target_") is not ArrayFiles:
        what = f"train is given as arrays, but the config has data {config.data.get('_target_')}"
        raise ConfigError(what, where="data", hint="compose it with data=arrays")
    settings = _settings(config, "path", "val_path", "test_path")
    data = GivenArrays(**_by_argument(datasets), **settings)
    config.data = record(data) | settings
    return data


def _settings(config: DictConfig, *given: str) -> dict[str, Any]:
    """Arguments of the data beside what the script gave."""
    settings: Any = OmegaConf.to_container(config.data, resolve=False)
    return {name: value for name, value in settings.items() if name not in ("_target_", "extra_val", *given)}


def _separated(datasets: Mapping[str, Any]) -> dict[str, Any]:
    """Each part by its name; of several validation sets the first is ``val``, the others ``val/<name>``."""
    sets = datasets.get("val")
    if not isinstance(sets, Mapping) or is_arrays(sets):
        return dict(datasets)
    if not sets:
        raise DataError("val names no validation set", where="val", expected="a name and a set at least")
    first, *others = sets.items()
    extra = {f"{EXTRA}{name}": given for name, given in others}
    return {name: first[1] if name == "val" else given for name, given in datasets.items()} | extra


def _by_argument(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Parts by the argument that takes them; those beyond three are ``extra_val``."""
    extra = {name.removeprefix(EXTRA): part for name, part in parts.items() if name.startswith(EXTRA)}
    plain = {name: part for name, part in parts.items() if not name.startswith(EXTRA)}
    return plain | ({"extra_val": extra} if extra else {})
