"""The largest batch that fits, found by trying; and without, where a CPU would run out of memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trainkit as tk
from trainkit.runs.inspection import largest_batch as module
from trainkit.runs.inspection.largest_batch import LargestBatch
from trainkit.runs.inspection.lines import batch_line

Cli = Callable[..., Any]


class Limited(nn.Module):
    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.head = most, nn.Linear(13, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        if len(inputs) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        values: Tensor = self.head(inputs)
        return values


def found(most: int, *overrides: str) -> LargestBatch:
    result = tk.check(model=Limited(most), data="wine", batch_size=16, overrides=[*overrides], batch=True)
    assert result.largest_batch is not None
    return result.largest_batch


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainkit.runs.inspection.trial.SECONDS", 0.05)


def test_the_largest_that_fits_is_found_by_halves() -> None:
    assert found(70) == LargestBatch(64, 16, "memory", 71)


def test_all_training_samples_may_fit() -> None:
    assert found(999) == LargestBatch(124, 16, "data")


def test_micro_batches_are_what_counts() -> None:
    assert found(40, "trainer.accumulate=4").current == 4


def test_a_cpu_is_not_driven_out_of_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    step = module._Search._step

    def counted(self: Any, size: int) -> None:
        tried.append(size)
        step(self, size)

    monkeypatch.setattr(module._Search, "_step", counted)
    used = iter(range(0, 10**12, 10**9))
    monkeypatch.setattr(module, "process_memory", lambda: next(used))  # a gigabyte more after each step
    monkeypatch.setattr(module, "_free", lambda: 5 * 10**9)
    made = found(999)
    assert made.limit == "memory" and max(tried) < made.too_large


def test_what_takes_too_long_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)
    assert found(999) == LargestBatch(16, 16, "time")


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (LargestBatch(70, 16, "memory", 72), "70 samples at a time fit, 16 are asked for; memory is not enough for 72"),
        (LargestBatch(124, 16, "data"), "124 samples at a time fit, 16 are asked for; all training samples fit"),
        (LargestBatch(16, 16, "time"), "16 samples at a time fit, 16 are asked for; more take too long to try"),
    ],
)
def test_what_is_told(made: LargestBatch, text: str) -> None:
    assert batch_line(made) == text


def test_a_classical_model_has_no_batch(cli: Cli) -> None:
    code, _, err = cli("check", "batch=true", "data=wine", "model=logistic")
    assert code == 2 and "only of a net that trainkit trains" in err
