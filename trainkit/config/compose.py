"""Composes configs with Hydra outside of ``hydra.main``, and turns what Hydra says about a mistake into a few lines."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from hydra.version import VersionBase, setbase
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from trainkit.config.messages import from_omegaconf
from trainkit.config.shipped import groups
from trainkit.errors import ConfigError, TrainkitError, did_you_mean, one_of

CONFIG_MODULE = "pkg://trainkit.conf"
"""Where trainkit's own YAMLs are, as Hydra names it."""

CONFIG_NAME = "fit"
"""The config that is composed."""

VERSION_BASE = "1.3"
"""Version of Hydra whose defaults are used."""

MARKER = ".trainkit"
"""Empty file that marks a ``conf/`` in the working directory as one for trainkit."""

MOST_JOBS = 100_000
"""Of a sweep; Hydra lists them all before it begins."""

_PLAIN_TEXTS = ("Config group override must be", "The --resolve flag", "Only one of --run")


def add_local_config_dir(search_path: ConfigSearchPath) -> None:
    """Adds ``conf/`` of the working directory to the end, if a file ``.trainkit`` in it marks it as trainkit's."""
    folder = Path.cwd() / "conf"
    path = f"file://{folder}"
    if (folder / MARKER).is_file() and path not in [element.path for element in search_path.get_path()]:
        search_path.append("working directory", path)


def compose(overrides: Sequence[str] = (), config_dir: str | None = None) -> DictConfig:
    """Composes a job's config as ``trainkit fit`` does; also inside a running ``hydra.main``, which is left as it is.

    Args:
        overrides: Hydra overrides, such as ``["model=mlp", "seed=1"]``.
        config_dir: Directory with YAMLs of the user's own, searched after trainkit's. Default none.

    Returns:
        The config, without Hydra's own section.

    Raises:
        ConfigError: An override or a YAML is wrong.
    """
    try:
        return _compose(list(overrides), config_dir)
    except Exception as error:
        explained = friendly(error, overrides, config_dir)
        if explained is None:
            raise
        raise explained from None


def _compose(overrides: list[str], config_dir: str | None, config_name: str = CONFIG_NAME) -> DictConfig:
    setup_globals()
    with _version_base():
        cfg = _loader(config_dir).load_configuration(config_name, overrides, RunMode.RUN, from_shell=False)
    with open_dict(cfg):
        cfg.pop("hydra")
    return cfg


def _loader(config_dir: str | None) -> ConfigLoaderImpl:
    search_path: ConfigSearchPath = create_config_search_path(CONFIG_MODULE)
    schema = search_path.get_path().pop()
    add_local_config_dir(search_path)  # before the other directory: there Hydra's own command line has it too
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise ConfigError(f"no directory '{config_dir}'", where="config_dir")
        search_path.append("command-line", f"file://{Path(config_dir).resolve()}")
    search_path.append(schema.provider, schema.path)
    return ConfigLoaderImpl(config_search_path=search_path)


@contextmanager
def _version_base() -> Iterator[None]:
    state = VersionBase.instance()
    before = state.version_base
    setbase(VERSION_BASE)
    try:
        yield
    finally:
        state.version_base = before


def group_choices(config_dir: str | None = None) -> dict[str, list[str]]:
    """Choices of each config group; names that start with an underscore are parts of others and left out."""
    with _version_base():
        loader = _loader(config_dir)
        groups = [group for group in loader.list_groups("") if group != "hydra"]
        choices = {group: loader.get_group_options(group) for group in groups}
    return {group: [name for name in names if not name.startswith("_")] for group, names in choices.items()}


def friendly(
    error: Exception, overrides: Sequence[str] = (), config_dir: str | None = None, config_name: str = CONFIG_NAME
) -> ConfigError | None:
    """A mistake in overrides or YAMLs in a few lines, from what Hydra or OmegaConf raised for it.

    Args:
        error: What was raised.
        overrides: The overrides in use.
        config_dir: Additional directory of YAMLs in use. Default none.
        config_name: Name of the composed config.

    Returns:
        The error to show, or None where the error is no such mistake.
    """
    if isinstance(error, OverrideParseException):
        return _unreadable(error)
    if isinstance(error, MissingConfigException):
        return _missing_config(error, overrides)
    inner = _omegaconf_cause(error)
    if inner is not None:
        return _wrong_key_or_value(error, inner, overrides, config_dir, config_name)
    if isinstance(error, yaml.YAMLError):
        return ConfigError(f"a YAML cannot be read: {' '.join(str(error).split())}")
    if isinstance(error, HydraException) or str(error).startswith(_PLAIN_TEXTS):
        return _composition(str(error), overrides)
    return None


def _omegaconf_cause(error: BaseException | None) -> OmegaConfBaseException | None:
    seen = error
    while seen is not None:
        if isinstance(seen, OmegaConfBaseException):
            return seen
        if not isinstance(seen, HydraException):
            return None
        seen = seen.__cause__ or seen.__context__
    return None


def _unreadable(error: OverrideParseException) -> ConfigError:
    name = error.override.strip()
    what = f"cannot read the override '{name}'"
    if "=" not in name:
        return ConfigError(what, expected="key=value")
    key, _, value = name.partition("=")
    if not value.isascii():
        return ConfigError(what, hint=f"letters beyond ASCII stand in quotes within quotes: \"{key}='größe'\"")
    if value.startswith(("[", "{")):
        return ConfigError(what, expected="closed brackets", hint=f"quote all of it for the shell: '{key}=[1, 2]'")
    hint = "text with special characters stands in quotes within quotes: " + f"\"{key}='…'\""
    return ConfigError(what, expected="key=value", hint=hint)


def _missing_config(error: MissingConfigException, overrides: Sequence[str]) -> ConfigError:
    group, _, choice = (error.missing_cfg_file or "").rpartition("/")
    if not group:
        return ConfigError(f"no config '{choice}'" if choice else str(error).splitlines()[0])
    # Hydra names no options where one choice of a list is unknown.
    options = [name for name in error.options or groups().get(group, []) if not name.startswith("_")]
    where = next((text for text in overrides if text.partition("=")[0].lstrip("+") == group), None) or _source(error)
    near = did_you_mean(choice, options)
    return ConfigError(f"group '{group}' has no '{choice}'", where=where, expected=one_of(options), hint=near)


def _wrong_key_or_value(
    error: Exception, inner: OmegaConfBaseException, overrides: Sequence[str], config_dir: str | None, config_name: str
) -> ConfigError:
    where = _override_at_fault(str(error), inner.full_key or "", overrides) or _source(error)
    return from_omegaconf(inner, _reference(overrides, config_dir, config_name), where)


def _source(error: Exception) -> str | None:
    """The YAML that Hydra names in an error."""
    found = re.match(r"In '([^']+)'", str(error))
    return f"{found.group(1)}.yaml" if found else None


def _override_at_fault(text: str, key: str, overrides: Sequence[str]) -> str | None:
    first = text.partition("\n")[0]
    named = re.search(r"(?:Error merging override |Could not override ')(.+?)'?\.?$", first)
    for override in overrides:
        own = override.partition("=")[0].lstrip("+~")
        if named and named.group(1) in (override, own):
            return override
    return next((text for text in overrides if text.partition("=")[0].lstrip("+~") == key), None)


def _reference(overrides: Sequence[str], config_dir: str | None, config_name: str) -> DictConfig:
    """The config that the choices of groups alone give: its keys are the valid ones."""
    choices = group_choices(config_dir)
    parsed = [(text, _parse(text)) for text in overrides]
    groups = [
        text for text, override in parsed if override and override.key_or_group in choices and not _is_sweep(override)
    ]
    for kept in (groups, []):
        try:
            return _compose(kept, config_dir, config_name)
        except (HydraException, OmegaConfBaseException, TrainkitError):
            continue  # a second mistake, in a group choice: the defaults serve
    return OmegaConf.create()


def _parse(text: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        return None


def _is_sweep(override: Override) -> bool:
    return bool(override.is_sweep_override())


def _composition(text: str, overrides: Sequence[str]) -> ConfigError:
    first = text.splitlines()[0] if text else "the config cannot be composed"
    found = re.match(r"Ambiguous value for argument '([^=]+)=(.*)'", first)
    if found:
        key, value = found.groups()
        hint = f"a list: {key}=[{value}] · a sweep: add -m" if "." in key else "a sweep over them: add -m"
        return ConfigError(f"{key} has several values", where=f"{key}={value}", expected="one value", hint=hint)
    found = re.match(r"Sweep parameters '(.+)' requires --multirun", first)
    if found:
        return ConfigError("a sweep over one run", where=found.group(1), hint="add -m to run one job per value")
    found = re.match(r"Could not append to config. An item is already at '(.+)'", first) or re.match(
        r"Multiple values for ([^.]+)\.", first
    )
    if found:
        key = found.group(1)
        where = next((text for text in overrides if text.startswith(f"+{key}=")), f"+{key}=…")
        return ConfigError(f"'{key}' exists already", where=where, hint=f"without the plus: {where[1:]}")
    found = re.match(r"Config group override must be a string or a list. Got (\w+)", first)
    if found:
        wrong = (text for text in overrides if (parsed := _parse(text)) and isinstance(parsed.value(), int | float))
        choice = next((text for text in wrong if "." not in text.partition("=")[0]), None)
        return ConfigError("the choice of a group is a name", where=choice)
    return ConfigError(" ".join(text.split()) if len(text) < 300 else first)


def check_sweep(overrides: Sequence[str], config_dir: str | None = None, config_name: str = CONFIG_NAME) -> None:
    """Composes a sweep's first job, and checks each further value of each axis, before any directory is made.

    Args:
        overrides: Overrides, some with several values, as for ``--multirun``.
        config_dir: Additional directory of YAMLs in use. Default none.
        config_name: Name of the composed config.

    Raises:
        ConfigError: There are too many jobs to be listed.
        HydraException: A job cannot be composed.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    axes = [override for override in parsed if override.is_sweep_override()]
    discrete = [axis for axis in axes if axis.is_discrete_sweep()]
    values = {axis.get_key_element(): list(islice(axis.sweep_string_iterator(), MOST_JOBS + 1)) for axis in discrete}
    if math.prod(map(len, values.values())) > MOST_JOBS:
        where = ", ".join(values)
        raise ConfigError(f"the sweep has more than {MOST_JOBS:,} jobs", where=where, hint="fewer values of each key")
    fixed = [override.input_line or "" for override in parsed if override not in axes]
    first = {key: f"{key}={options[0]}" for key, options in values.items() if options}
    cfg = _compose([*fixed, *first.values()], config_dir, config_name)
    groups = group_choices(config_dir)
    for key, options in values.items():
        for value in options[1:]:
            if key in groups:
                _compose([*fixed, *(first | {key: f"{key}={value}"}).values()], config_dir, config_name)
            else:
                one = OverridesParser.create().parse_overrides([f"{key}={value}"])
                ConfigLoaderImpl._apply_overrides_to_config(one, cfg)
