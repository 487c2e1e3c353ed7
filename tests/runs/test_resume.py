"""``resume_from``: a longer run in a new directory, equal to the bit to one that was that long from the start."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

import trainkit as tk
from tests.runs.conftest import CONSTANT, Same, StopAt, fit
from trainkit.rundir import RunDirectory, read_json, sha256, write_json
from trainkit.training import read_metrics

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Twenty epochs of what ``short`` trains for ten."""
    return fit(tmp_path_factory.mktemp("whole") / "run", "trainer.max_epochs=20", *CONSTANT)


def test_ten_epochs_and_ten_more_are_twenty_to_the_bit(
    cli: Cli, short: RunDirectory, whole: RunDirectory, assert_same_run: Same, tmp_path: Path
) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in short.path.rglob("*")}
    code, out, err = cli("fit", "run.dir=run", f"resume_from={short.path}", "trainer.max_epochs=20")
    run = RunDirectory(tmp_path / "run")
    assert (code, err) == (0, "") and f"resume {short.path} at step 80\nplan   20 epochs = 160 steps × 16 · " in out
    assert_same_run(whole, run)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in short.path.rglob("*")} == before
    events = EventAccumulator(str(run.path)).Reload().Scalars("train/loss")
    assert [event.step for event in events] == list(range(3, 160, 4))


def test_a_chain_of_resumes_one_of_them_killed_and_continued_is_exact(
    cli: Cli, stop_at: StopAt, short: RunDirectory, whole: RunDirectory, assert_same_run: Same, tmp_path: Path
) -> None:
    assert cli("fit", "run.dir=middle", f"resume_from={short.path}", "trainer.max_epochs=13").code == 0
    command = ("fit", "run.dir=end", "resume_from=middle", "trainer.max_epochs=20")
    stop_at(130)
    assert cli(*command).code == 128 + signal.SIGTERM
    stop_at(None)
    shutil.rmtree(tmp_path / "middle")  # what goes on in run.dir asks no parent again
    code, out, err = cli(*command)
    end = RunDirectory(tmp_path / "end")
    assert (code, err) == (0, "") and "run    end continues from step-132.ckpt\n" in out and "resume" not in out
    assert_same_run(whole, end)
    assert (end.lineage() or {})["resume_from"] == "middle"
    code, out, _ = cli(*command)
    assert code == 0 and out.startswith("run    end is finished; nothing to do\n")


def test_a_run_stopped_amid_an_epoch_goes_on_elsewhere_exactly(
    cli: Cli, stop_at: StopAt, whole: RunDirectory, assert_same_run: Same, tmp_path: Path
) -> None:
    stop_at(27)
    assert cli("fit", "run.dir=stopped", "trainer.max_epochs=20", *CONSTANT).code == 128 + signal.SIGTERM
    stop_at(None)
    stopped = RunDirectory(tmp_path / "stopped")
    assert cli("fit", "run.dir=run", "resume_from=stopped").code == 0
    assert_same_run(whole, RunDirectory(tmp_path / "run"))
    assert stopped.status() == "interrupted"


SELDOM = ("checkpoint.every_n_epochs=null", "trainer.mode=min", "trainer.val_every_n_epochs=2")


@pytest.mark.parametrize(("steps", "options"), [(20, ()), (24, SELDOM)])
def test_a_run_that_ended_without_a_checkpoint_due_goes_on_with_its_epochs_as_they_are(
    steps: int, options: tuple[str, ...], cli: Cli, assert_same_run: Same, tmp_path: Path
) -> None:
    common = ("logger=none", *CONSTANT, *options)
    runs = {total: fit(tmp_path / str(total), f"trainer.max_steps={total}", *common) for total in (steps, 44)}
    assert cli("fit", "run.dir=run", f"resume_from={steps}", "trainer.max_steps=44").code == 0
    run = RunDirectory(tmp_path / "run")
    rows = read_metrics(run.metrics)
    closing = [row for row in rows if row["step"] == str(steps - 1) and row["split"] == "val"]
    assert len(closing) == 2  # the last step of a run is always validated
    run.metrics.write_text("step,epoch,split,name,value\n")
    with run.metrics.open("a") as file:
        file.writelines(",".join(row.values()) + "\n" for row in rows if row not in closing)
    assert_same_run(runs[44], run)


def test_the_parent_is_named_everywhere(cli: Cli, short: RunDirectory, tmp_path: Path) -> None:
    assert cli("fit", f"resume_from={short.path}", "trainer.max_epochs=11", "run.name=longer").code == 0
    (path,) = (tmp_path / "runs" / "longer").iterdir()
    entry = read_json(short.last)
    expected = {
        "resume_from": str(short.path),
        "sha256": entry["sha256"],
        "step": 80,
        "data_fingerprint": read_json(short.result)["data_fingerprint"],
    }
    loaded = tk.load_run(path)
    assert loaded.lineage == expected and read_json(loaded.directory.environment)["lineage"] == expected
    assert loaded.config.resume_from == str(short.path) and tk.load_run(short.path).lineage is None
    line = f"{short.path}, step 80 (sha256 {entry['sha256'][:12]})"
    assert f"- **Goes on from:** {line}\n" in loaded.directory.model_card.read_text()
    assert f"<dt>Goes on from</dt><dd>{line}</dd>" in loaded.directory.report.read_text()


def test_the_best_checkpoint_of_the_parent_stays_the_best(cli: Cli, tmp_path: Path) -> None:
    wild = ("optimizer.lr=0.1", "trainer.max_epochs=3", "logger=none", "trainer.clip_norm=null", *CONSTANT)
    parent = fit(tmp_path / "parent", *wild)
    best, last = read_json(parent.best), read_json(parent.last)
    if best["step"] == last["step"]:  # makes an earlier one the best, with a score that nothing reaches
        best = {**last["older"][0], "monitor": {**best["monitor"], "step": last["older"][0]["step"]}}
    best["monitor"]["value"] = 2.0
    write_json(parent.best, best)
    file = parent.checkpoints / last["file"]
    state = torch.load(file, weights_only=True)
    state["callbacks"]["CheckpointWriter"]["best"] = best["monitor"]
    torch.save(state, file)
    write_json(parent.last, {**last, "sha256": sha256(file)})
    assert cli("fit", "run.dir=run", "resume_from=parent", "trainer.max_epochs=5").code == 0
    run = RunDirectory(tmp_path / "run")
    assert read_json(run.best) == best and sha256(run.checkpoints / best["file"]) == best["sha256"]
    result = read_json(run.result)
    assert result["best_checkpoint"] == f"checkpoints/{best['file']}" and result["objective"]["value"] == 2.0
    weights = torch.load(parent.checkpoints / best["file"], weights_only=True)["state_dict"]
    saved = tk.load_run(run.path).saved.state
    assert all(torch.equal(saved[f"net.{n.removeprefix('model.net.')}"], weights[n]) for n in weights if ".net." in n)
    (parent.checkpoints / best["file"]).write_bytes(b"damaged")
    code, out, _ = cli("fit", "run.dir=anew", "resume_from=parent", "trainer.max_epochs=5")
    told = "resume parent at step 24 · its best checkpoint is damaged: the best is chosen anew\n"
    assert code == 0 and told in out
    assert read_json(RunDirectory(tmp_path / "anew").best)["step"] > 24


def test_a_broken_last_checkpoint_leaves_the_one_before_it(
    cli: Cli, short: RunDirectory, whole: RunDirectory, assert_same_run: Same, tmp_path: Path
) -> None:
    parent = RunDirectory(Path(shutil.copytree(short.path, tmp_path / "parent")))
    (parent.checkpoints / "step-80.ckpt").write_bytes(b"nothing")
    code, out, _ = cli("fit", "run.dir=run", "resume_from=parent", "trainer.max_epochs=20")
    assert code == 0 and "resume parent at step 72 · step-80.ckpt is damaged" in out
    assert_same_run(whole, RunDirectory(tmp_path / "run"))


def test_early_stopping_counts_from_where_it_was_and_takes_a_new_patience(cli: Cli, tmp_path: Path) -> None:
    watched = ("callbacks=early_stopping", "callbacks.early_stopping.min_delta=0.9")  # nothing is ever that much better
    options = ("logger=none", "trainer.max_epochs=9", *CONSTANT, *watched)
    stopped = fit(tmp_path / "stopped", *options, "callbacks.early_stopping.patience=2")
    assert read_json(stopped.result)["epochs"] == 3
    for name, overrides, epochs in (
        ("patient", (*watched, "callbacks.early_stopping.patience=4"), 5),
        ("unwatched", ("callbacks=default",), 6),
    ):
        assert cli("fit", f"run.dir={name}", "resume_from=stopped", "trainer.max_epochs=6", *overrides).code == 0
        assert read_json(RunDirectory(tmp_path / name).result)["epochs"] == epochs
