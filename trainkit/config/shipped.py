"""The YAMLs that come with trainkit, read from the package without Hydra: for help texts and for hints in errors."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

from omegaconf import OmegaConf


@functools.cache
def groups() -> dict[str, list[str]]:
    """Choices of each group, sorted; names that start with an underscore are parts of others and left out."""
    folders = sorted((folder for folder in _root().iterdir() if _names(folder)), key=lambda folder: folder.name)
    return {folder.name: _names(folder) for folder in folders}


@functools.cache
def contents(group: str) -> dict[str, dict[str, Any]]:
    """What each choice of a group says itself, without its defaults list's entries; empty for an unknown group."""
    texts = {
        name: _root().joinpath(group, f"{name}.yaml").read_text(encoding="utf-8") for name in groups().get(group, [])
    }
    plain = {name: OmegaConf.to_container(OmegaConf.create(text)) for name, text in texts.items()}
    return {
        name: {str(key): value for key, value in content.items()}
        for name, content in plain.items()
        if isinstance(content, dict)
    }


@functools.cache
def default_choice(group: str) -> str | None:
    """The choice of a group that a job has where none is named; None for none."""
    entries = OmegaConf.create(_root().joinpath("fit.yaml").read_text(encoding="utf-8")).defaults
    found: str | None = next((entry[group] for entry in entries if not isinstance(entry, str) and group in entry), None)
    return found


def _root() -> Any:
    return resources.files("trainkit.conf")


def _names(folder: Any) -> list[str]:
    if not folder.is_dir():
        return []
    files = (file.name for file in folder.iterdir())
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml") and not name.startswith("_"))
