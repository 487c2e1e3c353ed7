"""The wheel holds everything: built, installed elsewhere, composed and trained from an empty folder."""

from __future__ import annotations

import json
import re
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trainkit

REPOSITORY = Path(__file__).resolve().parent.parent
LINE = re.compile(
    r"\[\d{4}-\d{2}-\d{2}\] - \[(\d+\.\d+\.\d+)\] - \[[a-z -]+\] - "
    r"\[(added|changed|fixed|removed|deprecated|security)\] - \S.*\."
)

COMPOSE_EVERY_OPTION = """
import json, pathlib, sys, yaml, trainkit, trainkit.conf
from hydra import compose, initialize_config_module
root = pathlib.Path(trainkit.conf.__file__).parent
listed = yaml.safe_load((root / "fit.yaml").read_text())["defaults"]
groups = {key.split()[-1] for entry in listed if isinstance(entry, dict) for key in entry}
composed = []
with initialize_config_module("trainkit.conf", version_base="1.3"):
    for path in sorted(root.rglob("*.yaml")):
        group, _, option = path.relative_to(root).with_suffix("").as_posix().rpartition("/")
        if group and not option.startswith("_"):
            compose("fit", [f"{'' if group in groups else '+'}{group}={option}"])
            composed.append(f"{group}={option}")
print(json.dumps({"trainkit": trainkit.__file__, "conf": trainkit.conf.__file__, "composed": composed}))
"""


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_on_disk_is_listed(project: dict[str, Any]) -> None:
    on_disk = {
        ".".join(path.parent.relative_to(REPOSITORY).parts) for path in (REPOSITORY / "trainkit").rglob("*.py")
    } | {"trainkit.conf"}
    assert sorted(project["tool"]["setuptools"]["packages"]) == sorted(on_disk)


def test_the_distribution_has_the_version_of_the_package(project: dict[str, Any]) -> None:
    assert project["project"]["version"] == trainkit.__version__


def test_every_changelog_line_has_the_form_and_the_newest_the_version(project: dict[str, Any]) -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = [line for line in text.splitlines() if line.startswith("[")]
    matches = [LINE.fullmatch(line) for line in entries]
    assert [line for line, match in zip(entries, matches, strict=True) if match is None] == []
    assert matches[0] is not None
    assert matches[0][1] == project["project"]["version"]


def test_the_extra_named_all_has_every_extra_for_users(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    named = re.fullmatch(r"trainkit-lightning\[(.*)\]", everything)
    assert named is not None
    services = {"wandb"}  # of use to nobody without an account
    assert set(named[1].split(",")) == extras.keys() - {"all", "test", "dev"} - services


def test_the_wheel_holds_every_file_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "trainkit").rglob("*.py")}
    configs = {f"trainkit/{path.relative_to(REPOSITORY).as_posix()}" for path in (REPOSITORY / "conf").rglob("*.yaml")}
    assert modules | configs | {"trainkit/py.typed", "trainkit/reports/style.css"} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"trainkit"}


def test_every_option_composes_from_the_installed_wheel(run: Callable[..., str], installed: Path) -> None:
    found = json.loads(run("-c", COMPOSE_EVERY_OPTION))
    assert Path(found["trainkit"]).is_relative_to(installed)
    assert Path(found["conf"]).is_relative_to(installed)
    conf = REPOSITORY / "conf"
    options = [path.relative_to(conf).with_suffix("") for path in conf.rglob("[!_]*.yaml") if path.parent != conf]
    assert sorted(found["composed"]) == sorted(f"{path.parent.as_posix()}={path.name}" for path in options)


def test_trains_from_an_empty_folder(run: Callable[..., str], installed: Path, tmp_path: Path) -> None:
    where = "import trainkit.cli, trainkit.rundir; print(trainkit.cli.__file__, trainkit.rundir.__file__)"
    assert run("-c", where).count(str(installed)) == 2
    run(installed / "bin" / "trainkit", "fit", "trainer.max_epochs=1", "model=mlp")
    (result,) = tmp_path.glob("runs/*/*/result.json")
    assert json.loads(result.read_text(encoding="utf-8"))["status"] == "completed"
    assert (result.parent / "report.html").stat().st_size > 0
