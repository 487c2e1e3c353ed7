"""A run against the loop that one would write by hand in plain torch, and what it does beside the arithmetic."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW
from torch.utils._python_dispatch import TorchDispatchMode

import trainkit as tk
from trainkit.data.sources import TensorSource, mix
from trainkit.rundir import RunDirectory
from trainkit.runs.build import seed_everything
from trainkit.training import TrainModule, gradient_norm
from trainkit.training.window import LogWindow as Window

SIZE, BATCH_SIZE, EPOCHS, SEED, LR, CLIP = 150, 16, 3, 5, 0.01, 0.1
STEPS = EPOCHS * 10


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(SIZE, 8, generator=generator) * 3 + 1, torch.randint(0, 3, (SIZE,), generator=generator)


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 3))


def by_trainkit(folder: Path, *overrides: str, **options: Any) -> dict[str, Tensor]:
    settings = [f"run.dir={folder}", f"data.batch_size={BATCH_SIZE}", f"trainer.max_epochs={EPOCHS}", f"seed={SEED}"]
    settings += [f"trainer.clip_norm={CLIP}", "data.val_share=0", "data.test_share=0", "evaluation.baseline=false"]
    settings += ["logger=none", "scheduler=constant", f"optimizer.lr={LR}", "trainer.threads=1", *overrides]
    tk.fit(model=net(), train=data(), overrides=settings, **options)
    return load_file(RunDirectory(folder).weights)


def by_hand() -> dict[str, Tensor]:
    module, (inputs, target) = net(), data()
    mean, deviation = inputs.double().mean(0).float(), inputs.double().std(0, correction=0).float()
    matrices = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = AdamW(groups, lr=LR, fused=True)
    seed_everything(SEED)
    for epoch in range(EPOCHS):
        order = torch.randperm(SIZE, generator=torch.Generator().manual_seed(mix(SEED, epoch)))
        for rows in torch.split(order, BATCH_SIZE):
            outputs = module((inputs[rows] - mean) / deviation)
            loss = functional.cross_entropy(outputs, target[rows], reduction="sum") / len(rows)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(matrices + others, CLIP)
            optimizer.step()
            optimizer.zero_grad()
    return module.state_dict()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def learned(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the net alone."""
    return {name.removeprefix("net."): values for name, values in weights.items() if name.startswith("net.")}


@pytest.mark.parametrize("k", [1, 7, 16])
def test_a_run_is_the_loop_by_hand_bit_for_bit(k: int, tmp_path: Path) -> None:
    overrides = ("trainer.flat_parameters=false", f"trainer.steps_per_execution={k}")
    found, expected = learned(by_trainkit(tmp_path / "run", *overrides)), by_hand()
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(found[name], values), name


def test_with_flat_parameters_up_to_rounding(tmp_path: Path) -> None:
    torch.testing.assert_close(learned(by_trainkit(tmp_path / "run")), by_hand(), rtol=1e-4, atol=1e-5)


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations of torch by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> tuple[Counter[str], Counter[str]]:
    """Operations between the logged steps 10 and 20, and calls of what is to happen once an execution."""
    calls, operations = Counter[str](), Operations()
    step = TrainModule.training_step

    def training_step(self: TrainModule, batch: Any, batch_idx: int) -> None:
        calls["executions"] += 1
        with operations:
            step(self, batch, batch_idx)

    update, fetch = Window.update, TensorSource.fetch
    monkeypatch.setattr(TrainModule, "training_step", training_step)
    monkeypatch.setattr(Window, "update", lambda self, *args: (calls.update(["metrics"]), update(self, *args))[1])
    monkeypatch.setattr(TensorSource, "fetch", lambda self, *args: (calls.update(["gathers"]), fetch(self, *args))[1])
    options = ("trainer.max_epochs=null", "trainer.max_steps=30", "trainer.log_every_n_steps=30", *overrides)
    by_trainkit(tmp_path / "run", *options)
    return operations.counts, calls


def test_what_happens_once_an_execution_and_not_at_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_norm, "waits", lambda device: True)  # as on a GPU
    operations, calls = counted(tmp_path, monkeypatch, "trainer.clip_norm=null", "trainer.steps_per_execution=10")
    assert calls["executions"] == STEPS // 10
    assert calls["metrics"] == calls["executions"]
    assert calls["gathers"] <= calls["executions"] + 3  # and the look at a batch before the run
    logged = 6  # loss, accuracy, rate, norm, throughput, and the sum of weights
    flags = 3 * calls["executions"]  # steps that were left out, asked for once
    assert operations["_local_scalar_dense"] + operations["nonzero"] <= logged + flags  # nothing else waits
    assert operations["_fused_adamw_"] == 2 * STEPS  # with decay, and without
    assert operations["addmm"] == STEPS  # of the layer with a bias; the other is a product
    assert operations["cat"] <= 4 * calls["executions"]
    assert sum(operations.values()) / STEPS < 70


@pytest.mark.parametrize("clip", [[], ["trainer.clip_norm=null"]], ids=["clipped", "plain"])
def test_a_cpu_is_asked_for_one_number_a_step(clip: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operations, _ = counted(tmp_path, monkeypatch, "trainer.steps_per_execution=10", *clip)
    assert STEPS <= operations["_local_scalar_dense"] <= STEPS + 6
