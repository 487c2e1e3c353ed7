"""Outputs of a frozen backbone, computed once: the head then trains on them instead of on the samples."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainkit.data import DataModule
from trainkit.data.sources import DatasetSource, Source, TensorSource, map_inputs
from trainkit.errors import ConfigError
from trainkit.models import Network
from trainkit.runs.finetuning import tuning_of
from trainkit.runs.hooks import looks_at_batches
from trainkit.runs.parts import Parts


def probed_head(parts: Parts) -> str | None:
    """Name of the head that trains alone on what can be computed once; None where it does not.

    Raises:
        ConfigError: ``finetune.cache=true``, and it cannot be.
    """
    network, section = parts.network, parts.config.get("finetune")
    if network is None or section is None or section.cache is False:
        return None
    reason = _hindrance(parts, network)
    if reason is None:
        tuning = tuning_of(network, parts.config)
        assert tuning is not None
        return tuning.anatomy.head[0]
    if section.cache is True:
        what = f"features cannot be computed once: {reason}"
        raise ConfigError(what, where="finetune.cache", expected="auto or false")
    return None


def _hindrance(parts: Parts, network: Network) -> str | None:
    """Why a backbone has to be computed in each step; None where it does not."""
    tuning, source = tuning_of(network, parts.config), parts.data.source
    if tuning is None or not tuning.is_probe(network.net):
        return "more than the head trains, or moves"
    if isinstance(source, DatasetSource):
        return "a Dataset of your own may give a sample otherwise each time"
    if len(tuning.anatomy.head) != 1:
        return "the head is of several modules"
    if parts.augment is not None:
        return "samples are augmented"
    if looker := looks_at_batches(parts):
        return f"{looker} looks at every batch"
    inputs = source.fetch(torch.arange(min(2, len(source))), 0)[0]
    was_training = network.training
    network.eval()
    try:
        takes = _takes_features(network, tuning.anatomy.head[0], inputs)
    finally:
        network.train(was_training)
    return None if takes else "the outputs are not those of the head alone"


@contextmanager
def features_of(parts: Parts, device: torch.device) -> Iterator[None]:
    """Has a net whose head trains alone do so on features computed once, and tells how long that took."""
    head = probed_head(parts)
    if head is None:
        yield
        return
    assert parts.network is not None
    with cached_features(parts.network, parts.data, head, device) as seconds:
        if int(os.environ.get("RANK", "0")) == 0:
            print(f"cache  features of {len(parts.data.source):,} samples in {seconds:.1f} s", flush=True)
        yield


@contextmanager
def cached_features(network: Network, data: DataModule, head: str, device: torch.device) -> Iterator[float]:
    """Has the data give what goes into a net's head, and the network compute the head alone.

    Args:
        network: All of its net but the head stands still.
        data: Its source is replaced for the time being.
        head: Name of the module that gives the outputs.
        device: Where the outputs of the backbone are computed; they are kept in memory.

    Yields:
        Seconds that it took.
    """
    started = time.perf_counter()
    source = data.source
    features = _features(network, source, data.eval_batch_size, head, device)
    cached = TensorSource(features, _targets(source))
    cached.weight = source.weight
    data.source, network.head = cached, head
    try:
        yield time.perf_counter() - started
    finally:
        data.source, network.head = source, None


def _takes_features(network: Network, head: str, inputs: object) -> bool:
    """Whether a net's outputs are those of one head module, to the bit, so that the rest need not be computed again."""
    module, seen = network.net.get_submodule(head), list[tuple[Tensor, ...]]()
    handle = module.register_forward_pre_hook(lambda _, given: seen.append(given))
    try:
        with torch.no_grad():
            outputs = network(inputs)
    finally:
        handle.remove()
    if len(seen) != 1 or len(seen[0]) != 1:
        return False
    with torch.no_grad():
        return torch.equal(module(seen[0][0]), outputs)


def _features(network: Network, source: Source, batch_size: int, head: str, device: torch.device) -> Tensor:
    module: nn.Module = network.net.get_submodule(head)
    made: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, given: made.append(given[0].detach().cpu()))
    was_training, home = network.training, next(network.parameters()).device
    network.eval().to(device)
    try:
        with torch.no_grad():
            for rows in _in_batches(len(source), batch_size):
                network(map_inputs(source.fetch(rows, 0)[0], lambda tensor: tensor.to(device)))
    finally:
        handle.remove()
        network.train(was_training).to(home)
    return torch.cat(made)


def _targets(source: Source) -> Tensor:
    if isinstance(source, TensorSource):
        return source.target
    return torch.cat([source.fetch(rows, 0)[1] for rows in _in_batches(len(source), 256)])


def _in_batches(num_rows: int, size: int) -> Iterator[Tensor]:
    return (torch.arange(start, min(start + size, num_rows)) for start in range(0, num_rows, size))
