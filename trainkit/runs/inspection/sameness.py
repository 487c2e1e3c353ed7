"""In what two runs differ, to the bit: checkpoints, weights, curves; without clocks and paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from trainkit.rundir import RunDirectory, read_json
from trainkit.training import read_metrics, usable_checkpoint

CLOCKS = ("seconds", "samples_per_second", "pytorch-lightning_version")
"""Names of what no two runs share."""


def differences(one: RunDirectory, other: RunDirectory) -> Iterator[str]:
    """Names what differs, a sentence each; nothing where two runs came to the same.

    Args:
        one: A run.
        other: A run of the same config elsewhere.
    """
    states = [_checkpoint(run) for run in (one, other)]
    yield from _differing("checkpoint", *states)
    if one.weights.is_file() or other.weights.is_file():
        weights = [load_file(run.weights) if run.weights.is_file() else {} for run in (one, other)]
        yield from _differing("model.safetensors", *weights)
    best = [read_json(run.best)["monitor"] if run.best.is_file() else None for run in (one, other)]
    yield from _differing("best", *best)
    yield from _differing("metrics.csv", *(_curves(run) for run in (one, other)))
    yield from _differing("TensorBoard", *(scalars(run) for run in (one, other)))


def _checkpoint(run: RunDirectory) -> Any:
    path, broken = usable_checkpoint(run)
    if path is None or broken:
        return {"file": broken}
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    return _without_place(loaded, str(run.path), str(run.path.absolute()))


def _without_place(value: Any, *places: str) -> Any:
    """What a checkpoint holds with the run's own directory left out of texts, as callbacks keep paths."""
    if isinstance(value, str):
        for place in sorted(places, key=len, reverse=True):
            value = value.replace(place, "RUN")
        return value
    if isinstance(value, Mapping):
        return {_without_place(key, *places): _without_place(inner, *places) for key, inner in value.items()}
    return [_without_place(inner, *places) for inner in value] if isinstance(value, (list, tuple)) else value


def _curves(run: RunDirectory) -> list[str]:
    rows = read_metrics(run.metrics) if run.metrics.is_file() else []
    return [" ".join(row.values()) for row in rows if row["name"] not in CLOCKS]


def scalars(run: RunDirectory) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of TensorBoard's curves by tag, as its viewer shows them; none without its files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

    if not run.events():
        return {}
    events = EventAccumulator(str(run.path), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.rpartition("/")[2] not in CLOCKS]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in sorted(tags)}


def _differing(name: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        yield from _differing_tensors(name, one, other)
    elif isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in [*one, *(key for key in other if key not in one)]:
            if key in CLOCKS:
                continue
            if key not in one or key not in other:
                yield f"{name}.{key} is in one of them only"
            else:
                yield from _differing(f"{name}.{key}", one[key], other[key])
    elif isinstance(one, Sequence) and isinstance(other, Sequence) and not isinstance(one, str):
        if len(one) != len(other):
            yield f"{name} has {len(one):,} entries in one and {len(other):,} in the other"
            return
        for place, pair in enumerate(zip(one, other, strict=True)):
            yield from _differing(f"{name}[{place}]", *pair)
    elif one != other and not (one != one and other != other):
        yield f"{name} is {_short(one)} in one and {_short(other)} in the other"


def _differing_tensors(name: str, one: Tensor, other: Tensor) -> Iterator[str]:
    if one.shape != other.shape or one.dtype != other.dtype:
        yield f"{name} has {tuple(one.shape)} {one.dtype} in one and {tuple(other.shape)} {other.dtype} in the other"
        return
    if torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all()):
        return
    count = int((one != other).sum())
    largest = float((one.double() - other.double()).abs().max())
    yield f"{name} differs in {count:,} of {one.numel():,} values, by {largest:.2g} at most"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"
