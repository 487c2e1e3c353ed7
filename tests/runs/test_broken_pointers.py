"""``last.json`` and ``best.json`` broken, as a full disk leaves them: the checkpoints beside them are found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trainkit as tk
from trainkit.rundir import RunDirectory, read_json, write_json
from trainkit.training import all_saved, best_saved, best_score, usable_checkpoint

Cli = Callable[..., Any]
Same = Callable[[RunDirectory, RunDirectory], None]
StopAt = Callable[..., None]
SMALL = ("model=mlp", "evaluation.resamples=50", "trainer.threads=1")
WHOLE = ("trainer.max_steps=50", "checkpoint.every_n_steps=15", "trainer.log_every_n_steps=10", *SMALL)
CONTENTS = {"empty": b"", "cut": b'{"file": "step-3', "a list": b"[]", "bytes": b"\xff\x00", "half": b'{"step": 30}'}


@pytest.fixture
def stopped(cli: Cli, stop_at: StopAt, tmp_path: Path) -> RunDirectory:
    """A run stopped at step 42: checkpoints at 40 (the best) and 42."""
    stop_at(42)
    assert cli("fit", "run.dir=stopped", *WHOLE).code == 143
    stop_at(None)
    return RunDirectory(tmp_path / "stopped")


def steps(run: RunDirectory) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in run.checkpoints.glob("*.ckpt"))


@pytest.mark.parametrize("content", [*CONTENTS.values(), None], ids=[*CONTENTS, "missing"])
def test_the_newest_whole_checkpoint_is_found_without_last(
    content: bytes | None, cli: Cli, stopped: RunDirectory, digits: RunDirectory, assert_same_run: Same
) -> None:
    newest = steps(stopped)[-1]
    stopped.last.unlink() if content is None else stopped.last.write_bytes(content)
    code, out, _ = cli("fit", f"run.dir={stopped.path}")
    fault = "missing" if content is None else "damaged"
    assert code == 0 and f"broken last.json is {fault}; the newest whole checkpoint is used\n" in out
    assert f"continues from step-{newest}.ckpt\n" in out
    assert_same_run(digits, stopped)


def test_a_cut_checkpoint_beside_a_broken_pointer_is_passed_over(stopped: RunDirectory) -> None:
    before, newest = steps(stopped)[-2:]
    file = stopped.checkpoints / f"step-{newest}.ckpt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    stopped.last.write_bytes(b"")
    (stopped.checkpoints / "step-old.ckpt").write_bytes(b"another tool's")
    for damaged in (bytes(content), bytes(content[:-9]), b""):
        file.write_bytes(damaged)
        broken = ["last.json is damaged", f"step-{newest}.ckpt is damaged"]
        assert usable_checkpoint(stopped) == (stopped.checkpoints / f"step-{before}.ckpt", broken)
        assert all_saved(stopped)[0]["step"] == before


def test_where_nothing_is_whole_the_run_is_refused(stopped: RunDirectory) -> None:
    for file in stopped.checkpoints.iterdir():
        file.write_bytes(b"")
    with pytest.raises(tk.RunError, match=r"can be used: last\.json is damaged; step-\d+\.ckpt is damaged") as error:
        usable_checkpoint(stopped)
    assert error.value.where == "run.dir"


@pytest.mark.parametrize("content", [b"", None])
def test_best_is_made_anew_from_the_last_checkpoint(
    content: bytes | None, cli: Cli, stopped: RunDirectory, digits: RunDirectory, assert_same_run: Same
) -> None:
    score, before = best_score(stopped.checkpoints / f"step-{steps(stopped)[-1]}.ckpt"), read_json(stopped.best)
    stopped.best.unlink() if content is None else stopped.best.write_bytes(content)
    assert score is not None and best_saved(stopped, score) == before
    assert cli("fit", f"run.dir={stopped.path}").code == 0
    assert_same_run(digits, stopped)
    assert read_json(stopped.best)["monitor"] == read_json(digits.best)["monitor"]


def test_a_best_checkpoint_that_is_damaged_is_chosen_anew(cli: Cli, stopped: RunDirectory) -> None:
    score = best_score(stopped.checkpoints / f"step-{steps(stopped)[-1]}.ckpt")
    assert score is not None and best_saved(stopped, score) == read_json(stopped.best)
    (stopped.checkpoints / read_json(stopped.best)["file"]).write_bytes(b"damaged")
    assert best_saved(stopped, score) is None
    code, out, _ = cli("fit", f"run.dir={stopped.path}")
    assert code == 0 and "broken the best checkpoint is damaged or missing; the best is chosen anew\n" in out
    assert read_json(stopped.best)["step"] > score["step"]


def test_resume_from_takes_the_best_of_a_run_whose_pointers_are_broken(cli: Cli, digits: RunDirectory) -> None:
    best = read_json(digits.best)
    shutil.copytree(digits.path, "parent")
    parent = RunDirectory(Path("parent"))
    for pointer in (parent.last, parent.best):
        pointer.write_bytes(b"")
    code, out, _ = cli("fit", "run.dir=longer", "resume_from=parent", "trainer.max_steps=60")
    assert code == 0 and "resume parent at step 50 · last.json is damaged\n" in out
    kept = read_json(RunDirectory(Path("longer")).best)
    assert kept["step"] > 50 or kept["monitor"] == best["monitor"]
    assert parent.last.read_bytes() == parent.best.read_bytes() == b""


def test_a_directory_that_holds_no_run_gives_no_checkpoint_to_go_on_from(cli: Cli, stopped: RunDirectory) -> None:
    shutil.copytree(stopped.checkpoints, "fresh/checkpoints")
    write_json(Path("fresh/checkpoints/last.json"), read_json(stopped.last))
    code, out, _ = cli("fit", "run.dir=fresh", "trainer.max_steps=3", *SMALL)
    assert code == 0 and read_json(Path("fresh/result.json"))["steps"] == 3
    assert "continues from" not in out
