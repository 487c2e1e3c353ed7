from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainkit.runs.inspection.data_facts import DataFacts
from trainkit.runs.inspection.environment import Environment
from trainkit.runs.inspection.finding import Finding, listed
from trainkit.runs.inspection.lines import (
    found_lines,
    logged_line,
    rows_line,
    schedule_line,
    sparkline,
    speed_line,
    trial_line,
    works_line,
)
from trainkit.runs.inspection.plan_facts import PlanFacts, Preview, Watcher
from trainkit.runs.inspection.speed import Speed
from trainkit.runs.inspection.trial import Trial


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.arange(8), "▁▂▃▄▅▆▇█"),
        (np.arange(800), "▁▁▂▂▂▃▃▃▃▄▄▄▅▅▅▆▆▆▆▇▇▇██"),
        (np.zeros(3), "▁▁▁"),
        (np.ones(1), "█"),
    ],
)
def test_bars_from_nothing_to_the_largest(values: np.ndarray, shown: str) -> None:
    assert sparkline(values) == shown


def test_the_rate_over_a_run() -> None:
    rates = np.array([1e-4, 1e-3, 8e-4, 5e-4, 1e-5])
    line = schedule_line(Preview(rates, 1e-3, "X", False, 5))
    assert line == "▂█▇▅▁  0.0001 at the start, 0.001 at step 2, 0.0008 in the middle, 1e-05 at the end"
    cut = schedule_line(Preview(rates, 1e-3, "X", False, 9))
    assert cut.endswith("1e-05 at step 5, which is as far as was looked")
    assert schedule_line(Preview(np.full(5, 3e-3), 3e-3, "", True, 5)) == "0.003 throughout"


def test_what_is_logged_and_watched() -> None:
    preview = Preview(np.ones(2), 1.0, "", True, 2)
    facts = PlanFacts(preview, (Watcher("trainer.mode", "val/loss", "min"),), 1, logged=("train/loss", "lr"))
    assert logged_line(facts) == "train/loss, lr every step · 1 validation · best by val/loss ↓"
    assert logged_line(replace(facts, watchers=(), num_validations=0, log_every=5)) == (
        "train/loss, lr every 5 steps · 0 validations"
    )


def test_speed_batch_and_rows() -> None:
    assert (
        speed_line(Speed(5e6, 1234.5)) == "loader 5,000,000 samples/s · forward and backward 1,234 · the model limits"
    )
    assert speed_line(Speed(500, 1200)).endswith("the loader limits")
    assert speed_line(Speed(5e6, 1200, augmentation=3000)) == (
        "loader 5,000,000 samples/s · augmentation 3,000 · forward and backward 1,200 · the model limits"
    )
    assert speed_line(Speed(1e6, 1200, augmentation=1000)).endswith("the augmentation limits")
    assert speed_line(Speed(1100, 1200, augmentation=10_000)).endswith("the model limits")  # the two take turns
    trial = Trial(2.3026, 0.0391, 2.3, num_samples=64, num_steps=25, peak=3e-3)
    assert trial_line(trial) == "one batch of 64: loss 2.3 → 0.0391 in 25 steps at 0.003"
    trial = replace(trial, has_dropout=True)
    assert trial_line(trial) == "one batch of 64: loss 2.3 → 0.0391 in 25 steps at 0.003, without dropout"
    keys = {"train": np.arange(4), "val": np.arange(3, 5), "test": np.arange(7, 9)}
    targets = {part: np.zeros(len(rows)) for part, rows in keys.items()}
    facts = DataFacts({"train": 4, "val": 2, "test": 2}, {}, keys=keys, key_targets=targets)
    assert rows_line(facts) == "all 8 compared · in training too: 1 of validation, 0 of test"
    assert rows_line(replace(facts, sizes={"train": 9000, "val": 2, "test": 2})).startswith("8 of 9,004 compared")
    assert rows_line(DataFacts({"train": 4}, {}, keys={"train": np.arange(4)})) == "4, all in training"


def test_devices_and_threads() -> None:
    one = Environment({}, "cpu", 1, 1, 2, {"fp32": True, "gloo": "no"})
    assert works_line(one) == "cpu, 1 thread of 2 cores · fp32"
    assert works_line(replace(one, device="H100", num_devices=4, threads=8, cores=1)).startswith(
        "4 × H100, 8 threads of 1 core"
    )


def test_findings_are_lines() -> None:
    assert list(found_lines(())) == ["nothing to mend"]
    finding = Finding("x", "error", "it is broken", "model", "mend it")
    assert list(found_lines((finding, replace(finding, hint="")))) == [
        "it is broken (model) · mend it",
        "it is broken (model)",
    ]
    assert listed("abcde") == "a, b, c and 2 more" and listed("abc") == "a, b, c"
