"""``trainkit new``: makes a small project of the user's own, from the files in ``template/``."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import shlex
import shutil
import sys
from importlib import resources
from pathlib import Path

from trainkit.errors import ConfigError

RESERVED = ("conf", "runs", "tests", "train")
"""Names that the project itself uses beside its package."""

_SUFFIX = ".tmpl"
_PACKAGE = "{{package}}"


def new(name: str | Path) -> Path:
    """Makes a project that trains at once: a net, data and config of its own, a script, tests and a README.

    Args:
        name: Directory to make; its last part is the name of the project's package.

    Returns:
        The directory.

    Raises:
        ConfigError: The name is no name for a package, hides another one, or the directory is not empty. Nothing was
            written.
    """
    target = Path(name)
    package = target.name
    _check_name(package)
    _check_free(package)
    _check_place(target)
    temporary = target.with_name(f".{package}.{os.getpid()}.tmp")
    try:
        _fill(temporary, package)
        temporary.replace(target)
    except OSError as error:
        raise ConfigError(f"'{target}' cannot be made: {error.strerror}", where="NAME") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _tell(target, package)
    return target


def _check_name(package: str) -> None:
    is_word = package.isidentifier() and package.isascii() and not package.startswith("_")
    if is_word and not keyword.iskeyword(package) and package not in RESERVED:
        return
    near = re.sub(r"\W+", "_", package, flags=re.ASCII).strip("_")
    near = f"{near}_project" if keyword.iskeyword(near) or near in RESERVED else near
    raise ConfigError(
        f"'{package}' cannot be the name of a project's package",
        where="NAME",
        expected=f"a letter, then letters, digits and underscores; no word of Python's, nor {', '.join(RESERVED)}",
        hint=f"did you mean '{near}'?" if near.isidentifier() else None,
    )


def _check_free(package: str) -> None:
    """Refuses the name of a module that Python finds elsewhere: one of the two would hide the other."""
    is_pythons = package in sys.stdlib_module_names
    spec = None if is_pythons else importlib.util.find_spec(package)
    here = {Path.cwd() / f"{package}.py", Path.cwd() / package / "__init__.py", Path.cwd() / package}
    places = (
        [] if spec is None else [place for place in (spec.origin, *(spec.submodule_search_locations or ())) if place]
    )
    if is_pythons or not all(Path(place).absolute() in here for place in places):
        whose = "a module of Python's own" if is_pythons else "an installed package"
        raise ConfigError(f"'{package}' is the name of {whose}", where="NAME", hint=f"did you mean 'my_{package}'?")


def _check_place(target: Path) -> None:
    if not target.absolute().parent.is_dir():
        raise ConfigError(f"there is no directory '{target.parent}'", where="NAME")
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        what = f"'{target}' exists already" + (" and is not empty" if target.is_dir() else "")
        raise ConfigError(what, where="NAME", hint="another name, or an empty directory")


def template() -> dict[str, str]:
    """Text of each file of a project by its path; ``package`` and ``{{package}}`` stand for the package's name."""
    root = Path(str(resources.files("trainkit.project"))) / "template"
    texts = {}
    for path in sorted(root.rglob(f"*{_SUFFIX}")):
        name = path.relative_to(root).as_posix().removesuffix(_SUFFIX).replace("dot-", ".")
        texts[name] = path.read_text(encoding="utf-8")
    return texts


def _fill(folder: Path, package: str) -> None:
    for name, text in template().items():
        path = folder / re.sub("^package/", f"{package}/", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(_PACKAGE, package), encoding="utf-8")


def _tell(target: Path, package: str) -> None:
    go = f"cd {shlex.quote(str(target))}"
    lines = (
        ("made", f"{target}/ · {len(template())} files, a README.md among them"),
        ("model", f"{package}/model.py, conf/model/net.yaml"),
        ("data", f"{package}/data.py, conf/data/scans.yaml"),
        ("job", "train.py, conf/train.yaml"),
        ("tests", "tests/test_project.py"),
        ("next", f"{go} && python train.py · python -m pytest · trainkit fit model=net data=scans"),
    )
    for label, text in lines:
        print(f"{label:<6} {text}")
