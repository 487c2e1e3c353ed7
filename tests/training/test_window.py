"""What is followed between two logged steps, and how an unfinished window lives through a checkpoint."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAUROC

from trainkit.tasks import Classification, Regression
from trainkit.training.window import LogWindow
from trainkit.types import StepOutput

TASK = Classification(3, class_weights=[1.0, 2.0, 0.5])


def output(seed: int, size: int = 8) -> StepOutput:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(size, 3, generator=generator)
    target = torch.randint(0, 3, (size,), generator=generator)
    return StepOutput(*TASK.loss(outputs, target), outputs, target)


def values(window: LogWindow) -> dict[str, float]:
    return {name: float(v) for name, v in window.close().items() if name != "train/samples_per_second"}


def by_hand(outputs: list[StepOutput]) -> dict[str, Any]:
    hits = torch.cat([o.outputs.argmax(dim=1) == o.target for o in outputs])
    loss = sum(float(o.loss_sum) for o in outputs) / sum(float(o.weight) for o in outputs)
    return {"train/loss": pytest.approx(loss), "train/accuracy": pytest.approx(float(hits.float().mean()))}


def test_values_are_those_of_all_samples() -> None:
    window, outputs = LogWindow(TASK), [output(seed, size) for seed, size in enumerate((8, 8, 3))]
    window.update(outputs[:2], TASK, 16)
    window.update(outputs[2:], TASK, 3)
    assert values(window) == by_hand(outputs)


def test_closing_starts_the_next_window() -> None:
    window = LogWindow(TASK)
    window.update([output(0)], TASK, 8)
    window.close()
    window.update([output(1)], TASK, 8)
    assert window.num_samples == 8
    assert values(window) == by_hand([output(1)])


def test_a_ghost_counts_for_samples_only() -> None:
    window = LogWindow(TASK)
    window.update([output(0)], TASK, 8)
    window.update([], TASK, 5)
    assert window.num_samples == 13
    assert values(window) == by_hand([output(0)])


def test_throughput(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    window = LogWindow(TASK)
    now = 107.0
    window.start_clock()
    window.update([output(0)], TASK, 8)
    now = 109.0
    assert float(window.close()["train/samples_per_second"]) == 4.0
    window.update([output(0)], TASK, 8)
    now = 110.0
    assert float(window.close()["train/samples_per_second"]) == 8.0


def test_state_makes_the_round_trip(tmp_path: Path) -> None:
    whole, first, second = LogWindow(TASK), LogWindow(TASK), LogWindow(TASK)
    second.update([output(9)], TASK, 8)
    for window in (whole, first):
        window.update([output(0)], TASK, 8)
    torch.save(first.state(), tmp_path / "state.pt")
    second.load(torch.load(tmp_path / "state.pt", weights_only=True))
    for window in (whole, second):
        window.update([output(1)], TASK, 8)
    assert second.num_samples == 16
    assert values(second) == values(whole) == by_hand([output(0), output(1)])


def test_state_of_a_window_that_saw_nothing() -> None:
    window, other = LogWindow(TASK), LogWindow(TASK)
    other.update([output(0)], TASK, 8)
    other.load(window.state())
    other.update([output(1)], TASK, 8)
    assert values(other) == by_hand([output(1)])


def test_state_does_not_change_with_the_window() -> None:
    window, other = LogWindow(TASK), LogWindow(TASK)
    window.update([output(0)], TASK, 8)
    state = window.state()
    window.update([output(1)], TASK, 8)
    other.load(state)
    other.update([output(2)], TASK, 8)
    assert values(other) == by_hand([output(0), output(2)])
    assert values(window) == by_hand([output(0), output(1)])


def test_throughput_after_a_resume_counts_the_time_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    killed = LogWindow(TASK)
    killed.start_clock()
    killed.update([output(0)], TASK, 8)
    now = 4.0
    state = killed.state()
    now = 1000.0
    resumed = LogWindow(TASK)
    resumed.load(state)
    resumed.start_clock()
    resumed.update([output(1)], TASK, 8)
    now = 1004.0
    assert float(resumed.close()["train/samples_per_second"]) == 2.0


class Ranking(Classification):
    """A task of the user's own whose training metric keeps every score."""

    def train_metrics(self) -> MetricCollection:
        return MetricCollection({"auroc": BinaryAUROC()})

    def predictions(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs.sigmoid()


def test_metrics_that_keep_lists_make_the_round_trip(tmp_path: Path) -> None:
    task, scores, target = Ranking(2), torch.randn(6), torch.tensor([0, 1, 0, 1, 1, 0])
    parts = [StepOutput(torch.ones(()), 3.0, scores[i : i + 3], target[i : i + 3]) for i in (0, 3)]
    whole, first, second = LogWindow(task), LogWindow(task), LogWindow(task)
    whole.update(parts[:1], task, 3)
    first.update(parts[:1], task, 3)
    torch.save(first.state(), tmp_path / "state.pt")
    second.load(torch.load(tmp_path / "state.pt", weights_only=True))
    for window in (whole, second):
        window.update(parts[1:], task, 3)
    assert values(second) == values(whole)


def test_regression_is_followed_in_its_own_unit() -> None:
    task = Regression(10.0, 2.0)
    outputs, target = torch.tensor([0.0, 1.0]), torch.tensor([10.0, 8.0], dtype=torch.float64)
    window = LogWindow(task)
    window.update([StepOutput(*task.loss(outputs, target), outputs, target)], task, 2)
    assert values(window) == {"train/loss": 2.0, "train/rmse": pytest.approx(8**0.5)}


def test_the_private_name_of_torchmetrics_is_still_there() -> None:
    """``LogWindow.load`` sets it, so that a metric with a loaded state does not warn that it was never updated."""
    metric = LogWindow(TASK).loss
    metric._update_count = 3
    assert metric.update_count == 3
    metric.reset()
    assert metric._update_count == 0
