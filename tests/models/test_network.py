"""A net behind its preprocessing: tensors by position, dicts by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainkit.models import Network


class Named(nn.Module):
    def forward(self, *, numbers: Tensor, codes: Tensor) -> Tensor:
        return numbers.sum(dim=1) - codes.sum(dim=1)


class Split(nn.Module):
    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"numbers": inputs[:, :2], "codes": inputs[:, 2:]}


def test_a_tensor_goes_in_by_position() -> None:
    linear, inputs = nn.Linear(3, 2), torch.randn(4, 3)
    assert torch.equal(Network(linear)(inputs), linear(inputs))


def test_a_dict_goes_in_by_name_in_any_order() -> None:
    numbers, codes = torch.randn(4, 3), torch.ones(4, 2, dtype=torch.int64)
    outputs = Network(Named())({"codes": codes, "numbers": numbers})
    assert torch.equal(outputs, numbers.sum(dim=1) - 2)


def test_preprocessing_comes_first_and_may_give_a_dict() -> None:
    inputs = torch.randn(4, 5)
    assert torch.equal(Network(Named(), Split())(inputs), inputs[:, :2].sum(dim=1) - inputs[:, 2:].sum(dim=1))


def test_a_name_the_net_does_not_take() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'images'"):
        Network(Named())({"images": torch.zeros(1, 1)})


def test_statistics_of_the_preprocessing_are_saved_with_the_net() -> None:
    norm = nn.BatchNorm1d(3, affine=False)
    assert {"inputs.running_mean", "net.weight"} <= Network(nn.Linear(3, 2), norm).state_dict().keys()
