"""A net for tables: embedded columns, and an ensemble of networks that share most of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import tabm
import torch
from torch import Tensor, nn

from trainkit.errors import ConfigError, did_you_mean, one_of
from trainkit.models.columns import Categories, NumberEmbedding, PeriodicNumbers, PiecewiseNumbers


class Tabular(nn.Module):
    """TabM-mini: M multi-layer perceptrons that share their layers, told apart by how each scales its inputs.

    From *TabM: Advancing Tabular Deep Learning with Parameter-Efficient Ensembling* (Gorishniy et al., 2025,
    https://arxiv.org/abs/2410.24210). Each member learns by a loss of its own, and what they say is averaged, which
    ``TrainModule`` does for every net with ``num_members``. Numbers become embeddings (Gorishniy et al., 2022,
    https://arxiv.org/abs/2203.05556), categories too, wider ones where there are more of them.

    Args:
        num_numbers: Numeric columns F, marks of missing values included.
        cardinalities: Codes of each categorical column, the unknown bucket 0 included.
        num_outputs: Outputs per sample: classes, or 1 for a number.
        width: Units of a hidden layer.
        depth: Hidden layers.
        dropout: Share of hidden units dropped in training.
        num_members: Networks M of the ensemble.
        number_embedding: ``piecewise`` linear functions between quantiles of the training part, ``periodic`` functions
            of learned frequencies, or ``none``: numbers as they are.
        number_width: Values that a number becomes.
        num_bins: Of ``piecewise``: bins of a number at most.
        num_frequencies: Of ``periodic``: frequencies of a number.
        frequency_scale: Of ``periodic``: standard deviation of the frequencies at the start.
        max_category_width: Values that a category becomes at most.

    Raises:
        ConfigError: There is no such embedding, or a size is out of range.

    Shape:
        - Input: ``numbers`` float [B, F], ``codes`` int64 [B, C].
        - Output: float [B, M, num_outputs].

    Example:
        >>> net = Tabular(num_numbers=3, cardinalities=[4, 2], num_outputs=2, num_members=8)
        >>> net(torch.zeros(5, 3), torch.zeros(5, 2, dtype=torch.int64)).shape
        torch.Size([5, 8, 2])
    """

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
    ) -> None:
        super().__init__()
        _check_sizes(width=width, depth=depth, num_members=num_members, number_width=number_width)
        _check_sizes(num_frequencies=num_frequencies, max_category_width=max_category_width)
        _check_sizes(2, num_bins=num_bins)
        for key, value, fits, expected in (
            ("dropout", dropout, 0 <= dropout < 1, "0 to below 1"),
            ("frequency_scale", frequency_scale, frequency_scale > 0, "a number above 0"),
        ):
            if not fits:
                raise ConfigError(f"{key} is {value}", where=f"model.{key}", expected=expected)
        self.num_members = num_members
        self.numbers: nn.Module | None = None
        if number_embedding not in get_args(NumberEmbedding):
            what, names = f"there is no embedding of numbers '{number_embedding}'", get_args(NumberEmbedding)
            hint = did_you_mean(str(number_embedding), names)
            raise ConfigError(what, where="model.number_embedding", expected=one_of(names), hint=hint)
        if num_numbers and number_embedding == "piecewise":
            self.numbers = PiecewiseNumbers(num_numbers, number_width, num_bins)
        elif num_numbers and number_embedding == "periodic":
            self.numbers = PeriodicNumbers(num_numbers, number_width, num_frequencies, frequency_scale)
        self.categories = Categories(cardinalities, max_category_width) if cardinalities else None
        widths = [1 if self.numbers is None else number_width] * num_numbers
        widths += self.categories.ordered_widths() if self.categories is not None else []
        self.view = tabm.EnsembleView(k=num_members)
        self.trunk = tabm.make_tabm_backbone(
            d_in=sum(widths),
            n_blocks=depth,
            d_block=width,
            dropout=dropout,
            k=num_members,
            arch_type="tabm-mini",
            start_scaling_init="random-signs" if self.numbers is None else "normal",
            start_scaling_init_chunks=widths,  # a column is scaled as a whole
        )
        self.trunk.affine.no_decay = True
        self.head = tabm.LinearEnsemble(width, num_outputs, k=num_members)
        self.head.no_decay = ("bias",)

    def fit_inputs(self, numbers: Tensor, codes: Tensor) -> None:
        """Takes bins from the training part; called once, before the training.

        Args:
            numbers: float [N, F].
            codes: int64 [N, C].
        """
        if isinstance(self.numbers, PiecewiseNumbers):
            self.numbers.fit(numbers)

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """Maps numbers [B, F] and codes [B, C] to the outputs of all members [B, M, num_outputs]."""
        columns = []
        if numbers.shape[1]:
            columns.append(numbers if self.numbers is None else self.numbers(numbers).flatten(1))
        if self.categories is not None:
            columns.append(self.categories(codes))
        outputs: Tensor = self.head(self.trunk(self.view(torch.cat(columns, dim=1))))
        return outputs


def _check_sizes(least: int = 1, **sizes: int) -> None:
    for key, size in sizes.items():
        if size < least:
            raise ConfigError(f"{key} is {size}", where=f"model.{key}", expected=f"an integer ≥ {least}")
