"""Runs killed anywhere end as those that were not: weights, optimizer, generators, curves, predictions, to the bit."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import trainkit as tk
from tests.faults.killing import Kill, changed, different, train
from trainkit.rundir import RunDirectory
from trainkit.runs.build import build_parts

WINE = ("data=wine", "data.batch_size=16", "model=mlp", "trainer.max_epochs=4", "trainer.threads=1")
OFTEN = ("checkpoint.every_n_steps=5", "trainer.log_every_n_steps=3", "trainer.steps_per_execution=4")
BRIEF = ("evaluation.resamples=5", "evaluation.baseline=false")
COMMON = (*OFTEN, *BRIEF)

DIGITS = ("data=digits", "data.train_share=0.15", "data.batch_size=24")
NOISY = ("data=dataset", "+data.train._target_=killing.Noisy", "run.trust=[killing]", "data.batch_size=8")
SETTINGS: dict[str, tuple[str, ...]] = {
    "dropout": (*WINE, "model.dropout=0.3"),
    "batch_norm": (*WINE, "model.norm=batch", "trainer.accumulate=3", "trainer.clip_norm=0.5"),
    "average_bf16": (*WINE, "trainer.ema=0.9", "trainer.precision=bf16-mixed"),
    "augment": (*DIGITS, "model=cnn", "augment=digits", "trainer.max_epochs=4", "trainer.threads=1"),
    "workers": (*NOISY, "data.num_workers=1", "model=mlp", "trainer.max_epochs=4", "trainer.threads=1"),
    "plateau": (*WINE, "scheduler=plateau", "callbacks=early_stopping", "callbacks.early_stopping.patience=9"),
    "steps_changed": (*WINE, "model.dropout=0.2", "optimizer=sgd"),
    "by_steps": (*WINE, "trainer.val_every_n_epochs=null", "trainer.val_every_n_steps=3", "data.sampling=balanced"),
    "one_by_one": (*WINE, "trainer.steps_per_execution=1", "model.dropout=0.3", "trainer.flat_parameters=false"),
}
STAGES = ("half", "written", "renamed", "pointing", "pointed")
ENDS = ("weights", "scored", "reported")


class Scenario(NamedTuple):
    """A setting, and where its run is killed, one kill after the other."""

    setting: str
    kills: tuple[Kill, ...]


def scenarios() -> Iterator[Scenario]:
    """Two kills of each run: five runs of each setting, and two more of some."""
    for number, setting in enumerate(SETTINGS):
        stage, other = STAGES[number % 5], STAGES[(number + 2) % 5]
        yield Scenario(setting, (Kill("save", 2, stage), Kill("first", 2, "before")))
        yield Scenario(setting, (Kill("validation", 2), Kill("last", 3, "after")))
        yield Scenario(setting, (Kill("first", 1, "after"), Kill("save", 1, other)))
        yield Scenario(setting, (Kill("last", 1, "before"), Kill("validation", 1)))
        yield Scenario(setting, (Kill("step", 11), Kill("end", 1, ENDS[number % 3])))
    for setting in ("dropout", "augment", "plateau", "batch_norm"):
        yield Scenario(setting, (Kill("curves", 2), Kill("step", 14)))
    yield Scenario("steps_changed", (Kill("first", 3, "after"), Kill("last", 4, "after")))


ALL = tuple(scenarios())
SOME = tuple(Scenario(setting, kills) for setting, kills in (ALL[0], ALL[8], ALL[23]))


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RunDirectory]:
    """``whole("dropout")`` is that setting's run, not killed."""
    made: dict[str, RunDirectory] = {}
    folder = tmp_path_factory.mktemp("whole")

    def give(setting: str) -> RunDirectory:
        if setting not in made:
            place = folder / setting
            code = train(place, (*COMMON, *SETTINGS[setting]))
            assert code == 0, Path(f"{place}.err").read_text(encoding="utf-8")
            made[setting] = RunDirectory(place)
        return made[setting]

    return give


def carry_out(scenario: Scenario, place: Path, whole: Callable[[str], RunDirectory]) -> list[str]:
    """Kills a run and goes on with it; what is not as in the whole one."""
    expected = whole(scenario.setting)
    overrides = (*COMMON, *SETTINGS[scenario.setting])
    for number, kill in enumerate(scenario.kills):
        code = train(place, overrides if number == 0 else ("run.trust=[killing]",), kill)
        assert code == -9, f"{kill}: {Path(f'{place}.err').read_text(encoding='utf-8')}"
        if scenario.setting == "steps_changed":
            changed(RunDirectory(place), steps_per_execution=7 - 4 * number)
    code = train(place, ("run.trust=[killing]",))
    assert code == 0, Path(f"{place}.err").read_text(encoding="utf-8")
    return different(expected, RunDirectory(place))


def named(scenario: Scenario) -> str:
    return f"{scenario.setting}: {', '.join(map(str, scenario.kills))}"


@pytest.mark.parametrize("scenario", SOME, ids=named)
def test_a_killed_run_ends_as_if_it_had_not_been(
    scenario: Scenario, tmp_path: Path, whole: Callable[[str], RunDirectory]
) -> None:
    assert carry_out(scenario, tmp_path / "run", whole) == []


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", ALL, ids=named)
def test_kills(
    scenario: Scenario,
    tmp_path: Path,
    whole: Callable[[str], RunDirectory],
    record_property: Callable[[str, object], None],
) -> None:
    found = carry_out(scenario, tmp_path / "run", whole)
    for _ in scenario.kills:
        record_property("kill", int(not found))
    assert found == []


def test_the_kills_are_a_hundred_of_each_kind_enough() -> None:
    places = Counter(kill.place for scenario in ALL for kill in scenario.kills)
    assert sum(places.values()) == 100
    assert all(places[place] >= 15 for place in ("save", "validation", "first", "last"))
    stages = Counter(kill.stage for scenario in ALL for kill in scenario.kills if kill.place == "save")
    assert set(stages) == set(STAGES)


@pytest.mark.parametrize("setting", ["dropout", "augment", "by_steps"])
def test_epochs_differ_in_order(setting: str) -> None:
    data: Any = build_parts(tk.compose([*SETTINGS[setting]])).data
    orders = [data.train_loader(seed=0).order(epoch) for epoch in range(4)]
    for one, other in itertools.combinations(orders, 2):
        assert not torch.equal(one, other)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_group_of_processes_that_is_killed(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    options = (*WINE, *COMMON, "trainer.devices=2", "model.dropout=0.3", "trainer.max_epochs=40")
    command = [sys.executable, "-m", "trainkit.cli", "fit"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    assert subprocess.run([*command, "run.dir=whole", *options], check=False, **quiet).returncode == 0
    killed = RunDirectory(tmp_path / "killed")
    for arguments in (("run.dir=killed", *options), ("run.dir=killed",)):
        before = killed.last.read_bytes() if killed.last.is_file() else None
        process = subprocess.Popen([*command, *arguments], **quiet)
        while process.poll() is None and (not killed.last.is_file() or killed.last.read_bytes() == before):
            time.sleep(0.02)
        assert process.poll() is None
        process.kill()
        process.wait()
        time.sleep(1.0)
        left = [text for text in commands() if "trainkit.runs.worker" in text and str(killed.path) in text]
        assert left == [], "workers go on without the process that started them"
    assert subprocess.run([*command, "run.dir=killed"], check=False, **quiet).returncode == 0
    found = different(RunDirectory(tmp_path / "whole"), killed)
    for _ in range(2):
        record_property("kill", int(not found))
    assert found == []


def commands() -> list[str]:
    """Command lines of all processes."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended since
            found.append(file.read_text(encoding="utf-8").replace("\0", " "))
    return found
