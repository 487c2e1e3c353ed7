"""The backend of completion, in-process: words in, words out."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainkit.cli import COMMANDS
from trainkit.completion import SHELLS, complete
from trainkit.completion.complete import OPTIONS
from trainkit.config.compose import compose
from trainkit.config.shipped import groups

Cli = Callable[..., Any]
MakeRun = Callable[..., Path]
ARGUMENTS = {name: command.arguments for name, command in COMMANDS.items()}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cpu_seconds() -> float:
    """Seconds of processor time of all child processes so far, which a busy machine does not lengthen much."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def asked(*words: str) -> list[str]:
    return complete(words, ARGUMENTS)


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        ([""], list(COMMANDS)),
        ([], list(COMMANDS)),
        (["eva"], ["evaluate"]),
        (["--"], ["--help", "--version", "--completion"]),
        (["--completion", ""], list(SHELLS)),
        (["--completion", "z"], ["zsh"]),
        (["nothing", ""], []),
        (["fit", "mod"], ["model.", "model=", "module="]),
        (["fit", "model=c"], ["model=cnn", "model=cnn1d", "model=custom"]),
        (["fit", "model="], [f"model={name}" for name in groups()["model"]]),
        (["fit", "-m", "model=mlp,c"], ["model=mlp,cnn", "model=mlp,cnn1d", "model=mlp,custom"]),
        (["fit", "model=mlp,mlp,m"], []),
        (["fit", "+experiment=dia"], ["+experiment=diabetes"]),
        (["fit", "~call"], ["~callbacks="]),
        (["fit", "trainer.max_ep"], ["trainer.max_epochs="]),
        (["fit", "trainer.max_"], ["trainer.max_epochs=", "trainer.max_steps="]),
        (["fit", "model.wi"], []),
        (["fit", "model=cnn", "model.wi"], ["model.width="]),
        (["fit", "callbacks=early_stopping", "callbacks."], ["callbacks.early_stopping."]),
        (["fit", "callbacks=early_stopping", "callbacks.early_stopping.pa"], ["callbacks.early_stopping.patience="]),
        (
            ["fit", "trainer.precision="],
            [f"trainer.precision={p}" for p in ("fp32", "bf16-mixed", "bf16-true", "fp16-mixed")],
        ),
        (["fit", "data.stratify=f"], ["data.stratify=false"]),
        (["fit", "model=mlp", "model.norm=l"], ["model.norm=layer"]),
        (["fit", "seed="], []),
        (["fit", "model=mlp", "model.hidden="], []),
        (["fit", "--cfg", "j"], ["job"]),
        (["fit", "--cfg=j"], ["--cfg=job"]),
        (["fit", "--config-n"], ["--config-name"]),
        (["fit", "-"], list(OPTIONS)),
        (["fit", "-i", "def"], ["defaults", "defaults-tree"]),
        (["evaluate", "-"], ["--split", "--trust", "--help"]),
        (["evaluate", "a", "--split", ""], ["test", "validation"]),
        (["evaluate", "--split", "test", "a", ""], []),
        (["list", "model"], ["models"]),
        (["list", "runs", "--sort", "da"], ["date"]),
        (["list", "runs", "--limit", ""], []),
        (["list", "runs", "--json", "--sort", "ti"], ["time"]),
        (["list", "runs", "--filter", "stat"], ["status="]),
        (["list", "runs", "--filter", "status=failed", "model=c"], ["model=cnn", "model=cnn1d", "model=custom"]),
        (["list", "runs", "--filter", "optimizer.l"], ["optimizer.lr="]),
    ],
)
def test_words_are_completed(words: list[str], answers: list[str]) -> None:
    assert asked(*words) == answers


def test_a_key_stands_at_every_place_that_hydra_takes_it() -> None:
    (answer,) = asked("fit", "model=cnn", "model.dro")
    assert compose(["model=cnn", f"{answer}0.5"]).model.dropout == 0.5


def test_a_command_without_a_table_of_arguments_takes_overrides() -> None:
    assert complete(["verify", "model=ml"], {"verify": None}) == ["model=mlp"]


def test_an_argument_that_repeats_is_completed_again(make_run: MakeRun) -> None:
    make_run("runs/a/1")
    make_run("runs/a/2")
    arguments = {"compare": ((("run",), {"metavar": "RUN", "nargs": "+"}),)}
    assert complete(["compare", "runs/a/1", "runs/a/"], arguments) == ["runs/a/1", "runs/a/2"]


def test_run_directories_are_completed_level_by_level(make_run: MakeRun, folder: Path) -> None:
    for name in ("runs/wine/1", "runs/wine/2", "runs/digits/1", "other/deep/9"):
        make_run(name)
    (folder / "notes" / "old").mkdir(parents=True)
    (folder / "runs" / "empty").mkdir()
    assert asked("evaluate", "") == ["other/", "runs/"]
    assert asked("evaluate", "runs/") == ["runs/digits/", "runs/wine/"]
    assert asked("predict", "runs/wi") == ["runs/wine/1", "runs/wine/2"]
    assert asked("evaluate", "oth") == ["other/deep/9"]
    assert asked("evaluate", "runs/wine/2") == ["runs/wine/2"]
    assert asked("evaluate", "no") == ["notes/"]
    for key in ("run.dir", "resume_from", "+init_from"):
        assert asked("fit", f"{key}=runs/wine/") == [f"{key}=runs/wine/1", f"{key}=runs/wine/2"]
    assert asked("fit", "init_from=runs/wine/1/split") == ["init_from=runs/wine/1/splits.npz"]


def test_files_are_completed_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "data").mkdir()
    for name in ("data/churn.csv", "data/.hidden", "new file.csv", "note.txt"):
        (folder / name).touch()
    monkeypatch.setenv("HOME", str(folder))
    assert asked("predict", "runs/a", "n") == ["new file.csv", "note.txt"]
    assert asked("predict", "runs/a", "x.csv", "-o", "data/") == ["data/churn.csv"]
    assert asked("predict", "runs/a", "data/.") == ["data/.hidden"]
    assert asked("predict", "runs/a", "~/da") == ["~/data/"]
    assert asked("predict", "runs/a", "nowhere/") == []
    assert asked("fit", "data=table", "data.path=data/c") == ["data.path=data/churn.csv"]
    assert asked("list", "runs", "--root", "") == ["data/"]


def test_the_users_own_yamls_are_completed(folder: Path) -> None:
    (folder / "conf" / "model").mkdir(parents=True)
    (folder / "conf" / "model" / "net.yaml").write_text("depth: 2\n")
    (folder / "conf" / "train.yaml").write_text("defaults:\n  - fit\n  - override /model: net\n")
    assert asked("fit", "model=n") == []
    assert asked("fit", "--config-dir", "") == ["conf/"]
    assert asked("fit", "--config-dir", "conf", "model=n") == ["model=net"]
    assert asked("fit", "--config-dir=conf", "model=net", "model.d") == ["model.depth="]
    assert asked("fit", "-cd", "conf", "-cn", "") == ["fit", "train"]
    assert asked("fit", "-cd", "conf", "-cn", "train", "model.d") == ["model.depth="]
    (folder / "conf" / ".trainkit").touch()
    assert asked("fit", "model=n") == ["model=net"]


def test_metrics_of_the_runs_are_completed(make_run: MakeRun) -> None:
    make_run("runs/a/1", {"balanced_accuracy": 0.5})
    make_run("more/1", {"rmse": 0.5})
    assert asked("list", "runs", "--sort", "bal") == ["balanced_accuracy"]
    assert asked("list", "runs", "--root", "more", "--sort", "r") == ["rmse"]
    assert asked("list", "runs", "--filter", "bal") == ["balanced_accuracy="]


def test_the_command_prints_one_word_a_line(cli: Cli) -> None:
    assert cli("--complete", "fit", "model=c") == (0, "model=cnn\nmodel=cnn1d\nmodel=custom\n", "")
    assert cli("--complete", "nothing", "") == (0, "", "")


def test_it_never_fails_loudly(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("--complete", "fit", "--config-dir", "missing", "mo") == (1, "", "")
    (folder / "conf").mkdir()
    (folder / "conf" / ".trainkit").touch()
    (folder / "conf" / "train.yaml").write_text("defaults: [")
    assert cli("--complete", "fit", "-cn", "train", "mo") == (1, "", "")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match="while parsing a flow"):
        cli("--complete", "fit", "-cn", "train", "mo")


@pytest.mark.parametrize("words", [["fit", "model=cnn", "model.wi"], ["evaluate", "ru"], ["fit", "run.dir=ru"]])
def test_it_is_fast_and_imports_no_torch(words: list[str], make_run: MakeRun, folder: Path) -> None:
    for number in range(100):
        make_run(f"runs/a/{number}")
    code = (
        "import sys; from trainkit.cli import main; main(sys.argv[1:]); "
        "print({'torch', 'numpy', 'lightning'} & set(sys.modules))"
    )
    before = cpu_seconds()
    command = [sys.executable, "-c", code, "--complete", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert cpu_seconds() - before < 0.4
    assert done.stdout.count("\n") >= 2 and done.stdout.endswith("\nset()\n") and not done.stderr
