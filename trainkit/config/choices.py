"""Every YAML that can be chosen, trainkit's and the user's, with what it is: for ``trainkit list`` and completion.

Only file names and texts are read, without Hydra.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from trainkit.config.compose import MARKER
from trainkit.errors import ConfigError


@dataclass(frozen=True)
class Choice:
    """One YAML of a group.

    Attributes:
        group: The group, for example ``model``.
        name: What is typed after ``model=``.
        about: The YAML's first comment: what it is.
        path: The file.
        is_own: Whether it is the user's.
        hidden_by: The file that Hydra takes instead, because an earlier directory has a choice of this name.
    """

    group: str
    name: str
    about: str
    path: Path
    is_own: bool = False
    hidden_by: Path | None = None


def config_directories(config_dir: str | Path | None = None) -> list[Path]:
    """The directories searched for YAMLs, in Hydra's order: trainkit's, a marked ``conf/`` here, ``config_dir``.

    Args:
        config_dir: As given by ``--config-dir``. Default none.

    Raises:
        ConfigError: There is no such directory.
    """
    found = [Path(str(resources.files("trainkit.conf")))]
    local = Path("conf")
    if (local / MARKER).is_file():
        found.append(local)
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise ConfigError(f"no directory '{config_dir}'", where="--config-dir")
        if not any(folder.samefile(config_dir) for folder in found):
            found.append(Path(config_dir))
    return found


def find_choices(config_dir: str | Path | None = None) -> dict[str, list[Choice]]:
    """Choices of each group, trainkit's first; names that start with an underscore are parts of others and left out.

    Args:
        config_dir: As given by ``--config-dir``. Default none.

    Raises:
        ConfigError: There is no such directory.
    """
    groups: dict[str, list[Choice]] = {}
    for rank, folder in enumerate(config_directories(config_dir)):
        for path in sorted(folder.glob("*/[!_.]*.yaml")):
            group = groups.setdefault(path.parent.name, [])
            first = next((choice.path for choice in group if choice.name == path.stem), None)
            group.append(Choice(path.parent.name, path.stem, _about(path), path, rank > 0, first))
    groups.pop("hydra", None)
    return dict(sorted(groups.items()))


def _about(path: Path) -> str:
    """The first comment above the keys; ``# @package …`` is for Hydra."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        text = line.lstrip("#").strip()
        if line.strip() and not line.startswith("#"):
            break
        if text and not text.startswith("@package"):
            return text
    return ""
