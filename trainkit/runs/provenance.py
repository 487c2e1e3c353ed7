"""Where a run came from: packages, code, hardware, seeds and data, written before it trains."""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import os
import platform
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from trainkit.config.targets import resolve_target, targets_of
from trainkit.data import LoaderData
from trainkit.rundir import FORMAT_VERSION, RunDirectory, read_json
from trainkit.runs.devices import Devices
from trainkit.runs.parts import RunParts
from trainkit.runs.version import VERSION

PACKAGES = (
    *("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy", "pandas", "pyarrow"),
    *("scikit-learn", "skops", "safetensors", "tensorboard"),
)


def environment(parts: RunParts, devices: Devices) -> dict[str, Any]:
    """Contents of ``environment.json``."""
    return {
        "format_version": FORMAT_VERSION,
        "trainkit": VERSION,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": dict(_versions()),
        "git": _git(Path.cwd()),
        "sources": _sources(parts),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "hardware": {
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "accelerator": devices.accelerator,
            "devices": devices.count,
            "threads": devices.threads,
            "gpus": [torch.cuda.get_device_name(idx) for idx in range(torch.cuda.device_count())],
        },
        "run_id": uuid.uuid4().hex,
        "seed": parts.config.seed,
        "split_seed": parts.data.split_seed,
        "data_fingerprint": parts.data.fingerprint,
    } | exactness(parts, devices)


def exactness(parts: RunParts, devices: Devices) -> dict[str, Any]:
    """Whether a killed run continues bit for bit, and why not if not."""
    reasons = []
    if devices.accelerator != "cpu" and not parts.config.trainer.deterministic:
        reasons.append("kernels of the GPU are not deterministic: trainer.deterministic=true")
    if isinstance(parts.data, LoaderData) and (why := parts.data.inexact()):
        reasons.append(why)
    return {"exact_resume": not reasons, "exact_resume_reasons": reasons}


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        yield name, importlib.metadata.version(name)


def _git(folder: Path) -> dict[str, Any] | None:
    def ask(*args: str) -> str | None:
        try:
            done = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit.strip(), "diff": ask("diff", "HEAD") or ""}


def _sources(parts: RunParts) -> dict[str, Any]:
    """SHA-256 of the file of every ``_target_`` and of the user's own objects."""
    found: dict[str, Any] = {}
    for _, name in targets_of(parts.config):
        if name != "???":
            found[name] = source_of(resolve_target(name))
    for section in parts.live.sections():
        thing = getattr(parts.live, section)
        kind = thing if inspect.isroutine(thing) else type(thing)
        found[f"{section}: {kind.__module__}.{kind.__qualname__}"] = source_of(kind)
    return found


def source_of(thing: Any) -> dict[str, str | None]:
    """File and SHA-256 of the source of a class or function; null where there is none."""
    try:
        file = inspect.getsourcefile(thing)
    except TypeError:  # built in, or typed into a shell
        file = None
    if file is None or not Path(file).is_file():
        return {"file": None, "sha256": None}
    return {"file": file, "sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest()}


def run_id(run: RunDirectory) -> str:
    """What tells a run from every other, however its directory is called, 32 hex digits; an older run has none kept."""
    kept = read_json(run.environment).get("run_id")
    return str(kept or hashlib.sha256(str(run.path.absolute()).encode()).hexdigest()[:32])
