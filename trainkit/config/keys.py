"""The keys that overrides may name, with their values and comments, read from the YAMLs' texts: for completion.

Composing with Hydra takes longer than a Tab may; here the defaults lists are followed, and nothing is merged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from trainkit.config.choices import config_directories, find_choices
from trainkit.config.compose import CONFIG_NAME

_LINE = re.compile(r"( *)([\w.-]+):(?:\s+(.*?))?(?:\s+# (.*))?")
_GLOBAL = "# @package _global_"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Key:
    """One key of a YAML.

    Attributes:
        value: Its value as written; empty for a section.
        comment: What stands beside it: a unit, or the values it takes.
    """

    value: str
    comment: str

    def words(self) -> list[str]:
        """The values that the comment names: ``auto | cpu | gpu``, up to a colon or semicolon."""
        parts = [part.strip() for part in re.split("[:;]", self.comment)[0].split(" | ")]
        return [part for part in parts if part and " " not in part] if len(parts) > 1 else []


@dataclass
class _Tree:
    """What is gathered on the way along the defaults lists."""

    directories: list[Path]
    choices: dict[str, list[str]] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)

    def follow(self, name: str) -> None:
        """Takes in the keys of a config at the root, and the choices of its defaults list."""
        text = self.text(name)
        for entry in _defaults(text):
            if isinstance(entry, str):
                self.follow(entry)
                continue
            for group, chosen in entry.items():
                bare = str(group).removeprefix("override ").lstrip("/").partition("@")[0]
                self.choices[bare] = [str(chosen)] if isinstance(chosen, str) else list(map(str, chosen or ()))
        self.keys |= _keys(text)

    def take(self, group: str, name: str) -> None:
        """Takes in the keys of one choice of a group, and of the parts that it shares with others."""
        text = self.text(f"{group}/{name}")
        for entry in _defaults(text):
            if isinstance(entry, str):
                self.take(group, entry)
        is_global = text.startswith(_GLOBAL)
        self.keys |= {key if is_global else f"{group}.{key}": value for key, value in _keys(text).items()}

    def text(self, name: str) -> str:
        """A YAML's text; empty where there is none, such as for the schema."""
        files = (folder / f"{name}.yaml" for folder in self.directories)
        file = next((path for path in files if path.is_file()), None)
        return file.read_text(encoding="utf-8", errors="replace") if file else ""


def _defaults(text: str) -> list[Any]:
    entries = ((yaml.load(text, Loader=_LOADER) if "defaults:" in text else None) or {}).get("defaults") or []
    return [entry for entry in entries if isinstance(entry, dict) or entry != "_self_"]


def _keys(text: str) -> dict[str, Key]:
    return {name: key for name, key in _lines(text) if name.partition(".")[0] not in ("defaults", "hydra")}


def _lines(text: str) -> Iterator[tuple[str, Key]]:
    """Every ``key: value  # comment`` of a text, with the keys it stands under."""
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        indent = len(found[1])
        above = [*(entry for entry in above if entry[0] < indent), (indent, found[2])]
        yield ".".join(name for _, name in above), Key(found[3] or "", found[4] or "")


def keys_for(
    overrides: Sequence[str] = (), config_dir: str | None = None, config_name: str | None = None
) -> dict[str, Key]:
    """The keys of the config that overrides choose, with dots.

    Args:
        overrides: As typed so far; only choices of groups matter.
        config_dir: As given by ``--config-dir``. Default none.
        config_name: As given by ``--config-name``. Default trainkit's own.

    Raises:
        ConfigError: There is no such directory.
    """
    tree = _Tree(config_directories(config_dir))
    tree.follow(config_name or CONFIG_NAME)
    groups = find_choices(config_dir)
    pairs = (text.lstrip("+").partition("=") for text in overrides)
    typed = {key: value.split(",") for key, _, value in pairs if key in groups}
    for group in ("module", "experiment"):
        for name in typed.get(group) or tree.choices.get(group) or ():
            if tree.text(f"{group}/{name}").startswith(_GLOBAL):
                tree.follow(f"{group}/{name}")
    for group, names in (tree.choices | typed).items():
        for name in names if group in groups else ():
            tree.take(group, name)
    return tree.keys
