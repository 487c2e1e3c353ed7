"""Executions that are on their way to a GPU while the one before them is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from trainkit.data.ahead import Ahead
from trainkit.data.fetching import Fetcher, Request, pinned
from trainkit.data.loader import BatchLoader, Execution
from trainkit.data.plan import ExecutionPlan
from trainkit.data.sources import TensorSource

SOURCE = TensorSource(torch.arange(48.0).reshape(24, 2), torch.arange(24))


def loader(**options: Any) -> BatchLoader:
    return BatchLoader(SOURCE, torch.arange(24), batch_size=4, plan=ExecutionPlan(steps_per_execution=2), **options)


class Tells(Ahead):
    """In the place of an ``Ahead``: notes what it is told to do."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def send(self, move: Callable[[torch.device], Any]) -> Any:
        execution = move(torch.device("cpu"))
        self.told.append(f"send {execution.state.step}")
        return execution

    def receive(self, tensors: Iterable[Tensor]) -> None:
        self.told.append(f"receive {len(list(tensors))}")


class Counts(L.LightningModule):
    def __init__(self, told: list[str]) -> None:
        super().__init__()
        self.automatic_optimization, self.told = False, told

    def training_step(self, batch: Execution, batch_idx: int) -> None:
        self.told.append(f"step {batch.state.step}")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])


@pytest.mark.filterwarnings("ignore")
def test_the_next_execution_is_sent_before_this_one_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    given, tells = loader(), Tells()
    given.send_ahead(tells)
    off: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    trainer = L.Trainer(accelerator="cpu", max_epochs=1, enable_model_summary=False, **off)
    trainer.fit(Counts(tells.told), given)
    assert tells.told == [
        *("send 2", "send 4", "receive 2", "step 2"),
        *("send 6", "receive 2", "step 4", "receive 2", "step 6"),
    ]


def test_what_is_sent_lies_in_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Tensor] = []

    def pin(tensor: Tensor) -> Tensor:
        asked.append(tensor)
        return tensor

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    batch: Any = ({"a": torch.ones(2), "b": torch.zeros(2)}, torch.ones(2), torch.zeros(2))
    assert len(pinned(batch)) == 3 and len(asked) == 4
    asked.clear()
    fetcher = Fetcher(SOURCE, 0)
    requests = [Request([torch.arange(2)], [0], None)]
    list(fetcher.fetch_all(requests))
    assert asked == []
    fetcher.pins = True
    list(fetcher.fetch_all(requests))
    assert len(asked) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")
def test_a_gpu_gets_what_a_cpu_gets() -> None:
    device = torch.device("cuda", 0)
    plain, ahead = loader(), loader()
    ahead.send_ahead(Ahead(device))
    for there, here in zip(list(ahead), list(plain), strict=True):
        assert there.ahead is not None
        arrived = there.to(device)
        assert arrived.ahead is None and arrived.target.device == device
        for moved, kept in zip(arrived.moved(), here.moved(), strict=True):
            assert torch.equal(moved.cpu(), kept)
