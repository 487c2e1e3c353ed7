"""Turns what OmegaConf says about a wrong key or value into a few lines that name the nearest valid key."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from trainkit.config.annotations import describe
from trainkit.config.schema import SECTIONS
from trainkit.config.shipped import contents
from trainkit.errors import ConfigError, one_of

STOOD_IN = ("model", "task", "optimizer", "scheduler", "augment")
"""Sections that a LightningModule of the user's own stands in for."""


def from_omegaconf(error: OmegaConfBaseException, reference: DictConfig, where: str | None = None) -> ConfigError:
    """The mistake behind an error of OmegaConf's.

    Args:
        error: A wrong key, a wrong type, a missing value, or an interpolation that leads nowhere.
        reference: A config whose keys are the valid ones.
        where: Override or file at fault, where it is known.
    """
    key, text = error.full_key or str(error.key or ""), str(error.msg or error).splitlines()[0]
    if isinstance(error, MissingMandatoryValue):
        return ConfigError(f"{key or text} is not given", where=where, hint=f"{key}=…" if key else None)
    if isinstance(error, ConfigAttributeError | ConfigKeyError):
        written = (where or "").partition("=")[0].lstrip("+~")
        return unknown_key(written if written.startswith(f"{key}.") else key, reference, where)
    if isinstance(error, ValidationError):
        return ConfigError(f"{key} cannot be {_value_in(text, where)}", where=where, expected=_wanted(key))
    return ConfigError(f"{key}: {text}" if key else text, where=where)


def unknown_key(key: str, reference: DictConfig, where: str | None = None) -> ConfigError:
    """An error for a key that does not exist, with the nearest one that does.

    Args:
        key: The key with dots.
        reference: A config whose keys are the valid ones.
        where: Override or file at fault, where it is known.
    """
    section, _, argument = key.partition(".")
    if reference.get("module") is not None and section in STOOD_IN:
        what = f"{key} beside a LightningModule, which has its own {section}"
        return ConfigError(what, where=where, hint=f"an argument of the module: +module.{argument or section}=…")
    what = f"unknown key '{key}'"
    near = _nearest(key, reference)
    if near == key:  # below a key that is null, or a ??? that has no keys yet
        return ConfigError(what, where=where, hint=f"what is null or ??? is filled with a plus: +{key}=…")
    if near:
        return ConfigError(what, where=where, hint=f"did you mean '{near}'?")
    having = [choice for choice, content in contents(section).items() if argument in content]
    if having:
        return ConfigError(what, where=where, hint=f"{section}={having[0]} has it")
    if section == "hydra":
        return ConfigError(what, where=where)
    parent, siblings, _ = _valid_part(key, reference)
    own = bool(parent) and section not in SECTIONS
    hint = f"an argument of your own class is added with a plus: +{key}=…" if own else None
    expected = one_of(f"{parent}{name}" for name in siblings) if siblings else None
    return ConfigError(what, where=where, expected=expected, hint=hint)


def _nearest(key: str, reference: DictConfig) -> str | None:
    if "." not in key:
        same = [leaf for leaf in _keys(reference) if leaf.rpartition(".")[2] == key]
        if same:
            return same[0]
    parent, siblings, rest = _valid_part(key, reference)
    part, dot, after = rest.partition(".")
    close = _close(part, siblings)
    return f"{parent}{close}{dot}{after}" if close else None


def _close(name: str, candidates: list[str]) -> str | None:
    found = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    return found[0] if found else None


def _valid_part(key: str, reference: DictConfig) -> tuple[str, list[str], str]:
    """The part of a key that exists (with its last dot), the names valid after it, and the rest."""
    parent, siblings, rest = "", [str(name) for name in reference], key
    while "." in rest:
        part, _, after = rest.partition(".")
        node = OmegaConf.select(reference, f"{parent}{part}") if part in siblings else None
        if not isinstance(node, DictConfig):
            break
        parent, siblings, rest = f"{parent}{part}.", [str(name) for name in node], after
    return parent, siblings, rest


def _keys(cfg: DictConfig, parent: str = "") -> Iterator[str]:
    for name in map(str, cfg):
        yield f"{parent}{name}"
        node = None if OmegaConf.is_missing(cfg, name) or OmegaConf.is_interpolation(cfg, name) else cfg[name]
        if isinstance(node, DictConfig):
            yield from _keys(node, f"{parent}{name}.")


def _value_in(text: str, where: str | None) -> str:
    if "not Optional" in text or text.startswith("Incompatible value 'None'"):
        return "null"
    found = re.match(r"Value ('.*') (?:of type|is not)", text)
    if found:
        return found.group(1)
    return f"'{where.partition('=')[2]}'" if where and "=" in where else "that value"


def _wanted(key: str) -> str | None:
    """What a typed key takes, in words."""
    section, _, name = key.partition(".")
    if section == "seed":
        return "an integer"
    hints = typing.get_type_hints(SECTIONS[section]) if section in SECTIONS else {}
    return describe(hints[name]) if name in hints else None
