"""Out of memory: smaller micro-batches, the same batch, the same schedule; and what cannot be helped is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from trainkit.data.loader import Step
from trainkit.training.memory import MemoryGuard, is_out_of_memory

if TYPE_CHECKING:
    from tests.training.conftest import Job


class Small(nn.Module):
    """Takes few samples at a time, as a device with little memory does."""

    def __init__(self, most: int = 4, norm: bool = False) -> None:
        super().__init__()
        self.most, self.hidden, self.head = most, nn.Linear(6, 8), nn.Linear(8, 3)
        self.norm = nn.BatchNorm1d(8) if norm else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training and len(inputs) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        values: Tensor = self.head(torch.tanh(self.norm(self.hidden(inputs))))
        return values


@pytest.mark.parametrize("steps_by", ["lightning", "own", "flat"])
def test_smaller_pieces_learn_what_the_whole_batch_does(job: Callable[..., Job], steps_by: str) -> None:
    settings: dict[str, Any] = {"steps_by": steps_by, "halves": True, "log_every": 4}
    large = job("large", model=lambda: Small(99), **settings).fit()
    small = job("small", model=Small, **settings).fit()
    assert small.error is None and large.told == []
    same = "batch, schedule and number of steps stay as they are"
    assert small.told == [
        f"out of memory at step 1: {count} micro-batches of {size} from here, not {2 * size}; {same} "
        f"(trainer.accumulate={count} begins so)"
        for count, size in ((2, 6), (4, 3))
    ]
    assert small.trainer.global_step == large.trainer.global_step
    for name, value in large.weights.items():
        torch.testing.assert_close(small.weights[name], value, rtol=1e-4, atol=1e-5)
    assert [row[:2] for row in small.logged("val")] == [row[:2] for row in large.logged("val")]


def test_batch_norm_is_warned_of(job: Callable[..., Job]) -> None:
    outcome = job(model=lambda: Small(6, norm=True), halves=True).fit()
    assert ["but BatchNorm now sees 6 samples at a time" in text for text in outcome.told] == [True]


def test_a_resumed_run_begins_with_what_fits(
    job: Callable[..., Job], differences: Callable[[Any, Any], list[str]]
) -> None:
    settings: dict[str, Any] = {"model": Small, "steps_by": "own", "halves": True}
    whole, killed = job("whole", **settings).fit(), job("killed", **settings)
    killed.fit(kill_after=13)
    resumed = killed.fit(resume=True, seed=7)
    assert resumed.told == []
    assert differences(resumed.weights, whole.weights) == []
    assert resumed.csv_rows() == whole.csv_rows()


def test_one_sample_that_is_too_large_is_told(job: Callable[..., Job]) -> None:
    outcome = job(model=lambda: Small(0), halves=True).fit()
    assert isinstance(outcome.error, torch.OutOfMemoryError)
    assert [text.split(":")[1].split(" from")[0] for text in outcome.told] == [
        *(" 2 micro-batches of 6", " 4 micro-batches of 3", " 8 micro-batches of 2", " 12 micro-batches of 1"),
    ]


def test_a_guard_that_may_not_cut_lets_the_error_through() -> None:
    def fails(step: Step) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        MemoryGuard(print, can_cut=False).within(fails, Step(((0, 8),), 8), 1, nn.Identity(), lambda: None)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
            True,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


LIMITED = """
import resource
import torch
from torch import nn
import trainkit as tk
from trainkit.training import TrainModule

torch.set_num_threads(1)

class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, inputs):
        return self.head(inputs + 0 * inputs.repeat(1, 2**18).sin().mean())  # 4 MiB a sample, several times

begin = TrainModule.on_train_start

def limited(self):
    begin(self)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 480 * 2**20, resource.RLIM_INFINITY))

TrainModule.on_train_start = limited
if __name__ == "__main__":
    data = (torch.randn(128, 4), torch.arange(128) % 3)
    options = ["data.val_share=0", "data.test_share=0", "trainer.threads=1"]
    print("steps", tk.fit(model=Wide(), train=data, max_steps=2, batch_size=64, overrides=options).facts["steps"])
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux, whose limit of memory can be lowered")
def test_a_machine_whose_memory_really_runs_out(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(LIMITED, encoding="utf-8")
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "out of memory at step 1: 2 micro-batches of 32 from here, not 64" in done.stdout
    assert "steps 2" in done.stdout
