"""``trainkit new``: what it refuses, what it makes, and that the project trains, sweeps and passes its own tests."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import trainkit
from trainkit.errors import ConfigError
from trainkit.project import new, template

Cli = Callable[..., Any]
SMALL = ("data.max_rows=300", "trainer.max_epochs=1", "evaluation.resamples=50", "trainer.threads=1")
FILES = {
    *(".gitignore", "README.md", "conf/.trainkit", "conf/data/scans.yaml", "conf/model/net.yaml", "conf/train.yaml"),
    *("demo/__init__.py", "demo/data.py", "demo/model.py", "pyproject.toml", "tests/test_project.py", "train.py"),
}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def _forget_imported_projects() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "demo"]:
        del sys.modules[name]


@pytest.fixture
def demo(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh project, which is the working directory."""
    assert cli("new", "demo").code == 0
    monkeypatch.chdir(tmp_path / "demo")
    return tmp_path / "demo"


def test_it_says_what_it_made_and_what_comes_next(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("new", "demo")
    assert (code, err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["made"] == "demo/ · 12 files, a README.md among them"
    assert lines["next"].startswith("cd demo && python train.py · ")
    for label in ("model", "data", "job", "tests"):
        assert all((tmp_path / "demo" / name).is_file() for name in lines[label].split(", "))
    assert files(tmp_path / "demo") == FILES and list(tmp_path.iterdir()) == [tmp_path / "demo"]


def test_it_may_lie_elsewhere_and_the_directory_may_be_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there" / "my_net").mkdir(parents=True)
    assert trainkit.new is new
    assert new(tmp_path / "there" / "my_net") == tmp_path / "there" / "my_net"
    assert f"next   cd {tmp_path}/there/my_net && python train.py" in capsys.readouterr().out
    made = files(tmp_path / "there" / "my_net")
    assert made == {name.replace("demo/", "my_net/") for name in FILES}
    config = yaml.safe_load((tmp_path / "there" / "my_net" / "conf" / "model" / "net.yaml").read_text())
    assert config["_target_"] == "my_net.model.Net"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("my-net", "'my-net' cannot be the name of a project's package\n  where    NAME\n  expected a letter, then "
                   "letters, digits and underscores; no word of Python's, nor conf, runs, tests, train\n"
                   "  hint     did you mean 'my_net'?\n"),
        ("2nd", "'2nd' cannot be the name of a project's package\n"),
        ("größe", "'größe' cannot be the name of a project's package\n"),
        ("class", "  hint     did you mean 'class_project'?\n"),
        ("tests", "  hint     did you mean 'tests_project'?\n"),
        ("_net", "  hint     did you mean 'net'?\n"),
        (".", "'' cannot be the name of a project's package\n"),
        ("torch", "'torch' is the name of an installed package\n  where    NAME\n"),
        ("torch", "  hint     did you mean 'my_torch'?\n"),
        ("trainkit", "'trainkit' is the name of an installed package\n"),
        ("json", "'json' is the name of a module of Python's own\n"),
        ("sys", "'sys' is the name of a module of Python's own\n"),
        ("nowhere/demo", "there is no directory 'nowhere'\n  where    NAME\n"),
        ("full", "'full' exists already and is not empty\n  where    NAME\n  hint     another name, or an empty "),
        ("file", "'file' exists already\n"),
        ("link", "'link' exists already\n"),
    ],
)  # fmt: skip
def test_a_name_that_will_not_do_is_refused_and_nothing_touched(cli: Cli, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    code, out, err = cli("new", name)
    assert (code, out) == (2, "") and text in err
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    assert (tmp_path / "full" / "thesis.tex").read_text() == "mine"


def test_a_module_of_the_same_name_in_the_working_directory_is_no_package_in_the_way(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "demo.py").touch()
    assert cli("new", "demo").code == 0


def test_a_directory_that_cannot_be_written_is_a_mistake(cli: Cli, tmp_path: Path, monkeypatch: Any) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ConfigError) as caught:
        new("demo")
    assert str(caught.value) == "'demo' cannot be made: No space left on device\n  where    NAME"
    assert list(tmp_path.iterdir()) == []


def test_every_file_is_whole(demo: Path) -> None:
    for name in FILES:
        text = (demo / name).read_text(encoding="utf-8")
        assert "{{" not in text, name
        if name.endswith(".py"):
            assert ast.get_docstring(ast.parse(text)), name
    tomllib.loads((demo / "pyproject.toml").read_text())
    assert (demo / "conf" / ".trainkit").read_bytes() == b""


def test_every_file_is_formatted_and_typed_as_trainkit_is(demo: Path) -> None:
    wide = [name for name in FILES for line in (demo / name).read_text().splitlines() if len(line) > 120]
    assert wide == [] or set(wide) <= {"README.md"}
    for name in ("demo/data.py", "demo/model.py", "train.py", "tests/test_project.py"):
        functions = [
            node for node in ast.walk(ast.parse((demo / name).read_text())) if isinstance(node, ast.FunctionDef)
        ]
        assert functions and all(function.returns for function in functions), name


def test_every_key_of_its_yamls_says_what_it_is(demo: Path) -> None:
    for name in ("conf/model/net.yaml", "conf/data/scans.yaml"):
        text = (demo / name).read_text()
        assert text.startswith("# ")
        keys = re.findall(r"^(\w+: .*)$", text, re.MULTILINE)
        assert keys and all("  # " in line or line.startswith("_target_") for line in keys)


def test_the_readme_names_files_and_commands_that_exist(demo: Path) -> None:
    readme = (demo / "README.md").read_text()
    named = re.findall(r"`([\w./]+\.(?:py|yaml))`", readme)
    assert len(named) >= 6 and all((demo / name).is_file() for name in named)
    from trainkit.cli import COMMANDS

    commands = set(re.findall(r"^trainkit (\w+)", readme, re.MULTILINE))
    assert commands == {"list", "fit", "evaluate", "predict"} and commands <= COMMANDS.keys()


def test_it_trains_evaluates_and_predicts_on_the_command_line(demo: Path, cli: Cli, tmp_path: Path) -> None:
    import numpy as np

    code, out, err = cli("fit", "model=net", "data=scans", *SMALL, "run.dir=runs/scans/a")
    assert (code, err) == (0, "")
    assert "data   scans 300 images 1×8×8\n" in out and "model  Net · " in out
    assert "next   trainkit evaluate runs/scans/a --trust demo" in out
    assert cli("evaluate", "runs/scans/a", "--trust", "demo").code == 0
    np.save("new.npy", np.zeros((3, 1, 8, 8), dtype=np.uint8))
    assert cli("predict", "runs/scans/a", "new.npy", "-o", "out.csv", "--trust", "demo").code == 0
    assert (demo / "out.csv").read_text().count("\n") == 4
    assert "is finished" in cli("fit", "run.dir=runs/scans/a", "run.trust=[demo]").stdout
    assert cli("list", "runs", "--filter", "model=net").stdout.startswith("runs/scans/a  completed  Net  accuracy ")
    assert re.search(r"^scans +Your own data: .* \(yours: conf/data/scans\.yaml\)$", cli("list", "data").stdout, re.M)
    assert cli("--complete", "fit", "model=net", "model.wi").stdout == "model.width=\n"


def in_project(folder: Path, *arguments: str) -> str:
    """Runs Python in a project, as a user would."""
    environment = os.environ | {"PYTHONPATH": ""}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=150, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_script_sweeps(demo: Path) -> None:
    out = in_project(demo, "train.py", "-m", "optimizer.lr=1e-3,3e-3", *SMALL)
    assert len(re.findall("^test   accuracy ", out, re.MULTILINE)) == 2
    results = [json.loads(path.read_text()) for path in demo.glob("runs/scans/*/result.json")]
    assert [result["status"] for result in results] == ["completed"] * 2
    configs = [yaml.safe_load(path.read_text()) for path in demo.glob("runs/scans/*/config.yaml")]
    assert {config["optimizer"]["lr"] for config in configs} == {1e-3, 3e-3}
    assert all(config["model"]["_target_"] == "demo.model.Net" for config in configs)


def test_its_tests_pass(demo: Path) -> None:
    assert "3 passed" in in_project(demo, "-m", "pytest", "-q", "-p", "no:cacheprovider")


def test_the_template_is_in_the_wheel(wheel: Path) -> None:
    names = [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("trainkit/project/template/")]
    assert len(names) == len(template()) == len(FILES)
    assert "trainkit/completion/trainkit.bash" in zipfile.ZipFile(wheel).namelist()
    assert "trainkit/conf/README.md" in zipfile.ZipFile(wheel).namelist()
