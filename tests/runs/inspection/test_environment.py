from __future__ import annotations

import importlib.util
import shutil
from typing import Any

import pytest
import torch

from trainkit.runs.devices import Devices
from trainkit.runs.inspection import environment as module
from trainkit.runs.inspection.environment import look_around
from trainkit.runs.inspection.lines import broken_line, versions_line, works_line
from trainkit.runs.version import VERSION

CPU = Devices("cpu", 1, 1)


def test_what_works_was_tried_and_nothing_is_left_behind() -> None:
    before = torch.get_rng_state()
    found = look_around(CPU)
    assert found.works["fp32"] is found.works["fused AdamW"] is found.works["TensorBoard"] is True
    assert "fp16" not in found.works and "nccl" not in found.works
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled() and not torch.distributed.is_initialized()
    assert found.versions["trainkit"] == VERSION and found.versions["torch"] == torch.__version__
    assert versions_line(found).startswith(f"trainkit {VERSION} · torch {torch.__version__} · lightning ")


def test_deterministic_algorithms_stay_as_they_were() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    look_around(CPU)
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)


def test_what_does_not_work_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> Any:
        raise RuntimeError("no kernel for this device\nmore")

    monkeypatch.setattr(torch.optim, "AdamW", refuse)
    monkeypatch.setattr(torch.distributed, "is_gloo_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = look_around(CPU)
    assert broken_line(found) == (
        "fused AdamW (no kernel for this device) · gloo (torch was built without it) · compiler (no C++ compiler)"
        " · TensorBoard (tensorboard is not installed)"
    )
    assert not found.has("gloo") and found.has("fp32")
    assert "gloo" not in works_line(found)


def test_a_net_that_gives_infinity_does_not_count_as_working(monkeypatch: pytest.MonkeyPatch) -> None:
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *shape, **options: ones(*shape, **options) * float("inf"))
    assert look_around(CPU).works["fp32"] == "gives values that are not finite"


def test_a_bug_is_not_taken_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise KeyError("missing")

    monkeypatch.setattr(module, "_gloo", refuse)
    with pytest.raises(KeyError):
        look_around(CPU)
