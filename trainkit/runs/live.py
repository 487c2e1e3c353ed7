"""Objects of a script as config: what can be imported again becomes a ``_target_``, the rest is recorded by name."""

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
from lightning.pytorch.utilities.model_helpers import is_overridden
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from trainkit.config.copying import is_plain, plain_entries
from trainkit.config.targets import resolve_target
from trainkit.data import ArrayFiles, DataModule, DatasetData, GivenArrays, LoaderData
from trainkit.data.splits import EXTRA
from trainkit.errors import ConfigError, DataError
from trainkit.runs.parts import LiveObjects
from trainkit.runs.provenance import source_of
from trainkit.tasks import Task


def as_node(thing: Any, partial: bool = False) -> dict[str, Any] | None:
    """A class, function or ``functools.partial`` as a config node, if another process can import it.

    Args:
        thing: What the user gave.
        partial: Whether the node is to give a callable instead of calling it.

    Returns:
        A node with ``_target_``, or None where it has to stay an object.
    """
    target, args, keywords = thing, (), {}
    if isinstance(thing, functools.partial):
        target, args, keywords = thing.func, thing.args, dict(thing.keywords)
    if not (inspect.isclass(target) or inspect.isroutine(target)) or not _is_importable(target):
        return None
    if not all(is_plain(value) for value in [*args, *keywords.values()]):
        return None
    node: dict[str, Any] = {"_target_": f"{target.__module__}.{target.__qualname__}"}
    node |= {"_partial_": True} if partial else {}
    node |= {"_args_": list(args)} if args else {}
    return node | {name: list(value) if isinstance(value, tuple) else value for name, value in keywords.items()}


def _is_importable(target: Any) -> bool:
    module = getattr(target, "__module__", None)
    if module in (None, "__main__", "__mp_main__", "builtins") or "<" in getattr(target, "__qualname__", "<"):
        return False
    try:
        return resolve_target(f"{module}.{target.__qualname__}") is target
    except ConfigError:
        return False


def record(thing: Any) -> dict[str, Any]:
    """What a config says of an object that cannot be imported again: its class, file and source."""
    thing = thing.func if isinstance(thing, functools.partial) else thing
    kind: Any = thing if inspect.isclass(thing) or inspect.isroutine(thing) else type(thing)
    return {"live": f"{kind.__module__}.{kind.__qualname__}", **source_of(kind)}


def put_objects(
    config: DictConfig,
    *,
    model: Any,
    module: Any = None,
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
            _expect(model, nn.Module, "model", "an nn.Module, or a class or functools.partial that gives one")
            live.model = _put(config, "model", model, nn.Module)
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
        if data is not None:
            live.data = _put_data(config, data, module is not None)
        elif module is not None and (datasets or _brings_loaders(live.module)):
            live.data = _put_loaders(config, datasets, live.module)
        elif datasets:
            live.data = _put_datasets(config, datasets)
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
    _expect(data, DataModule, "data", "a trainkit.DataModule")
    sizes = {"batch_size": data.given_batch_size, "eval_batch_size": data.eval_batch_size}
    config.data = record(data) | ({} if isinstance(data, LoaderData) else sizes)
    live: DataModule = data
    return live


def _brings_loaders(module: L.LightningModule | None) -> bool:
    return module is not None and is_overridden("train_dataloader", module)


def _put_loaders(config: DictConfig, datasets: Mapping[str, Any], module: L.LightningModule | None) -> DataModule:
    """Data of a LightningModule's own: loaders, or datasets that loaders are made of."""
    if not datasets:
        assert module is not None
        config.data = {"live": config.module.live}
        return LoaderData.of_module(module)
    if "train" not in datasets:
        raise DataError("there is no training data", where="train", expected="a DataLoader or a Dataset")
    size = int(config.data.get("batch_size") or 64)
    loaders = {name: _as_loader(given, size, name == "train") for name, given in datasets.items()}
    config.data = record(getattr(loaders["train"], "dataset", loaders["train"]))
    return LoaderData(**loaders)


def _as_loader(given: Any, batch_size: int, shuffle: bool) -> Any:
    if isinstance(given, Dataset) or (hasattr(given, "__getitem__") and not isinstance(given, (list, tuple, dict))):
        return DataLoader(given, batch_size, shuffle=shuffle and not isinstance(given, IterableDataset))
    return given


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
