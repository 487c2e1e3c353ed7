"""Checks a composed config before anything is built: schema, ranges, and every ``_target_`` against its signature."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trainkit.config.annotations import describe, fits, parameters_of
from trainkit.config.messages import STOOD_IN, from_omegaconf
from trainkit.config.ranges import check_ranges
from trainkit.config.schema import LINEAGE, SECTIONS, schema
from trainkit.config.shipped import contents, default_choice
from trainkit.config.targets import resolve_target
from trainkit.errors import ConfigError, did_you_mean, one_of

COMPONENTS = ("data", "model", "task", "optimizer", "scheduler")
"""Sections with one ``_target_``."""

OWN_MODULE = "module"
"""Section of a LightningModule of the user's own, which stands in for all components but the data."""

OPTIONAL = ("scheduler",)
"""Those of them that may be null."""

COLLECTIONS = ("augment", "callbacks", "logger")
"""Sections with a ``_target_`` under each name; a null in place of one leaves it out."""

SIZES = frozenset(
    {"in_features", "in_channels", "num_outputs", "out_features", "num_classes", "num_labels"}
    | {"num_numbers", "cardinalities"}
    | {"image_size", "image_height", "image_width", "sequence_length", "input_shape"}
)
"""Arguments of a model or task that may be ``???``: keys of ``DataSpec.sizes()``, filled once the data is set up."""

FILLED: dict[str, frozenset[str]] = {
    "model": SIZES | {"spec", "target_kind"},
    "task": SIZES | {"spec", "class_counts", "label_counts", "target_mean", "target_scale", "target_names"},
    OWN_MODULE: SIZES,
    "callbacks": frozenset({"monitor", "mode", "dirpath"}),
    "logger": frozenset({"save_dir", "resume_step", "id", "name"}),
}
"""Arguments that may be ``???``, by section: what the data, the task or the run directory decides."""

_INJECTED = "spec"
_SPECIAL = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_")
_EMPTY = inspect.Parameter.empty
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def check_config(cfg: DictConfig, live: Collection[str] = ()) -> DictConfig:
    """Checks a config, and gives it back with the schema's types, its defaults, and precision names in one spelling.

    Args:
        cfg: A composed config; it is not changed. A ``hydra`` section is left out of the result.
        live: Sections that hold no ``_target_`` because their object was given in Python.

    Returns:
        A checked copy.

    Raises:
        ConfigError: The first mistake found: an unknown key, a value of a wrong type or out of range, an interpolation
            that leads nowhere, a ``_target_`` that does not import or an argument that it lacks, needs, or does not
            take in that type.
    """
    checked = _with_schema(cfg)
    _check_names(checked)
    _check_interpolations(checked)
    check_ranges(checked)
    is_own = checked.get(OWN_MODULE) is not None
    if is_own:
        _check_stood_in(checked)
    for section in (OWN_MODULE, "data") if is_own else COMPONENTS:
        optional = ("data",) if is_own else OPTIONAL
        left_out = section in optional and section in checked and checked[section] is None
        if section not in live and not left_out:
            _check_component(checked.get(section), section, section)
    for section in COLLECTIONS:
        entries = checked.get(section)
        if entries is None:
            continue
        if not isinstance(entries, DictConfig):
            raise ConfigError(f"{section} is no mapping of names to _target_s", where=section)
        for name in map(str, entries):
            if entries[name] is not None and section not in live:
                _check_component(entries[name], section, f"{section}.{name}")
    return checked


def _with_schema(cfg: DictConfig) -> DictConfig:
    plain = OmegaConf.to_container(cfg, resolve=False)
    if not isinstance(plain, dict):
        raise ConfigError("a config is a mapping of sections")
    plain.pop("hydra", None)
    typed = OmegaConf.create(schema())
    for key, value in plain.items():
        try:
            typed.merge_with({str(key): value})
        except OmegaConfBaseException as error:
            raise from_omegaconf(error, typed) from error
    return typed


def _check_names(cfg: DictConfig) -> None:
    known = ["seed", *LINEAGE, *SECTIONS, *COMPONENTS, OWN_MODULE, *COLLECTIONS]
    for key in map(str, cfg):
        if key in _SPECIAL:
            raise ConfigError(f"unknown key '{key}'", where=key, hint=f"of which section? model.{key}=…")
        if OmegaConf.is_missing(cfg, key) and key in ("seed", *LINEAGE):
            raise ConfigError(f"{key} is not given", where=key, hint=f"{key}=…")
        if key not in known and difflib.get_close_matches(key, known, n=1, cutoff=0.75):
            near = did_you_mean(key, known)
            raise ConfigError(f"unknown key '{key}'", expected=one_of(known) + ", or a key unlike these", hint=near)


def _check_interpolations(cfg: DictConfig) -> None:
    for section in map(str, cfg):
        try:
            node = None if OmegaConf.is_missing(cfg, section) else cfg[section]
            if OmegaConf.is_config(node):
                OmegaConf.to_container(node, resolve=True)
        except OmegaConfBaseException as error:
            raise from_omegaconf(error, cfg) from error


def _check_stood_in(cfg: DictConfig) -> None:
    """Makes the sections null that a LightningModule of the user's own stands in for; refuses those that are given."""
    if cfg.evaluation.tta is not None:
        what = "evaluation.tta has no effect on a LightningModule of your own, which alone knows what it predicts"
        raise ConfigError(what, where="evaluation.tta", expected="null")
    for section in ("data", *STOOD_IN):
        cfg.setdefault(section, None)
        if section in STOOD_IN and cfg[section] is not None:
            what = f"{section} beside a LightningModule, which has its own"
            hint = f"{section}=null; or compose with module=custom, a YAML of your own with defaults: [custom, _self_]"
            raise ConfigError(what, where=section, expected="null", hint=hint)


def _check_component(node: Any, section: str, path: str) -> None:
    if not isinstance(node, DictConfig):
        what = "is not given" if node is None else f"is {node!r}"
        raise ConfigError(f"{path} {what}", where=path, expected="a mapping with a _target_")
    raw = OmegaConf.to_container(node, resolve=False)
    resolved = OmegaConf.to_container(node, resolve=True)
    _bind(resolved, raw, section, path)


def _bind(node: Any, raw: Any, section: str, path: str) -> None:
    """Checks a node, and all nodes in it, against the signatures of their targets."""
    name = node.get("_target_")
    if not isinstance(name, str) or name == "???":
        hint = f"{path}._target_=mypkg.MyClass"
        raise ConfigError(f"{path} has no _target_", where=f"{path}._target_", expected="a dotted name", hint=hint)
    target = resolve_target(name, f"{path}._target_")
    if not callable(target):
        what = f"'{name}' is a {type(target).__name__}, not a class or function"
        raise ConfigError(what, where=f"{path}._target_")
    _check_arguments(target, node, raw, section, path)
    for key, value in node.items():
        if key not in _SPECIAL or key == "_args_":
            _bind_nested(value, raw[key], section, f"{path}.{key}")


def _bind_nested(value: Any, raw: Any, section: str, path: str) -> None:
    if isinstance(value, dict) and isinstance(raw, dict):
        if "_target_" in value:
            _bind(value, raw, section, path)
        else:
            for key, inner in value.items():
                _bind_nested(inner, raw[key], section, f"{path}.{key}")
    elif isinstance(value, list) and isinstance(raw, list):
        for idx, inner in enumerate(value):
            _bind_nested(inner, raw[idx], section, f"{path}[{idx}]")


def _check_arguments(target: Any, node: dict[str, Any], raw: dict[str, Any], section: str, path: str) -> None:
    try:
        parameters, hints = parameters_of(target)
    except ValueError:  # a builtin without a signature
        return
    label = getattr(target, "__name__", node["_target_"])
    given = {key: value for key, value in node.items() if key not in _SPECIAL}
    by_position = _take_positional(node, parameters, path, label)
    named = [name for name, parameter in parameters.items() if parameter.kind in _BY_NAME]
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    for key in given:
        if key not in named and not takes_any:
            raise _unexpected(key, node, section, path, label, named)
    for key, value in given.items():
        if value == "???":
            _check_fillable(key, section, path)
        elif key in hints and not _is_interpolation(raw[key]) and not fits(value, hints[key]):
            what = f"{path}.{key}: {label} does not take {value!r}"
            expected = describe(hints[key])
            hint = f"+{path}.{key}.NAME={value}" if isinstance(value, str) and "mapping" in expected else None
            raise ConfigError(what, expected=expected, hint=hint)
    if node.get("_partial_"):
        return
    for name, parameter in parameters.items():
        required = parameter.default is _EMPTY and parameter.kind in (*_BY_NAME, inspect.Parameter.POSITIONAL_ONLY)
        if required and name not in given and name not in by_position:
            is_nested_function = path.startswith("task.") and not isinstance(target, type)
            if is_nested_function:
                what = f"{path}: the function {label} would be called while the {section} is built"
                raise ConfigError(what, where=path, hint=f"+{path}._partial_=true hands it over")
            _check_absent(name, section, path, label)


def _take_positional(
    node: dict[str, Any], parameters: Mapping[str, inspect.Parameter], path: str, label: str
) -> set[str]:
    values = node.get("_args_") or []
    names = [
        name
        for name, parameter in parameters.items()
        if parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]
    takes_more = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters.values())
    if len(values) > len(names) and not takes_more:
        what = f"{path}._args_: {label} takes {len(names)} arguments by position, not {len(values)}"
        raise ConfigError(what)
    return set(names[: len(values)])


def _is_interpolation(value: Any) -> bool:
    return isinstance(value, str) and "${" in value


def _unexpected(key: str, node: dict[str, Any], section: str, path: str, label: str, named: list[str]) -> ConfigError:
    what = f"{path}.{key}: {label} takes no argument '{key}'"
    expected = one_of(named) if named else "no arguments"
    shipped = contents(section) if path == section else {}
    for choice, content in sorted(shipped.items(), key=lambda item: item[0] != default_choice(section)):
        if key in content and content[key] == node[key] and content.get("_target_") != node["_target_"]:
            what += f"; it comes from {section}={choice}, whose _target_ was replaced"
            return ConfigError(what, expected=expected, hint=_without_inheritance(key, node, section, shipped))
    return ConfigError(what, expected=expected, hint=did_you_mean(str(key), [*named, *_SPECIAL]))


def _without_inheritance(key: str, node: dict[str, Any], section: str, shipped: dict[str, dict[str, Any]]) -> str:
    name = node["_target_"]
    for choice, content in shipped.items():
        if content.get("_target_") == name:
            return f"{section}={choice}"
    if "custom" in shipped:
        return f"start from an empty node: {section}=custom {section}._target_={name}"
    return f"leave it out: ~{section}.{key}"


def _check_fillable(key: str, section: str, path: str) -> None:
    if key not in FILLED.get(section, ()):
        raise ConfigError(f"{path}.{key} is not given", where=f"{path}.{key}", hint=f"{path}.{key}=…")


def _check_absent(name: str, section: str, path: str, label: str) -> None:
    fillable = name in FILLED.get(section, ())
    if fillable and name == _INJECTED:
        return
    filled = f"+{path}.{name}=???, which the data fills" if fillable else f"+{path}.{name}=…"
    raise ConfigError(f"{path}.{name}: {label} needs an argument '{name}'", hint=filled)
