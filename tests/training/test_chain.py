"""Nets carried forward and back without autograd: bit for bit what autograd gives, and left to it elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trainkit as tk
from trainkit.data.preprocessing import Standardize
from trainkit.models import MLP
from trainkit.models.network import Network
from trainkit.training.chain import Chain, chain_of
from trainkit.training.lean import LeanSteps

NETS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(12, 3),
    "relu": lambda: nn.Sequential(nn.Linear(12, 16), nn.ReLU(inplace=True), nn.Linear(16, 3)),
    "batch norm": lambda: nn.Sequential(nn.BatchNorm1d(12), nn.Linear(12, 16), nn.BatchNorm1d(16, momentum=0.3)),
    "layer norm": lambda: nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 16), nn.LayerNorm(16), nn.Linear(16, 3)),
    "others": lambda: nn.Sequential(nn.Linear(12, 16), nn.GELU("tanh"), nn.Sequential(nn.Tanh(), nn.Linear(16, 3))),
    "dropout": lambda: nn.Sequential(nn.Dropout(0.2), nn.Linear(12, 16, bias=False), nn.SiLU(), nn.Dropout(0.5)),
    "nothing": lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Identity(), nn.Dropout(0.0)),
    "mlp": lambda: MLP(12, 3, hidden=[16, 8], norm="batch"),
}


def network(net: nn.Module) -> Network:
    return Network(net, Standardize(torch.arange(12.0), torch.arange(1.0, 13.0), image=False)).train()


def found(net: nn.Module) -> Chain | None:
    module = nn.Module()
    module.model = network(net) if not isinstance(net, Network) else net
    return chain_of(module)


def by_chain(net: nn.Module, inputs: Tensor) -> Tensor:
    chain = found(net)
    assert chain is not None
    assert chain.suits()
    with torch.no_grad():
        values = chain.prepare(inputs)
        assert values is not None
        outputs = chain.forward(values)
        chain.backward(outputs.sin())
    return outputs


@pytest.mark.parametrize("name", NETS)
def test_outputs_gradients_and_statistics_are_those_of_autograd(name: str) -> None:
    torch.manual_seed(0)
    net, inputs = NETS[name](), torch.randn(32, 12)
    other = NETS[name]()
    other.load_state_dict(net.state_dict())
    for p in net.parameters():
        p.grad = torch.full_like(p, float("nan"))
    torch.manual_seed(1)
    outputs = by_chain(net, inputs)
    torch.manual_seed(1)
    expected = network(other)(inputs)
    torch.autograd.backward(expected, expected.detach().sin())
    assert torch.equal(outputs, expected)
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        assert p.grad is not None and q.grad is not None
        assert torch.equal(p.grad, q.grad)
    for values, wanted in zip(net.buffers(), other.buffers(), strict=True):
        assert torch.equal(values, wanted)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 12)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(self.layer(inputs))
        return outputs


class Mine(nn.Linear):
    pass


def tied() -> nn.Module:
    net = nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 12))
    net[2].weight = net[0].weight
    return net


def beside() -> nn.Module:
    net = nn.Sequential(nn.Linear(12, 3))
    net.scale = nn.Parameter(torch.ones(1))
    return net


@pytest.mark.parametrize(
    "net",
    [
        Twice(),
        Mine(12, 3),
        tied(),
        beside(),
        nn.Sequential(nn.ReLU()),
        nn.Sequential(nn.Linear(12, 3), nn.Dropout(1.0)),
        nn.Sequential(nn.Linear(12, 3), nn.BatchNorm1d(3, momentum=None)),
        nn.Sequential(nn.Linear(12, 3), nn.BatchNorm1d(3, track_running_stats=False)),
        nn.Sequential(nn.Linear(12, 3), nn.LayerNorm(3, elementwise_affine=False)),
        nn.Sequential(nn.Conv1d(12, 3, 1)),
        nn.Sequential(nn.Linear(12, 3).double()),
    ],
    ids=lambda net: type(net).__name__,
)
def test_other_nets_are_left_to_autograd(net: nn.Module) -> None:
    assert found(net) is None


def buffered() -> nn.Module:
    layer = nn.LayerNorm(12)
    bias = layer.bias.data
    del layer.bias
    layer.register_buffer("bias", bias)
    return nn.Sequential(layer)


def test_a_layer_whose_parameter_became_a_buffer() -> None:
    assert found(buffered()) is None


def test_a_forward_that_was_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, inputs: forward(self, inputs) * 0.5)
    assert found(nn.Linear(12, 3)) is None


def test_autocast_is_left_to_autograd() -> None:
    chain = found(nn.Linear(12, 3))
    assert chain is not None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not chain.suits()


def test_a_loss_replaced_on_the_task_itself() -> None:
    task, outputs, target = tk.Classification(3), torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    loss = task.loss
    task.loss = lambda *given: (loss(*given)[0] * 3, 4.0)  # type: ignore[method-assign]
    assert task.loss_and_gradient(outputs, target)[0] == loss(outputs, target)[0] * 3


def hook(module: nn.Module, *values: Any) -> None:
    pass


@pytest.mark.parametrize(
    "listen",
    [
        lambda net: net[0].register_forward_hook(hook),
        lambda net: net[0].register_forward_pre_hook(hook),
        lambda net: net[0].register_full_backward_hook(hook),
        lambda net: net[0].weight.register_hook(lambda grad: grad),
        lambda net: net[0].weight.register_post_accumulate_grad_hook(lambda p: None),
        lambda net: net[0].weight.requires_grad_(False),
        lambda net: net[1].eval(),
        lambda net: setattr(net[0], "forward", net[0].forward),
    ],
    ids=["forward", "pre", "backward", "tensor", "accumulated", "frozen", "eval", "patched"],
)
def test_whoever_listens_is_heard(listen: Callable[[Any], Any]) -> None:
    net = nn.Sequential(nn.Linear(12, 3), nn.ReLU())
    chain = found(net)
    assert chain is not None
    assert chain.suits()
    listen(net)
    assert not chain.suits()


def test_a_hook_on_every_module_is_heard() -> None:
    chain = found(nn.Sequential(nn.Linear(12, 3)))
    assert chain is not None
    handle = nn.modules.module.register_module_forward_hook(hook)
    assert not chain.suits()
    handle.remove()
    assert chain.suits()


def test_batches_that_are_not_for_it() -> None:
    plain, normed = found(nn.Linear(12, 3)), found(nn.BatchNorm1d(12))
    assert plain is not None
    assert normed is not None
    assert plain.prepare(torch.zeros(2, 12)) is not None
    assert plain.prepare(torch.zeros(1, 12)) is None  # products of one row are rounded in another way
    assert plain.prepare(torch.zeros(2, 5, 12)) is None  # a linear layer takes more axes, and means something else
    assert normed.prepare(torch.zeros(1, 12)) is None  # BatchNorm refuses one sample


@pytest.fixture
def chains(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that a chain carried."""
    sizes: list[int] = []
    forward = Chain.forward

    def noted(self: Chain, values: Tensor) -> Tensor:
        sizes.append(len(values))
        return forward(self, values)

    monkeypatch.setattr(Chain, "forward", noted)
    return sizes


def run(path: Path, *overrides: str) -> dict[str, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
    inputs, target = torch.randn(210, 12), torch.randint(0, 3, (210,))
    fixed = [f"run.dir={path}", "data.batch_size=20", "trainer.max_epochs=3", "logger=none"]
    fixed += ["data.val_share=0", "data.test_share=0", "evaluation.baseline=false"]
    tk.fit(model=net, train=(inputs, target), overrides=[*fixed, *overrides])
    return {name: values.clone() for name, values in net.state_dict().items()}


def test_a_run_learns_the_same_with_and_without(
    tmp_path: Path, chains: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with_chain = run(tmp_path / "with")
    looks = [0, 1, 2, 4, 8, 16, 32]  # steps that see whether there is every gradient go by autograd
    assert chains == [10 if step % 11 == 10 else 20 for step in range(33) if step not in looks]
    monkeypatch.setattr(LeanSteps, "_chain", lambda self: None)
    without = run(tmp_path / "without")
    for name, values in without.items():
        torch.testing.assert_close(with_chain[name], values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("override", ["trainer.accumulate=2", "trainer.precision=bf16-mixed", "augment=mixup"])
def test_runs_that_it_does_not_suit(
    override: str, tmp_path: Path, chains: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "run", override)
    assert chains == []


@pytest.mark.parametrize(
    "task",
    [
        tk.Classification(3),
        tk.Classification(3, class_weights=[1.0, 2.0, 0.0]),
        tk.Classification(3, label_smoothing=0.1),
        tk.Classification(3, loss="focal"),
        tk.Classification(3, criterion=nn.CrossEntropyLoss()),
        tk.Regression(),
    ],
)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_gradient_of_a_loss_is_that_of_its_mean(task: tk.Task, is_weighted: bool) -> None:
    torch.manual_seed(0)
    outputs = torch.randn(16, 3 if task.name == "classification" else 1, requires_grad=True)
    target = torch.randint(0, 3, (16,)) if task.name == "classification" else torch.randn(16)
    weight = torch.rand(16) if is_weighted else None
    loss_sum, total = task.loss(outputs, target, weight)
    torch.autograd.backward(loss_sum / total)
    found_sum, found_total, gradient = task.loss_and_gradient(outputs.detach(), target, weight)
    assert torch.equal(found_sum, loss_sum)
    assert found_total == total
    torch.testing.assert_close(gradient, outputs.grad)
    assert not gradient.requires_grad
