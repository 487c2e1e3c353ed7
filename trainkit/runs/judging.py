"""A run's stored config taken up again: its code judged, the present objects put in; called before it is built."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from trainkit.config.compose import compose
from trainkit.config.earlier import typed
from trainkit.config.targets import resolve_judged, targets_of
from trainkit.errors import ConfigError, RunError
from trainkit.rundir import RunDirectory
from trainkit.runs.parts import LiveObjects


def taken_up(
    directory: RunDirectory,
    stored: DictConfig,
    config: DictConfig,
    live: LiveObjects,
    key: str,
    overrides: Sequence[str] = (),
) -> DictConfig:
    """A stored config, judged, with the present objects in their sections.

    Args:
        directory: The run it is of.
        stored: Its config; changed in place.
        config: Composed from the present command, whose own ``_target_``s are the user's word.
        live: Objects of the present script.
        key: How the command named the run: ``run.dir`` or ``resume_from``.
        overrides: What ``config`` was composed from. Default nothing.

    Raises:
        ConfigError: It names code that is not trusted, or the data is given with other settings than it has.
        RunError: An object is missing that was given to that run in Python.
    """
    _judge(directory, stored, config, live, key, overrides)
    if live.data is not None:
        _check_data_settings(directory, stored, config)
    for section in live.sections():
        stored[section] = config[section]
    return stored


def _judge(
    directory: RunDirectory,
    stored: DictConfig,
    config: DictConfig,
    live: LiveObjects,
    key: str,
    overrides: Sequence[str],
) -> None:
    """Refuses foreign code in a stored config; what the present command itself names is the user's own word."""
    named = _named(directory, config, overrides)
    objects = [text.partition("=")[0] for text in live.named]
    named |= {name for section in objects for _, name in targets_of(config[section])}
    for section in map(str, stored):
        node = stored[section]
        if section in live.sections() or not isinstance(node, DictConfig):
            continue
        if "live" in node:
            raise RunError(
                f"the {section} of this run was given in Python as an object ({node.live})",
                where=str(directory.path),
                hint=f"call fit from the script again, with overrides=['{key}={directory.path}']",
            )
        for where, name in targets_of(node, section):
            if name in named:
                continue
            try:
                resolve_judged(name, config.run.trust, where)
            except ConfigError as error:
                error.hint = error.hint and f"if you trust it: run.trust=[{name.partition('.')[0]}]"
                raise


def _named(directory: RunDirectory, config: DictConfig, overrides: Sequence[str]) -> set[str]:
    """``_target_``s that the user himself names; not those of overrides that were taken over from the run."""
    own = typed(overrides, directory.typed_overrides())
    if len(own) == len(overrides):
        return {name for _, name in targets_of(config)}
    try:
        return {name for _, name in targets_of(compose(own))}
    except ConfigError:  # his own alone make no config: he has to say whom he trusts
        return set()


def _check_data_settings(directory: RunDirectory, stored: DictConfig, config: DictConfig) -> None:
    """Refuses data given as an object with other settings than the run has, such as another batch size.

    Raises:
        ConfigError: The first setting that differs.
    """
    for key, was in stored.data.items():
        now = config.data.get(key, was)
        if key not in ("live", "file", "sha256", "num_workers", "cache", "cache_dir") and now != was:
            raise ConfigError(
                f"the data is given with {key}={now}, but the run has data.{key}={was}",
                where=str(directory.path),
                hint=f"{key}={was}",
            )
