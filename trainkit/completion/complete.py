"""What may stand in the place of the last word of a command line; imports no torch and composes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from trainkit.completion.paths import directories, files, runs
from trainkit.completion.scripts import SHELLS
from trainkit.config.choices import config_directories, find_choices
from trainkit.config.keys import Key, keys_for
from trainkit.listing import RUNS, plural
from trainkit.runs.find import read_run, run_directories
from trainkit.runs.query import FIELDS, ORDERS, metric_names

Arguments = Sequence[tuple[Sequence[str], Mapping[str, Any]]]
"""Names and settings of each argument of a command, as ``argparse`` takes them."""

OPTIONS: dict[str, str | None] = {
    **{"-h": None, "--help": None, "-m": None, "--multirun": None, "--resolve": None, "--hydra-help": None},
    **{"-c": "JOB", "--cfg": "JOB", "-cd": "DIR", "--config-dir": "DIR", "-cn": "CONFIG", "--config-name": "CONFIG"},
    **{"-i": "INFO", "--info": "INFO"},
}
"""Hydra's options where overrides are taken, and what follows each."""

_WORDS = {
    "JOB": ("job", "hydra", "all"),
    "INFO": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "N": (),
}
_GLOBAL = ("--help", "--version", "--completion")
_RUN_KEYS = ("run.dir", "resume_from", "init_from")
_ENOUGH_RUNS = 20


def complete(words: Sequence[str], commands: Mapping[str, Arguments | None]) -> list[str]:
    """Whole words that may stand in the place of the last one.

    Args:
        words: Those after ``trainkit`` up to the cursor; the last is what was typed of the current one.
        commands: Arguments of each command; None for one that takes overrides.

    Returns:
        The words. One that ends in ``=``, ``.``, ``/`` or ``,`` goes on.

    Raises:
        ConfigError: There is no directory ``--config-dir``.
    """
    *before, current = words or [""]
    if not before:
        return _starting(current, [*commands, *(_GLOBAL if current.startswith("-") else ())])
    if before == ["--completion"]:
        return _starting(current, SHELLS)
    if before[0] not in commands:
        return []
    arguments = commands[before[0]]
    return _override(before[1:], current) if arguments is None else _argument(before[1:], current, arguments)


def _starting(start: str, candidates: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(candidates) if name.startswith(start)]


def _override(before: Sequence[str], current: str) -> list[str]:
    """A word of ``fit``: an option, what follows one, a key, or a key with its value."""
    following = OPTIONS.get(before[-1]) if before else None
    name, equals, start = current.partition("=")
    if equals and OPTIONS.get(name):
        return [f"{name}={value}" for value in _values(str(OPTIONS[name]), start, before)]
    if following:
        return _values(following, current, before)
    if current.startswith("-"):
        return _starting(current, OPTIONS)
    sign = current[: len(current) - len(current.lstrip("+~"))]
    config_dir = _option(before, "-cd", "--config-dir")
    keys = keys_for(before, config_dir, _option(before, "-cn", "--config-name"))
    groups = {group: [choice.name for choice in choices] for group, choices in find_choices(config_dir).items()}
    typed = current[len(sign) :]
    answers = _value(typed, keys, groups) if equals else _key(typed, keys, groups)
    return [f"{sign}{answer}" for answer in answers]


def _option(before: Sequence[str], *names: str) -> str | None:
    """Value of an option that was given."""
    for word, following in zip(before, [*before[1:], ""], strict=False):
        if word in names:
            return following
        if word.partition("=")[0] in names:
            return word.partition("=")[2]
    return None


def _key(start: str, keys: Mapping[str, Key], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Names of groups and keys, down to the next dot."""
    found = [f"{group}=" for group in groups if group.startswith(start)]
    for name in keys:
        inner, dot, _ = name[len(start) :].partition(".")
        if name.startswith(start) and (dot or keys[name].value):
            found.append(f"{start}{inner}{dot or '='}")
    return sorted(set(found))


def _value(typed: str, keys: Mapping[str, Key], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """``key=value``: choices of a group, the values that a comment names, run directories, or files."""
    key, _, start = typed.partition("=")
    if key in groups:
        done, comma, last = start.rpartition(",")
        values = [f"{done}{comma}{name}" for name in _starting(last, groups[key]) if name not in done.split(",")]
    elif key in _RUN_KEYS:
        values = runs(start) or files(start)
    elif key in keys and (keys[key].words() or _is_plain(keys[key].value)):
        values = _starting(start, keys[key].words())
    else:
        values = files(start)
    return [f"{key}={value}" for value in values]


def _is_plain(value: str) -> bool:
    """Whether it is a number, a truth value or a list, in whose place no file stands."""
    return value[:1] in "0123456789-[{" or value in ("true", "false")


def _argument(before: Sequence[str], current: str, arguments: Arguments) -> list[str]:
    """A word of any other command: an option, what follows one, or the next positional argument."""
    options = {name: settings for names, settings in arguments if names[0].startswith("-") for name in names}
    positional = [settings for names, settings in arguments if not names[0].startswith("-")]
    pending: Mapping[str, Any] | None = None
    for word in before:
        if word in options:
            pending = options[word] if "action" not in options[word] or "metavar" in options[word] else None
        elif pending:
            pending = pending if pending.get("nargs") == "+" else None
        elif positional and positional[0].get("nargs") not in ("+", "*"):
            positional.pop(0)
    if current.startswith("-"):
        return _starting(current, [*options, "--help"])
    settings = pending or (positional[0] if positional else None)
    if settings is None:
        return []
    if "choices" in settings:
        return _starting(current, map(str, settings["choices"]))
    return _values(str(settings.get("metavar", "FILE")), current, before)


def _values(kind: str, start: str, before: Sequence[str]) -> list[str]:
    """What stands for a metavar."""
    if kind == "RUN":
        return runs(start) or directories(start)
    if kind == "DIR":
        return directories(start)
    if kind == "CONFIG":
        folders = config_directories(_option(before, "-cd", "--config-dir"))
        return _starting(start, [path.stem for folder in folders for path in sorted(folder.glob("*.yaml"))])
    if kind == "KIND":
        return _starting(start, [*map(plural, find_choices()), RUNS])
    if kind == "METRIC":
        return _starting(start, [*ORDERS, *_metrics(before)])
    if kind == "KEY=VALUE":
        return _filter(start, before)
    return _starting(start, _WORDS[kind]) if kind in _WORDS else files(start)


def _metrics(before: Sequence[str]) -> list[str]:
    root = _option(before, "--root") or RUNS
    return metric_names([read_run(path) for path in islice(run_directories(root), _ENOUGH_RUNS)])


def _filter(start: str, before: Sequence[str]) -> list[str]:
    """Keys and choices as for ``fit``, and the facts and metrics of runs."""
    facts = [] if "=" in start else _starting(start, [f"{name}=" for name in (*FIELDS, *_metrics(before))])
    return facts + _override((), start)
