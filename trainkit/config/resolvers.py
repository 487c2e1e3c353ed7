"""What ``${spec:…}``, ``${trainkit.run_name:}`` and ``${trainkit.job_hash:}`` stand for in a config.

``spec`` gives sizes that are known only once the data is set up; the other two name the directories of a sweep.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError

from trainkit.config.schema import LINEAGE
from trainkit.errors import ConfigError, did_you_mean, one_of

_ACTIVE: ContextVar[Mapping[str, Any] | None] = ContextVar("spec", default=None)
_NOT_HASHED = ("run", "hydra")


@contextmanager
def active_spec(sizes: Mapping[str, Any] | None) -> Iterator[None]:
    """Lets ``${spec:name}`` give ``sizes[name]`` inside the block.

    Args:
        sizes: Values by name, as ``DataSpec.sizes()`` gives them; None lets ``${spec:name}`` stand as text.
    """
    token = _ACTIVE.set(sizes)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def spec(name: str) -> Any:
    """Value of ``${spec:name}``: a size of the data, or outside ``active_spec`` the text ``${spec:name}``.

    Raises:
        ConfigError: The data has no size of that name.
    """
    sizes = _ACTIVE.get()
    if sizes is None:
        return f"${{spec:{name}}}"
    if name not in sizes:
        what = f"the data has no '{name}', which ${{spec:{name}}} asks for"
        raise ConfigError(what, expected=one_of(sorted(sizes)), hint=did_you_mean(name, sizes))
    return sizes[name]


def _first_name(name: Any, data_name: Any, path: Any, module: Any = None) -> str:
    """Name of a sweep: ``run.name``, ``data.name``, stem of ``data.path``, class of ``module._target_``, or ``run``."""
    class_name = str(module or "").rpartition(".")[2].lower()
    return str(name or data_name or (Path(str(path)).stem if path else "") or class_name or "run")


def job_hash(cfg: DictConfig) -> str:
    """Twelve hexadecimal digits that name a job by its config.

    The sections ``run`` and ``hydra`` are left out, and ``${spec:…}`` stays unresolved: the same job has the same name
    wherever it is kept. A job without ``resume_from`` and ``init_from`` keeps the name it had before there were any.
    """
    absent = [key for key in LINEAGE if cfg.get(key) is None]
    with active_spec(None):
        content = {str(key): _plain(cfg, str(key)) for key in cfg if key not in (*_NOT_HASHED, *absent)}
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(cfg: DictConfig, key: str) -> Any:
    if OmegaConf.is_missing(cfg, key):
        return "???"
    value = cfg[key]
    if not isinstance(value, DictConfig | ListConfig):
        return value
    try:
        return OmegaConf.to_container(value, resolve=True)
    except InterpolationToMissingValueError:
        return OmegaConf.to_container(value, resolve=False)


def register_resolvers() -> None:
    """Registers the resolvers with OmegaConf; doing so again changes nothing.

    ``trainkit.run_name`` is cached per config: Hydra copies the cache of a sweep to its jobs, so that a sweep over the
    data stays in one directory. OmegaConf's cache forbids ``_root_``, hence the arguments.
    """
    OmegaConf.register_new_resolver("spec", spec, replace=True)
    OmegaConf.register_new_resolver("trainkit.run_name", _first_name, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("trainkit.job_hash", lambda *, _root_: job_hash(_root_), replace=True)
