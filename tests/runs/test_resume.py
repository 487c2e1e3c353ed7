"""``resume_from``: a longer run in a new directory, equal to the bit to one that was that long from the start."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from torch import nn
from torch.utils.data import TensorDataset

import trainkit as tk
from trainkit.cli import main
from trainkit.config.copying import plain
from trainkit.rundir import RunDirectory, read_json, sha256, write_json
from trainkit.runs.load import load_config
from trainkit.runs.resume import advance, resumed_config
from trainkit.training import read_metrics

Cli = Callable[..., Any]
Same = Callable[[RunDirectory, RunDirectory], None]
StopAt = Callable[..., None]
PLAIN = ("data=wine", "data.batch_size=16", "model=mlp", "trainer.log_every_n_steps=4", "trainer.threads=1")
FAST = ("evaluation.resamples=20", "evaluation.baseline=false")
CONSTANT = ("scheduler=constant", *PLAIN, *FAST)
PER_EPOCH = 8


def fit(path: Path, *overrides: str) -> RunDirectory:
    torch.set_num_threads(1)
    assert main(["fit", f"run.dir={path}", *overrides]) == 0
    return RunDirectory(path)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Ten epochs at a constant learning rate, with dropout."""
    return fit(tmp_path_factory.mktemp("short") / "run", "trainer.max_epochs=10", *CONSTANT)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Twenty epochs of the same."""
    return fit(tmp_path_factory.mktemp("whole") / "run", "trainer.max_epochs=20", *CONSTANT)


@pytest.fixture(scope="module")
def cosine(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Four epochs down a cosine, without TensorBoard."""
    return fit(tmp_path_factory.mktemp("cosine") / "run", "trainer.max_epochs=4", "logger=none", *PLAIN, *FAST)


def rates(run: RunDirectory) -> dict[int, float]:
    """Learning rate by the number of steps done with it."""
    return {int(row["step"]) + 1: float(row["value"]) for row in read_metrics(run.metrics) if row["name"] == "lr"}


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


def test_the_schedule_is_that_of_the_new_total_from_the_step_reached(
    cli: Cli, cosine: RunDirectory, tmp_path: Path
) -> None:
    assert cli("fit", "run.dir=run", f"resume_from={cosine.path}", "trainer.max_epochs=8").code == 0
    run = RunDirectory(tmp_path / "run")
    whole = fit(tmp_path / "whole", "trainer.max_epochs=8", "logger=none", *PLAIN, *FAST)
    own, expected, parent = rates(run), rates(whole), rates(cosine)
    assert own.keys() == expected.keys() and parent[32] < 1e-5 < own[36]
    assert {step: own[step] for step in own if step <= 32} == parent
    assert {step: own[step] for step in own if step > 32} == {step: expected[step] for step in own if step > 32}


@pytest.mark.parametrize(
    ("overrides", "after"),
    [
        (["scheduler=constant", "scheduler.warmup=0"], "peak"),
        (["scheduler=null"], "peak"),
        (["scheduler.final=0.5"], "half"),
    ],
)
def test_another_schedule_may_follow(
    overrides: list[str], after: str, cli: Cli, cosine: RunDirectory, tmp_path: Path
) -> None:
    options = ["trainer.max_epochs=5", *(["~scheduler"] if overrides == ["scheduler=null"] else overrides)]
    assert cli("fit", "run.dir=run", f"resume_from={cosine.path}", *options).code == 0
    last = rates(RunDirectory(tmp_path / "run"))[40]
    peak = yaml.safe_load(cosine.config.read_text())["optimizer"]["lr"]
    assert last == pytest.approx(peak if after == "peak" else peak / 2, rel=0.02)


def test_a_schedule_of_torchs_own_is_made_anew_for_the_new_total(cli: Cli, tmp_path: Path) -> None:
    target = "torch.optim.lr_scheduler.OneCycleLR"
    schedule = ("~scheduler", f"+scheduler._target_={target}", "+scheduler.max_lr=0.01", "+scheduler._partial_=true")
    fit(tmp_path / "parent", "trainer.max_epochs=2", "logger=none", *PLAIN, *FAST, *schedule)
    assert cli("fit", "run.dir=run", "resume_from=parent", "trainer.max_epochs=4").code == 0
    whole = fit(tmp_path / "whole", "trainer.max_epochs=4", "logger=none", *PLAIN, *FAST, *schedule)
    run = RunDirectory(tmp_path / "run")
    assert {step: rate for step, rate in rates(run).items() if step > 16} == {
        step: rate for step, rate in rates(whole).items() if step > 16
    }


@pytest.mark.parametrize("factory", [tk.cosine(warmup=3), tk.constant(warmup=20), torch.optim.lr_scheduler.StepLR])
def test_a_schedule_advanced_at_once_stands_where_steps_bring_it(factory: Any) -> None:
    def make() -> Any:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
        own = factory is torch.optim.lr_scheduler.StepLR
        return optimizer, factory(optimizer, 5) if own else factory(optimizer, total_steps=40)

    (one, stepped), (other, advanced) = make(), make()
    for _ in range(17):
        one.step()
        stepped.step()
    advance(advanced, 17)
    assert advanced.state_dict() == stepped.state_dict()
    assert other.param_groups[0]["lr"] == one.param_groups[0]["lr"]


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("seed=1", "seed=1, but 'RUN' has seed=0"),
        ("optimizer.lr=0.5", "optimizer.lr=0.5, but 'RUN' has optimizer.lr=0.003"),
        ("data.batch_size=32", "data.batch_size=32, but 'RUN' has data.batch_size=64"),
        ("trainer.clip_norm=null", "trainer.clip_norm=None, but 'RUN' has trainer.clip_norm=1.0"),
        ("trainer.monitor=val/loss", "trainer.monitor=val/loss, but 'RUN' has trainer.monitor=null"),
        ("model=cnn", "model=cnn, but 'RUN' has model._target_=trainkit.models.MLP"),
        ("data=wine", "data=wine, but 'RUN' has data._target_=trainkit.data.Digits"),
        ("optimizer=sgd", "optimizer=sgd, but 'RUN' has optimizer._target_=torch.optim.AdamW"),
        ("experiment=diabetes", "experiment=diabetes, but 'RUN' has trainer.max_epochs=30"),
    ],
)
def test_what_the_steps_done_rest_on_may_not_change(override: str, text: str, digits: RunDirectory) -> None:
    overrides = [f"resume_from={digits.path}", override]
    with pytest.raises(tk.ConfigError) as caught:
        resumed_config(digits, tk.compose(overrides), overrides)
    assert str(caught.value) == (
        f"{text.replace('RUN', str(digits.path))}\n  where    resume_from\n"
        "  expected another length, schedule, device, callback or logger only\n"
        "  hint     init_from=RUN takes only the weights"
    )


def test_length_watching_and_devices_may_change_and_all_else_is_the_runs_own(digits: RunDirectory) -> None:
    overrides = [
        *("trainer.max_epochs=7", "trainer.val_every_n_epochs=2", "trainer.devices=2", "trainer.threads=1"),
        *("trainer.precision=bf16-mixed", "trainer.accumulate=2", "trainer.steps_per_execution=3"),
        *("checkpoint.keep=5", "logger=none", "callbacks=early_stopping", "evaluation.confidence=0.9"),
        *("+callbacks.lr._target_=lightning.pytorch.callbacks.LearningRateMonitor", "data.num_workers=1"),
        *("scheduler.warmup=3", "launch.max_restarts=0", "run.root=elsewhere", "model=mlp", "seed=0"),
        f"resume_from={digits.path}",
    ]
    config, stored = tk.compose(overrides), load_config(digits)
    new = resumed_config(digits, config, overrides)
    assert (new.trainer.max_epochs, new.trainer.max_steps) == (7, None)  # the limit given replaces both
    for key in ("checkpoint", "callbacks", "evaluation", "launch"):
        expected = plain(config[key])
        if key == "evaluation":
            expected["resamples"] = stored.evaluation.resamples
        if key == "checkpoint":
            expected["every_n_steps"] = 15
        assert plain(new[key]) == expected
    assert (new.trainer.precision, new.trainer.devices, new.scheduler.warmup) == ("bf16-mixed", 2, 3)
    assert new.run.root == "elsewhere" and new.resume_from == str(digits.path) and new.init_from is None
    for key in ("data", "model", "task", "optimizer", "seed"):
        was = stored[key]
        if key == "data":
            was.num_workers = 1
        assert new[key] == was
    assert new.trainer.log_every_n_steps == 10 and load_config(digits).trainer.max_steps == 50


@pytest.mark.parametrize(
    ("override", "asked", "total"),
    [
        ("trainer.max_epochs=10", "trainer.max_epochs=10", 80),
        ("trainer.max_steps=40", "trainer.max_steps=40", 40),
        ("run.name=same", "trainer.max_epochs=10", 80),
    ],
)
def test_no_more_steps_than_were_done_are_refused(
    override: str, asked: str, total: int, cli: Cli, short: RunDirectory, tmp_path: Path
) -> None:
    assert cli("fit", f"resume_from={short.path}", override) == (
        2,
        "",
        f"'{short.path}' has done 80 steps, and {asked} asks for {total}\n  where    resume_from\n"
        "  expected more than 80 steps in all\n  hint     trainer.max_epochs=20\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_cannot_be_gone_on_with_is_refused(
    cli: Cli, short: RunDirectory, logistic: RunDirectory, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for name, given in (("none", "nothing"), ("broken", b"damaged")):
        shutil.copytree(short.path, tmp_path / name)
        for file in (tmp_path / name / "checkpoints").iterdir():
            file.write_bytes(given) if isinstance(given, bytes) and file.suffix == ".ckpt" else None
    shutil.rmtree(tmp_path / "none" / "checkpoints")
    for path, text in (
        ("nowhere", "there is no run directory 'nowhere'\n  where    resume_from\n"),
        (
            "empty",
            "'empty' holds no run\n  where    resume_from\n  expected a directory with a config.yaml, as fit makes",
        ),
        (
            "none",
            "'none' has no checkpoint yet\n  where    resume_from\n  hint     trainkit fit run.dir=none starts it\n",
        ),
        ("broken", "no checkpoint of 'broken' can be used: step-80.ckpt is damaged; step-72.ckpt is damaged\n"),
        (str(logistic.path), f"'{logistic.path}' is a classical model, which has no steps to go on from\n"),
    ):
        code, out, err = cli("fit", f"resume_from={path}", "trainer.max_epochs=20")
        assert (code, out) == (2, "") and err.startswith(text), err
    assert cli("fit", "resume_from=none", "init_from=none") == (
        2,
        "",
        "resume_from and init_from are both given\n  where    resume_from, init_from\n"
        "  expected resume_from to go on with a run, or init_from to start from its weights\n",
    )
    assert not (tmp_path / "runs").exists()


def test_changed_data_is_refused(cli: Cli, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("x,y\n" + "".join(f"{i % 7}.5,{'ab'[i % 2]}\n" for i in range(80)))
    data = ("data=table", "data.path=t.csv", "data.target=y", "model=mlp", "logger=none", *FAST)
    assert cli("fit", "run.dir=parent", "trainer.max_epochs=1", *data).code == 0
    table.write_text(table.read_text().replace("0.5", "0.25"))
    code, out, err = cli("fit", "run.dir=run", "resume_from=parent", "trainer.max_epochs=2")
    assert (code, out) == (2, "") and err.startswith("the data has changed since this run began\n")
    assert not (tmp_path / "run").exists()


def test_code_of_a_foreign_run_is_judged(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "resumed_net.py").write_text("from torch import nn\n\nclass Net(nn.Linear):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    model = ("model=custom", "model._target_=resumed_net.Net", "+model.in_features=???", "+model.out_features=???")
    data = ("data=wine", "logger=none", *FAST)
    assert cli("fit", "run.dir=parent", "trainer.max_epochs=1", *data, *model).code == 0
    longer = ("resume_from=parent", "trainer.max_epochs=2")
    code, out, err = cli("fit", "run.dir=run", *longer)
    assert (code, out) == (2, "") and err.startswith("'resumed_net.Net' is not code that trainkit runs unasked\n")
    assert not (tmp_path / "run").exists()
    assert cli("fit", "run.dir=run", *longer, "run.trust=[resumed_net]").code == 0


class Own(nn.Linear):
    """A net that other processes cannot import: it is given as an object."""


def test_python_goes_on_with_objects_and_with_classes(
    short: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    points = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(points, (points[:, 0] > 0).long())
    constant: dict[str, Any] = {"train": data, "task": "classification", "batch_size": 16, "scheduler": tk.constant()}
    constant["overrides"] = [*FAST, "logger=none"]
    whole = tk.fit(model=Own(4, 2), max_epochs=4, **constant)
    torch.manual_seed(5)
    first = tk.fit(model=(net := Own(4, 2)), max_epochs=2, name="first", **constant)
    assert first.run_dir is not None and whole.run_dir is not None
    with pytest.raises(tk.RunError, match="resume_from=") as caught:
        tk.fit(resume_from=first.run_dir, max_epochs=4)
    assert "was given in Python as an object" in str(caught.value)
    other = Own(4, 2)
    with pytest.raises(tk.ConfigError, match=r"data\.batch_size=64, but .* has data\.batch_size=16"):
        tk.fit(model=other, train=data, batch_size=64, max_epochs=4, resume_from=first.run_dir)
    longer = tk.fit(model=other, train=data, max_epochs=4, resume_from=first.run_dir)
    assert longer.steps == whole.steps == 12 and not torch.equal(other.weight, net.weight)
    with pytest.raises(tk.ConfigError, match="resume_from beside a composed config"):
        tk.fit(tk.compose(["data=wine"]), resume_from=short.path)
    with pytest.raises(tk.ConfigError, match="does not tell what else was asked for"):
        tk.fit(tk.compose([f"resume_from={short.path}", "trainer.max_epochs=20"]))


def test_a_class_other_than_the_runs_own_is_not_quietly_passed_over(short: RunDirectory) -> None:
    for overrides in ([f"resume_from={short.path}", "trainer.max_epochs=20"], [f"run.dir={short.path}"]):
        with pytest.raises(tk.ConfigError, match=r"model=torch\.nn\..*\.Linear, but .* has model\._target_="):
            tk.fit(model=nn.Linear, overrides=overrides)
