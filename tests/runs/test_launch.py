from __future__ import annotations

import pickle
import signal
import sys
import types
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from torch import nn

import trainkit as tk
from trainkit.rundir import RunDirectory, write_json
from trainkit.runs import launch
from trainkit.runs.build import build_parts
from trainkit.runs.devices import Devices
from trainkit.runs.launch import packed, train_in_processes
from trainkit.runs.parts import LiveObjects

TWO = Devices("cpu", 2, 1)
DONE = '{"steps": 3, "epochs": 1, "seconds": 1.0, "samples_per_second": 9.0, "peak_memory_bytes": 5, "best": null, '
DONE += '"line": "3/3", "interrupted": 0}'


class Holds(nn.Linear):
    def __init__(self, thing: Any) -> None:
        super().__init__(1, 1)
        self.thing = thing


def test_objects_are_packed_with_the_script_they_are_defined_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packed(LiveObjects()) is None
    payload = packed(LiveObjects(model=nn.Linear(1, 1), callbacks=[]))
    assert payload is not None and payload.main is None
    assert list(pickle.loads(payload.objects)) == ["model"]
    main = types.ModuleType("__main__")
    main.Net = type("Net", (nn.Linear,), {"__module__": "__main__"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", main)
    with pytest.raises(tk.LaunchError, match="model is defined in a notebook or a shell, which other processes cannot"):
        packed(LiveObjects(model=main.Net(1, 1)))
    main.__file__ = "script.py"
    payload = packed(LiveObjects(model=main.Net(1, 1)))
    assert payload is not None and payload.main == str(Path("script.py").absolute())


@pytest.mark.parametrize("thing", [lambda: 1, sys])
def test_an_object_that_cannot_be_sent_is_named(thing: Any) -> None:
    with pytest.raises(tk.LaunchError) as caught:
        packed(LiveObjects(model=Holds(thing), task=tk.Regression()))
    assert caught.value.where == "model" and caught.value.what.startswith("model cannot be sent to other processes: ")
    assert "functools.partial(Class, …)" in (caught.value.hint or "")


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """How the groups end, one after the other; JSON is what the first process tells."""
    monkeypatch.chdir(tmp_path)
    ends: list[Any] = []

    def group(run: RunDirectory, devices: Devices, folder: str) -> str:
        end = ends.pop(0)
        if end.startswith("{"):
            (Path(folder) / launch.OUTCOME).write_text(end)
            return "exit code 0, without a word"
        return str(end)

    monkeypatch.setattr(launch, "_launch", group)
    return ends


def start(tmp_path: Path, *overrides: str) -> Any:
    parts = build_parts(tk.compose(["data=wine", "model=mlp", "trainer.devices=2", *overrides]))
    return train_in_processes(parts, RunDirectory(tmp_path), TWO)


def test_a_group_of_which_one_was_killed_is_followed_by_a_fresh_one(
    attempts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts += ["SIGKILL", "SIGSEGV", DONE]
    assert start(tmp_path).steps == 3
    assert capsys.readouterr().out == (
        "launch a process died (SIGKILL); going on from step 0 in a fresh group\n"
        "launch a process died (SIGSEGV); going on from step 0 in a fresh group\n"
    )


@pytest.mark.parametrize(
    ("ends", "overrides", "what"),
    [
        (["SIGKILL"] * 4, [], "a process died (SIGKILL)"),
        (["SIGKILL"], ["launch.max_restarts=0"], "a process died (SIGKILL)"),
        (["exit code 1"], [], "a process died (exit code 1)"),
    ],
)
def test_groups_are_not_started_for_ever(
    ends: list[str], overrides: list[str], what: str, attempts: list[str], tmp_path: Path
) -> None:
    attempts += ends
    with pytest.raises(tk.LaunchError) as caught:
        start(tmp_path, *overrides)
    assert (caught.value.what, attempts) == (what, [])
    assert caught.value.hint is None


def test_what_goes_on_with_a_run_that_kept_a_checkpoint_is_named(attempts: list[str], tmp_path: Path) -> None:
    attempts.append("exit code 1")
    run = RunDirectory(tmp_path)
    run.checkpoints.mkdir()
    write_json(run.last, {"file": "step-5.ckpt", "sha256": "", "step": 5, "older": []})
    with pytest.raises(tk.LaunchError) as caught:
        start(tmp_path)
    assert caught.value.hint == f"trainkit fit run.dir={tmp_path} continues from step 5"


def test_a_mistake_that_a_worker_found_is_raised_here(attempts: list[str], tmp_path: Path) -> None:
    attempts.append('{"error": "DataError", "what": "w", "where": "x", "expected": null, "hint": "h"}')
    with pytest.raises(tk.DataError) as caught:
        start(tmp_path)
    assert str(caught.value) == "w\n  where    x\n  hint     h"


class Failure(NamedTuple):
    exitcode: int
    timestamp: int

    def signal_name(self) -> str:
        return signal.Signals(-self.exitcode).name


@pytest.mark.parametrize(
    ("failures", "cause"),
    [
        ([Failure(1, 100)], "exit code 1"),
        ([Failure(-9, 100)], "SIGKILL"),
        ([Failure(1, 100), Failure(-9, 100)], "SIGKILL"),  # the first lost its peer
        ([Failure(1, 100), Failure(-9, 131)], "exit code 1"),  # the launcher killed the second, which hung
        ([Failure(1, 100), Failure(-15, 100)], "exit code 1"),  # the launcher ended the second
        ([Failure(-11, 100), Failure(-15, 101)], "SIGSEGV"),
    ],
)
def test_what_ended_a_group(failures: list[Failure], cause: str) -> None:
    assert launch._cause(failures[0], failures) == cause
