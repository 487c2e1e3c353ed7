"""Where a run's time goes: phases that add up, what is made of them, and a trace."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import trainkit as tk
from tests.runs.inspection.conftest import generators, parts
from trainkit.errors import ConfigError
from trainkit.runs.inspection import profiling
from trainkit.runs.inspection.finding import apply
from trainkit.runs.inspection.lines import profile_lines
from trainkit.runs.inspection.profile_rules import PROFILE_RULES
from trainkit.runs.inspection.profiling import Profile, Stopwatch

Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(profiling, "SECONDS", 0.1)
    monkeypatch.chdir(tmp_path)


def test_a_phase_within_another_is_not_counted_twice() -> None:
    watch = Stopwatch(torch.device("cpu"))
    watch.start()
    began = time.perf_counter()
    with watch.phase("forward"), watch.phase("data"):
        time.sleep(0.03)
    with watch.phase("validation"):
        with watch.phase("forward"):
            time.sleep(0.02)
        with watch.phase("checkpoint"):
            time.sleep(0.01)
    whole = time.perf_counter() - began
    assert watch.seconds["data"] >= 0.03
    assert watch.seconds["validation"] >= 0.02
    assert watch.seconds["checkpoint"] >= 0.01
    assert watch.seconds["forward"] < 0.02
    assert sum(watch.seconds.values()) == pytest.approx(whole, abs=0.005)
    assert watch.counts == {"forward": 1, "data": 1, "validation": 1, "checkpoint": 1}


def test_a_profile_of_live_objects_changes_nothing_and_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    before, state = generators(), {name: values.clone() for name, values in net.state_dict().items()}
    overrides = ["data.batch_size=20", "trainer.max_epochs=10", "logger=none"]
    result = tk.check(model=net, **parts(), overrides=overrides, profile=tmp_path / "steps.json")
    assert generators() == before
    assert all(torch.equal(values, state[name]) for name, values in net.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["steps.json"]
    found = result.profile
    assert found is not None
    assert found.total_steps == 200
    assert 0 < found.steps < 200
    assert sum(found.shares.values()) == pytest.approx(1)
    for phase in ("data", "forward", "backward", "optimizer", "metrics", "loop", "validation", "checkpoint"):
        assert found.seconds[phase] > 0
    events = json.loads((tmp_path / "steps.json").read_text())["traceEvents"]
    names = {event.get("name") for event in events}
    assert {"trainkit: forward", "trainkit: backward", "trainkit: data", "aten::addmm"} <= names


def test_the_command_line(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "check", "data=wine", "model=mlp", "trainer.max_epochs=2", "profile=true", "trainer.flat_parameters=false"
    )
    assert done.code in (0, 1)
    assert "time   " in done.stdout
    assert "bounded by" in done.stdout
    assert (tmp_path / "profile.json.gz").is_file()
    assert "profile" not in cli("check", "data=wine", "model=mlp", "profile=false").stdout


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model=mlp", "profile=trace.txt"], "a .json or .json.gz"),
        (["model=mlp", "profile=nowhere/trace.json"], "cannot be written"),
        (["model=mlp", "profile=true", "trainer.devices=2"], "several processes"),
        (["profile=true", "model=logistic"], "only a net that trainkit trains"),
    ],
)
def test_what_cannot_be_profiled(overrides: list[str], told: str, cli: Cli) -> None:
    done = cli("check", "data=wine", "trainer.max_epochs=1", *overrides)
    assert done.code == 2
    assert told in done.stderr


def profile_of(**seconds: float) -> Profile:
    return Profile(seconds, 10, 100, Path("profile.json"))


@pytest.mark.parametrize(
    ("seconds", "names"),
    [
        ({"forward": 60.0, "backward": 40.0}, []),
        ({"data": 60.0, "backward": 40.0}, ["costly_data"]),
        ({"data": 0.6, "backward": 0.4}, []),
        ({"checkpoint": 10.0, "forward": 90.0}, ["costly_checkpoint"]),
        ({"loop": 50.0, "logging": 20.0, "forward": 30.0}, ["costly_logging", "costly_loop"]),
        ({"validation": 50.0, "augmentation": 40.0, "forward": 10.0}, ["costly_augmentation", "costly_validation"]),
    ],
)
def test_what_is_worth_a_change(seconds: dict[str, float], names: list[str]) -> None:
    found = list(apply(PROFILE_RULES, profile_of(**seconds)))
    assert sorted(finding.name for finding in found) == names
    assert all(finding.hint and finding.where for finding in found)


def test_the_lines_name_what_bounds_the_run() -> None:
    first, second, third = profile_lines(profile_of(data=70.0, forward=20.0, backward=10.0))
    assert first == "data 70.0% · forward 20.0% · backward 10.0% of 100.0 s, by 10 of 100 steps"
    assert second.startswith("bounded by data:")
    assert "profile.json" in third
    assert next(line for line in profile_lines(profile_of(forward=1.0)) if "bounded" in line).startswith(
        "bounded by the arithmetic"
    )


def test_several_processes_in_python(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="several processes"):
        tk.check(overrides=["data=wine", "model=mlp", "trainer.devices=2"], profile=tmp_path / "a.json")
