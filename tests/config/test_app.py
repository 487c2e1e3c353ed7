from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.hydra import Hydra
from omegaconf import DictConfig

from trainkit.config.app import Sweep, run_app
from trainkit.errors import ConfigError, DataError

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_job_gets_its_config_and_nothing_is_left_behind(tmp_path: Path) -> None:
    seen: list[DictConfig] = []
    environment, argv, multirun = dict(os.environ), sys.argv, Hydra.multirun
    assert run_app(["seed=3", "model=mlp"], seen.append) is None
    assert [(cfg.seed, cfg.model._target_, "hydra" in cfg) for cfg in seen] == [(3, "trainkit.models.MLP", False)]
    assert (dict(os.environ), sys.argv, Hydra.multirun) == (environment, argv, multirun)
    assert list(tmp_path.iterdir()) == []


def test_what_the_job_raises_comes_out_as_it_is(capfd: Capture) -> None:
    def job(cfg: DictConfig) -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        run_app([], job)
    assert capfd.readouterr() == ("", "")


def test_a_mistake_in_the_config_is_explained_before_the_job(tmp_path: Path) -> None:
    seen: list[DictConfig] = []
    for args in (["sede=1"], ["-m", "sede=1,2"], ["-m", "seed=1,x"], ["--cfg", "job", "sede=1"], ["--resolve"]):
        with pytest.raises(ConfigError):
            run_app(args, seen.append)
    assert seen == [] and list(tmp_path.iterdir()) == []


def test_a_failed_job_does_not_end_the_sweep(tmp_path: Path, capfd: Capture) -> None:
    seen: list[int] = []

    def job(cfg: DictConfig) -> str:
        seen.append(cfg.seed)
        if cfg.seed == 0:
            raise DataError("no rows", where="data.path")
        if cfg.seed == 1:
            raise ZeroDivisionError("a bug")
        if cfg.seed == 2:
            sys.exit(2)
        return "done"

    assert run_app(["-m", "seed=0,1,2,3", "model=mlp"], job) == Sweep(jobs=4, failed=3)
    assert seen == [0, 1, 2, 3]
    err = capfd.readouterr().err
    assert err.startswith(
        "job 0 failed (seed=0 model=mlp)\nno rows\n  where    data.path\njob 1 failed (seed=1 model=mlp)\n"
    )
    assert "ZeroDivisionError: a bug" in err and "SystemExit: 2" in err
    assert len([path for path in (tmp_path / "runs" / "digits").iterdir() if path.is_dir()]) == 4


def test_a_result_that_says_failed_counts_as_failed() -> None:
    class Result:
        status = "failed"

    assert run_app(["-m", "seed=0,1"], lambda cfg: Result() if cfg.seed else None) == Sweep(jobs=2, failed=1)


def test_options_of_hydra(capfd: Capture, tmp_path: Path) -> None:
    def job(cfg: DictConfig) -> Any:
        raise AssertionError("not to be run")

    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "net.yaml").write_text("_target_: mynet.Net\nname: ${data.name}\n")
    assert (
        run_app(["--config-dir", "mine", "model=net", "--cfg", "job", "--package", "model", "--resolve"], job) is None
    )
    assert capfd.readouterr().out == "# @package model\n_target_: mynet.Net\nname: digits\n"


def test_info_of_hydra(capsys: Capture) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        run_app(["--info", "searchpath"], lambda cfg: None)
    finally:
        root.handlers, root.level = handlers, level  # Hydra leaves a handler behind
    assert "pkg://trainkit.conf" in capsys.readouterr().out


def test_a_marked_conf_of_the_working_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "net.yaml").write_text("_target_: mynet.Net\n")
    (tmp_path / "conf" / ".trainkit").touch()
    seen: list[DictConfig] = []
    run_app(["model=net"], seen.append)
    assert seen[0].model._target_ == "mynet.Net"


def test_a_sweep_of_more_jobs_than_can_be_listed_is_refused() -> None:
    with pytest.raises(ConfigError, match="the sweep has more than 100,000 jobs") as caught:
        run_app(["-m", "seed=range(0,1000000000)", "trainer.max_steps=1,2"], lambda cfg: None)
    assert caught.value.where == "seed, trainer.max_steps"
    with pytest.raises(ConfigError, match="more than 100,000 jobs"):
        run_app(["-m", "seed=range(0,1000)", "data.split_seed=range(0,1000)"], lambda cfg: None)
