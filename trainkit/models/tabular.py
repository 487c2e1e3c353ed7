"""A net for tables: embedded columns, and an ensemble of networks that share most of their weights."""

from __future__ import annotations

from collections.abc import Sequence

import rtdl_num_embeddings as rtdl
import tabm
import torch
from torch import Tensor, nn

from trainkit.models.columns import Categories, NumberEmbedding, PiecewiseNumbers


class Tabular(nn.Module):
    """x."""

    def __init__(
        self,
        num_numbers: int,
        cardinalities: Sequence[int],
        num_outputs: int,
        width: int = 128,
        depth: int = 2,
        dropout: float = 0.1,
        num_members: int = 16,
        number_embedding: NumberEmbedding = "piecewise",
        number_width: int = 16,
        num_bins: int = 32,
        num_frequencies: int = 16,
        frequency_scale: float = 0.05,
        max_category_width: int = 16,
        kind: str = "tabm-mini",
    ) -> None:
        super().__init__()
        self.num_members = num_members
        chunks: list[int] = []
        self.numbers: nn.Module | None = None
        if num_numbers:
            if number_embedding == "piecewise":
                self.numbers = PiecewiseNumbers(num_numbers, number_width, num_bins)
            elif number_embedding == "periodic":
                self.numbers = rtdl.PeriodicEmbeddings(
                    num_numbers, number_width, n_frequencies=num_frequencies,
                    frequency_init_scale=frequency_scale, lite=False)
                self.numbers.no_decay = True
            chunks += [1 if self.numbers is None else number_width] * num_numbers
        self.categories = Categories(cardinalities, max_category_width) if cardinalities else None
        if self.categories is not None:
            chunks += self.categories.ordered_widths()
        self.view = tabm.EnsembleView(k=num_members)
        init = None if kind == "tabm-packed" else "normal" if self.numbers is not None else "random-signs"
        self.trunk = tabm.make_tabm_backbone(
            d_in=sum(chunks), n_blocks=depth, d_block=width, dropout=dropout, k=num_members, arch_type=kind,
            start_scaling_init=init, start_scaling_init_chunks=None if init is None else chunks)
        self.head = tabm.LinearEnsemble(width, num_outputs, k=num_members)

    def fit_inputs(self, numbers: Tensor, codes: Tensor) -> None:
        if isinstance(self.numbers, PiecewiseNumbers):
            self.numbers.fit(numbers)

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        columns = []
        if numbers.shape[1]:
            columns.append(numbers if self.numbers is None else self.numbers(numbers).flatten(1))
        if self.categories is not None:
            columns.append(self.categories(codes))
        out: Tensor = self.head(self.trunk(self.view(torch.cat(columns, dim=1))))
        return out
