"""Fixtures for every test: one thread, fixed seeds, the command line in-process, and no write into the repository."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read once, when torch is imported

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "trainkit", "conf")
CACHES = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".venv", ".git"}
TRAINING_LEAVES = ("runs", "outputs", "multirun", "lightning_logs", "build", "dist")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PATH_ARGUMENT = {"os.mkdir": 0, "os.rename": 1, "os.remove": 0, "os.rmdir": 0, "os.symlink": 1, "os.link": 1}


class RepositoryWriteError(AssertionError):
    """A test wrote into the repository instead of its ``tmp_path``."""


class _WriteGuard:
    """Audit hook that refuses writes of this process below the repository while it is active.

    An audit hook cannot be removed, so there is one for the session and a switch.
    """

    def __init__(self) -> None:
        self.active = False

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event == "open":
            path, _, flags = args
            if isinstance(path, str | bytes | os.PathLike) and flags & WRITING:
                self._refuse_inside(event, path)
        elif event in PATH_ARGUMENT:
            path = args[PATH_ARGUMENT[event]]
            if isinstance(path, str | bytes | os.PathLike):
                self._refuse_inside(event, path)

    def _refuse_inside(self, event: str, path: str | bytes | os.PathLike[str]) -> None:
        absolute = Path(os.path.abspath(os.fsdecode(path)))
        if absolute.is_relative_to(REPOSITORY) and CACHES.isdisjoint(absolute.relative_to(REPOSITORY).parts):
            raise RepositoryWriteError(f"{event} of {absolute}: tests write to tmp_path only")


_guard = _WriteGuard()
sys.addaudithook(_guard)


@pytest.fixture(autouse=True)
def _no_write_into_repository() -> Iterator[None]:
    before = {name for name in TRAINING_LEAVES if (REPOSITORY / name).exists()}
    _guard.active = True
    yield
    _guard.active = False
    left = {name for name in TRAINING_LEAVES if (REPOSITORY / name).exists()} - before
    assert not left, f"a process started by this test left {sorted(left)} in the repository"


@pytest.fixture(autouse=True)
def _same_start_for_every_test() -> None:
    """Seeds, counters, one thread, no Hydra left; imports neither torch, NumPy nor Hydra for a test that does not."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
        torch.manual_seed(0)
        torch.use_deterministic_algorithms(False)
    events: Any = sys.modules.get("tensorboard.summary.writer.event_file_writer")
    if events:
        events._global_uid = events.AtomicCounter(0)  # files of one second are read by name, "10" before "9"
    if hydra := sys.modules.get("hydra.core.global_hydra"):
        hydra.GlobalHydra.instance().clear()
    if hydra_config := sys.modules.get("hydra.core.hydra_config"):
        hydra_config.HydraConfig.instance().cfg = None


class CliResult(NamedTuple):
    """What a call of the command line gave.

    Attributes:
        code: Exit code.
        stdout: Everything written to standard output.
        stderr: Everything written to standard error.
    """

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., CliResult]:
    """``cli("fit", "model=mlp")`` runs the command line in this process, in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command line adds the working directory

    def run(*arguments: str | os.PathLike[str]) -> CliResult:
        from trainkit.cli import main

        words = [os.fspath(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["trainkit", *words])
        capfd.readouterr()
        code: int | str | None
        try:
            code = main(words)
        except SystemExit as stop:
            code = stop.code
        out, err = capfd.readouterr()
        if isinstance(code, str):  # sys.exit("message") prints it and exits with 1
            code, err = 1, f"{err}{code}\n"
        return CliResult(code or 0, out, err)

    return run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """``make_run("runs/a/1", test={"accuracy": 0.9})`` writes what ``list`` reads of a run, without training one."""

    def make(
        name: str,
        test: dict[str, float | None] | None = None,
        *,
        status: str | None = "completed",
        objective: tuple[str, str, float] | None = ("val/accuracy", "max", 0.5),
        config: dict[str, Any] | None = None,
        overrides: tuple[str, ...] = (),
        **facts: Any,
    ) -> Path:
        directory = tmp_path / name
        directory.mkdir(parents=True)
        net = {"model": {"_target_": "trainkit.models.MLP", "hidden": [8]}, "optimizer": {"lr": 0.001}}
        (directory / "splits.npz").touch()
        (directory / "config.yaml").write_text(json.dumps(net | (config or {})))
        (directory / "overrides.yaml").write_text(json.dumps({"overrides": overrides}))
        estimates = {
            metric: {"value": value, "low": value and value - 0.1, "high": value and value + 0.1, "n": 20}
            for metric, value in (test or {}).items()
        }
        result: dict[str, Any] = {
            "format_version": 1,
            "status": status,
            "metrics": {"test": estimates},
            "steps": 40,
            "epochs": 4,
        }
        result |= {"seconds": {"total": 75.0}} | facts
        objective_name, mode, best = objective or (None, None, None)
        result["objective"] = {"name": objective_name, "mode": mode, "value": best}
        if status is not None:
            (directory / "result.json").write_text(json.dumps(result))
        return directory

    return make


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources (a build leaves files beside them)."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    source.mkdir()
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / name, source / name)
    pip("wheel", "--no-build-isolation", "--wheel-dir", place, source)
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the installed wheel."""
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--target", target, wheel)
    return target


def pip(command: str, *arguments: str | Path) -> None:
    common = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, *common, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def run(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """``run("-c", script)`` in an empty folder with the installed trainkit, and neither the repository nor the cwd."""
    monkeypatch.setenv("PYTHONPATH", str(installed))

    def start(*arguments: str | Path) -> str:
        command = [sys.executable, "-P", *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return start
