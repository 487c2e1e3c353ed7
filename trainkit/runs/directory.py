"""Beginning a run directory, and going on with one: what is written before training, and what may differ."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file

from trainkit.config.compose import group_choices
from trainkit.config.copying import plain
from trainkit.config.resolvers import run_name
from trainkit.errors import ConfigError
from trainkit.rundir import RunDirectory, atomic_path, write_json
from trainkit.runs.devices import Devices
from trainkit.runs.load import load_config
from trainkit.runs.parts import Parts
from trainkit.runs.provenance import environment


def begin(parts: Parts, devices: Devices, overrides: Sequence[str]) -> RunDirectory:
    """Makes the run directory, after every check, and writes what is known before training."""
    config = parts.config
    if config.run.dir:
        run = RunDirectory(Path(config.run.dir))
        run.path.mkdir(parents=True, exist_ok=True)
    else:
        name = run_name(config) if "_target_" in config.data or config.run.name else parts.data.name
        run = RunDirectory.create(config.run.root, name, datetime.now())
    parts.data.splits.save(run.splits)
    write_json(run.environment, environment(parts, devices))
    OmegaConf.save(OmegaConf.create({"overrides": list(overrides)}), run.overrides)
    if parts.live.model is not None:
        state = {name: tensor.detach().cpu().clone() for name, tensor in parts.live.model.state_dict().items()}
        with atomic_path(run.initial_weights) as temporary:
            save_file(state, temporary, {"format": "pt"})
    saved = copy.deepcopy(config)
    saved.run.dir = None
    with atomic_path(run.config) as temporary:
        OmegaConf.save(saved, temporary, resolve=True)
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
        if text in before:
            continue
        override = OverridesParser.create().parse_override(text)
        key = str(override.key_or_group)
        if key.split(".")[0] in ("run", "hydra"):
            continue
        if key in groups:
            _same_group(directory, key, text, stored, config)
        elif OmegaConf.select(stored, key) != OmegaConf.select(config, key):
            was, now = OmegaConf.select(stored, key), OmegaConf.select(config, key)
            raise ConfigError(
                f"{key}={now}, but the run has {key}={was}",
                where=str(directory.path),
                hint="leave it out to go on with the run's own config, or start a new run",
            )
    stored.run = config.run
    return stored


def _same_group(directory: RunDirectory, key: str, text: str, stored: DictConfig, config: DictConfig) -> None:
    was, now = plain(stored.get(key), False), plain(config.get(key), False)
    if key == "experiment" or _agrees(now, was):
        return
    name = was.get("_target_", was) if isinstance(was, dict) else was
    raise ConfigError(
        f"{text}, but the run has {key} {name}",
        where=str(directory.path),
        hint="leave it out to go on with the run's own config, or start a new run",
    )


def _agrees(now: Any, was: Any) -> bool:
    """Whether a freshly composed node says the same as a stored one, whose ``???`` have been filled."""
    if isinstance(now, dict) and isinstance(was, dict):
        return all(key in was and _agrees(value, was[key]) for key, value in now.items())
    return bool(now == "???" or now == was)
