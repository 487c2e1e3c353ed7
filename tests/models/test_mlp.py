"""The multi-layer perceptron: shapes, layers, and arguments that cannot be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from trainkit.errors import ConfigError
from trainkit.models import MLP


@pytest.mark.parametrize("shape", [(4, 12), (4, 3, 4), (4, 3, 2, 2), (1, 12)])
@pytest.mark.parametrize("num_outputs", [1, 5])
def test_inputs_of_any_shape_are_flattened(shape: tuple[int, ...], num_outputs: int) -> None:
    assert MLP(12, num_outputs)(torch.randn(shape)).shape == (shape[0], num_outputs)


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("hidden", [[], [8], [8, 4, 4]])
def test_gradients_reach_every_parameter(norm: Any, hidden: list[int]) -> None:
    net = MLP(6, 3, hidden, dropout=0.0, input_dropout=0.0, norm=norm)
    net(torch.randn(16, 6)).square().sum().backward()
    grads = {name: parameter.grad for name, parameter in net.named_parameters()}
    assert all(grad is not None and bool((grad != 0).any()) for grad in grads.values()), grads


@pytest.mark.parametrize(
    ("norm", "kind", "has_bias"),
    [("batch", nn.BatchNorm1d, False), ("layer", nn.LayerNorm, False), ("none", None, True)],
)
def test_a_norm_takes_the_place_of_the_bias(norm: Any, kind: type | None, has_bias: bool) -> None:
    layers = list(MLP(6, 3, [8, 4], norm=norm).trunk)
    assert sum(kind is not None and isinstance(layer, kind) for layer in layers) == (2 if kind else 0)
    assert [layer.bias is not None for layer in layers if isinstance(layer, nn.Linear)] == [has_bias] * 2


def test_without_hidden_layers_it_is_linear() -> None:
    net = MLP(6, 3, [], input_dropout=0.0)
    inputs = torch.randn(5, 6)
    torch.testing.assert_close(net(inputs), inputs @ net.head.weight.T + net.head.bias)


@pytest.mark.parametrize(("dropout", "input_dropout", "layers"), [(0.0, 0.0, 0), (0.5, 0.0, 2), (0.5, 0.2, 3)])
def test_dropout_acts_in_training_only(dropout: float, input_dropout: float, layers: int) -> None:
    net = MLP(6, 3, [32, 32], dropout, input_dropout)
    assert sum(isinstance(layer, nn.Dropout) for layer in net.modules()) == layers
    inputs = torch.randn(4, 6)
    assert torch.equal(net(inputs), net(inputs)) is (layers == 0)
    net.eval()
    assert torch.equal(net(inputs), net(inputs))


def test_inputs_are_left_as_they_are() -> None:
    inputs = torch.randn(4, 6)
    before = inputs.clone()
    MLP(6, 3, [8], norm="batch")(inputs)
    assert torch.equal(inputs, before)


def test_an_unknown_norm_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        MLP(6, 3, norm="bacth")  # type: ignore[arg-type]
    assert str(error.value) == (
        "there is no norm 'bacth'\n"
        "  where    model.norm\n"
        "  expected one of batch, layer, none\n"
        "  hint     did you mean 'batch'?"
    )


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        MLP(6, 3, dropout=1.5)


def test_inputs_of_another_width_are_refused() -> None:
    with pytest.raises(RuntimeError, match="4x7 and 6x8"):
        MLP(6, 3, [8])(torch.zeros(4, 7))


def test_a_layer_has_units() -> None:
    with pytest.raises(ConfigError, match=r"hidden layers of \[8, 0\] units"):
        MLP(4, 2, hidden=[8, 0])
