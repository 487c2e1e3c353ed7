"""Whether a checkpoint loads without unpickling anything but tensors and plain containers; asked before it is saved."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import Any

import torch

from trainkit.errors import RunError

SIMPLE = (type(None), bool, int, float, str, torch.Tensor, torch.nn.Parameter)
LISTS = (list, tuple)
DICTS = (dict, OrderedDict)


def check_plain(checkpoint: dict[str, Any]) -> None:
    """Raises RunError for the first value that could not be loaded again, with the callback that put it in."""
    for section, values in checkpoint.items():
        if section != "callbacks":
            _check(values, section, f"the checkpoint's '{section}'")
            continue
        for key, state in values.items():
            _check(state, "state", f"the state of the callback {key.partition('{')[0]}")


def _check(value: Any, path: str, whose: str) -> None:
    kind = type(value)
    if kind in SIMPLE:
        return
    if kind in DICTS:
        for key, inner in value.items():
            _check(key, f"{path} key", whose)
            _check(inner, f"{path}[{key!r}]", whose)
    elif kind in LISTS:
        for idx, inner in enumerate(value):
            _check(inner, f"{path}[{idx}]", whose)
    elif not _loads(value):
        raise RunError(
            f"{whose} holds a {kind.__module__}.{kind.__qualname__}, which a checkpoint does not load again",
            where=path,
            expected="numbers, texts, tensors, and lists and dicts of them",
            hint="float(x) or x.tolist() for NumPy's",
        )


def _loads(value: Any) -> bool:
    """Whether torch loads a value of a rarer kind as plain: a size, a dtype, a set, …."""
    buffer = io.BytesIO()
    try:
        torch.save(value, buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    except Exception:  # whatever a foreign object raises when it is pickled
        return False
    return True
