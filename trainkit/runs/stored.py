"""The config that a run directory keeps, and what is told where its text files were changed; for all who open a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from trainkit.errors import RunError
from trainkit.rundir import RunDirectory
from trainkit.runs.narrate import Narrator

_SECTIONS = ("run", "trainer", "evaluation")
"""Sections of every run's config that are mappings."""


def say_changes(directory: RunDirectory) -> None:
    """Tells of files that are used although they are not as the run wrote them."""
    for sentence in directory.changes():
        Narrator().say("note", sentence)


def load_config(directory: RunDirectory) -> DictConfig:
    """The config a run was trained with.

    Raises:
        RunError: It is no YAML mapping of sections, or refers to something outside of itself.
    """
    try:
        config = OmegaConf.load(directory.config)
    except Exception as error:
        raise RunError(f"'{directory.config}' cannot be read: {error}".splitlines()[0], where="RUN") from error
    if not isinstance(config, DictConfig):
        raise RunError(f"'{directory.config}' is no mapping", where="RUN")
    if missing := [name for name in _SECTIONS if not isinstance(config.get(name), DictConfig)]:
        raise RunError(f"'{directory.config}' has no section '{missing[0]}'", where="RUN")
    if key := next(_interpolations(config), None):
        what = f"'{directory.config}' has an interpolation at {key}"
        raise RunError(what, where="RUN", expected="values, as fit writes them")
    return config


def _interpolations(node: DictConfig | ListConfig, path: str = "") -> Iterator[str]:
    """Keys whose values would be looked up or computed: in the environment of whoever opens the run, for example."""
    keys: list[Any] = list(node) if isinstance(node, DictConfig) else list(range(len(node)))
    for key in keys:
        inner = f"{path}.{key}" if path else str(key)
        if OmegaConf.is_interpolation(node, key):
            yield inner
        elif not OmegaConf.is_missing(node, key) and isinstance(node[key], DictConfig | ListConfig):
            yield from _interpolations(node[key], inner)
