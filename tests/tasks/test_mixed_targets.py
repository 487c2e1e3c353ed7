"""Losses of shares of classes, which mixing samples makes: those of the classes, weighed by their shares."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainkit.tasks import Classification, step_output
from trainkit.tasks.base import Task
from trainkit.training.window import LogWindow

SETTINGS: list[dict[str, Any]] = [{}, {"label_smoothing": 0.1}, {"class_weights": [1.0, 2.0, 0.25]}]
SETTINGS.append({"class_weights": [1.0, 2.0, 0.25], "label_smoothing": 0.2})
SIZE = 32


@pytest.fixture
def outputs() -> Tensor:
    return torch.randn(SIZE, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def classes() -> Tensor:
    return torch.randint(0, 3, (SIZE,), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("weight", [None, torch.linspace(0, 3, SIZE)])
@pytest.mark.parametrize("settings", SETTINGS)
def test_whole_shares_are_classes(
    settings: dict[str, Any], weight: Tensor | None, outputs: Tensor, classes: Tensor
) -> None:
    task = Classification(3, **settings).train()
    plain = task.loss(outputs, classes, weight)
    shares = task.loss(outputs, functional.one_hot(classes, 3).float(), weight)
    for found, expected in zip(shares, plain, strict=True):
        torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(expected))


@pytest.mark.parametrize("weight", [None, torch.linspace(0, 3, SIZE)])
@pytest.mark.parametrize("settings", SETTINGS)
def test_loss_and_weight_are_linear_in_the_shares(
    settings: dict[str, Any], weight: Tensor | None, outputs: Tensor, classes: Tensor
) -> None:
    task = Classification(3, **settings).train()
    one, other = functional.one_hot(classes, 3).float(), functional.one_hot(classes.roll(1), 3).float()
    mixed = task.loss(outputs, 0.3 * one + 0.7 * other, weight)
    parts = task.loss(outputs, one, weight), task.loss(outputs, other, weight)
    for found, first, second in zip(mixed, *parts, strict=True):
        torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(0.3 * first + 0.7 * second))


def test_one_logit_and_members_take_shares_too() -> None:
    logits = torch.randn(SIZE, generator=torch.Generator().manual_seed(0))
    second = torch.rand(SIZE, generator=torch.Generator().manual_seed(1))
    shares = torch.stack([1 - second, second], 1)
    total, weight = Classification(2).loss(logits, shares)
    torch.testing.assert_close(total, functional.binary_cross_entropy_with_logits(logits, second, reduction="sum"))
    assert weight == SIZE
    own = Classification(2, criterion=nn.BCEWithLogitsLoss())
    torch.testing.assert_close(own.loss(logits, shares)[0], total)

    class Pair(nn.Module):
        num_members = 2

    output = step_output(Classification(2), Pair().train(), torch.stack([logits, logits], 1), shares)
    torch.testing.assert_close(output.loss_sum, total)


def test_targets_of_another_precision_are_taken(outputs: Tensor, classes: Tensor) -> None:
    shares = functional.one_hot(classes, 3).float()
    assert Classification(3).loss(outputs.double(), shares)[0].dtype == torch.float64
    assert bool(Classification(3).loss(outputs.bfloat16(), shares)[0].isfinite())


def test_training_accuracy_counts_the_largest_share(outputs: Tensor, classes: Tensor) -> None:
    task: Task = Classification(3)
    window = LogWindow(task)
    shares = 0.6 * functional.one_hot(classes, 3) + 0.4 * functional.one_hot(classes.roll(1), 3)
    output = step_output(task, nn.Identity(), outputs, shares)
    window.update([output], task, SIZE)
    expected = (outputs.argmax(1) == classes).float().mean()
    torch.testing.assert_close(window.close()["train/accuracy"], expected)
    assert torch.equal(task.plain_target(classes), classes)
