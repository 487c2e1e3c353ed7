"""Beginning a run directory, and going on with one: what is written before training, and what may differ."""

from __future__ import annotations

import copy
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file

from trainkit.config.compose import compose, group_choices
from trainkit.config.copying import plain
from trainkit.config.earlier import key_of
from trainkit.config.targets import resolve_judged
from trainkit.errors import ConfigError, RunError, writing
from trainkit.rundir import (
    FILES,
    RunDirectory,
    atomic_path,
    read_json,
    sum_of,
    sums_of,
    write_json,
    write_text,
)
from trainkit.runs.devices import Devices
from trainkit.runs.parts import RunParts, trained_net
from trainkit.runs.provenance import environment
from trainkit.runs.stored import load_config


def begin(
    parts: RunParts,
    devices: Devices,
    overrides: Sequence[str],
    hand_over: Callable[[RunDirectory, Any], None] | None = None,
) -> RunDirectory:
    """Makes the run directory, after every check, and writes what is known before training.

    Args:
        parts: The parts of the run.
        devices: Where it trains.
        overrides: As the user wrote them.
        hand_over: Puts what an earlier run came to into the directory. The config, which makes a run of it, is written
            after that: a run killed in between was never begun.

    Raises:
        RunError: It cannot be made.
    """
    config = parts.config
    run = _make(config, config.run.name or parts.data.name)
    saved = copy.deepcopy(config)
    saved.run.dir = None
    text = OmegaConf.to_yaml(saved, resolve=True)
    with writing(run.splits):
        parts.data.splits.save(run.splits)
    write_text(run.overrides, OmegaConf.to_yaml(OmegaConf.create({"overrides": list(overrides)})))
    is_given = parts.live.model is not None or parts.live.module is not None or parts.config.init_from is not None
    is_given = is_given or OmegaConf.select(parts.config, "model.weights") is not None
    given = trained_net(parts) if is_given else None
    if given is not None:
        state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in given.state_dict().items()}
        with atomic_path(run.initial_weights) as temporary:
            save_file(state, temporary, {"format": "pt"})
    sums = sums_of(run.splits, run.overrides, run.initial_weights) | {run.config.name: sum_of(text.encode())}
    write_json(run.environment, environment(parts, devices) | {FILES: sums}, sealed=True)
    if hand_over is not None:
        hand_over(run, parts)
    write_text(run.config, text)
    return run


def _save(run: RunDirectory, config: DictConfig) -> None:
    """Writes a changed config, and its new sum."""
    write_text(run.config, OmegaConf.to_yaml(config, resolve=True))
    known = read_json(run.environment) if run.environment.is_file() else {}
    if FILES in known:
        write_json(run.environment, known | {FILES: known[FILES] | sums_of(run.config)})


def _make(config: DictConfig, name: str) -> RunDirectory:
    if not config.run.dir:
        return RunDirectory.create(config.run.root, name, datetime.now())
    run = RunDirectory(Path(config.run.dir))
    try:
        run.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"'{run.path}' cannot be made: {error.strerror}", where="run.dir") from error
    return run


MOVABLE = (
    *("data.path", "data.val_path", "data.test_path", "data.inputs", "data.target", "data.extra_val"),
    *("data.images", "data.cache_dir"),
)
"""Keys that say where files lie: the fingerprint proves that the data in them is the same."""


def check_place(config: DictConfig, name: str) -> None:
    """Refuses a place where no run directory can be made, before anything is tried.

    Args:
        config: Of the run.
        name: Of the data, for a run without a name.

    Raises:
        RunError: A file stands there or on the way, or the folder may not be written to.
    """
    place, where = Path(config.run.dir or Path(config.run.root, config.run.name or name)), "run.root, run.name"
    if config.run.dir:
        where = "run.dir"
    near = next(path for path in (place, *place.absolute().parents) if path.exists())
    if not near.is_dir():
        code = errno.EEXIST if near == place else errno.ENOTDIR
    elif not os.access(near, os.W_OK | os.X_OK):
        code = errno.EACCES
    else:
        return
    raise RunError(f"'{place}' cannot be made: {os.strerror(code)}", where=where)


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
    put_moved(stored, config, overrides)
    for text, path, was in disagreements(directory, stored, config, overrides):
        raise ConfigError(
            f"{text}, but the run has {path}={was}",
            where=str(directory.path),
            hint="leave it out to go on with the run's own config, or start a new run",
        )
    stored.run = config.run
    return stored


def put_moved(stored: DictConfig, config: DictConfig, overrides: Sequence[str]) -> None:
    """Takes files from where explicit overrides say that they lie now; whether they are the same is seen later.

    Args:
        stored: Config of a run; changed in place.
        config: Composed from the overrides now given.
        overrides: As the user wrote them.
    """
    for key in map(key_of, overrides):
        now, was = (OmegaConf.select(cfg, key) for cfg in (config, stored))
        is_named = any(key == name or key.startswith(f"{name}.") for name in MOVABLE)
        if is_named and isinstance(now, str) and isinstance(was, str) and (_is_path(key) or _is_file(now, was)):
            OmegaConf.update(stored, key, now)


def _is_path(key: str) -> bool:
    return key not in ("data.inputs", "data.target")


def _is_file(now: str, was: str) -> bool:
    """Whether a value that may be a column names the same kind of file as before."""
    return bool(Path(was).suffix) and Path(now).suffix == Path(was).suffix and Path(now).is_file()


def keep_moved(directory: RunDirectory, config: DictConfig) -> None:
    """Keeps with a run where its files lie now, once they have proved to be the same.

    Args:
        directory: The run.
        config: Its config with the present places.
    """
    saved = load_config(directory)
    for name in MOVABLE:
        if (now := OmegaConf.select(config, name)) is not None and now != OmegaConf.select(saved, name):
            OmegaConf.update(saved, name, plain(now), merge=False)
            _save(directory, saved)


def disagreements(
    directory: RunDirectory, stored: DictConfig, config: DictConfig, overrides: Sequence[str]
) -> Iterator[tuple[str, str, Any]]:
    """What explicit overrides ask for that is not so in a run's config.

    Args:
        directory: The run.
        stored: Its config.
        config: Composed from the overrides now given.
        overrides: As the user wrote them.

    Yields:
        What is asked for, the key at which the config says something else, and what it says.
    """
    before = directory.typed_overrides()
    groups = set(group_choices())
    for text in overrides:
        key = key_of(text)
        if text in before or key.split(".")[0] in ("run", "hydra"):
            continue
        for path in [str(name) for name in config if name != "run"] if key == "experiment" else [key]:
            now, was = (plain(OmegaConf.select(cfg, path), False) for cfg in (config, stored))
            found = _difference(now, was, path)
            if found and not (key in groups and now == _composed_before(before, path)):
                value = OmegaConf.select(config, found[0])
                asked = f"{found[0]}={_named(plain(value))}"
                is_choice = key in groups and ("." not in text.partition("=")[2] or found[0].endswith("._target_"))
                yield text if is_choice else asked if key in groups else f"{key}={now}", found[0], _named(found[1])


def _difference(now: Any, was: Any, path: str) -> tuple[str, Any] | None:
    """Where a composed node says something else than a stored one, whose ``???`` have been filled, and what was."""
    if not (isinstance(now, dict) and isinstance(was, dict)):
        is_target = path.endswith("._target_") and isinstance(now, str) and isinstance(was, str)
        return None if now in ("???", was) or (is_target and _is_same(now, was)) else (path, was)
    for key in sorted(now, key=lambda name: name != "_target_"):
        found = _difference(now[key], was.get(key), f"{path}.{key}")
        if found:
            return found
    return None


def _is_same(now: str, was: str) -> bool:
    """Whether two names are spellings of one class; a name that a run directory may not give is not imported."""
    try:
        return resolve_judged(now) is resolve_judged(was)
    except ConfigError:
        return False


def _composed_before(before: list[str], path: str) -> Any:
    """What the run's own overrides composed to, before ``auto`` was replaced by a choice."""
    try:
        return plain(OmegaConf.select(compose(before), path), False)
    except ConfigError:  # composed from YAMLs that are not at hand now
        return None


def _named(value: Any) -> Any:
    if isinstance(value, dict):
        return value.get("_target_", value.get("live", value))
    return "null" if value is None else value
