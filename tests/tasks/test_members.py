"""Nets of several members: the mean of their losses in training, one answer of all in evaluation, for every task."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainkit.errors import ConfigError
from trainkit.models import Network
from trainkit.tasks import Classification, Regression, Task, merged_outputs, step_output

MEMBERS, BATCH = 3, 5
TASKS: dict[str, tuple[Task, tuple[int, ...]]] = {
    "three classes": (Classification(3), (3,)),
    "weighted classes": (Classification(3, class_weights=[1.0, 2.0, 0.5]), (3,)),
    "own criterion": (Classification(3, criterion=nn.MultiMarginLoss()), (3,)),
    "mean criterion": (Classification(3, criterion=lambda o, t: functional.cross_entropy(o, t)), (3,)),
    "one logit": (Classification(2), (1,)),
    "flat logit": (Classification(2), ()),
    "number": (Regression(2.0, 3.0), (1,)),
    "absolute": (Regression(2.0, 3.0, loss="absolute"), ()),
}


class Together(nn.Module):
    """Members that are linear maps of their own."""

    def __init__(self, shape: tuple[int, ...], num_members: int = MEMBERS) -> None:
        super().__init__()
        self.num_members, self.shape = num_members, shape
        self.layers = nn.Linear(4, num_members * max(1, *shape, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layers(inputs).reshape(len(inputs), self.num_members, *self.shape)
        return outputs


def targets(task: Task) -> Tensor:
    if isinstance(task, Classification):
        return torch.arange(BATCH) % task.num_classes
    return torch.linspace(0, 4, BATCH)


@pytest.mark.parametrize(
    ("name", "weighted"), [(n, w) for n in TASKS for w in (False, True) if (n, w) != ("mean criterion", True)]
)
def test_the_loss_is_the_mean_of_the_members_losses(name: str, weighted: bool) -> None:
    task, shape = TASKS[name]
    net, target = Together(shape), targets(task)
    outputs = net(torch.randn(BATCH, 4)).detach()
    weight = (torch.rand(BATCH),) if weighted else ()
    loss_sum, total, merged, kept = step_output(task, net, outputs, target, *weight)
    each = [task.loss(outputs[:, member], target, *weight) for member in range(MEMBERS)]
    mean = sum(float(of_sum / of_total) for of_sum, of_total in each) / MEMBERS
    assert float(loss_sum / total) == pytest.approx(mean, rel=1e-5)
    assert float(total) == pytest.approx(float(each[0][1]), rel=1e-5)
    assert merged.shape == (BATCH, *shape)
    assert kept is target


@pytest.mark.parametrize("name", TASKS)
def test_all_together_predict_the_mean_of_what_each_predicts(name: str) -> None:
    task, shape = TASKS[name]
    net = Together(shape).eval()
    inputs = torch.randn(BATCH, 4)
    each = torch.stack([task.predictions(outputs) for outputs in net(inputs).unbind(1)])
    predicted = task.predictions(Network(net, merge=task.merge).eval()(inputs))
    torch.testing.assert_close(predicted, each.mean(dim=0), rtol=1e-5, atol=1e-6)


def test_certain_members_are_averaged_without_overflow() -> None:
    for task, outputs in (
        (Classification(2), torch.tensor([[[200.0], [200.0]]])),
        (Classification(3), torch.tensor([[[400.0, 0, -400], [400, 0, -400]]])),
    ):
        merged = task.merge(outputs)
        assert bool(merged.isfinite().all())
        assert task.predictions(merged).max() == 1.0


def test_a_network_has_an_axis_of_members_in_training_only() -> None:
    network = Network(Together((1,)))
    inputs = torch.randn(BATCH, 4)
    assert (network.num_members, network(inputs).shape) == (MEMBERS, (BATCH, MEMBERS, 1))
    network.eval()
    assert (network.num_members, network(inputs).shape) == (None, (BATCH, 1))
    torch.testing.assert_close(network(inputs), network.net(inputs).mean(dim=1))
    plain = Network(nn.Linear(4, 1))
    assert (plain.num_members, plain(inputs).shape) == (None, (BATCH, 1))


def test_an_axis_that_is_not_the_members_is_refused() -> None:
    net: Any = Together((2,))
    with pytest.raises(ConfigError) as caught:
        merged_outputs(Classification(2), net, torch.zeros(BATCH, 2))
    assert str(caught.value) == (
        "the model gives outputs of shape [5, 2], and says it has 3 members\n"
        "  where    model.num_members\n  expected [batch, 3, …]"
    )
