"""The weights to use: one safetensors file with everything in its metadata that a new process needs to predict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from trainkit.config.copying import plain
from trainkit.data.reader import Reader
from trainkit.data.readers import reader_from_json
from trainkit.errors import RunError
from trainkit.rundir import FORMAT_VERSION, RunDirectory, atomic_path, read_json
from trainkit.runs.parts import Parts, RunParts
from trainkit.runs.version import VERSION
from trainkit.types import DataSpec

_BROKEN = (SafetensorError, LookupError, ValueError, TypeError, AttributeError, OSError, RecursionError)
"""What a file of weights raises that is damaged, or whose metadata makes no sense."""


@dataclass(frozen=True)
class SavedModel:
    """Contents of ``model.safetensors``.

    Attributes:
        state: Tensors by name: ``inputs.…`` (preprocessing), ``net.…``, ``task.…``.
        spec: What the model knows of the data.
        inputs: Settings of the preprocessing.
        reader: Reads new files.
    """

    state: dict[str, Tensor]
    spec: DataSpec
    inputs: dict[str, Any]
    reader: Reader


def save_weights(run: RunDirectory, parts: Parts, module: nn.Module) -> None:
    """Writes the weights of ``module`` (a ``TrainModule``, or for a classical model the preprocessing and task).

    Args:
        run: The run's directory.
        parts: Give the metadata.
        module: Has ``model`` and ``task``.
    """
    state = {name.removeprefix("model."): tensor for name, tensor in module.state_dict().items()}
    inputs = parts.network.inputs if parts.network is not None else module.model.inputs  # type: ignore[union-attr]
    settings = inputs.settings() if hasattr(inputs, "settings") else {"kind": "identity"}  # type: ignore[operator]
    save_state(run, parts, state, settings)


def save_state(
    run: RunDirectory, parts: RunParts, state: Mapping[str, Tensor], inputs: Mapping[str, Any] | None = None
) -> None:
    """Writes tensors with the metadata of a run.

    Args:
        run: The run's directory.
        parts: Give the metadata.
        state: Tensors by name.
        inputs: Settings of the preprocessing; None where there is none.
    """
    # Tied parameters share memory, which safetensors refuses; each name gets its own copy and loads by itself.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    described = {
        "spec": parts.data.spec.to_json(),
        "inputs": dict(inputs or {"kind": "identity"}),
        "reader": parts.data.metadata(),
        "model": plain(parts.config.model),
        "task": plain(parts.config.task),
        "data_fingerprint": parts.data.fingerprint,
        "lineage": run.lineage(),
        "step": _step(run),
    }
    metadata = {"format": "pt", "trainkit": VERSION, "format_version": str(FORMAT_VERSION)}
    metadata |= {name: json.dumps(value) for name, value in described.items()}
    with atomic_path(run.weights) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:
            raise RunError(f"'{run.weights}' cannot be written: {error}", where=str(run.weights)) from error
        temporary.chmod(0o644)  # safetensors makes files that only their owner can read


def _step(run: RunDirectory) -> int | None:
    """Optimizer step of the weights to use; None for a classical model."""
    pointer = next((path for path in (run.best, run.last) if path.is_file()), None)
    return read_json(pointer)["step"] if pointer else None


def load_weights(run: RunDirectory) -> SavedModel:
    """Reads the weights and their metadata; runs no code from the file.

    Raises:
        RunError: The file is missing, damaged, or not one of ours.
    """
    if not run.weights.is_file():
        if run.status() == "completed":
            raise RunError(f"'{run.weights}' is missing", where="RUN")
        why = f"its status is {run.status()}" if run.status() else "it was not finished"
        raise RunError(
            f"'{run.path}' has no weights yet: {why}", where="RUN", hint=f"trainkit fit run.dir={run.path} goes on"
        )
    try:
        with safe_open(run.weights, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        spec = DataSpec.from_json(json.loads(metadata["spec"]))
        saved = SavedModel(
            state, spec, json.loads(metadata["inputs"]), reader_from_json(json.loads(metadata["reader"]))
        )
    except _BROKEN as error:
        raise RunError(f"'{run.weights}' is damaged or not a trainkit model: {error}", where="RUN") from error
    run.check(run.weights)
    return saved


def stored_fingerprint(run: RunDirectory) -> str:
    """Fingerprint of the data that the weights were trained on.

    Raises:
        RunError: The file is missing, damaged, or not one of ours.
    """
    try:
        with safe_open(run.weights, framework="pt") as file:
            fingerprint: str = json.loads(file.metadata()["data_fingerprint"])
    except _BROKEN as error:
        raise RunError(f"'{run.weights}' is damaged or not a trainkit model: {error}", where="RUN") from error
    run.check(run.weights)
    return fingerprint
