"""The checkpoints that a run directory holds: which are known, the newest that is whole, and the best.

A pointer that cannot be read, as a full disk or a copy broken off leaves it, hides no checkpoint: those that lie there
are found by their names and proved by the sums inside of them.
"""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from trainkit.errors import RunError
from trainkit.rundir import RunDirectory, read_json, sha256

_NAME = re.compile(r"step-(\d+)\.ckpt")
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, AttributeError, AssertionError)
_ENTRY = {"file": str, "sha256": str, "step": int}


def all_saved(run: RunDirectory) -> list[dict[str, Any]]:
    """Entries (file, sha256, step) of a run's checkpoints, the newest first.

    Those that ``last`` knows; where it is damaged or missing, those that are whole.
    """
    last = _pointer(run.last)
    if last is not None:
        return [{key: last[key] for key in _ENTRY}, *last.get("older", [])]
    return [_entry(path) for path in _files(run) if _is_whole(path)]


def usable_checkpoint(run: RunDirectory) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole, and what is wrong with what was passed over.

    Returns:
        Its path, or None where none was written yet, and one sentence for each broken file.

    Raises:
        RunError: Checkpoints were written, and every one is broken.
    """
    broken: list[str] = []
    files = _files(run)
    if _pointer(run.last) is None and (run.last.is_file() or files):
        broken.append(f"{run.last.name} is {_fault(run.last)}")
        broken += [f"{path.name} is damaged" for path in files if not _is_whole(path)]
    for entry in all_saved(run):
        path = checkpoint_path(run, entry)
        if path.is_file() and sha256(path) == entry["sha256"]:
            return path, broken
        broken.append(f"{entry['file']} is {_fault(path)}")
    if broken:
        raise RunError(f"no checkpoint of '{run.path}' can be used: {'; '.join(broken)}", where="run.dir")
    return None, broken


def checkpoint_path(run: RunDirectory, entry: dict[str, Any]) -> Path:
    """Path of an entry's file, which must lie in the run's own folder.

    Raises:
        RunError: The name leaves the folder.
    """
    name = str(entry["file"])
    if Path(name).name != name:
        raise RunError(f"'{name}' is no file name", where=str(run.last))
    path: Path = run.checkpoints / name
    return path


def best_score(checkpoint: Path) -> dict[str, Any] | None:
    """The best validation (name, value, step, epoch) up to a checkpoint; None without one."""
    state = read_checkpoint(checkpoint, "callbacks")
    writer = next((values for name, values in state["callbacks"].items() if name.endswith("CheckpointWriter")), None)
    if not isinstance(writer, dict) or "best" not in writer:
        raise RunError(f"'{checkpoint}' does not say which validation was the best", where="RUN")
    best: dict[str, Any] | None = writer["best"]
    return best


def read_checkpoint(path: Path, *needed: str) -> dict[str, Any]:
    """A checkpoint as it lies on the disk, without a copy in memory; nothing in it is unpickled but plain containers.

    Args:
        path: The file.
        needed: Which of ``state_dict``, ``callbacks`` and ``optimizer_states`` it has to hold.

    Raises:
        RunError: It is damaged, holds Python objects, or is not one of ours.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, ValueError, LookupError, TypeError, *_DAMAGED) as error:
        objects = " or holds Python objects, which are not unpickled" * isinstance(error, pickle.UnpicklingError)
        raise RunError(f"'{path}' is damaged{objects}", where="RUN") from error
    kinds = {"state_dict": dict, "callbacks": dict, "optimizer_states": list}
    if not isinstance(state, dict) or not all(isinstance(state.get(key), kinds[key]) for key in needed):
        raise RunError(f"'{path}' is no checkpoint that trainkit wrote", where="RUN")
    return state


def best_saved(run: RunDirectory, best: dict[str, Any]) -> dict[str, Any] | None:
    """Pointer to the checkpoint of the best validation if it is there, and whole.

    Args:
        run: The run.
        best: The best validation, as ``best_score`` gives it.

    Returns:
        What ``best.json`` says, or would say if it were not damaged; None without the checkpoint.
    """
    entry = _pointer(run.best)
    if entry is not None and entry["step"] == best["step"]:
        path = checkpoint_path(run, entry)
        known = {**{key: entry[key] for key in _ENTRY}, "monitor": best}
        return known if path.is_file() and sha256(path) == entry["sha256"] else None
    path = run.checkpoints / f"step-{best['step']}.ckpt"
    return {**_entry(path), "monitor": best} if path.is_file() and _is_whole(path) else None


def load_best_weights(run: RunDirectory) -> dict[str, torch.Tensor]:
    """State dict of the best checkpoint, or of the last where none was chosen; averaged weights where it has such.

    Raises:
        RunError: The file is damaged or missing.
    """
    pointer = run.best if run.best.is_file() else run.last
    entry = _pointer(pointer)
    if entry is None:
        raise RunError(f"'{pointer}' is {_fault(pointer)}", where="RUN")
    path = checkpoint_path(run, entry)
    if not path.is_file() or sha256(path) != entry["sha256"]:
        raise RunError(f"'{path}' is damaged or missing", where=str(pointer))
    checkpoint = read_checkpoint(path, "state_dict")
    state: dict[str, torch.Tensor] = checkpoint["state_dict"]
    average = checkpoint.get("trainkit", {}).get("average")
    return state if average is None else state | average["weights"]


def step_of(checkpoint: Path) -> int:
    """Optimizer steps done at a checkpoint, by its file's name."""
    return int(checkpoint.stem.removeprefix("step-"))


def _pointer(path: Path) -> dict[str, Any] | None:
    """What a pointer says; None where it is missing or damaged."""
    if not path.is_file():
        return None
    try:
        values = read_json(path)
    except RunError:  # the caller finds the files without it, and tells
        return None
    older = values.get("older", [])
    entries = [values, *older] if isinstance(older, list) else [None]
    return values if all(map(_is_entry, entries)) else None


def _is_entry(values: Any) -> bool:
    return isinstance(values, dict) and all(isinstance(values.get(key), kind) for key, kind in _ENTRY.items())


def _files(run: RunDirectory) -> list[Path]:
    """Files named as checkpoints, the newest first."""
    return sorted((path for path in run.checkpoints.glob("*") if _NAME.fullmatch(path.name)), key=step_of, reverse=True)


def _entry(path: Path) -> dict[str, Any]:
    return {"file": path.name, "sha256": sha256(path), "step": step_of(path)}


def _is_whole(path: Path) -> bool:
    """Whether a file written by ``torch.save``, a zip file, agrees with the sums that it holds."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (RuntimeError, OSError, ValueError, LookupError, *_DAMAGED):  # an encrypted file's is a RuntimeError
        return False


def _fault(path: Path) -> str:
    return "damaged" if path.is_file() else "missing"
