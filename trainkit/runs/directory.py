"""Beginning a run directory, and going on with one: what is written before training, and what may differ."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file

from trainkit.config.compose import compose, group_choices
from trainkit.config.copying import plain
from trainkit.errors import ConfigError, RunError
from trainkit.rundir import RunDirectory, atomic_path, write_json
from trainkit.runs.devices import Devices
from trainkit.runs.load import load_config
from trainkit.runs.parts import RunParts
from trainkit.runs.provenance import environment


def begin(parts: RunParts, devices: Devices, overrides: Sequence[str]) -> RunDirectory:
    """Makes the run directory, after every check, and writes what is known before training.

    Raises:
        RunError: It cannot be made.
    """
    config = parts.config
    run = _make(config, config.run.name or parts.data.name)
    parts.data.splits.save(run.splits)
    write_json(run.environment, environment(parts, devices))
    OmegaConf.save(OmegaConf.create({"overrides": list(overrides)}), run.overrides)
    given = parts.live.model or parts.live.module
    if given is not None:
        state = {name: tensor.detach().cpu().clone() for name, tensor in given.state_dict().items()}
        with atomic_path(run.initial_weights) as temporary:
            save_file(state, temporary, {"format": "pt"})
    saved = copy.deepcopy(config)
    saved.run.dir = None
    with atomic_path(run.config) as temporary:
        OmegaConf.save(saved, temporary, resolve=True)
    return run


def _make(config: DictConfig, name: str) -> RunDirectory:
    if not config.run.dir:
        return RunDirectory.create(config.run.root, name, datetime.now())
    run = RunDirectory(Path(config.run.dir))
    try:
        run.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"'{run.path}' cannot be made: {error.strerror}", where="run.dir") from error
    return run


def continued_config(directory: RunDirectory, config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The run's own config, once every explicit override agrees with it.

    Args:
        directory: A run begun earlier.
        config: Composed from the overrides now given.
        overrides: As the user wrote them.

    Raises:
        ConfigError: An override asks for another value than the run has.
    """
    stored = load_config(directory)
    before = plain(OmegaConf.load(directory.overrides))["overrides"] if directory.overrides.is_file() else []
    groups = set(group_choices())
    for text in overrides:
        key = text.partition("=")[0].lstrip("+~").partition("@")[0]
        if text in before or key.split(".")[0] in ("run", "hydra"):
            continue
        for path in [str(name) for name in config if name != "run"] if key == "experiment" else [key]:
            now, was = (plain(OmegaConf.select(cfg, path), False) for cfg in (config, stored))
            found = _difference(now, was, path)
            if found and not (key in groups and now == _composed_before(before, path)):
                _refuse(directory, text if key in groups else f"{key}={now}", *found)
    stored.run = config.run
    return stored


def _difference(now: Any, was: Any, path: str) -> tuple[str, Any] | None:
    """Where a composed node says something else than a stored one, whose ``???`` have been filled, and what was."""
    if not (isinstance(now, dict) and isinstance(was, dict)):
        return None if now in ("???", was) else (path, was)
    for key in sorted(now, key=lambda name: name != "_target_"):
        found = _difference(now[key], was.get(key), f"{path}.{key}")
        if found:
            return found
    return None


def _composed_before(before: list[str], path: str) -> Any:
    """What the run's own overrides composed to, before ``auto`` was replaced by a choice."""
    try:
        return plain(OmegaConf.select(compose(before), path), False)
    except ConfigError:  # composed from YAMLs that are not at hand now
        return None


def _refuse(directory: RunDirectory, text: str, path: str, was: Any) -> None:
    name = was.get("_target_", was.get("live", was)) if isinstance(was, dict) else "null" if was is None else was
    raise ConfigError(
        f"{text}, but the run has {path}={name}",
        where=str(directory.path),
        hint="leave it out to go on with the run's own config, or start a new run",
    )
