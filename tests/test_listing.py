from __future__ import annotations

import json
import os
import pty
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trainkit.config.choices import Choice
from trainkit.config.shipped import groups
from trainkit.listing import OPTIONAL_COLUMNS, list_, plural, table
from trainkit.runs.find import FoundRun

Cli = Callable[..., Any]
MakeRun = Callable[..., Path]
AGO = r" +\d+ (s|min|h|d) ago"


def cpu_seconds() -> float:
    """Seconds of processor time of all child processes so far, which a busy machine does not lengthen much."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A marked ``conf/`` with a net of the user's, and one that trainkit's hides."""
    folder = tmp_path / "conf" / "model"
    folder.mkdir(parents=True)
    (tmp_path / "conf" / ".trainkit").touch()
    (folder / "net.yaml").write_text("# My net.\n_target_: mine.Net\n")
    (folder / "mlp.yaml").write_text("_target_: mine.MLP\n")
    return tmp_path / "conf"


@pytest.mark.parametrize("arguments", [[], ["models"], ["runs", "--root", "."]])
def test_it_is_fast_and_imports_no_torch(arguments: list[str], make_run: MakeRun, tmp_path: Path) -> None:
    make_run("one/run", {"accuracy": 0.5})
    code = "import sys; from trainkit.cli import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    before = cpu_seconds()
    command = [sys.executable, "-c", code, "list", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert cpu_seconds() - before < 0.6
    assert done.stdout.endswith("False\n") and not done.stderr


def test_without_a_kind_the_kinds_are_counted(cli: Cli, make_run: MakeRun) -> None:
    make_run("runs/a/x")
    make_run("other/y")
    code, out, err = cli("list")
    counts = dict(line.split() for line in out.splitlines())
    assert (code, err) == (0, "")
    assert counts == {plural(group): str(len(names)) for group, names in groups().items()} | {"runs": "1"}
    assert cli("list", "--root", "nothing").stdout.splitlines()[-1].split() == ["runs", "0"]


@pytest.mark.parametrize("group", sorted(groups()))
def test_every_kind_lists_its_choices_with_what_they_are(cli: Cli, group: str) -> None:
    listed = cli("list", plural(group))
    assert (listed.code, listed.stderr) == (0, "")
    lines = [line.split(maxsplit=1) for line in listed.stdout.splitlines()]
    assert [line[0] for line in lines] == groups()[group]
    assert all(len(line) == 2 for line in lines), "a YAML begins with a comment that says what it is"
    assert cli("list", plural(group).removesuffix("s")) == cli("list", group) == listed


def test_the_users_own_are_marked(cli: Cli, own: Path) -> None:
    out = cli("list", "models").stdout
    assert re.search(r"^net +My net\. \(yours: conf/model/net\.yaml\)$", out, re.MULTILINE)
    hidden = r"^mlp +\(yours: conf/model/mlp\.yaml, never used: another of this name comes first\)$"
    assert re.search(hidden, out, re.MULTILINE)
    (own / ".trainkit").unlink()
    assert "yours" not in cli("list", "models").stdout
    assert cli("list", "models", "--config-dir", "conf").stdout == out


def test_choices_come_as_json(cli: Cli, own: Path) -> None:
    rows = json.loads(cli("list", "models", "--json").stdout)
    assert rows[-1] == {"name": "net", "about": "My net.", "path": "conf/model/net.yaml", "own": True}
    assert rows[0]["name"] == "auto" and not rows[0]["own"] and Path(rows[0]["path"]).is_file()
    assert [row["name"] for row in json.loads(cli("list", "models", "--json", "--limit", "2").stdout)] == [
        "auto",
        "cnn",
    ]


def test_a_run_is_one_line(cli: Cli, make_run: MakeRun) -> None:
    make_run("runs/a/x", {"accuracy": 0.9, "log_loss": 0.25})
    made = datetime.now() - timedelta(hours=3, minutes=5)
    make_run(f"runs/b/{made:%Y-%m-%d_%H-%M-%S}", {"rmse": 54.321}, objective=("val/rmse", "min", 1234.5), epochs=1)
    make_run("runs/c/y", status="failed", objective=None, error="ValueError: nan")
    code, out, err = cli("list", "runs", "--sort", "name")
    assert (code, err) == (0, "")
    lines = [re.split(" {2,}", line) for line in out.splitlines()]
    assert lines[0][:-1] == ["runs/a/x", "completed", "MLP", "accuracy 0.900", "[0.800, 1.000]", "val/accuracy 0.500",
                             "4 epochs", "1 min"]  # fmt: skip
    assert lines[1][3:] == ["rmse 54.32", "[54.22, 54.42]", "val/rmse 1,234", "1 epoch", "1 min", "3 h ago"]
    assert lines[2][:4] + lines[2][-1:] == ["runs/c/y", "failed", "MLP", "–", "ValueError: nan"]
    assert re.fullmatch(AGO.strip(" +"), lines[0][-1])


def test_the_metric_that_is_sorted_by_is_shown(cli: Cli, make_run: MakeRun) -> None:
    make_run("runs/a/1", {"accuracy": 0.9, "log_loss": 0.25})
    make_run("runs/a/2", {"accuracy": 0.8, "log_loss": 0.125})
    make_run("runs/a/3", status=None)
    lines = cli("list", "runs", "--sort", "log_loss").stdout.splitlines()
    assert [line.split()[:1] + line.split()[3:6] for line in lines[:2]] == [
        ["runs/a/2", "log_loss", "0.125", "[0.025,"],
        ["runs/a/1", "log_loss", "0.250", "[0.150,"],
    ]
    assert lines[2].split()[:5] == ["runs/a/3", "running?", "MLP", "–", "–"]
    assert "val/accuracy 0.500  val/accuracy 0.500" in re.sub(
        " {2,}", "  ", cli("list", "run", "--sort=val/accuracy").stdout
    )


def test_runs_are_filtered_and_limited(cli: Cli, make_run: MakeRun) -> None:
    for number in range(4):
        make_run(f"runs/a/{number}", {"accuracy": number / 4}, config={"seed": number % 2})
    shown = cli("list", "runs", "--filter", "seed=1", "accuracy>0.2", "--filter", "status=completed", "--limit", "1")
    assert shown.stdout.startswith("runs/a/") and shown.stdout.count("\n") == 1
    assert cli("list", "runs", "--filter", "seed=5").stdout == "no runs in 'runs' that meet every filter\n"
    Path("empty").mkdir()
    assert cli("list", "runs", "--root", "empty").stdout == "no runs in 'empty'\n"
    assert cli("list", "runs", "--root", "empty", "--json").stdout == "[]\n"


def test_runs_come_as_json(cli: Cli, make_run: MakeRun) -> None:
    make_run("runs/a/2026-11-25_10-20-30", {"accuracy": 0.5, "auroc": None})
    make_run("runs/b/x", status="failed", objective=None, error="broken").joinpath("result.json").write_text("{")
    whole, damaged = json.loads(cli("list", "runs", "--json", "--sort", "name").stdout)
    assert whole == {
        "path": "runs/a/2026-11-25_10-20-30",
        "status": "completed",
        "model": "MLP",
        "metrics": {
            "test": {
                "accuracy": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 20},
                "auroc": {"value": None, "low": None, "high": None, "n": 20},
            },
            "validation": {},
        },
        "objective": {"name": "val/accuracy", "mode": "max", "value": 0.5},
        "epochs": 4,
        "steps": 40,
        "seconds": 75.0,
        "began": "2026-11-25T10:20:30",
        "error": None,
    }
    assert damaged["status"] == "damaged" and "result.json' cannot be read" in damaged["error"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["modles"], "there is no kind 'modles'\n  expected one of augments, callbacks, data, "),
        (["modls"], "  hint     did you mean 'models'?\n"),
        (["runs"], "there is no directory 'runs'\n  where    --root\n  hint     trainkit fit makes runs\n"),
        (["models", "--sort", "date"], "--sort is for runs\n  where    list\n"),
        (["models", "--filter", "a=1"], "--filter is for runs\n"),
        (["--json"], "--json is for runs\n"),
        (["runs", "--config-dir", "conf"], "--config-dir is for the other kinds\n"),
        (["models", "--config-dir", "nowhere"], "no directory 'nowhere'\n  where    --config-dir\n"),
    ],
)
def test_a_mistake_gives_a_few_lines(cli: Cli, arguments: list[str], text: str) -> None:
    if "--config-dir" in arguments and "runs" in arguments:
        Path("conf").mkdir()
    code, out, err = cli("list", *arguments)
    assert (code, out) == (2, "") and text in err


def test_python_gets_what_is_listed(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("runs/a/x")
    (run,) = list_("runs", root=str(tmp_path / "runs"))
    assert isinstance(run, FoundRun) and run.path == tmp_path / "runs" / "a" / "x"
    first = list_("data", limit=1)[0]
    assert isinstance(first, Choice) and first.group == "data"


WHOLE = ["runs/digits/2026-11-25  completed  CNN  accuracy 0.9", "runs/a                  failed     –    –"]
ROWS = [("runs/digits/2026-11-25", "completed", "CNN", "accuracy 0.9"), ("runs/a", "failed", "–", "–")]


@pytest.mark.parametrize(
    ("width", "optional", "lines"),
    [
        (None, (1, 2), WHOLE),
        (52, (1, 2), WHOLE),
        (51, (1, 2), ["runs/digits/2026-11-25  CNN  accuracy 0.9", "runs/a                  –    –"]),
        (36, (1, 2), ["runs/digits/2026-11-25  accuracy 0.9", "runs/a                  –"]),
        (30, (1, 2), ["…gits/2026-11-25  accuracy 0.9", "runs/a            –"]),
        (20, (1, 2), ["…/2026-11-25  accur…", "runs/a        –"]),
    ],
)  # fmt: skip
def test_a_narrow_terminal_loses_columns_then_letters(
    width: int | None, optional: tuple[int, ...], lines: list[str]
) -> None:
    made = table(ROWS, width, optional)
    assert made == lines
    assert all(len(line) <= (width or 1_000) for line in made)


def test_a_long_text_at_the_end_is_cut() -> None:
    assert table([("cnn", "A small residual net"), ("mlp", "Short")], 16) == ["cnn  A small re…", "mlp  Short"]
    assert table([], 10) == []


def test_a_column_without_a_word_takes_no_room() -> None:
    assert table([("a", "", "b"), ("c", "", "d")], 5, (1,)) == ["a  b", "c  d"]


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_on_a_terminal_every_line_fits(width: int, make_run: MakeRun, tmp_path: Path) -> None:
    for number in range(3):
        make_run(f"runs/breast_cancer/2026-11-25_10-20-3{number}", {"balanced_accuracy": 0.9}, error="a b" * number)
    inner, outer = pty.openpty()
    environment = os.environ | {"COLUMNS": str(width)}
    command = [sys.executable, "-m", "trainkit.cli", "list", "runs", "--sort", "balanced_accuracy"]
    subprocess.run(command, cwd=tmp_path, stdout=outer, check=True, env=environment)
    os.close(outer)
    lines = os.read(inner, 100_000).decode().splitlines()
    os.close(inner)
    assert len(lines) == 3 and max(map(len, lines)) <= width
    assert all("balanced_accuracy 0.900" in line for line in lines) or width < 80
    assert max(OPTIONAL_COLUMNS) == 9
