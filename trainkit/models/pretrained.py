"""Weights from elsewhere: read without unpickling, matched to a net by name or by order, and told about."""

from __future__ import annotations

import importlib
import pickle
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from trainkit.errors import DataError, first_line

DEFAULT = "default"
"""Stands for the weights that a package offers for a model."""

WHERE = "model.weights"
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
WRAPPERS = ("state_dict", "model_state_dict", "model", "model_ema", "net")
"""Keys under which checkpoints keep the state of a net."""

LEAST_MATCHED = 0.5
"""Share of a net's tensors that weights must fill; below, they are of another architecture."""


@dataclass(frozen=True)
class Loaded:
    """Weights with what is known of them.

    Attributes:
        state: Tensors by name.
        mean: Per channel, of images in [0, 1], that the weights expect to be subtracted.
        std: Likewise, to divide by.
        origin: Where they come from, for people.
    """

    state: Mapping[str, Tensor]
    mean: Sequence[float]
    std: Sequence[float]
    origin: str


@dataclass(frozen=True)
class Matching:
    """What of some weights fits a net.

    Attributes:
        origin: Where the weights come from.
        matched: Names of the net's tensors that were filled.
        missing: Those that the weights do not have.
        mismatched: Those of another shape.
        unexpected: Names that the net does not have.
        by_order: Whether tensors were matched by order and shape, because no name agrees.
    """

    origin: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: tuple[str, ...]
    unexpected: tuple[str, ...]
    by_order: bool = False

    def __str__(self) -> str:
        total = len(self.matched) + len(self.missing) + len(self.mismatched)
        parts = [f"{Path(self.origin).name}: {len(self.matched)} of {total} tensors"]
        parts += ["matched by order"] * self.by_order
        for label, names in (("new", self.missing + self.mismatched), ("left over", self.unexpected)):
            if names:
                parts.append(f"{label} {', '.join(names[:4])}" + f" and {len(names) - 4} more" * (len(names) > 4))
        return " · ".join(parts)


def read_state(source: str | Path) -> dict[str, Tensor]:
    """State dict of a file or a run's directory; wrappers and common prefixes such as ``module.`` are taken off.

    Raises:
        DataError: It is not there, is broken, or holds more than tensors and plain containers.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        path = path / "model.safetensors"
        if not path.is_file():
            raise DataError(f"'{source}' is no run with weights", where=WHERE)
    if not path.is_file():
        expected = f"default, a run's directory, or a file ({', '.join(SUFFIXES)})"
        raise DataError(f"there is no '{source}'", where=WHERE, expected=expected)
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Detected pickle protocol")
                found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = f"'{path.name}' holds more than weights, and is not unpickled"
        hint = "save the state_dict alone, best as .safetensors"
        raise DataError(what, where=WHERE, expected="tensors by name", hint=hint) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise DataError(f"'{path.name}' cannot be read: {first_line(error)}", where=WHERE) from error
    state = _tensors(found)
    if not state:
        raise DataError(f"'{path.name}' holds no weights", where=WHERE, expected="tensors by name")
    if path.name == "model.safetensors" and any(name.startswith("net.") for name in state):
        state = {name: tensor for name, tensor in state.items() if name.startswith("net.")}
    return _without_prefix(state)


def default_state(name: str, package: str) -> Loaded:
    """The weights that torchvision or timm offers for a model, downloaded once.

    Raises:
        DataError: There are none, or they cannot be downloaded.
    """
    try:
        if package == "timm":
            timm = importlib.import_module("timm")
            net = timm.create_model(name, pretrained=True)
            config = net.pretrained_cfg
            return Loaded(net.state_dict(), config["mean"], config["std"], f"timm {config.get('hf_hub_id') or name}")
        from torchvision.models import get_model_weights

        offered = get_model_weights(name)
        if not len(offered):
            raise DataError(f"torchvision offers no weights for {name}", where=WHERE, expected="null, or a file")
        weights = offered.DEFAULT
        transforms = weights.transforms()
        state = weights.get_state_dict(progress=False, check_hash=True)
        return Loaded(state, transforms.mean, transforms.std, str(weights))
    except (URLError, OSError, RuntimeError, ImportError) as error:
        place = getattr(locals().get("weights"), "url", None) or f"the hub of {package}"
        raise DataError(
            f"the weights of {name} cannot be had from {place}: {first_line(error)}",
            where=WHERE,
            hint="download them elsewhere, and give the file: model.weights=FILE",
        ) from error


def load_matching(net: nn.Module, state: Mapping[str, Tensor], origin: str, head: str) -> Matching:
    """Fills a net's tensors from a state dict: by name, or by order and shape where no name agrees.

    Args:
        net: The net.
        state: Tensors by name.
        origin: Of the weights, for people.
        head: Name of the layer that may differ.

    Raises:
        DataError: Too little of the net is filled: the weights are of another architecture.
    """
    own = net.state_dict()
    given, by_order = dict(state), False
    if not own.keys() & given.keys():
        given, by_order = _by_order(own, given, head), True
    first = next((name for name, tensor in own.items() if tensor.ndim == 4), None)
    if first in given and given[first].ndim == 4 and given[first].shape[2:] == own[first].shape[2:]:
        given[first] = fit_kernel(given[first], own[first].shape[1])
    fits = {name: given[name] for name in own if name in given and given[name].shape == own[name].shape}
    matching = Matching(
        origin,
        tuple(fits),
        tuple(name for name in own if name not in given),
        tuple(name for name in own if name in given and name not in fits),
        tuple(name for name in given if name not in own),
        by_order,
    )
    body = [name for name in own if not name.startswith(f"{head}.")]
    if sum(name in fits for name in body) < LEAST_MATCHED * len(body):
        what = f"the weights fill {len(fits)} of the net's {len(own)} tensors"
        theirs, ours = ", ".join(list(state)[:3]), ", ".join(list(own)[:3])
        expected = f"weights of {type(net).__name__}: {ours}, …"
        raise DataError(what, where=WHERE, expected=expected, hint=f"they have {theirs}, …")
    net.load_state_dict(fits, strict=False)
    return matching


def fit_kernel(kernel: Tensor, in_channels: int) -> Tensor:
    """A kernel [out, in, …] for another number of channels: summed for one, repeated and scaled for more."""
    given = kernel.shape[1]
    if given == in_channels:
        return kernel
    if in_channels == 1:
        return kernel.sum(dim=1, keepdim=True)
    repeated = kernel.repeat(1, -(-in_channels // given), *[1] * (kernel.ndim - 2))[:, :in_channels]
    return repeated * given / in_channels


def _tensors(found: Any) -> dict[str, Tensor]:
    for key in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            return _tensors(found[key])
    if not isinstance(found, dict):
        return {}
    return {str(name): tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in ("module.", "_orig_mod.", "model.", "net.", "backbone."):
        if all(name.startswith(prefix) for name in state):
            return _without_prefix({name.removeprefix(prefix): tensor for name, tensor in state.items()})
    return state


def _by_order(own: Mapping[str, Tensor], given: Mapping[str, Tensor], head: str) -> dict[str, Tensor]:
    """The given tensors under the net's names, if all but those of the head agree in number, order and shape."""
    if len(own) != len(given):
        return dict(given)
    pairs = list(zip(own.items(), given.values(), strict=True))
    first = next((name for name, tensor in own.items() if tensor.ndim == 4), None)
    for (name, tensor), other in pairs:
        is_free = name == first or name.startswith(f"{head}.")
        if tensor.shape != other.shape and not (is_free and tensor.ndim == other.ndim):
            return dict(given)
    return {name: other for (name, _), other in pairs}
