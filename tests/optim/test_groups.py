"""Which parameters decay: matrices and kernels, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainkit.models import CNN, MLP
from trainkit.optim import parameter_groups


def decays(module: nn.Module) -> dict[str, bool]:
    """Whether each listed parameter decays, by name, in the order of the groups."""
    names = {id(parameter): name for name, parameter in module.named_parameters(remove_duplicate=False)}
    return {names[id(p)]: "weight_decay" not in g for g in parameter_groups(module) for p in g["params"]}


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.vector = nn.Parameter(torch.ones(3))
        self.matrix = nn.Parameter(torch.ones(3, 3))


class Members(nn.Module):
    """Biases of several members, and a layer whose owner is left out as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(2, 3, 3)), nn.Parameter(torch.ones(2, 3))
        self.inner = nn.Sequential(nn.Linear(3, 3))
        self.inner.no_decay = True  # type: ignore[assignment]
        self.no_decay = ("bias",)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Linear(3, 2), {"weight": True, "bias": False}),
        (nn.Conv2d(3, 2, 3), {"weight": True, "bias": False}),
        (nn.BatchNorm2d(3), {"weight": False, "bias": False}),
        (nn.LayerNorm([2, 3]), {"weight": False, "bias": False}),
        (nn.GroupNorm(1, 3), {"weight": False, "bias": False}),
        (nn.RMSNorm([2, 3]), {"weight": False}),
        (nn.InstanceNorm1d(3, affine=True), {"weight": False, "bias": False}),
        (nn.Embedding(4, 2), {"weight": False}),
        (nn.EmbeddingBag(4, 2), {"weight": False}),
        (Members(), {"weight": True, "bias": False, "inner.0.weight": False, "inner.0.bias": False}),
        (Own(), {"matrix": True, "scale": False, "vector": False}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_kinds(module: nn.Module, expected: dict[str, bool]) -> None:
    assert decays(module) == expected


def test_groups_keep_the_order_of_the_parameters() -> None:
    net = MLP(4, 3, [8], norm="batch")
    assert list(decays(net)) == ["trunk.1.weight", "head.weight", "trunk.2.weight", "trunk.2.bias", "head.bias"]
    groups = parameter_groups(net)
    assert [sorted(group) for group in groups] == [["params"], ["params", "weight_decay"]]
    assert groups[1]["weight_decay"] == 0.0


def test_every_parameter_is_listed_once() -> None:
    net = CNN(3, 4, image_size=32, width=4)
    listed = [id(p) for group in parameter_groups(net) for p in group["params"]]
    assert sorted(listed) == sorted(map(id, net.parameters()))


class Tied(nn.Module):
    """A head that shares the embedding's table."""

    def __init__(self, *, table_first: bool) -> None:
        super().__init__()
        table, head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        head.weight = table.weight
        self.layers = nn.ModuleList([table, head] if table_first else [head, table])


@pytest.mark.parametrize("table_first", [True, False])
def test_a_tied_parameter_is_listed_once_and_exempt(table_first: bool) -> None:
    groups = parameter_groups(Tied(table_first=table_first))
    assert [(len(group["params"]), group.get("weight_decay")) for group in groups] == [(1, 0.0)]


def test_two_tied_matrices_decay() -> None:
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    groups = parameter_groups(nn.Sequential(first, second))
    assert [(len(group["params"]), group.get("weight_decay")) for group in groups] == [(1, None)]


def test_frozen_parameters_are_left_out() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    net[0].requires_grad_(False)
    assert decays(net) == {"1.weight": True, "1.bias": False}
    net[1].weight.requires_grad_(False)
    assert decays(net) == {"1.bias": False}
    assert parameter_groups(net.requires_grad_(False)) == []
