"""Embeddings of a table's columns, as the first layer of a net: numbers by bins or waves, categories by lookup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import rtdl_num_embeddings as rtdl
import torch
from torch import Tensor, nn

NumberEmbedding = Literal["piecewise", "periodic", "none"]


class PiecewiseNumbers(nn.Module):
    """Piecewise-linear embeddings of numbers, each a linear function that bends at quantiles of the training part.

    From *On Embeddings for Numerical Features in Tabular Deep Learning* (Gorishniy et al., 2022,
    https://arxiv.org/abs/2203.05556), in the form that starts as a linear function (Gorishniy et al., 2025,
    https://arxiv.org/abs/2410.24210). Before ``fit`` the bins are equal parts of [-1, 1]; their number does not depend
    on the data, so that a fresh module takes saved buffers of any.

    Args:
        num_numbers: Columns F.
        width: Values W that a number becomes.
        num_bins: Bins of a number at most, at least 2; equal quantiles share one.

    Shape:
        - Input: float [B, F].
        - Output: float [B, F, W].
    """

    no_decay = True

    def __init__(self, num_numbers: int, width: int, num_bins: int) -> None:
        super().__init__()
        start = [torch.linspace(-1, 1, num_bins + 1)] * num_numbers
        self.embedding = rtdl.PiecewiseLinearEmbeddings(start, width, activation=False, version="B")
        self.encoding.single_bin_mask = torch.zeros(num_numbers, dtype=torch.bool)

    @property
    def encoding(self) -> Any:
        """What holds the bins, as slopes and offsets in buffers."""
        return self.embedding.impl

    def forward(self, numbers: Tensor) -> Tensor:
        """Embeds numbers [B, F] as [B, F, W]."""
        embedded: Tensor = self.embedding(numbers)
        return embedded

    def fit(self, numbers: Tensor) -> None:
        """Takes the bins from the training part.

        Args:
            numbers: float [N, F] without missing values.
        """
        own = self.encoding
        edges = [bin_edges(column, own.get_max_n_bins()) for column in numbers.T.double().cpu().numpy()]
        fitted = rtdl.PiecewiseLinearEncoding(edges).impl
        for buffer, values in ((own.weight, fitted.weight), (own.bias, fitted.bias)):
            buffer.zero_()
            buffer[:, : values.shape[1] - 1] = values[:, :-1]
            buffer[:, -1] = values[:, -1]  # the last bin stands last, whatever the number of those before it
        own.single_bin_mask.copy_(torch.tensor([len(column) == 2 for column in edges]))


class PeriodicNumbers(nn.Module):
    """Embeddings of numbers by sines and cosines of learned frequencies, a linear layer and a ReLU (PLR).

    From *On Embeddings for Numerical Features in Tabular Deep Learning* (Gorishniy et al., 2022,
    https://arxiv.org/abs/2203.05556).

    Args:
        num_numbers: Columns F.
        width: Values W that a number becomes.
        num_frequencies: Frequencies of each number.
        scale: Standard deviation of the frequencies at the start, per unit of the scaled number.

    Shape:
        - Input: float [B, F].
        - Output: float [B, F, W].
    """

    no_decay = True

    def __init__(self, num_numbers: int, width: int, num_frequencies: int, scale: float) -> None:
        super().__init__()
        self.embedding = rtdl.PeriodicEmbeddings(
            num_numbers, width, n_frequencies=num_frequencies, frequency_init_scale=scale, lite=False
        )

    def forward(self, numbers: Tensor) -> Tensor:
        """Embeds numbers [B, F] as [B, F, W]."""
        embedded: Tensor = self.embedding(numbers)
        return embedded


def bin_edges(values: np.ndarray, num_bins: int) -> Tensor:
    """Different quantiles of a column, float32 [2 to num_bins + 1], rising; a constant gets a bin around it.

    Args:
        values: float64 [N].
        num_bins: Bins at most.
    """
    edges = np.unique(np.quantile(values, np.linspace(0, 1, num_bins + 1)).astype(np.float32))
    if len(edges) < 2:
        edges = np.array([edges[0] - 0.5, edges[0] + 0.5], np.float32)
    return torch.from_numpy(edges)


class Categories(nn.Module):
    """Embeddings of categories, one behind the other; a column's width grows with its number of categories.

    The bucket of unknown categories, code 0, starts at 0 and stays there unless training fills it.

    Args:
        cardinalities: Codes of each column, the unknown bucket included.
        max_width: Width at most.

    Attributes:
        widths: Of each column.

    Shape:
        - Input: int64 [B, C].
        - Output: float [B, sum of widths].
    """

    _starts: Tensor

    def __init__(self, cardinalities: Sequence[int], max_width: int) -> None:
        super().__init__()
        self.widths = [embedding_width(cardinality, max_width) for cardinality in cardinalities]
        starts = [0] * len(cardinalities)
        sizes = dict.fromkeys(self.widths, 0)
        for column, (cardinality, width) in enumerate(zip(cardinalities, self.widths, strict=True)):
            starts[column] = sizes[width]
            sizes[width] += cardinality
        # Columns of one width share a table, for a lookup costs a small net more than the arithmetic behind it.
        self.tables = nn.ModuleDict({str(width): nn.Embedding(size, width) for width, size in sizes.items()})
        self._columns = {width: [c for c, own in enumerate(self.widths) if own == width] for width in sizes}
        self.register_buffer("_starts", torch.tensor(starts, dtype=torch.int64), persistent=False)
        with torch.no_grad():
            for width, columns in self._columns.items():
                table = self._table(width)
                table.weight.mul_(width**-0.5)
                table.weight[self._starts[columns]] = 0.0

    def _table(self, width: int) -> nn.Embedding:
        table = self.tables[str(width)]
        assert isinstance(table, nn.Embedding)
        return table

    def forward(self, codes: Tensor) -> Tensor:
        """Looks codes up; columns stand in order of their widths' first appearance."""
        places = codes + self._starts
        return torch.cat([self._table(w)(places[:, columns]).flatten(1) for w, columns in self._columns.items()], dim=1)

    def ordered_widths(self) -> list[int]:
        """Widths in the order in which ``forward`` puts the columns."""
        return [width for width, columns in self._columns.items() for _ in columns]


def embedding_width(cardinality: int, max_width: int) -> int:
    """Values that a category of so many codes becomes: 1.6 · codes^0.56, as fastai does, and no more than there are."""
    width: int = round(1.6 * cardinality**0.56)
    return max(1, min(max_width, cardinality, width))
