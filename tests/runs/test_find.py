from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from trainkit.errors import RunError
from trainkit.rundir import RunDirectory
from trainkit.runs.find import RECENT_SECONDS, class_name, read_run, read_runs, run_directories
from trainkit.runs.result import Result

MakeRun = Callable[..., Path]


def cpu_seconds() -> float:
    """Seconds of processor time of all child processes so far, which a busy machine does not lengthen much."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def age(directory: Path, seconds: float) -> None:
    """Makes everything in a run look as old."""
    moment = time.time() - seconds
    for path in (*directory.rglob("*"), directory):
        os.utime(path, (moment, moment))


def names(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in run_directories(root)]


def test_runs_are_found_at_every_depth_and_not_inside_of_runs(make_run: MakeRun, tmp_path: Path) -> None:
    for name in ("b/2026-11-25_10-00-00", "a/10acd509cb0e", "deep/er/x"):
        make_run(name)
    (tmp_path / "a" / "10acd509cb0e" / "checkpoints").mkdir()
    make_run("a/10acd509cb0e/inner/run")
    make_run(".hidden/run")
    (tmp_path / "a" / "multirun.yaml").touch()
    (tmp_path / "empty").mkdir()
    assert names(tmp_path) == ["a/10acd509cb0e", "b/2026-11-25_10-00-00", "deep/er/x"]
    assert list(run_directories(tmp_path / "deep" / "er" / "x")) == [tmp_path / "deep" / "er" / "x"]


def test_the_search_goes_down_as_far_as_asked(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("a/b/run")
    assert list(run_directories(tmp_path, depth=2)) == []
    assert list(run_directories(tmp_path, depth=3)) == [tmp_path / "a" / "b" / "run"]


def test_links_to_directories_are_not_followed(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("a/run")
    (tmp_path / "a" / "latest").symlink_to("run")
    (tmp_path / "a" / "loop").symlink_to("..")
    assert names(tmp_path) == ["a/run"]


def test_a_config_alone_is_another_tool_s(tmp_path: Path) -> None:
    folder = tmp_path / "mlruns" / "0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("a: 1\n")
    assert names(tmp_path) == []


def test_a_run_of_a_later_format_is_not_read(make_run: MakeRun) -> None:
    path = make_run("a/run")
    result = json.loads((path / "result.json").read_text())
    (path / "result.json").write_text(json.dumps(result | {"format_version": 99}))
    found = read_run(path)
    assert found.status == "damaged" and "has format 99, of a newer trainkit" in str(found.error)


def test_a_config_alone_means_a_run_only_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{}")  # a project of another kind
    (tmp_path / "study" / "job").mkdir(parents=True)
    (tmp_path / "study" / "job" / "error.txt").write_text("Ridge does not fit\n  where    model\n")
    assert names(tmp_path) == ["study/job"]


def test_a_directory_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        read_runs(tmp_path / "runs")
    assert str(caught.value).splitlines()[0] == f"there is no directory '{tmp_path}/runs'"
    assert list(run_directories(tmp_path / "runs")) == []


def test_what_a_run_came_to_is_read(make_run: MakeRun) -> None:
    path = make_run(
        *("runs/wine/2026-11-25_10-20-30-2", {"accuracy": 0.8, "auroc": None}),
        overrides=("model=mlp", "+experiment=wine", "trainer.max_epochs=4"),
    )
    run = read_run(path)
    assert (run.path, run.status, run.name, run.model) == (path, "completed", "wine", "MLP")
    assert run.began == datetime(2026, 11, 25, 10, 20, 30)
    assert (run.epochs, run.steps, run.seconds, run.error) == (4, 40, 75.0, None)
    assert (run.objective_name, run.objective_mode, run.objective) == ("val/accuracy", "max", 0.5)
    assert str(run.test["accuracy"]) == "0.800 [0.700, 0.900]" and run.test["accuracy"].n == 20
    assert run.choices == {"model": "mlp", "experiment": "wine"}
    assert run.config["optimizer"] == {"lr": 0.001}


def test_it_reads_what_a_result_writes(make_run: MakeRun) -> None:
    path = make_run("runs/a/x", {"accuracy": 0.8})
    result = Result.load(RunDirectory(path))
    run = read_run(path)
    assert (run.test, run.validation) == (result.test, result.validation)
    assert (run.status, run.steps, run.objective) == (result.status, result.steps, result.objective)


def test_metrics_are_asked_for_by_name(make_run: MakeRun) -> None:
    estimate = {"value": 0.6, "low": 0.5, "high": 0.7, "n": 5}
    metrics = {"test": {"accuracy": estimate | {"value": None}}, "validation": {"f1": estimate}}
    run = read_run(make_run("runs/a/x", metrics=metrics))
    assert run.metric("accuracy") is None  # nan: undefined
    assert run.metric("val/f1") == 0.6
    assert run.metric("val/accuracy") == 0.5  # the objective
    assert run.metric("val/recall") is None and run.metric("recall") is None


def test_a_run_without_a_result_may_be_running(make_run: MakeRun) -> None:
    path = make_run("runs/a/x", status=None)
    assert read_run(path).status == "running?"
    age(path, RECENT_SECONDS + 60)
    assert read_run(path).status == "unfinished"
    (path / "metrics.csv").touch()
    assert read_run(path).status == "running?"


def test_a_run_that_is_continued_may_be_running_again(make_run: MakeRun) -> None:
    path = make_run("runs/a/x", status="interrupted")
    age(path, 3_600)
    assert read_run(path).status == "interrupted"
    (path / "metrics.csv").touch()
    assert read_run(path).status == "running?"
    done = make_run("runs/a/y")
    age(done, 3_600)
    (done / "metrics.csv").touch()
    assert read_run(done).status == "completed"


def test_a_failed_job_has_its_error(make_run: MakeRun, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "study" / "686100f75352"
    path.mkdir(parents=True)
    (path / "error.txt").write_text("Ridge does not fit\n  where    model\n")
    (run,) = read_runs(tmp_path / "runs")
    assert (run.status, run.error, run.model, run.epochs) == ("failed", "Ridge does not fit", None, None)
    failed = read_run(make_run("runs/a/x", status="failed", error="ValueError: nan"))
    assert (failed.status, failed.error, failed.model) == ("failed", "ValueError: nan", "MLP")


@pytest.mark.parametrize(
    ("file", "content", "error"),
    [
        ("result.json", "{", "result.json' cannot be read: Expecting property name"),
        ("result.json", "[]", "result.json' holds a list"),
        (
            "result.json",
            '{"status": "completed", "metrics": 3}',
            "result.json' is not as trainkit writes it (Attribute",
        ),
        ("result.json", '{"status": "completed", "metrics": {"test": {"a": {"value": 1}}}}', "(KeyError: 'low')"),
        ("result.json", '{"status": "completed", "objective": {"value": "x"}}', "(ValueError: 'x' is no number)"),
        ("result.json", '{"metrics": {}}', "result.json' is not as trainkit writes it (KeyError: 'status')"),
        ("config.yaml", "a: [", "config.yaml' cannot be read: while parsing a flow"),
        ("config.yaml", "\x00", "config.yaml' cannot be read: unacceptable character #x0000"),
        ("config.yaml", "", "config.yaml' holds a NoneType"),
        ("overrides.yaml", "- 1", "overrides.yaml' holds a list"),
    ],
)
def test_a_damaged_run_is_listed_as_damaged(make_run: MakeRun, file: str, content: str, error: str) -> None:
    path = make_run("runs/a/2026-01-02_03-04-05")
    (path / file).write_text(content)
    make_run("runs/a/whole")
    damaged, whole = read_runs(path.parents[1])
    assert (damaged.status, whole.status) == ("damaged", "completed")
    assert damaged.error is not None and error in damaged.error and "\n" not in damaged.error
    assert damaged.began == datetime(2026, 1, 2, 3, 4, 5)


def test_a_run_killed_at_its_beginning_is_damaged(tmp_path: Path) -> None:
    for name in ("2026-01-02_03-04-05", "2026-01-02_03-04-06", "2026-99-99_99-99-99"):
        (tmp_path / "a" / name).mkdir(parents=True)
    (tmp_path / "a" / "2026-01-02_03-04-05" / "splits.npz").touch()
    runs = read_runs(tmp_path)
    assert [run.status for run in runs] == ["damaged"] * 3
    assert runs[0].error == f"'{runs[0].path}/config.yaml' is missing"
    assert (datetime.now() - runs[2].began).total_seconds() < 60  # a name that is no date


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ({"_target_": "torch.optim.AdamW"}, "AdamW"),
        ({"live": "__main__.Net"}, "Net"),
        ({"_target_": 3}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_section_is_named_by_its_class(section: object, name: str | None) -> None:
    assert class_name(section) == name


def test_hundreds_of_runs_are_read_fast_and_without_torch(make_run: MakeRun, tmp_path: Path) -> None:
    for number in range(300):
        make_run(f"runs/s{number % 7}/{number}", {"accuracy": number / 300, "log_loss": 0.1})
    code = (
        "import sys; from trainkit.cli import main; main(['list', 'runs', '--sort', 'accuracy', '--filter', "
        "'accuracy>=0.5', 'optimizer.lr=1e-3']); print({'torch', 'numpy', 'pandas'} & set(sys.modules))"
    )
    before = cpu_seconds()
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert cpu_seconds() - before < 1.5
    assert done.stdout.count("\n") == 151 and done.stdout.endswith("set()\n")
    assert done.stdout.startswith("runs/s5/299  completed  MLP  accuracy 0.997")
