"""Copies of configs, with the one type that the rest of trainkit works on."""

from __future__ import annotations

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
