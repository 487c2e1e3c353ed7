"""Muon and AdamW as one optimizer: torch's own two as the reference, who takes what, and resuming."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainkit.errors import ConfigError
from trainkit.models import CNN, MLP
from trainkit.optim import MuonWithAdamW, build_optimizer

FACTORY = functools.partial(MuonWithAdamW, lr=0.02, weight_decay=0.1)


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 8), nn.Linear(8, 2))


def gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        p.grad = torch.randn(p.shape, generator=generator)


def names(optimizer: torch.optim.Optimizer, module: nn.Module, of_muon: bool) -> list[str]:
    known = {id(p): name for name, p in module.named_parameters()}
    groups = [group for group in optimizer.param_groups if group["is_matrix"] is of_muon]
    return sorted(known[id(p)] for group in groups for p in group["params"])


def test_hidden_matrices_go_to_muon_and_all_else_to_adamw() -> None:
    module = net()
    optimizer = build_optimizer(FACTORY, module)
    assert names(optimizer, module, True) == ["2.weight", "4.weight"]
    assert len(names(optimizer, module, False)) == 8
    assert [(g["is_matrix"], g["weight_decay"]) for g in optimizer.param_groups] == [
        (True, 0.1), (False, 0.1), (False, 0.0)
    ]  # fmt: skip


def test_kernels_of_convolutions_are_matrices_and_embeddings_are_not() -> None:
    module = nn.ModuleDict({"words": nn.Embedding(9, 4), "cnn": CNN(1, 3, 12, width=8)})
    taken = names(build_optimizer(FACTORY, module), module, True)
    kernels = [name for name, p in module.named_parameters() if p.ndim == 4]
    assert set(taken) == set(kernels[1:]) and len(taken) > 1


def test_as_torchs_two_optimizers() -> None:
    ours, theirs = net(), net()
    optimizer = build_optimizer(FACTORY, ours)
    matrices, decayed = ([theirs.get_parameter(f"{at}.weight") for at in pair] for pair in ((2, 4), (0, 5)))
    rest = [p for p in theirs.parameters() if p.ndim < 2]
    muon = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(decayed, lr=0.02, weight_decay=0.1, fused=True)
    adamw.add_param_group({"params": rest, "weight_decay": 0.0})
    for seed in range(4):
        for module in (ours, theirs):
            gradients(module, seed)
        for one in (optimizer, muon, adamw):
            one.step()
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, reference)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_is_stepped_as_its_matrix_in_either_memory_format(memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    kernel, grad = torch.randn(6, 4, 3, 3), torch.randn(6, 4, 3, 3)
    p = nn.Parameter(kernel.clone().to(memory_format=memory_format))
    optimizer = MuonWithAdamW([{"params": [p], "is_matrix": True}], lr=0.1, weight_decay=0.0)
    p.grad = grad.clone().to(memory_format=memory_format)
    optimizer.step()
    matrix = nn.Parameter(kernel.flatten(1).clone())
    matrix.grad = grad.flatten(1).clone()
    reference: Any = torch.optim.Muon([matrix], lr=0.1, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    reference.step()
    torch.testing.assert_close(p.detach().flatten(1), matrix.detach(), rtol=0.05, atol=0.02)  # it works in bfloat16
    assert (p.detach() - kernel).abs().max() > 0.01


def test_it_goes_on_from_its_state_to_the_bit() -> None:
    whole, first = net(), net()
    one, two = build_optimizer(FACTORY, whole), build_optimizer(FACTORY, first)
    for seed in range(6):
        gradients(whole, seed)
        one.step()
    for seed in range(3):
        gradients(first, seed)
        two.step()
    state, second = copy.deepcopy(two.state_dict()), net(1)
    second.load_state_dict(first.state_dict())
    resumed = build_optimizer(FACTORY, second)
    resumed.load_state_dict(state)
    for group in resumed.param_groups:
        group["lr"] = 0.02
    for seed in range(3, 6):
        gradients(second, seed)
        resumed.step()
    for mine, expected in zip(second.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, expected)
    assert one.state_dict()["param_groups"] == resumed.state_dict()["param_groups"]


def test_each_may_have_a_rate_of_its_own() -> None:
    optimizer = build_optimizer(functools.partial(MuonWithAdamW, lr=0.02, adamw_lr=0.001), net())
    assert [group["lr"] for group in optimizer.param_groups] == [0.02, 0.001, 0.001]


def test_plain_parameters_are_told_apart_by_their_shape() -> None:
    module = net()
    optimizer = MuonWithAdamW(module.parameters())
    assert names(optimizer, module, True) == [f"{at}.weight" for at in (0, 2, 4, 5)]


def test_a_parameter_without_a_gradient_stays() -> None:
    module = net()
    optimizer, before = build_optimizer(FACTORY, module), copy.deepcopy(module.state_dict())
    module(torch.ones(1, 4)).sum().backward()
    untouched = module[2].get_parameter("weight")
    untouched.grad = None
    optimizer.step()
    assert torch.equal(untouched, before["2.weight"]) and not torch.equal(
        module[4].get_parameter("weight"), before["4.weight"]
    )


def test_a_closure_is_called() -> None:
    module = net()

    def loss() -> Tensor:
        module.zero_grad()
        value: Tensor = module(torch.ones(1, 4)).square().sum()
        torch.autograd.backward(value)
        return value

    optimizer = build_optimizer(FACTORY, module)
    first = optimizer.step(loss)  # type: ignore[arg-type]
    assert first is not None and optimizer.step(loss) < first  # type: ignore[arg-type]


def test_a_net_without_hidden_matrices_is_told() -> None:
    with pytest.raises(ConfigError) as error:
        build_optimizer(FACTORY, nn.Linear(4, 2))
    assert error.value.what == "Muon takes matrices of hidden layers, and the model has none"
    assert build_optimizer(FACTORY, MLP(4, 2, [8, 8, 8])).param_groups[0]["is_matrix"]
