"""The focal loss against its definition, and what is refused beside it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from trainkit.errors import ConfigError
from trainkit.tasks import Classification


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_as_torchvision_for_two_classes(gamma: float) -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(20), torch.randint(0, 2, (20,))
    loss, weight = Classification(2, loss="focal", focal_gamma=gamma).loss(logits, target)
    expected = sigmoid_focal_loss(logits, target.float(), alpha=-1, gamma=gamma, reduction="sum")
    torch.testing.assert_close(loss, expected)
    assert weight == 20


def test_by_hand_with_class_weights_row_weights_and_shares() -> None:
    torch.manual_seed(0)
    logits, target, rows = torch.randn(8, 3), torch.randint(0, 3, (8,)), torch.rand(8)
    of_class = torch.tensor([1.0, 2.0, 0.5])
    task = Classification(3, class_weights=[1.0, 2.0, 0.5], loss="focal")
    probability = logits.softmax(1).gather(1, target[:, None])[:, 0]
    expected = of_class[target] * (1 - probability) ** 2 * functional.cross_entropy(logits, target, reduction="none")
    loss, weight = task.loss(logits, target, rows)
    torch.testing.assert_close(loss, (expected * rows).sum())
    torch.testing.assert_close(weight, (of_class[target] * rows).sum())
    shares, _ = task.loss(logits, functional.one_hot(target, 3).float(), rows)
    torch.testing.assert_close(shares, loss)


def test_chance_is_that_of_equal_odds() -> None:
    task = Classification(4, loss="focal")
    loss, weight = task.loss(torch.zeros(5, 4), torch.tensor([0, 1, 2, 3, 0]))
    assert float(loss) / float(weight) == pytest.approx(task.chance()) == pytest.approx(0.75**2 * math.log(4))


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"loss": "vocal"}, "task.loss"),
        ({"loss": "focal", "focal_gamma": -1.0}, "task.focal_gamma"),
        ({"focal_gamma": 1.0}, "task.focal_gamma"),
        ({"loss": "focal", "criterion": torch.nn.CrossEntropyLoss()}, "task.loss"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as error:
        Classification(3, **settings)
    assert where in str(error.value.where)
