from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import trainkit as tk
from tests.runs.inspection.conftest import net, parts
from trainkit.runs.inspection import data_facts, environment, inspect

Cli = Callable[..., Any]
LABELS = ["with", "works", "data", "split", "task", "model", "plan", "check", "fits", "lr", "logs", "speed", "rows"]


def labels(text: str) -> list[str]:
    return [line.partition(" ")[0] for line in text.splitlines()]


def test_a_dozen_lines_and_nothing_is_written(cli: Cli, tmp_path: Path) -> None:
    done = cli("check", "model=mlp")
    assert (done.code, done.stderr) == (0, "")
    assert [label for label in labels(done.stdout) if label != "not"] == [*LABELS, "found"]
    assert list(tmp_path.iterdir()) == []


def test_the_lines_of_a_run_are_those_that_fit_prints(cli: Cli) -> None:
    overrides = ("data=wine", "model=mlp", "trainer.max_epochs=1", "evaluation.resamples=50")
    checked, fitted = cli("check", *overrides).stdout.splitlines(), cli("fit", *overrides).stdout.splitlines()
    shared = ("data", "split", "task", "model", "plan", "check")
    assert [line for line in checked if line.startswith(shared)] == [line for line in fitted if line.startswith(shared)]


def test_help_needs_no_torch(cli: Cli) -> None:
    done = cli("check", "-h")
    assert done.code == 0 and done.stdout.startswith("usage: trainkit check [group=choice …] [key=value …] [options]\n")
    assert "exit code: 0 nothing to mend, 1 something found, 2 a mistake" in done.stdout
    assert "  check " in cli("--help").stdout


@pytest.mark.parametrize(
    "arguments", [["-m", "seed=0,1"], ["seed=0,1", "--multirun"], ["hydra.mode=MULTIRUN", "seed=1"]]
)
def test_a_multirun_is_refused(cli: Cli, tmp_path: Path, arguments: list[str]) -> None:
    done = cli("check", *arguments)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr == (
        "trainkit check looks at one configuration\n  where    -m\n  hint     trainkit check once for each\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sede=1"], "unknown key 'sede'\n  where    sede=1\n  hint     did you mean 'seed'?\n"),
        (["data.batch_size=0"], "data.batch_size is 0\n  where    data.batch_size\n  expected at least 1\n"),
        (["trainer.monitor=val/acuracy"], "nobody logs 'val/acuracy'\n"),
    ],
)
def test_a_mistake_for_which_fit_would_not_start(cli: Cli, arguments: list[str], told: str) -> None:
    done = cli("check", *arguments)
    assert done.code == 2 and done.stderr.startswith(told)


def test_hydras_options_work_as_in_fit(cli: Cli) -> None:
    done = cli("check", "--cfg", "job", "seed=7")
    assert done.code == 0 and done.stdout.startswith("seed: 7\n")


def test_errors_come_before_warnings_and_the_exit_code_is_one(cli: Cli) -> None:
    done = cli("check", "data=wine", "model=mlp", "trainer.mode=min", "data.batch_size=500")
    told = [line for line in done.stdout.splitlines() if line.startswith("found")]
    assert done.code == 1 and told == [
        "found  a higher val/accuracy is better, and the mode is min (trainer.mode) · mode max, or leave it out",
        "found  a batch of 500 for 124 training samples: one step an epoch (data.batch_size) · data.batch_size=8",
    ]


def test_a_classical_model_is_checked_as_far_as_it_goes(cli: Cli) -> None:
    done = cli("check", "data=diabetes", "model=linear")
    assert (done.code, labels(done.stdout)) == (0, [*LABELS[:6], "note", "rows", "found"])
    result = tk.check(overrides=["data=diabetes", "model=linear"])
    assert result.ok and (result.plan, result.trial, result.speed) == (None, None, None)


def test_objects_of_a_script_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, given = nn.Sequential(net(), nn.BatchNorm1d(10)), parts()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = tk.check(model=model, **given, optimizer=tk.adamw(lr=1e-3), max_epochs=3, batch_size=100, name="mine")
    assert result.ok and result.notes == ()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training and all(p.grad is None and p.device.type == "cpu" for p in model.parameters())
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_argument_is_refused_as_by_any_function() -> None:
    with pytest.raises(TypeError, match=r"check\(\) got an unexpected keyword argument 'modle'"):
        tk.check(modle=net())  # type: ignore[call-arg]


def test_the_result_carries_what_was_measured() -> None:
    result = tk.check(tk.compose(["data=wine", "model=mlp", "trainer.max_epochs=10"]))
    assert isinstance(result, tk.CheckResult) and result.data and result.plan and result.trial and result.speed
    assert result.environment.has("fp32") and result.data.sizes == {"train": 124, "val": 27, "test": 27}
    assert result.plan.preview.num_steps == 40 and result.plan.preview.peak == pytest.approx(0.003)
    assert result.trial.last_loss < 0.2 < result.trial.first_loss
    assert 0 < result.seconds < 30 and result.speed.compute > 0


def test_a_check_does_not_change_the_run_that_follows(cli: Cli) -> None:
    overrides = ("data=wine", "model=mlp", "trainer.max_epochs=2", "evaluation.resamples=50")
    alone = cli("fit", *overrides, "run.dir=alone").stdout
    cli("check", *overrides)
    after = cli("fit", *overrides, "run.dir=after").stdout
    assert [line for line in alone.splitlines() if line.startswith("test")] == [
        line for line in after.splitlines() if line.startswith("test")
    ]


@pytest.mark.parametrize(("factor", "is_told"), [(1, False), (100, True)])
def test_fit_points_to_check_where_the_first_loss_is_far_above_chance(
    cli: Cli, capfd: pytest.CaptureFixture[str], factor: int, is_told: bool
) -> None:
    model = net()
    with torch.no_grad():
        list(model.parameters())[-2].mul_(factor)
    tk.fit(model=model, **parts(), max_steps=2, overrides=["evaluation.resamples=50", "logger=none"])
    told = "note   the first loss is far above chance: trainkit check looks for the reason\n"
    assert (told in capfd.readouterr().out) == is_told


def test_threads_are_those_of_the_run_and_then_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def watching(data: Any) -> Any:
        seen.append(torch.get_num_threads())
        return data_facts.data_facts(data)

    monkeypatch.setattr(inspect, "data_facts", watching)
    tk.check(overrides=["data=wine", "model=mlp", "trainer.threads=2"])
    assert (seen, torch.get_num_threads()) == ([2], 1)


@pytest.mark.parametrize(
    ("broken", "overrides", "where"),
    [
        ("_gloo", ["trainer.devices=2", "trainer.accelerator=cpu"], "trainer.devices"),
        ("_deterministic", ["trainer.deterministic=true"], "trainer.deterministic"),
        ("_gloo", [], None),
        ("_deterministic", [], None),
    ],
)
def test_what_is_asked_for_has_to_work(
    monkeypatch: pytest.MonkeyPatch, broken: str, overrides: list[str], where: str | None
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("not here")

    monkeypatch.setattr(environment, broken, refuse)
    result = tk.check(overrides=["data=wine", "model=mlp", *overrides])
    assert [(finding.name, finding.where) for finding in result.findings] == ([("unavailable", where)] if where else [])
