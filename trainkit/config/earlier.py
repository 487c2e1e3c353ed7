"""Overrides on top of those of the run that a command names: what it does not say anew is as it was there.

Called by the command line and by ``fit`` and ``check`` before the config is composed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from trainkit.config.compose import compose
from trainkit.errors import ConfigError, RunError
from trainkit.rundir import RunDirectory

LENGTHS = ("trainer.max_epochs", "trainer.max_steps")
"""Keys of which the one given replaces both."""

_NEVER = ("run", "hydra", "resume_from", "init_from")
"""Keys and sections that belong to one run alone."""

_typed: ContextVar[frozenset[str]] = ContextVar("typed", default=frozenset())


def key_of(override: str) -> str:
    """Config key of an override as the user wrote it, without plus, tilde and package."""
    return override.partition("=")[0].lstrip("+~").partition("@")[0]


def earlier_overrides(
    given: Sequence[str], config_dir: str | None = None, replaced: Sequence[str] = ()
) -> tuple[str, ...]:
    """Overrides of the run that ``run.dir`` or ``resume_from`` names, less those that are given otherwise now.

    Args:
        given: Overrides of the present command. Kept in mind as the user's own word, which ``typed`` gives back.
        config_dir: Directory with YAMLs of the user's own. Default none.
        replaced: Sections that objects stand in for.

    Returns:
        What to put before the given overrides; nothing where no run is named, several are, it keeps no overrides, or
        they do not compose here.
    """
    remember_typed(given)
    named = {key: path for key in ("run.dir", "resume_from") if (path := _path(given, key)) is not None}
    run = next((run for path in named.values() if (run := RunDirectory(Path(path))).exists()), None)
    if run is None:
        return ()
    try:
        before = run.typed_overrides()
    except RunError:  # told of when the run is opened
        return ()
    changed = [text for text in given if text not in before]
    kept = [text for text in before if text not in given and _stays(text, [*map(key_of, changed), *replaced], changed)]
    lengths = {key_of(text) for text in changed} & set(LENGTHS)
    if len(lengths) == 1 and run.path != Path(named.get("run.dir", "")):
        kept += [f"{key}=null" for key in LENGTHS if key not in lengths]
    try:
        compose([*kept, *(text for text in given if text in before)], config_dir)
    except ConfigError:  # of YAMLs or a version that are not at hand now
        return ()
    return tuple(kept)


def remember_typed(overrides: Sequence[str]) -> None:
    """Keeps in mind what the user typed himself; in place of what he typed before."""
    _typed.set(frozenset(overrides))


def typed(overrides: Sequence[str], before: Sequence[str]) -> list[str]:
    """Those of a job's overrides that the user typed himself, not those taken over from an earlier run.

    In a process that a launcher started nobody knows what was typed: there everything that the earlier run has too
    counts as taken over.
    """
    return [text for text in overrides if text not in before or text in _typed.get()]


def _stays(text: str, keys: Sequence[str], changed: Sequence[str]) -> bool:
    key = key_of(text)
    if any(_is_within(key, name) for name in _NEVER):
        return False
    if key in LENGTHS and any(name in LENGTHS for name in keys):
        return False
    if text.startswith("+") and key in keys and not any(new.startswith(("+", "~")) for new in _of(key, changed)):
        return True  # without it there would be no such key to change
    return not any(_is_within(key, name) for name in keys)


def _of(key: str, overrides: Sequence[str]) -> Iterator[str]:
    return (text for text in overrides if key_of(text) == key)


def _is_within(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")


def _path(given: Sequence[str], key: str) -> str | None:
    """The one path that an override gives; None where there is none, or a sweep over several."""
    texts = list(_of(key, given))
    try:
        parsed: Override | None = OverridesParser.create().parse_override(texts[-1]) if texts else None
    except HydraException:  # an argument in Python, whose path is not written for Hydra
        return texts[-1].partition("=")[2]
    if parsed is None or parsed.is_sweep_override():
        return None
    value = parsed.value()
    return str(value) if value is not None else None
