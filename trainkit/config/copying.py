"""Copies of configs, with the one type that the rest of trainkit works on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf


def copied(config: DictConfig, resolve: bool = False) -> DictConfig:
    """A plain copy of a config, without its schema's types and locks.

    Args:
        config: Copied, not changed.
        resolve: Whether interpolations are replaced by their values.
    """
    copy = OmegaConf.create(plain(config, resolve))
    assert isinstance(copy, DictConfig)
    return copy


def plain(config: Any, resolve: bool = True) -> Any:
    """A config as dicts and lists; anything else as it is."""
    return OmegaConf.to_container(config, resolve=resolve) if OmegaConf.is_config(config) else config


def is_plain(value: Any) -> bool:
    """Whether a value is made of numbers, texts, None, and lists, tuples and dicts of them alone."""
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    return value is None or type(value) in (bool, int, float, str)


def plain_entries(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a mapping that are plain, as lists and dicts; others by their text, cut after 200 characters."""
    return {str(key): _as_lists(value) if is_plain(value) else repr(value)[:200] for key, value in values.items()}


def _as_lists(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_as_lists(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _as_lists(item) for key, item in value.items()}
    return value
