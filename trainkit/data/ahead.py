"""Batches on their way to a GPU while the one before them is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

Moved = TypeVar("Moved")


class Ahead:
    """Copies to a GPU on a stream of its own.

    Lightning asks a loader for one execution more than it hands out, so that the next one's copy runs beside the steps
    of this one. It does so only from pinned memory; see ``Fetcher.pins``.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def send(self, move: Callable[[torch.device], Moved]) -> Moved:
        """What ``move`` gives, which has arrived once ``receive`` was called."""
        with torch.cuda.stream(self.stream):
            return move(self.device)

    def receive(self, tensors: Iterable[Tensor]) -> None:
        """Has what is computed from here on wait for what was sent, whose memory stays until then."""
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self.stream)
        for tensor in tensors:
            tensor.record_stream(current)
