"""A multirun of ``fit``: a directory per job, named by its config; finished jobs are skipped, failed ones kept."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainkit.config.compose import compose
from trainkit.config.resolvers import job_hash
from trainkit.rundir import RunDirectory, read_json

Cli = Callable[..., Any]
SMALL = ("data=wine", "trainer.max_steps=4", "evaluation.resamples=20", "logger=none", "trainer.threads=1")


def jobs(folder: Path) -> dict[str, RunDirectory]:
    return {path.name: RunDirectory(path) for path in (folder / "runs" / "wine").iterdir() if path.is_dir()}


def written(folder: Path) -> dict[Path, int]:
    """When each file of the jobs was last written; ``multirun.yaml`` is Hydra's own."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "multirun.yaml")
    return {path: path.stat().st_mtime_ns for path in files}


def test_each_job_has_a_directory_named_by_its_config_and_the_same_command_skips_it(cli: Cli, tmp_path: Path) -> None:
    command = ("fit", "-m", "seed=0,1", "model=mlp", *SMALL)
    code, out, err = cli(*command)
    assert (code, err) == (0, "") and out.count("test   accuracy ") == 2
    made = jobs(tmp_path)
    configs = {job_hash(compose([f"seed={seed}", "model=mlp", *SMALL])): seed for seed in (0, 1)}
    assert {name: read_json(run.result)["seed"] for name, run in made.items()} == configs
    before = written(tmp_path)
    code, out, err = cli(*command)
    assert (code, err) == (0, "") and out.count("is finished; nothing to do\n") == 2
    assert written(tmp_path) == before
    assert cli("fit", "-m", "seed=1,2", "model=mlp", *SMALL).code == 0
    assert len(jobs(tmp_path)) == 3


def test_a_failing_job_keeps_its_error_and_the_others_go_on(cli: Cli, tmp_path: Path) -> None:
    command = ("fit", "-m", "model=mlp,linear,logistic", *SMALL)
    code, out, err = cli(*command)
    assert code == 3 and out.count("test   accuracy ") == 2
    text = "Ridge does not fit a target of classes\n  where    model\n  hint     use model=logistic\n"
    overrides = " ".join(["model=linear", *SMALL])
    assert err == f"job 1 failed ({overrides})\n{text}1 of 3 jobs failed\n"
    failed = [run for run in jobs(tmp_path).values() if not run.exists()]
    assert len(failed) == 1
    assert [path.name for path in failed[0].path.iterdir()] == ["error.txt"]
    assert failed[0].error.read_text() == text
    code, out, _ = cli(*command)
    assert code == 3 and out.count("is finished; nothing to do\n") == 2


def test_a_stopped_sweep_ends_and_goes_on_where_it_was(cli: Cli, stop_at: Callable[..., None], tmp_path: Path) -> None:
    command = ("fit", "-m", "seed=0,1", "model=mlp", *SMALL)
    stop_at(3)
    code, out, _ = cli(*command)
    assert code == 128 + signal.SIGTERM and "stop   saved at step 3 · " in out
    assert [run.status() for run in jobs(tmp_path).values()] == ["interrupted"]
    stop_at(None)
    code, out, err = cli(*command)
    assert (code, err) == (0, "") and "continues from step-3.ckpt\n" in out
    assert [run.status() for run in jobs(tmp_path).values()] == ["completed", "completed"]


def test_a_sweep_may_be_over_the_data(cli: Cli, tmp_path: Path) -> None:
    small = [text for text in SMALL if not text.startswith("data=")]
    code, _, err = cli("fit", "-m", "data=wine,diabetes", "model=mlp", *small)
    assert (code, err) == (0, "")
    results = [read_json(file) for file in tmp_path.glob("runs/*/*/result.json")]
    assert sorted(next(iter(result["metrics"]["test"])) for result in results) == ["accuracy", "rmse"]


@pytest.mark.parametrize("key", ["run.dir=one", "run.name=mine"])
def test_where_the_jobs_of_a_sweep_are_kept(key: str, cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("fit", "-m", "seed=0", "model=logistic", key, *SMALL)
    assert (code, err) == (0, "")
    (result,) = tmp_path.glob("one/result.json" if key == "run.dir=one" else "runs/mine/*/result.json")
    assert read_json(result)["status"] == "completed"
