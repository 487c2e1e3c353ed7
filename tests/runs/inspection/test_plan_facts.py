from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.optim import lr_scheduler

import trainkit as tk
from trainkit.runs.build import build_parts
from trainkit.runs.inspection.plan_facts import PlanFacts, Watcher, plan_facts, preview
from trainkit.runs.parts import LiveObjects
from trainkit.runs.schedule import run_schedule


def of(*overrides: str, **live: Any) -> PlanFacts:
    return plan_facts(build_parts(tk.compose(["data=wine", "model=mlp", *overrides]), LiveObjects(**live)))


def test_the_rates_are_those_that_training_uses() -> None:
    facts = of("optimizer.lr=0.01", "trainer.max_epochs=10")
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.01)
    schedule = tk.cosine(warmup=0.05)(optimizer, total_steps=40)
    used = []
    for _ in range(40):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert facts.preview.rates.tolist() == used
    assert facts.preview.is_whole and facts.preview.num_steps == 40 and not facts.preview.is_constant
    assert facts.preview.peaks == (0.01, 0.01) and facts.preview.schedule == "cosine"


def test_a_peak_above_the_optimizers_rate_is_seen() -> None:
    cycle = functools.partial(lr_scheduler.OneCycleLR, max_lr=0.1)
    facts = of("trainer.max_epochs=10", scheduler=cycle)
    assert facts.preview.peak == pytest.approx(0.1, rel=0.01)
    assert facts.preview.base == 0.003


@pytest.mark.parametrize(("choice", "is_constant"), [("constant", True), ("cosine", False)])
def test_which_schedule_is_meant_to_stay(choice: str, is_constant: bool) -> None:
    assert of(f"scheduler={choice}").preview.is_constant == is_constant


def test_a_long_run_is_stepped_through_as_far_as_the_time_goes() -> None:
    parts = build_parts(tk.compose(["data=wine", "model=mlp", "trainer.max_epochs=1000"]))
    cut = preview(parts, run_schedule(parts), seconds=0.0)
    assert (len(cut.rates), cut.num_steps, cut.is_whole) == (256, 4000, False)


def test_the_net_is_not_touched_by_the_preview() -> None:
    parts = build_parts(tk.compose(["data=wine", "model=mlp"]))
    assert parts.network is not None
    before = {name: tensor.clone() for name, tensor in parts.network.state_dict().items()}
    preview(parts, run_schedule(parts))
    assert all(torch.equal(tensor, before[name]) for name, tensor in parts.network.state_dict().items())


@pytest.mark.parametrize(
    ("overrides", "count"),
    [
        ([], 30),
        (["trainer.val_every_n_epochs=7"], 5),
        (["trainer.val_every_n_epochs=null", "trainer.val_every_n_steps=25"], 5),
        (["trainer.val_every_n_epochs=60"], 1),
        (["data.val_share=0"], 0),
    ],
)
def test_validations_are_counted(overrides: list[str], count: int) -> None:
    assert of(*overrides).num_validations == count


def test_what_is_watched_and_which_way_is_better() -> None:
    facts = of("callbacks=early_stopping", callbacks=[EarlyStopping("val/loss", patience=3, mode="max")])
    assert facts.watchers == (
        Watcher("trainer.mode", "val/accuracy", "max", "max"),
        Watcher("callbacks, EarlyStopping", "val/accuracy", "max", "max", 5),
        Watcher("callbacks, EarlyStopping", "val/loss", "max", "min", 3),
    )
    assert of("data=diabetes", "trainer.monitor=val/r2").watchers[0].better == "max"
    assert of("data=diabetes").watchers[0] == Watcher("trainer.mode", "val/rmse", "min", "min")
    assert of("data.val_share=0").watchers == ()


def test_batches_and_classes() -> None:
    facts = of("model.norm=batch", "data.batch_size=32", "trainer.accumulate=2")
    assert (facts.batch_size, facts.micro_batch, facts.num_train, facts.steps_per_epoch) == (32, 16, 124, 4)
    assert facts.has_batch_norm and not of().has_batch_norm
    assert facts.majority == pytest.approx(np.bincount([0] * 41 + [1] * 50 + [2] * 33).max() / 124, abs=0.02)
    assert of("data=diabetes").majority == 0
    assert facts.logged == ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr", "grad_norm")
    assert "val/loss" not in of("data.val_share=0").logged
