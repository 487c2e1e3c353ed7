from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trainkit.runs.inspection.finding import Finding, apply
from trainkit.runs.inspection.plan_facts import PlanFacts, Preview, Watcher
from trainkit.runs.inspection.plan_rules import PLAN_RULES, SCHEDULE_RULES

STEPS = np.arange(1000)
SHAPES: dict[str, Any] = {
    "flat": np.ones(1000),
    "zero": np.zeros(1000),
    "cosine": 0.5 * (1 + np.cos(np.pi * STEPS / 1000)),
    "warm cosine": np.minimum((STEPS + 1) / 50, 0.5 * (1 + np.cos(np.pi * STEPS / 1000))),
    "rising": (STEPS + 1) / 2000,
    "late peak": np.where(STEPS < 700, STEPS / 700, (1000 - STEPS) / 300),
    "steps": 0.1 ** (STEPS // 300),
    "early": 0.1 ** (STEPS // 50),
    "short cosine": 0.5 * (1 + np.cos(np.pi * STEPS / 30)),
    "there and back": 0.5 * (1 + np.cos(2 * np.pi * STEPS / 1000)),
    "hardly": 1 - STEPS / 20_000,
}


def preview(shape: str, schedule: str = "LambdaLR", is_constant: bool = False, num_steps: int = 1000) -> Preview:
    return Preview(1e-3 * SHAPES[shape], 1e-3, schedule, is_constant, num_steps, (1e-3,))


def found(shape: str = "cosine", **changes: Any) -> list[Finding]:
    plain = {
        "preview": preview(shape),
        "steps_per_epoch": 20,
        "num_validations": 30,
        "batch_size": 64,
        "micro_batch": 64,
    }
    return list(apply(PLAN_RULES, PlanFacts(**{**plain, **changes})))


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ("cosine", None),
        ("zero", "zero_rate"),
        ("warm cosine", None),
        ("steps", None),
        ("flat", "no_decay"),
        ("hardly", "no_decay"),
        ("there and back", "no_decay"),
        ("rising", "long_warm_up"),
        ("late peak", "long_warm_up"),
        ("early", "decays_early"),
        ("short cosine", "many_cycles"),
    ],
)
def test_schedules_are_judged_by_their_shape(shape: str, name: str | None) -> None:
    assert [finding.name for finding in found(shape)] == ([name] if name else [])


def test_a_schedule_meant_as_it_is_is_left_alone() -> None:
    assert found(preview=preview("flat", is_constant=True)) == []
    assert found(preview=preview("flat", schedule="")) == []
    assert found(preview=preview("short cosine", schedule="CosineAnnealingWarmRestarts")) == []


def test_a_run_not_looked_at_to_its_end_is_not_judged_by_it() -> None:
    assert [finding.name for finding in found(preview=preview("flat", num_steps=5000))] == []
    assert [finding.name for finding in found(preview=preview("rising", num_steps=5000))] == []


def test_what_a_schedule_is_told() -> None:
    (one,) = found("rising")
    assert one.what == "the learning rate rises until step 1,000 of 1,000, to 0.0005 of 0.001"
    (one,) = found(preview=preview("flat", schedule="StepLR"))
    assert one.what == "StepLR ends at 100 % of its peak after 1,000 steps"
    assert one.hint == "a period as long as the run, or scheduler=cosine; schedules count optimizer steps, not epochs"


@pytest.mark.parametrize(
    ("monitor", "mode", "better", "what"),
    [
        ("val/accuracy", "min", "max", "a higher val/accuracy is better, and the mode is min"),
        ("val/loss", "max", "min", "a lower val/loss is better, and the mode is max"),
        ("val/accuracy", "max", "max", None),
        ("lr", "max", "", None),
    ],
)
def test_a_value_watched_the_wrong_way_round(monitor: str, mode: str, better: str, what: str | None) -> None:
    told = [finding.what for finding in found(watchers=(Watcher("trainer.mode", monitor, mode, better),))]
    assert told == ([what] if what else [])


@pytest.mark.parametrize(
    ("patience", "validations", "name"),
    [
        (None, 1, None),
        (5, 30, None),
        (5, 6, None),
        (5, 5, "long_patience"),
        (50, 30, "long_patience"),
        (5, 1, "late_validation"),
        (5, 0, None),
    ],
)
def test_early_stopping_that_cannot_happen(patience: int | None, validations: int, name: str | None) -> None:
    watcher = Watcher("callbacks, EarlyStopping", "val/loss", "min", "min", patience)
    assert [f.name for f in found(watchers=(watcher,), num_validations=validations)] == ([name] if name else [])


@pytest.mark.parametrize(
    ("monitor", "majority", "hint"),
    [
        ("val/accuracy", 0.95, "trainer.monitor=val/auroc, or task.class_weights=balanced"),
        ("val/accuracy", 0.85, None),
        ("val/accuracy", 0.995, None),  # told as nearly one label
        ("val/auroc", 0.95, None),
    ],
)
def test_accuracy_under_imbalance(monitor: str, majority: float, hint: str | None) -> None:
    watchers = (Watcher("trainer.mode", monitor, "max", "max"),)
    told = found(watchers=watchers, majority=majority, logged=("val/accuracy", "val/auroc"))
    assert [finding.hint for finding in told] == ([hint] if hint else [])


def test_without_auroc_the_loss_is_proposed() -> None:
    (one,) = found(watchers=(Watcher("trainer.mode", "val/accuracy", "max", "max"),), majority=0.95)
    assert one.hint == "trainer.monitor=val/loss, or task.class_weights=balanced"


@pytest.mark.parametrize(
    ("micro_batch", "has_batch_norm", "is_found"),
    [(4, True, True), (7, True, True), (8, True, False), (4, False, False)],
)
def test_batch_norm_over_a_handful(micro_batch: int, has_batch_norm: bool, is_found: bool) -> None:
    told = found(micro_batch=micro_batch, has_batch_norm=has_batch_norm)
    assert [finding.name for finding in told] == ["small_normalised"] * is_found


def test_an_epoch_of_one_step() -> None:
    (one,) = found(steps_per_epoch=1, batch_size=2000, num_train=1200)
    assert one.what == "a batch of 2,000 for 1,200 training samples: one step an epoch"
    assert one.hint == "data.batch_size=60"


@pytest.mark.parametrize("shape", ["rising", "flat", "early", "short cosine"])
def test_what_is_told_of_an_own_module_names_its_own_means(shape: str) -> None:
    facts = PlanFacts(replace(preview(shape), is_own=True))
    (one,) = apply(SCHEDULE_RULES, facts)
    assert one.where == "module, configure_optimizers"
    assert one.hint.endswith("; its interval is 'epoch' unless you give another") and "scheduler=" not in one.hint
