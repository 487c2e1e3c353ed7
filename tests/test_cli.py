from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trainkit
from trainkit import cli as command_line
from trainkit.cli import COMMANDS, load
from trainkit.config.shipped import groups
from trainkit.errors import RunError

KNOWN = "one of fit, check, evaluate, predict, list, new"
Cli = Callable[..., Any]
MODELS = ", ".join(groups()["model"])
MEASURED = """
import sys, time
start = time.perf_counter()
from trainkit.cli import main
code = main(sys.argv[1:])
print(code, time.perf_counter() - start, sorted({"torch", "lightning", "numpy"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Calls that reached the functions of the table, which are stood in for."""
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setattr(
        command_line, "load", lambda target: lambda *args, **kwargs: calls.append((target, args, kwargs))
    )
    return calls


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["fit", "-h"], ["check", "-h"], ["--version"], ["evaluate", "-h"]]
)
def test_help_is_fast_and_imports_no_torch(arguments: list[str], tmp_path: Path) -> None:
    seconds = []
    for _ in range(3):  # the machine may be busy: the best of three counts
        start = time.perf_counter()
        command = [sys.executable, "-m", "trainkit.cli", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0 and done.stdout and not done.stderr
    assert min(seconds) < 0.5


@pytest.mark.parametrize(
    ("arguments", "limit"), [(["--help"], 0.5), (["fit", "-h"], 0.5), (["fit", "--cfg", "job"], 1.0)]
)
def test_no_torch_is_imported(arguments: list[str], limit: float, tmp_path: Path) -> None:
    for _ in range(3):
        command = [sys.executable, "-c", MEASURED, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        code, seconds, modules = done.stderr.split(" ", 2)
        assert (code, modules.strip()) == ("0", "[]")
        if float(seconds) < limit:
            break
    assert float(seconds) < limit
    assert list(tmp_path.iterdir()) == []


def test_import_of_trainkit_adds_little_to_hydra(tmp_path: Path) -> None:
    code = (
        "import time, hydra, omegaconf; from hydra.core.config_store import ConfigStore; start = time.perf_counter(); "
        "import trainkit, sys; print(time.perf_counter() - start, 'torch' in sys.modules)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True) for _ in range(3)
    ]
    assert all(done.stdout.endswith(" False\n") for done in runs)
    assert min(float(done.stdout.split()[0]) for done in runs) < 0.15


def test_help_lists_the_commands_and_fit_lists_its_groups(cli: Cli) -> None:
    assert all(f"  {name} " in cli("--help").stdout for name in COMMANDS)
    shown = cli("fit", "-h").stdout
    assert shown.startswith("usage: trainkit fit [group=choice …] [key=value …] [options]\n")
    assert f"  model       {' | '.join(groups()['model'])}\n" in shown
    assert cli("--version") == (0, f"trainkit {trainkit.__version__}\n", "")


def test_no_command_shows_the_help(cli: Cli) -> None:
    assert cli() == (2, cli("-h").stdout, "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["fti"], f"unknown command 'fti'\n  expected {KNOWN}\n  hint     did you mean 'fit'?\n"),
        (["xyz"], f"unknown command 'xyz'\n  expected {KNOWN}\n  hint     trainkit --help\n"),
        (["fit", "sede=1"], "unknown key 'sede'\n  where    sede=1\n  hint     did you mean 'seed'?\n"),
        (["fit", "--cfg", "job", "seed=x"], "seed cannot be 'x'\n  where    seed=x\n  expected an integer\n"),
        (["fit", "-m", "model=mlp,cnnn"], "group 'model' has no 'cnnn'\n  where    model=mlp,cnnn\n"
                                          f"  expected one of {MODELS}\n"
                                          "  hint     did you mean 'cnn'?\n"),
        (["fit", "--config-name", "nothing"], "no config 'nothing'\n"),
        (["fit", "--resolve"], "The --resolve flag can only be used in conjunction with --cfg or --help\n"),
    ],
)  # fmt: skip
def test_a_mistake_gives_a_few_lines_and_leaves_nothing(
    cli: Cli, tmp_path: Path, arguments: list[str], text: str
) -> None:
    assert cli(*arguments) == (2, "", text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["evaluate"], "trainkit evaluate: error: the following arguments are required: RUN\n"),
        (["predict", "runs/a"], "trainkit predict: error: the following arguments are required: FILE, -o/--output\n"),
        (["evaluate", "a", "--split", "train"], "error: argument --split: invalid choice: 'train'"),
        (["fit", "--nonsense"], "trainkit fit: error: unrecognized arguments: --nonsense\n"),
    ],
)
def test_a_missing_or_wrong_argument_shows_the_usage(cli: Cli, arguments: list[str], text: str) -> None:
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "") and err.startswith("usage: trainkit ") and text in err


def test_evaluate_and_predict_pass_their_arguments(cli: Cli, called: list[Any]) -> None:
    assert cli("evaluate", "runs/a", "--trust", "one", "--trust", "two").code == 0
    assert cli("predict", "runs/a", "new.csv", "-o", "out.parquet").code == 0
    assert cli("evaluate", "runs/a", "--split", "validation").code == 0
    assert called == [
        ("trainkit.api:evaluate", ("runs/a",), {"split": "test", "trust": ["one", "two"]}),
        ("trainkit.api:predict", ("runs/a", "new.csv"), {"output": "out.parquet", "trust": []}),
        ("trainkit.api:evaluate", ("runs/a",), {"split": "validation", "trust": []}),
    ]


def test_fit_passes_the_config(cli: Cli, called: list[Any], tmp_path: Path) -> None:
    assert cli("fit", "seed=2", "model=mlp") == (0, "", "")
    ((target, (cfg,), keywords),) = called
    assert (target, cfg.seed, cfg.model._target_, keywords) == ("trainkit.api:run_job", 2, "trainkit.models.MLP", {})
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_users_in_the_job_is_printed_without_traceback(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def job(cfg: Any) -> None:
        raise RunError("the run is finished", hint="choose another run.dir")

    monkeypatch.setattr(command_line, "load", lambda target: job)
    assert cli("fit") == (2, "", "the run is finished\n  hint     choose another run.dir\n")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(RunError):
        cli("fit")


def test_a_bug_in_the_job_keeps_its_traceback(tmp_path: Path) -> None:
    code = (
        "import sys, trainkit.cli as cli\n"
        "def job(cfg): return {}['bug']\n"
        "cli.load = lambda target: job\n"
        "sys.exit(cli.main(['fit']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "in job" in done.stderr and done.stderr.endswith("KeyError: 'bug'\n")


def test_a_sweep_goes_on_after_a_failure_and_ends_with_3(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    def job(cfg: Any) -> None:
        seeds.append(cfg.seed)
        if cfg.seed == 1:
            raise RunError("not this one")

    monkeypatch.setattr(command_line, "load", lambda target: job)
    assert cli("fit", "-m", "seed=0,1,2") == (3, "", "job 1 failed (seed=1)\nnot this one\n1 of 3 jobs failed\n")
    assert seeds == [0, 1, 2]
    assert cli("fit", "-m", "seed=0,2") == (0, "", "")


def test_a_reader_that_stops_reading_is_no_bug(tmp_path: Path) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "own.yaml").write_text("# " + "long " * 50_000)  # more than a pipe takes in
    command = f"{sys.executable} -m trainkit.cli list models --config-dir conf | head -c 5; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (141, "auto ", "")


def test_ctrl_c_ends_with_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "load", lambda target: stop)
    assert cli("evaluate", "runs/a") == (130, "", "interrupted\n")


def test_a_module_in_the_working_directory_can_be_named(cli: Cli, called: list[Any], tmp_path: Path) -> None:
    before = list(sys.path)
    try:
        cli("evaluate", "runs/a")
        assert sys.path[-1] == str(tmp_path)
    finally:
        sys.path[:] = before


def test_load_imports_module_and_function() -> None:
    assert load("json:dumps")({}) == "{}"
