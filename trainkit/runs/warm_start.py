"""``init_from``: a new training that starts from the weights of another run; called before the first batch is tried."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from trainkit.errors import ConfigError, RunError
from trainkit.rundir import FORMAT_VERSION, RunDirectory, sha256
from trainkit.runs.parts import ModuleParts, Parts, trained_net

NET = "net."
"""What the names of a net's tensors begin with in ``model.safetensors``."""

NAMES_SHOWN = 4


def take_weights(parts: Parts | ModuleParts) -> None:
    """Puts the weights that ``init_from`` names into the net, wherever name and shape agree, and records it.

    Statistics of the inputs stay those of the new data, and the task's own tensors stay too.

    Args:
        parts: Their net is changed in place; ``lineage`` and ``notes`` are set.

    Raises:
        ConfigError: The model is not a net, or not one tensor fits.
        RunError: There is no such run, it has no net's weights, or the file is damaged or none of ours.
    """
    given, net = str(parts.config.init_from), trained_net(parts)
    if net is None:
        kind = type(parts.estimator).__name__ if isinstance(parts, Parts) else "none"
        what = f"init_from gives weights to a net, and the model is {kind}"
        raise ConfigError(what, where="init_from", expected="null for a classical model")
    file = weights_file(given)
    theirs, metadata = _read(file, NET if isinstance(parts, Parts) else "")
    own = net.state_dict()
    fitting = [name for name in own if name in theirs and theirs[name].shape == own[name].shape]
    if not fitting:
        raise _nothing_fits(given, own, theirs)
    with torch.no_grad():
        for name in fitting:
            own[name].copy_(theirs[name])
    new = [name for name in own if name not in fitting]
    parts.notes["init"] = f"{len(fitting)} of {len(own)} tensors from {given}" + _listed(new)
    parts.lineage = {
        "init_from": given,
        "sha256": sha256(file),
        "step": json.loads(metadata.get("step", "null")),
        "data_fingerprint": json.loads(metadata.get("data_fingerprint", "null")),
    }


def _listed(new: list[str]) -> str:
    if not new:
        return ""
    more = f" and {len(new) - NAMES_SHOWN} more" if len(new) > NAMES_SHOWN else ""
    return f" · new: {', '.join(new[:NAMES_SHOWN])}{more}"


def weights_file(given: str) -> Path:
    """The ``model.safetensors`` that ``init_from`` names, itself or by its run.

    Raises:
        RunError: There is none.
    """
    path = Path(given)
    if path.is_dir():
        return _weights_of(path)
    if not path.exists():
        raise RunError(f"there is no '{given}'", where="init_from", expected="a run, or its model.safetensors")
    if path.suffix != ".safetensors":
        run = path.parent.parent if path.parent.name == "checkpoints" else path.parent
        hint = f"init_from={run}" if RunDirectory(run).exists() else None
        expected = "a run, or its model.safetensors; pickles and checkpoints are not read here"
        raise RunError(f"'{given}' is no file of weights", where="init_from", expected=expected, hint=hint)
    return path


def _weights_of(path: Path) -> Path:
    try:
        run = RunDirectory.open(path)
    except RunError as error:
        error.where = "init_from"
        raise
    if run.classical_model.is_file():
        raise RunError(f"'{path}' is a classical model, which has no net's weights", where="init_from")
    if not run.weights.is_file() and run.status() == "completed":
        what = f"the weights of '{path}' are missing: there is no {run.weights.name} in it"
        raise RunError(what, where="init_from", expected="a run with its weights")
    if not run.weights.is_file():
        again = f"trainkit fit run.dir={path} finishes it"
        raise RunError(f"'{path}' has no weights yet: it was not finished", where="init_from", hint=again)
    weights: Path = run.weights
    return weights


def _read(file: Path, prefix: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors of the net by name, and the file's metadata; nothing in it is run."""
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            names = [name for name in opened.keys() if name.startswith(prefix)]  # noqa: SIM118 - not a mapping
            tensors = {name.removeprefix(prefix): opened.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise RunError(f"'{file}' is damaged: {error}", where="init_from") from error
    version = metadata.get("format_version", "")
    if version.isdecimal() and int(version) > FORMAT_VERSION:
        raise RunError(f"'{file}' has format {version}", where="init_from", expected=f"{FORMAT_VERSION} or earlier")
    if not tensors:
        what = f"'{file}' holds no net's weights"
        raise RunError(what, where="init_from", expected="a model.safetensors that fit wrote for a net")
    return tensors, metadata


def _nothing_fits(given: str, own: dict[str, Any], theirs: dict[str, Tensor]) -> ConfigError:
    def text(name: str, tensors: dict[str, Any]) -> str:
        return f"{name} {list(tensors[name].shape)}"

    if not own:
        return ConfigError("the net has no weights to start with", where="init_from", expected="null")
    names = {name: difflib.get_close_matches(name, theirs, n=1, cutoff=0) for name in own}
    pairs = [(name, near) for name, found in names.items() for near in found]
    name, near = max(pairs, key=lambda pair: difflib.SequenceMatcher(None, *pair).ratio())
    return ConfigError(
        f"no tensor of '{given}' fits the net by name and shape",
        where="init_from",
        expected=f"such as {text(name, own)}; nearest there is {text(near, theirs)}",
        hint="give the model of that run, as its config.yaml has it",
    )
