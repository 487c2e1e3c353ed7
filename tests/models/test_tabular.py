"""The net for tables: shapes, members that differ, columns as it embeds them, and arguments that cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainkit.errors import ConfigError
from trainkit.models import Tabular
from trainkit.models.columns import Categories, PiecewiseNumbers, bin_edges, embedding_width
from trainkit.optim import parameter_groups

SMALL: dict[str, Any] = {"width": 8, "num_members": 4, "number_width": 4, "num_bins": 6, "dropout": 0.0}


def columns(rows: int = 6, numbers: int = 3, cardinalities: tuple[int, ...] = (4, 2, 9)) -> tuple[Tensor, Tensor]:
    codes = [torch.randint(size, (rows,)) for size in cardinalities]
    return torch.randn(rows, numbers), torch.stack(codes, dim=1) if codes else torch.zeros(rows, 0, dtype=torch.int64)


@pytest.mark.parametrize("embedding", ["piecewise", "periodic", "none"])
@pytest.mark.parametrize(("numbers", "cardinalities"), [(3, (4, 2, 9)), (0, (4, 2)), (3, ())])
def test_shapes_and_gradients(embedding: Any, numbers: int, cardinalities: tuple[int, ...]) -> None:
    net = Tabular(numbers, cardinalities, 5, number_embedding=embedding, **SMALL)
    inputs = columns(32, numbers, cardinalities)
    net.fit_inputs(*inputs)
    outputs = net(*inputs)
    assert outputs.shape == (32, 4, 5)
    outputs.square().sum().backward()
    grads = {name: parameter.grad for name, parameter in net.named_parameters()}
    assert all(grad is not None and bool((grad != 0).any()) for grad in grads.values()), grads


def test_members_differ_from_the_start() -> None:
    outputs = Tabular(3, (4, 2, 9), 2, **SMALL)(*columns())
    assert all(not torch.allclose(outputs[:, 0], outputs[:, member]) for member in range(1, 4))


def test_one_sample_of_evaluation_does_not_depend_on_the_others() -> None:
    net = Tabular(3, (4, 2, 9), 2, **SMALL | {"dropout": 0.5}).eval()
    numbers, codes = columns(64)
    torch.testing.assert_close(net(numbers, codes)[:32], net(numbers[:32], codes[:32]))


def test_a_number_is_encoded_by_the_quantiles_of_the_training_part() -> None:
    module = PiecewiseNumbers(1, 2, 4)
    module.fit(torch.tensor([[0.0], [1.0], [2.0], [4.0], [8.0]]))
    encoded = module.encoding(torch.tensor([[-1.0], [0.5], [3.0], [8.0], [12.0]]))[:, 0]
    expected = [[-1.0, 0, 0, 0], [0.5, 0, 0, 0], [1, 1, 0.5, 0], [1, 1, 1, 1], [1, 1, 1, 2]]
    torch.testing.assert_close(encoded, torch.tensor(expected))


def test_columns_of_fewer_bins_keep_the_shape_of_every_buffer() -> None:
    fresh, fitted = PiecewiseNumbers(4, 3, 5), PiecewiseNumbers(4, 3, 5)
    many = np.linspace(-3, 3, 40)
    fitted.fit(torch.tensor(np.stack([many, many > 0, np.full(40, 7.0), np.round(many)], axis=1)).float())
    assert fitted.encoding.single_bin_mask.tolist() == [False, True, True, False]
    assert {k: v.shape for k, v in fresh.state_dict().items()} == {k: v.shape for k, v in fitted.state_dict().items()}
    fresh.load_state_dict(fitted.state_dict())
    inputs = torch.randn(9, 4)
    assert torch.equal(fresh(inputs), fitted(inputs))
    assert bool(fitted(inputs).isfinite().all())


@pytest.mark.parametrize("values", [[1.0, 2.0], [5.0], [0.1, 0.1, 0.1], list(range(100)), [1e30, -1e30, 0.0]])
def test_edges_rise_however_few_the_values(values: list[float]) -> None:
    edges = bin_edges(np.array(values), 8)
    assert 2 <= len(edges) <= 9
    assert bool((edges.diff() > 0).all())


def test_the_unknown_bucket_starts_silent_and_widths_follow_the_cardinality() -> None:
    module = Categories([3, 40, 3, 900], 16)
    assert module.widths == [3, 13, 3, 16]
    assert module.ordered_widths() == [3, 3, 13, 16]
    silent = module(torch.zeros(1, 4, dtype=torch.int64))
    assert silent.shape == (1, 35)
    assert not bool(silent.any())
    first, second = module(torch.tensor([[1, 1, 1, 1], [1, 1, 2, 899]]))
    assert torch.equal(first[:3], second[:3])
    assert not torch.equal(first[3:6], second[3:6])
    assert torch.equal(first[6:19], second[6:19])
    assert not torch.equal(first[19:], second[19:])


@pytest.mark.parametrize(("cardinality", "width"), [(1, 1), (2, 2), (3, 3), (10, 6), (100, 16), (10_000, 16)])
def test_width_of_a_category(cardinality: int, width: int) -> None:
    assert embedding_width(cardinality, 16) == width


@pytest.mark.parametrize("embedding", ["piecewise", "periodic"])
def test_embeddings_scalings_and_biases_do_not_decay(embedding: Any) -> None:
    net = Tabular(3, (4, 9), 2, number_embedding=embedding, **SMALL)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    decaying = [names[id(p)] for group in parameter_groups(net) for p in group["params"] if "weight_decay" not in group]
    assert decaying == ["trunk.blocks.0.0.weight", "trunk.blocks.1.0.weight", "head.weight"]


@pytest.mark.parametrize(
    ("option", "what"),
    [
        ({"width": 0}, "width is 0"),
        ({"depth": 0}, "depth is 0"),
        ({"num_members": 0}, "num_members is 0"),
        ({"num_bins": 1}, "num_bins is 1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"frequency_scale": 0.0}, "frequency_scale is 0.0"),
        ({"number_embedding": "periodical"}, "there is no embedding of numbers 'periodical'"),
    ],
)
def test_arguments_that_cannot_be(option: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Tabular(3, (4,), 2, **option)
    assert caught.value.what == what
    assert caught.value.where == f"model.{next(iter(option))}"
