"""What works on this machine: versions, and capabilities that were tried rather than looked up."""

from __future__ import annotations

import importlib.util
import platform
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from trainkit.data.workers import usable_cores
from trainkit.errors import first_line
from trainkit.runs.computing import missing_compiler
from trainkit.runs.devices import Devices
from trainkit.runs.version import VERSION


@dataclass(frozen=True)
class Environment:
    """Versions, devices, and what was tried on them.

    Attributes:
        versions: Of trainkit, torch, lightning and Python, by name.
        device: ``cpu``, or the GPU's name.
        num_devices: GPUs, or 1.
        threads: CPU threads of a process of the run.
        cores: CPU cores that this process may use.
        works: Each capability that was tried: True, or why it does not work.
    """

    versions: dict[str, str]
    device: str
    num_devices: int
    threads: int
    cores: int
    works: dict[str, bool | str]

    def has(self, name: str) -> bool:
        """Whether a capability was tried and works."""
        return self.works.get(name) is True


def look_around(devices: Devices) -> Environment:
    """Tries what a run may need on the device it would use."""
    device = devices.torch_device
    on_gpu = device.type == "cuda"
    tries: dict[str, Callable[[], object]] = {
        "fp32": lambda: _learn(device, torch.float32),
        "bf16-mixed": lambda: _learn(device, torch.bfloat16),
        **({"fp16": lambda: _learn(device, torch.float16)} if on_gpu else {}),
        "fused AdamW": lambda: _fused_step(device),
        "deterministic": lambda: _deterministic(device),
        "gloo": _gloo,
        **({"nccl": _nccl} if on_gpu else {}),
        "compiler": lambda: _compiler(on_gpu),
        "TensorBoard": lambda: _module("tensorboard"),
    }
    return Environment(
        versions={
            "trainkit": VERSION,
            "torch": torch.__version__,
            "lightning": version("lightning"),
            "python": platform.python_version(),
        },
        device=torch.cuda.get_device_name(device) if on_gpu else "cpu",
        num_devices=torch.cuda.device_count() if on_gpu else 1,
        threads=devices.threads,
        cores=usable_cores(),
        works={name: _outcome(attempt) for name, attempt in tries.items()},
    )


def _outcome(attempt: Callable[[], object]) -> bool | str:
    """True, or the first line of what went wrong: that a backend is missing or broken is the answer looked for."""
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            attempt()
    except (RuntimeError, ValueError, ImportError, OSError) as error:
        return first_line(error)
    return True


def _learn(device: torch.device, dtype: torch.dtype) -> None:
    """Forward and backward of a small net, under autocast unless it is float32; raises where the loss is no number."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).to(device)
    with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        loss = net(torch.ones(4, 1, 8, 8, device=device)).float().square().mean()
    torch.autograd.backward(loss)
    if not bool(loss.isfinite()):
        raise RuntimeError("gives values that are not finite")


def _fused_step(device: torch.device) -> None:
    weight = nn.Parameter(torch.ones(8, device=device))
    weight.grad = torch.ones_like(weight)
    torch.optim.AdamW([weight], fused=True).step()


def _deterministic(device: torch.device) -> None:
    with _deterministic_algorithms():
        _learn(device, torch.float32)


@contextmanager
def _deterministic_algorithms() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _gloo() -> None:
    """A group of this process alone, made without touching the default group."""
    if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
        raise RuntimeError("torch was built without it")
    distributed: Any = torch.distributed
    group = distributed.ProcessGroupGloo(distributed.HashStore(), 0, 1, timedelta(seconds=5))
    group.allreduce([torch.ones(1)]).wait()


def _nccl() -> None:
    if not (torch.distributed.is_available() and torch.distributed.is_nccl_available()):
        raise RuntimeError("torch was built without it")


def _compiler(on_gpu: bool) -> None:
    """What torch.compile hands its code to."""
    if missing := missing_compiler(on_gpu):
        raise RuntimeError(missing)


def _module(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise ImportError(f"{name} is not installed")
