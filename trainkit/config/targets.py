"""What a ``_target_`` stands for, and whether a run directory that was given to the user may name it."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from trainkit.errors import ConfigError, did_you_mean, one_of

PACKAGES = ("trainkit", "torch", "torchvision", "torchmetrics", "lightning", "sklearn")
"""Top-level packages whose classes a foreign run directory may name."""

KINDS = (
    ("torch.nn.modules.module", "Module"),
    ("torch.optim.optimizer", "Optimizer"),
    ("torch.optim.lr_scheduler", "LRScheduler"),
    ("torch.utils.data.dataset", "Dataset"),
    ("trainkit.data.augment.base", "Augmentation"),
    ("lightning.pytorch.core.datamodule", "LightningDataModule"),
    ("lightning.pytorch.callbacks.callback", "Callback"),
    ("lightning.pytorch.loggers.logger", "Logger"),
    ("sklearn.base", "BaseEstimator"),
)
"""Module and name of the bases of which a class must be one."""

LOSSES = (
    *("cross_entropy", "binary_cross_entropy_with_logits", "multi_margin_loss", "soft_margin_loss"),
    *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss"),
)
"""Functions of ``torch.nn.functional`` that serve as a loss."""

SCHEDULES = (
    *("constant", "cosine", "exponential", "multistep", "one_cycle", "polynomial", "step", "warmup_stable_decay"),
)
"""Functions of ``trainkit.optim`` that make a schedule."""

FACTORIES = (
    *("trainkit.models.auto", "trainkit.tasks.auto"),
    *(f"trainkit.optim.{name}" for name in SCHEDULES),
    *(f"trainkit.models.classical.{name}" for name in ("random_forest", "knn", "hist_gradient_boosting")),
    *(f"torch.nn.functional.{name}" for name in LOSSES),
)
"""Functions that a foreign run directory may name."""

METRICS = ("torchmetrics.classification.", "torchmetrics.regression.")
"""Where torchmetrics defines what a foreign run directory may name; its other metrics load models of their own."""


def resolve_target(name: str, where: str | None = None) -> Any:
    """Imports what a dotted name stands for.

    Args:
        name: For example ``torch.nn.Linear``; attributes come before submodules of the same name.
        where: Config key that holds the name, for the error.

    Returns:
        The object.

    Raises:
        ConfigError: A part of the name does not exist, or an import in the module it names fails.
    """
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        expected = "a dotted name such as mypkg.nets.Net"
        raise ConfigError(f"'{name}' is not the name of a class or function", where=where, expected=expected)
    found: Any = _import(parts[0], name, where)
    if found is None:
        near = difflib.get_close_matches(parts[0], _top_level_names(), n=1, cutoff=0.8)
        hint = f"did you mean '{near[0]}'?" if near else "is it installed, or in the working directory?"
        raise ConfigError(f"no module '{parts[0]}' for '{name}'", where=where, hint=hint)
    for idx, part in enumerate(parts[1:], start=1):
        parent, path = found, ".".join(parts[:idx])
        found = _attribute(parent, part, name, where)
        if found is None and isinstance(parent, ModuleType):
            found = _import(f"{path}.{part}", name, where)
        if found is None:
            raise _no_attribute(parent, path, part, where)
    return found


def _import(module: str, name: str, where: str | None) -> ModuleType | None:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module:
            return None
        raise _broken_import(module, name, where, error) from error
    except (ImportError, SyntaxError) as error:
        raise _broken_import(module, name, where, error) from error


def _attribute(parent: Any, part: str, name: str, where: str | None) -> Any:
    try:
        return getattr(parent, part, None)
    except ImportError as error:  # a lazy attribute of the module
        raise _broken_import(f"{parent.__name__}.{part}", name, where, error) from error


def _broken_import(module: str, name: str, where: str | None, error: Exception) -> ConfigError:
    cause = f"{type(error).__name__}: {error}"
    return ConfigError(f"importing '{module}' for '{name}' failed: {cause}", where=where)


def _no_attribute(parent: Any, path: str, part: str, where: str | None) -> ConfigError:
    names = {key for key in dir(parent) if not key.startswith("_")}
    if isinstance(parent, ModuleType):
        names |= {info.name for info in pkgutil.iter_modules(getattr(parent, "__path__", []))}
        exported = getattr(parent, "__all__", None)
        shown = sorted(exported) if exported else []
    else:
        shown = []
    near = did_you_mean(part, names)
    expected = one_of(shown) if shown and near is None else None
    return ConfigError(f"'{path}' has no '{part}'", where=where, expected=expected, hint=near)


def _top_level_names() -> list[str]:
    found = {info.name for info in pkgutil.iter_modules() if not info.name.startswith("_")}
    return sorted((found - sys.stdlib_module_names) | set(PACKAGES))


def resolve_judged(name: str, trust: Sequence[str] = (), where: str | None = None) -> Any:
    """Imports what a dotted name stands for, if a foreign run directory may name it.

    Args:
        name: Dotted name; one outside the allowed and trusted packages is refused before anything is imported.
        trust: The user's own top-level packages.
        where: Config key that holds the name, for the error.

    Returns:
        The object.

    Raises:
        ConfigError: The name does not resolve, or is not allowed.
    """
    top = name.partition(".")[0]
    hidden = any(part.startswith("__") for part in name.split("."))
    if hidden or (top not in PACKAGES and top not in trust):
        raise ConfigError(
            f"'{name}' is not code that trainkit runs unasked",
            where=where,
            expected=f"a class of {', '.join(PACKAGES)}, or of a package you trust",
            hint=None if hidden else f"if you trust it: trust=['{top}'], on the command line --trust {top}",
        )
    target = resolve_target(name, where)
    judge(target, name, trust, where)
    return target


def judge(target: Any, name: str, trust: Sequence[str] = (), where: str | None = None) -> None:
    """Refuses an object that a foreign run directory may not name; its own module decides, not the name.

    Args:
        target: What the name resolved to.
        name: The name, for the error.
        trust: The user's own top-level packages, whose classes and functions are all allowed.
        where: Config key that holds the name, for the error.

    Raises:
        ConfigError: The object is neither a class of an allowed kind and package, nor one of ``FACTORIES``, nor from
            a trusted package.
    """
    top = _home(target).partition(".")[0]
    if top in trust and callable(target):
        return
    is_known = top in PACKAGES and (top != "torchmetrics" or _home(target).startswith(METRICS))
    if is_known and isinstance(target, type) and any(_is_kind(base) for base in target.__mro__):
        return
    if is_known and any(target is found for found in _factories()):
        return
    home = _home(target)
    kind = f"{home}.{target.__qualname__}" if home else f"a {type(target).__name__}"
    raise ConfigError(
        f"'{name}' is {kind}, which a run directory may not name",
        where=where,
        expected="a net, optimizer, schedule, data set, data module, callback, logger, metric or estimator class",
    )


def _home(target: Any) -> str:
    """Module in which a class or function was defined; empty for anything else."""
    if isinstance(target, ModuleType) or not hasattr(target, "__qualname__"):
        return ""
    return getattr(target, "__module__", None) or ""


def _is_kind(base: type) -> bool:
    key = (base.__module__, base.__qualname__)
    return key in KINDS and getattr(sys.modules.get(key[0]), key[1], None) is base


def _factories() -> Iterator[Any]:
    return (resolve_target(name) for name in FACTORIES)


def targets_of(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every ``_target_`` nested anywhere in a config, with its key.

    Args:
        node: A config, or a plain container.
        path: Key of ``node`` itself.

    Yields:
        Key and name, for example ``("model._target_", "torch.nn.Linear")``.

    Raises:
        ConfigError: A ``_target_`` is no text.
    """
    if isinstance(node, DictConfig | ListConfig):
        node = OmegaConf.to_container(node, resolve=True)
    if isinstance(node, Mapping):
        for key, value in node.items():
            inner = f"{path}.{key}" if path else str(key)
            if key != "_target_":
                yield from targets_of(value, inner)
            elif isinstance(value, str):
                yield inner, value
            else:
                raise ConfigError(f"the _target_ {value!r} is not a name", where=inner)
    elif isinstance(node, list | tuple):
        for idx, value in enumerate(node):
            yield from targets_of(value, f"{path}[{idx}]")


def judge_config(cfg: Any, trust: Sequence[str] = ()) -> None:
    """Refuses the config of a foreign run directory if any ``_target_`` nested in it may not be named.

    Args:
        cfg: A config, or a plain container.
        trust: The user's own top-level packages.

    Raises:
        ConfigError: The first ``_target_`` that does not resolve or is not allowed.
    """
    for where, name in targets_of(cfg):
        if name != "???":
            resolve_judged(name, trust, where)
