"""From a config (and objects of the user's own) to the parts of a run; a model takes its sizes from the data."""

from __future__ import annotations

import inspect
import random
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import lightning as L
import numpy as np
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader, Dataset

from trainkit.config.copying import copied
from trainkit.config.resolvers import active_spec
from trainkit.config.shipped import contents
from trainkit.config.targets import resolve_target
from trainkit.data import DataModule, LoaderData, Splits
from trainkit.data.augment import Augment
from trainkit.data.preprocessing import AsFloat
from trainkit.errors import ConfigError, DataError, TrainkitError, first_line
from trainkit.models import Network
from trainkit.models import auto as auto_model
from trainkit.optim import OptimizerFactory, SchedulerFactory
from trainkit.runs.computing import lay_out
from trainkit.runs.finetuning import set_up_tuning
from trainkit.runs.input_statistics import fit_inputs
from trainkit.runs.known_targets import check_known, decided
from trainkit.runs.parts import LiveObjects, Parts
from trainkit.tasks import Classification, Multilabel, Quantile, Regression, Task
from trainkit.tasks import auto as auto_task
from trainkit.types import TargetKind

_TASKS: dict[Any, TargetKind] = {
    Classification: "class",
    Multilabel: "multilabel",
    Regression: "number",
    Quantile: "number",
}
"""Kind of target that a task learns."""


MISTAKES = (TypeError, ValueError, OSError, RuntimeError, KeyError, Warning, MisconfigurationException)
"""What components raise for arguments that they do not take; anything else is a bug and keeps its traceback."""


def seed_everything(seed: int) -> None:
    """Seeds Python's, NumPy's and torch's generators (those of all devices too)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def build_parts(config: DictConfig, live: LiveObjects | None = None, splits: Splits | None = None) -> Parts:
    """Sets up the data, chooses what is ``auto``, fills sizes in, and builds the model and the task.

    Args:
        config: Checked; it is not changed.
        live: Objects that stand in for sections of the config.
        splits: Parts drawn by an earlier process of the same run; drawn afresh by default.

    Raises:
        ConfigError: A component cannot be built, or the task is for another kind of target.
        DataError: The data cannot be used.
    """
    live = live or LiveObjects()
    config = copied(config)
    data = live.data or build(config.data, "data")
    if not isinstance(data, DataModule):
        raise wrong_data(data)
    if isinstance(data, LoaderData):
        what = "nothing is known of the batches of a loader of your own"
        expected = "a LightningModule of your own to take them"
        raise ConfigError(what, where="data", expected=expected, hint="module=custom, or data=dataset with the Dataset")
    data.given_splits = splits
    data.setup()
    check_known(data)
    notes = choose(config, data, live)
    fill(config, data, ("task",))
    seed_everything(config.seed)
    task = live.task or build(config.task, "task", Task)
    fill(config, data, ("model",), task.sizes())
    parts = Parts(config, data, task, live=live, notes=notes)
    is_begun = splits is not None or config.get("resume_from") is not None
    model = live.model if live.model is not None else build(without_weights(config.model, is_begun), "model")
    if isinstance(model, nn.Module):
        _check_weights(model)
        _keep_resolved(parts, model)
        parts.network = Network(model, input_module(data, model), task.merge)
        lay_out(parts.network, config, data.spec)
        set_up_tuning(parts.network, config)
        fit_inputs(parts.network, data)
        parts.optimizer, parts.scheduler = _optimization(config, live)
        parts.augment = build_augment(config)
    elif hasattr(model, "fit") and hasattr(model, "predict"):
        parts.estimator = model
    else:
        found = f"the model is a {type(model).__name__}"
        raise ConfigError(found, where="model", expected="an nn.Module or a scikit-learn estimator")
    return parts


def without_weights(node: DictConfig, is_begun: bool = True) -> DictConfig:
    """A model's config without weights from elsewhere, which a run that is begun has in its own files."""
    if not is_begun or node.get("weights") is None:
        return node
    own = copied(node)
    own.weights = None
    return own


def _check_weights(model: nn.Module) -> None:
    """Raises ConfigError for weights that have no size or no values yet."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        fault = "no size yet" if is_lazy(tensor) else "no values (device meta)" if tensor.is_meta else None
        if fault:
            expected = "a net with its weights" if tensor.is_meta else "layers that are told their sizes"
            raise ConfigError(f"'{name}' of the model has {fault}", where="model", expected=expected)


def _keep_resolved(parts: Parts, model: nn.Module) -> None:
    """Writes into the config what a net with weights from elsewhere found out about them, and tells what fits."""
    resolved, matching = getattr(model, "resolved", None), getattr(model, "matching", None)
    if resolved is not None and parts.live.model is None:
        with open_dict(parts.config.model):
            parts.config.model.update(resolved())
    if matching is not None:
        parts.notes["weights"] = str(matching)


def input_module(data: DataModule, net: nn.Module) -> nn.Module | None:
    """Preprocessing for a net; images as they are, in [0, 1], for one that standardises them itself.

    Raises:
        DataError: Such a net, and numbers beyond [0, 1].
    """
    if not getattr(net, "takes_pixels", False):
        return data.input_module(net)
    inputs = data.source.fetch(torch.arange(min(len(data.source), 64)), 0)[0]
    if isinstance(inputs, torch.Tensor) and inputs.is_floating_point() and float(inputs.abs().max()) > 1:
        found = f"images of {str(inputs.dtype).removeprefix('torch.')} up to {float(inputs.abs().max()):g}"
        raise DataError(found, where="data", expected="uint8, or numbers in [0, 1], for weights from elsewhere")
    return AsFloat()


def wrong_data(data: Any) -> ConfigError:
    """The error for something else than a ``DataModule`` as the data of a net, with what it goes with."""
    found = f"the class {data.__name__}" if inspect.isclass(data) else f"a {type(data).__name__}"
    hint = None
    if isinstance(data, L.LightningDataModule):
        hint = (
            "a LightningDataModule goes with module=, a LightningModule of your own; a net with a trainkit.DataModule"
        )
    elif inspect.isclass(data):
        hint = f"data={data.__name__}(…), an object"
    elif isinstance(data, (Dataset, DataLoader)):
        hint = "train=, val= and test= take Datasets"
    return ConfigError(f"the data is {found}", where="data", expected="a trainkit.DataModule", hint=hint)


def _optimization(config: DictConfig, live: LiveObjects) -> tuple[OptimizerFactory, SchedulerFactory | None]:
    optimizer = live.optimizer or build(config.optimizer, "optimizer")
    scheduler = live.scheduler or (build(config.scheduler, "scheduler") if config.get("scheduler") else None)
    for name, factory in (("optimizer", optimizer), ("scheduler", scheduler)):
        if factory is not None and not callable(factory):
            raise ConfigError(f"the {name} is a {type(factory).__name__}", where=name, expected="add _partial_: true")
    return optimizer, scheduler


def build(node: DictConfig, where: str, kind: type | None = None) -> Any:
    """Builds a component from its config; a mistake in it is told by its cause alone.

    Args:
        node: Has a ``_target_``.
        where: Its config key.
        kind: What it has to be.

    Raises:
        ConfigError: It cannot be built, or is something else.
    """
    try:
        built = instantiate(node, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, TrainkitError):
            raise cause from None
        if cause is None or isinstance(cause, MISTAKES):
            target, where = _failed(node, where, str(error))
            raise ConfigError(f"{target} cannot be built: {first_line(cause or error)}", where=where) from error
        raise  # a bug of whoever wrote it keeps its traceback
    if kind is not None and not isinstance(built, kind):
        raise ConfigError(f"{where} is a {type(built).__name__}", where=where, expected=f"a {kind.__name__}")
    return built


def build_augment(config: DictConfig) -> Augment | None:
    """The augmentations of a config; None for none.

    Raises:
        ConfigError: One cannot be built, or is something else.
    """
    nodes = {str(name): node for name, node in (config.get("augment") or {}).items() if node is not None}
    pieces = {}
    for name, node in nodes.items():
        where = f"augment.{name}"
        try:
            pieces[name] = build(node, where)
        except ConfigError as error:  # whose place is the argument alone
            if error.where is not None and not error.where.startswith("augment."):
                error.where = f"{_failed(node, where, str(error.__context__))[1]}.{error.where}"
            raise
    return Augment(pieces, config.seed) if pieces else None


def _failed(node: DictConfig, where: str, message: str) -> tuple[str, str]:
    """The ``_target_`` that could not be built, and its config key: of a node nested in ``node``, or of its own."""
    found = re.search(rf"full_key: {re.escape(where)}\.(\S+)", message)
    inner = OmegaConf.select(node, found[1]) if found else None
    if found and isinstance(inner, DictConfig):
        return inner.get("_target_", where), f"{where}.{found[1]}"
    return node.get("_target_", where), where


def choose(config: DictConfig, data: DataModule, live: LiveObjects) -> dict[str, str]:
    """Replaces ``model=auto`` and ``task=auto`` by the YAML they stand for; gives the reasons by section."""
    notes: dict[str, str] = {}
    if "model" not in live.sections() and resolve_target(config.model._target_, "model._target_") is auto_model:
        name, why = auto_model(data.spec)
        _replace(config, "model", name)
        notes["model"] = f"{name} (auto: {why})"
    target = None if "task" in live.sections() else resolve_target(config.task._target_, "task._target_")
    if target is auto_task:
        _replace(config, "task", auto_task(data.spec))
        notes["task"] = "auto"
    elif target in _TASKS and _TASKS[target] != data.spec.target_kind:
        kinds = {"class": "a class", "number": "a number", "multilabel": "several labels"}
        what = (
            f"the task is for {kinds[_TASKS[target]]}, and the target of {data.name} is {kinds[data.spec.target_kind]}"
        )
        is_one = data.spec.target_kind != "multilabel" and not data.spec.target_names
        may_be = hasattr(data, "target_kind") and (is_one != (_TASKS[target] == "multilabel"))
        may_be &= is_one or _TASKS[target] != "class"
        hint = f"data.target_kind={_TASKS[target]}, if it is to be read so" if may_be else None
        raise ConfigError(what, where="task", expected=f"task={auto_task(data.spec)}, or task=auto", hint=hint)
    elif target is Quantile and data.spec.target_names:
        what = f"quantiles are of one number, and the target of {data.name} is {len(data.spec.target_names)}"
        raise ConfigError(what, where="task", expected="task=regression, or one target")
    return notes


def _replace(config: DictConfig, section: str, choice: str) -> None:
    own = {key: value for key, value in config[section].items_ex(resolve=False) if key not in ("_target_", "spec")}
    with open_dict(config):
        config[section] = OmegaConf.merge(contents(section)[choice], own)


def fill(
    config: DictConfig,
    data: DataModule,
    sections: tuple[str, ...] = ("model", "task"),
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Fills ``???`` and ``${spec:…}`` of some sections with what the data, and beyond it ``more``, decides.

    Raises:
        ConfigError: A ``???`` that the data says nothing of.
    """
    values = {**decided(data), **more}
    with active_spec(values):
        for section in sections:
            node = config.get(section)
            if isinstance(node, DictConfig) and "_target_" in node:
                _fill(node, section, values)
                config[section] = copied(node, resolve=True)


def _fill(node: DictConfig | ListConfig, path: str, values: dict[str, Any]) -> None:
    section = path.partition(".")[0]
    keys = list(node) if isinstance(node, DictConfig) else range(len(node))
    for key in keys:
        inner = f"{path}.{key}"
        if OmegaConf.is_missing(node, key):
            if key not in values:
                hint = f"{section}=auto takes what fits the data, or {inner}=…"
                raise ConfigError(f"{inner} is not given, and the data does not decide it", where=inner, hint=hint)
            node[key] = values[str(key)]
        elif not OmegaConf.is_interpolation(node, key) and isinstance(node[key], (DictConfig, ListConfig)):
            _fill(node[key], inner, values)
