"""What a net wants to know of its inputs before it trains, such as bins of numbers; called by ``build_parts``."""

from __future__ import annotations

import torch

from trainkit.data import DataModule
from trainkit.models import Network

LARGEST = 200_000
"""Training rows that a net looks at; of more an even choice, which tells quantiles to a thousandth."""


def fit_inputs(network: Network, data: DataModule) -> None:
    """Hands the preprocessed training rows to a net that has ``fit_inputs``, which keeps what it learns in buffers.

    It depends on the data alone: every process of a run, and every one that resumes it, finds the same. A run that is
    loaded takes the buffers from the weights.

    Args:
        network: Its net gets the inputs as ``forward`` does, a tensor or by name.
        data: Set up.
    """
    fit = getattr(network.net, "fit_inputs", None)
    rows = data.rows("train")
    if fit is None or not len(rows):
        return
    if len(rows) > LARGEST:
        rows = rows[torch.linspace(0, len(rows) - 1, LARGEST, dtype=torch.float64).round().long()]
    with torch.no_grad():
        prepared = network.inputs(data.source.fetch(rows, 0)[0])
        fit(**prepared) if isinstance(prepared, dict) else fit(prepared)
