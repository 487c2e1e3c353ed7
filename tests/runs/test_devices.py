from __future__ import annotations

import os

import pytest
import torch

import trainkit as tk
from trainkit.runs.devices import Devices, find_devices


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Eight cores, and two GPUs in name."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return monkeypatch


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        ([], Devices("cuda", 1, 5)),
        (["trainer=cpu"], Devices("cpu", 1, 5)),
        (["trainer=cpu", "trainer.threads=3"], Devices("cpu", 1, 3)),
        (["trainer=cpu", "trainer.devices=3"], Devices("cpu", 3, 2)),
        (["trainer=cpu", "trainer.devices=9"], Devices("cpu", 9, 1)),
        (["trainer=gpu", "trainer.devices=2"], Devices("cuda", 2, 4)),
    ],
)
def test_devices_and_threads(overrides: list[str], found: Devices, machine: pytest.MonkeyPatch) -> None:
    assert find_devices(tk.compose(overrides)) == found


@pytest.mark.parametrize("accelerator", ["gpu", "auto"])
def test_more_gpus_than_there_are(accelerator: str, machine: pytest.MonkeyPatch) -> None:
    with pytest.raises(tk.LaunchError) as caught:
        find_devices(tk.compose([f"trainer.accelerator={accelerator}", "trainer.devices=3"]))
    assert caught.value.what == "trainer.devices=3 GPUs asked for, 2 found"
    machine.setattr(torch.cuda, "device_count", lambda: 0)
    if accelerator == "auto":
        assert find_devices(tk.compose(["trainer.devices=3"])).accelerator == "cpu"
