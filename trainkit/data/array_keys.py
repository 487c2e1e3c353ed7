"""Finds which keys of a file of arrays are inputs and targets, and of which part; called by ``array_files``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainkit.data.array_reading import INPUT_NAMES, TARGET_NAMES
from trainkit.errors import DataError, did_you_mean, one_of

_USUAL = {"inputs": INPUT_NAMES, "target": TARGET_NAMES}
_PARTS = ("train", "val", "test")


def find_keys(keys: Sequence[str], given: Mapping[str, str | None], source: str) -> dict[str, dict[str, str]]:
    """The key of each role in each part that a file holds.

    Args:
        keys: Of the file.
        given: Key of ``inputs``, ``target`` and any of ``group``, ``time`` and ``weight`` as the user named it (that of
            the training part, or without the part's name); None for the usual names.
        source: What holds the keys, for errors.

    Returns:
        For ``train``, and ``val`` and ``test`` where the file has them, the key by role.

    Raises:
        DataError: A role has no key, or one that the file lacks.
    """
    found: dict[str, dict[str, str]] = {}
    for part in _PARTS:
        named = {role: _key(role, name, part, keys) for role, name in given.items()}
        if part != "train" and named["inputs"] is None:
            continue
        for role, key in named.items():
            if key is None:
                raise _missing(role, given[role], part, keys, source)
        found[part] = {role: key for role, key in named.items() if key is not None}
    return found


def _key(role: str, name: str | None, part: str, keys: Sequence[str]) -> str | None:
    """The key of a role in a part: ``x`` or ``x_train`` or ``train_x`` for training, else ``x_<part>`` or so."""
    stems = _USUAL[role] if name is None else (_stem(name), name)
    whole = [name] if name else list(stems)
    candidates = (whole if part == "train" else []) + [text for s in stems for text in (f"{s}_{part}", f"{part}_{s}")]
    return next((key for key in candidates if key in keys), None)


def _stem(name: str) -> str:
    return name.removesuffix("_train").removeprefix("train_")


def _missing(role: str, name: str | None, part: str, keys: Sequence[str], source: str) -> DataError:
    where = f"data.{role}"
    if part != "train":
        what = f"{source} has inputs of a {part} part and no {role} for it"
        return DataError(what, where=where, expected=one_of(keys))
    if name is None:
        what = f"{source} has no key that is called like the {role}"
        return DataError(what, where=where, expected=one_of(_USUAL[role]), hint=f"it has {', '.join(keys)}")
    return DataError(f"{source} has no key '{name}'", where=where, expected=one_of(keys), hint=did_you_mean(name, keys))
