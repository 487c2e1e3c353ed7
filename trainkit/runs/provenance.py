"""Where a run came from: packages, code, hardware, seeds and data, written before it trains."""

from __future__ import annotations

import hashlib
import inspect
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainkit.config.targets import resolve_target, targets_of
from trainkit.data import LoaderData
from trainkit.rundir import FORMAT_VERSION, RunDirectory, read_json, sha256
from trainkit.runs.devices import Devices
from trainkit.runs.machine import hardware, software
from trainkit.runs.parts import RunParts
from trainkit.runs.repository import checkout_state, git_state
from trainkit.runs.version import VERSION


def environment(parts: RunParts, devices: Devices) -> dict[str, Any]:
    """Contents of ``environment.json``.

    Args:
        parts: The parts of the run.
        devices: Where it trains.
    """
    return {
        "format_version": FORMAT_VERSION,
        "trainkit": VERSION,
        "trainkit_checkout": checkout_state(Path(__file__).parents[2]),
        **software(bool(parts.config.trainer.deterministic)),
        "hardware": hardware(devices),
        "git": git_state(Path.cwd()),
        "sources": _sources(parts),
        "script": _script(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "run_id": uuid.uuid4().hex,
        "seed": parts.config.seed,
        "split_seed": parts.data.split_seed,
        "data_fingerprint": parts.data.fingerprint,
        "lineage": parts.lineage,
    } | exactness(parts, devices)


def exactness(parts: RunParts, devices: Devices) -> dict[str, Any]:
    """Whether a killed run continues bit for bit, and why not if not."""
    reasons = []
    if devices.accelerator != "cpu" and not parts.config.trainer.deterministic:
        reasons.append("kernels of the GPU are not deterministic: trainer.deterministic=true")
    if isinstance(parts.data, LoaderData) and (why := parts.data.inexact()):
        reasons.append(why)
    return {"exact_resume": not reasons, "exact_resume_reasons": reasons}


def _sources(parts: RunParts) -> dict[str, Any]:
    """SHA-256 of the file of every ``_target_`` and of the user's own objects."""
    found: dict[str, Any] = {}
    for _, name in targets_of(parts.config):
        if name != "???":
            found[name] = _portable(resolve_target(name))
    for section in parts.live.sections():
        thing = getattr(parts.live, section)
        kind = thing if inspect.isroutine(thing) else type(thing)
        found[f"{section}: {kind.__module__}.{kind.__qualname__}"] = _portable(kind)
    return found


def _portable(thing: Any) -> dict[str, str | None]:
    """As ``source_of``, with the file as it lies below its top-level package, wherever that is installed."""
    source = source_of(thing)
    if source["file"] is None:
        return source
    path, module = Path(source["file"]), inspect.getmodule(thing)
    depth = len(module.__name__.split(".")) + (path.stem == "__init__") if module else 1
    return source | {"file": Path(*path.parts[-depth:]).as_posix()}


def _script() -> dict[str, str | None] | None:
    """Name and SHA-256 of the script that was started; None in a notebook or a shell."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if file is None or not Path(file).is_file():
        return None
    return {"file": Path(file).name, "sha256": sha256(Path(file))}


def source_of(thing: Any) -> dict[str, str | None]:
    """File and SHA-256 of the source of a class or function; null where there is none."""
    try:
        file = inspect.getsourcefile(thing)
    except (TypeError, OSError):  # built in, or typed into a shell, or given to python -c
        file = None
    if file is None or not Path(file).is_file():
        return {"file": None, "sha256": None}
    return {"file": file, "sha256": sha256(Path(file))}


def run_id(run: RunDirectory) -> str:
    """What tells a run from every other, however its directory is called, 32 hex digits; an older run has none kept."""
    kept = read_json(run.environment).get("run_id")
    return str(kept or hashlib.sha256(str(run.path.absolute()).encode()).hexdigest()[:32])
