"""The checkpoints that a run directory holds: which are known, and the newest that is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from trainkit.errors import RunError
from trainkit.rundir import RunDirectory, read_json, sha256


def all_saved(run: RunDirectory) -> list[dict[str, Any]]:
    """Entries (file, sha256, step) of the checkpoints that ``last`` knows, the newest first."""
    if not run.last.is_file():
        return []
    last = read_json(run.last)
    return [{key: last[key] for key in ("file", "sha256", "step")}, *last["older"]]


def usable_checkpoint(run: RunDirectory) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole, and what is wrong with those passed over.

    Returns:
        Its path, or None where none was written yet, and one sentence for each broken file.

    Raises:
        RunError: Checkpoints were written, and every one is broken.
    """
    broken: list[str] = []
    entries = all_saved(run)
    for entry in entries:
        path = checkpoint_path(run, entry)
        if path.is_file() and sha256(path) == entry["sha256"]:
            return path, broken
        broken.append(f"{entry['file']} is {'damaged' if path.is_file() else 'missing'}")
    if entries:
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


def load_best_weights(run: RunDirectory) -> dict[str, torch.Tensor]:
    """State dict of the best checkpoint, or of the last where none was chosen.

    Raises:
        RunError: The file is damaged or missing.
    """
    pointer = run.best if run.best.is_file() else run.last
    entry = read_json(pointer)
    path = checkpoint_path(run, entry)
    if not path.is_file() or sha256(path) != entry["sha256"]:
        raise RunError(f"'{path}' is damaged or missing", where=str(pointer))
    state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return state


def step_of(checkpoint: Path) -> int:
    """Optimizer steps done at a checkpoint, by its file's name."""
    return int(checkpoint.stem.removeprefix("step-"))
