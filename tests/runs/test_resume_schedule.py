"""``resume_from`` and the schedule: that of the new total from the step reached, or another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

import trainkit as tk
from tests.runs.conftest import FAST, WINE, Same, fit
from trainkit.rundir import RunDirectory
from trainkit.runs.handover import advance
from trainkit.training import read_metrics

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def cosine(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Four epochs down a cosine, without TensorBoard."""
    return fit(tmp_path_factory.mktemp("cosine") / "run", "trainer.max_epochs=4", "logger=none", *WINE, *FAST)


def rates(run: RunDirectory) -> dict[int, float]:
    """Learning rate by the number of steps done with it."""
    return {int(row["step"]) + 1: float(row["value"]) for row in read_metrics(run.metrics) if row["name"] == "lr"}


def test_the_schedule_is_that_of_the_new_total_from_the_step_reached(
    cli: Cli, cosine: RunDirectory, tmp_path: Path
) -> None:
    assert cli("fit", "run.dir=run", f"resume_from={cosine.path}", "trainer.max_epochs=8").code == 0
    run = RunDirectory(tmp_path / "run")
    whole = fit(tmp_path / "whole", "trainer.max_epochs=8", "logger=none", *WINE, *FAST)
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
    fit(tmp_path / "parent", "trainer.max_epochs=2", "logger=none", *WINE, *FAST, *schedule)
    assert cli("fit", "run.dir=run", "resume_from=parent", "trainer.max_epochs=4").code == 0
    whole = fit(tmp_path / "whole", "trainer.max_epochs=4", "logger=none", *WINE, *FAST, *schedule)
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


def test_a_plateau_schedule_goes_on_from_what_it_has_seen(cli: Cli, assert_same_run: Same, tmp_path: Path) -> None:
    options = ("logger=none", *WINE, *FAST, "scheduler=plateau", "scheduler.patience=0", "optimizer.lr=0.1")
    whole = fit(tmp_path / "whole", "trainer.max_epochs=8", *options)
    fit(tmp_path / "parent", "trainer.max_epochs=4", *options)
    assert cli("fit", "run.dir=run", "resume_from=parent", "trainer.max_epochs=8").code == 0
    assert len(set(rates(whole).values())) > 2
    assert_same_run(whole, RunDirectory(tmp_path / "run"))


def test_a_plateau_schedule_may_follow_another_one(cli: Cli, cosine: RunDirectory, tmp_path: Path) -> None:
    assert (
        cli("fit", "run.dir=run", f"resume_from={cosine.path}", "trainer.max_epochs=5", "scheduler=plateau").code == 0
    )
    peak = yaml.safe_load(cosine.config.read_text())["optimizer"]["lr"]
    assert rates(RunDirectory(tmp_path / "run"))[40] == pytest.approx(peak)
