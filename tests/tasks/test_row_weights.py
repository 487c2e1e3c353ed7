"""Row weights: a row of weight w counts as w rows do, in the loss, its weight and its gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from trainkit.tasks import Classification, Regression, Task

COUNTS = torch.tensor([1, 2, 0, 3, 1, 4])

CASES: list[tuple[str, Task, tuple[int, ...]]] = [
    ("three classes", Classification(3), (6, 3)),
    ("class weights", Classification(3, class_weights=[1.0, 2.0, 0.25]), (6, 3)),
    ("smoothing", Classification(3, label_smoothing=0.2), (6, 3)),
    ("both", Classification(3, class_weights=[1.0, 2.0, 0.25], label_smoothing=0.2), (6, 3)),
    ("one logit", Classification(2, class_weights=[0.5, 2.0]), (6,)),
    ("a column of logits", Classification(2), (6, 1)),
    ("numbers", Regression(3.0, 2.0), (6,)),
    ("a column of numbers", Regression(3.0, 2.0), (6, 1)),
]


def batch(task: Task, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(shape, generator=generator)
    if isinstance(task, Classification):
        return outputs, torch.randint(0, task.num_classes, (len(outputs),), generator=generator)
    return outputs, torch.randn(len(outputs), generator=generator, dtype=torch.float64)


def mean_and_gradient(task: Task, outputs: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    leaf = outputs.clone().requires_grad_()
    total, weight = task.loss(leaf, *rest)
    (gradient,) = torch.autograd.grad(total / weight, leaf)
    return (total / weight).detach(), gradient


@pytest.mark.parametrize(("task", "shape"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
class TestEveryTask:
    def test_a_weight_is_a_number_of_copies(self, task: Task, shape: tuple[int, ...]) -> None:
        outputs, target = batch(task, shape)
        repeated = task.loss(outputs.repeat_interleave(COUNTS, dim=0), target.repeat_interleave(COUNTS))
        weighted = task.loss(outputs, target, COUNTS.float())
        for one, other in zip(weighted, repeated, strict=True):
            assert float(one) == pytest.approx(float(other), rel=1e-6)

    def test_the_gradient_is_that_of_the_copies(self, task: Task, shape: tuple[int, ...]) -> None:
        outputs, target = batch(task, shape)
        copies = torch.arange(6).repeat_interleave(COUNTS)
        leaf = outputs.clone().requires_grad_()
        total, weight = task.loss(leaf[copies], target[copies])
        (expected,) = torch.autograd.grad(total / weight, leaf)
        torch.testing.assert_close(mean_and_gradient(task, outputs, target, COUNTS.float())[1], expected)

    def test_equal_weights_change_nothing_but_the_unit(self, task: Task, shape: tuple[int, ...]) -> None:
        outputs, target = batch(task, shape)
        plain, weighted = task.loss(outputs, target), task.loss(outputs, target, torch.full((6,), 2.5))
        for one, other in zip(weighted, plain, strict=True):
            assert float(one) == pytest.approx(2.5 * float(other), rel=1e-6)

    def test_a_row_of_no_weight_has_no_gradient(self, task: Task, shape: tuple[int, ...]) -> None:
        outputs, target = batch(task, shape)
        _, gradient = mean_and_gradient(task, outputs, target, COUNTS.float())
        assert not gradient[2].any() and bool((gradient[3] != 0).any())


def test_float64_weights_are_taken_as_they_are() -> None:
    outputs, target = torch.randn(4), torch.randn(4, dtype=torch.float64)
    _, weight = Regression().loss(outputs, target, torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64))
    assert isinstance(weight, Tensor) and weight.dtype == torch.float64
