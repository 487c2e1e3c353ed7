"""Objects of a script as config: what can be imported again becomes a ``_target_``, the rest is recorded by name."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from trainkit.config.copying import is_plain
from trainkit.config.targets import resolve_target
from trainkit.errors import ConfigError
from trainkit.runs.provenance import source_of


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


def estimator_node(estimator: BaseEstimator) -> dict[str, Any]:
    """An estimator, not fitted, as a config node: its class, and the settings that are not the class's own.

    Args:
        estimator: Of scikit-learn's interface; estimators among its settings become nodes too.

    Raises:
        ConfigError: A setting is neither plain nor an estimator.
    """
    kind = type(estimator)
    own = inspect.signature(kind).parameters
    settings = {name: _setting(value) for name, value in estimator.get_params(deep=False).items()}
    odd = next((name for name, value in settings.items() if not is_plain(value)), None)
    if odd is not None:
        what = f"{kind.__name__} has a {type(settings[odd]).__name__} as its {odd}, which a config cannot hold"
        raise ConfigError(what, where="model", expected="numbers, texts, lists and estimators as settings")
    changed = {name: value for name, value in settings.items() if name not in own or value != own[name].default}
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **changed}


def _setting(value: Any) -> Any:
    if isinstance(value, BaseEstimator):
        return estimator_node(value)
    if isinstance(value, (list, tuple)):
        return [_setting(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
