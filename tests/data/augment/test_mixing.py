"""Mixup and CutMix: pairs, shares, targets of classes and numbers, and row weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import beta
from torch.nn import functional

from trainkit.data.augment import Augment, CutMix, Draws, Mixup, OneOf, Samples
from trainkit.data.augment.mixing import Mixing, partners
from trainkit.errors import ConfigError

NUM = 4_000
IDS = torch.arange(NUM)


def mix(piece: object, samples: Samples, num_classes: int | None = None) -> Samples:
    return Augment({"mix": piece}, 0)(samples, IDS[: len(samples.inputs)], 0, num_classes)  # type: ignore[dict-item]


def test_partners_are_neighbours_and_the_last_of_an_odd_number_is_alone() -> None:
    assert partners(5, torch.device("cpu")).tolist() == [1, 0, 3, 2, 4]
    inputs = torch.tensor([[1.0], [3.0], [10.0], [30.0], [100.0]])
    made = mix(Mixup(1.0), Samples(inputs, inputs[:, 0].double()))
    assert 1 < made.inputs[0, 0] < 3 and 1 < made.inputs[1, 0] < 3 and 10 < made.inputs[3, 0] < 30
    assert made.inputs[4, 0] == 100
    torch.testing.assert_close(made.target, made.inputs[:, 0].double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    share = Mixup(alpha).shares(Draws.of(torch.arange(50_000), 0, 0))
    at = torch.linspace(0.01, 0.99, 50)
    found = (share[:, None] <= at).double().mean(0)
    assert np.abs(found.numpy() - beta(alpha, alpha).cdf(at.numpy())).max() < 1.63 / 50_000**0.5


def test_so_many_samples_are_mixed_as_is_asked_for() -> None:
    made = mix(Mixup(1.0, p=0.3), Samples(torch.arange(float(NUM))[:, None], torch.zeros(NUM, dtype=torch.long)), 2)
    changed = made.inputs[:, 0] != torch.arange(float(NUM))
    assert float(changed.float().mean()) == pytest.approx(0.3, abs=4 * (0.21 / NUM) ** 0.5)


@pytest.mark.parametrize("piece", [Mixup(1.0), CutMix(), OneOf({"a": Mixup(1.0), "b": CutMix()})])
def test_shares_of_classes_are_those_of_the_inputs(piece: Mixing) -> None:
    """A picture is full of the number of its class, so that its mean tells the shares."""
    classes = torch.arange(NUM) % 3
    made = mix(piece, Samples(classes[:, None, None, None].expand(NUM, 1, 8, 8).float(), classes), 3)
    assert made.target.shape == (NUM, 3) and made.target.dtype == torch.float32
    torch.testing.assert_close(made.target.sum(1), torch.ones(NUM))
    torch.testing.assert_close(made.target @ torch.arange(3.0), made.inputs.mean((1, 2, 3)), rtol=0, atol=1e-5)
    assert 0.2 < float((made.target.amax(1) < 0.99).float().mean()) <= 1


def test_cutmix_takes_one_rectangle_whose_area_is_as_drawn() -> None:
    inputs = (torch.arange(NUM) % 2)[:, None, None, None].expand(NUM, 2, 16, 16).byte()
    made = mix(CutMix(), Samples(inputs, torch.arange(NUM) % 2), 2)
    foreign = made.inputs[:, 0] != inputs[:, 0]
    rows, columns = foreign.any(2), foreign.any(1)
    assert torch.equal(foreign, rows[:, :, None] & columns[:, None, :])
    assert int((rows[:, 1:] != rows[:, :-1]).sum(1).max()) <= 2, "rows of one rectangle are next to each other"
    assert torch.equal(made.inputs[:, 0], made.inputs[:, 1])
    assert made.inputs.dtype == torch.uint8


def test_the_loss_of_weighted_rows_is_that_of_both_by_their_weights() -> None:
    classes, weight = torch.tensor([0, 1, 2, 0]), torch.tensor([1.0, 3.0, 0.0, 2.0])
    samples = Samples(torch.eye(4), classes, weight)
    made = mix(Mixup(1.0), samples, 3)
    share = made.inputs.diagonal()
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert made.weight is not None
    losses = functional.cross_entropy(logits, made.target, reduction="none") * made.weight
    other = torch.tensor([1, 0, 3, 2])
    expected = share * weight * functional.cross_entropy(logits, classes, reduction="none")
    expected += (1 - share) * weight[other] * functional.cross_entropy(logits, classes[other], reduction="none")
    torch.testing.assert_close(losses, expected)
    assert made.target[2, 2] == 0, "a row that counts for nothing teaches nothing"


def test_classes_are_not_mixed_without_their_number() -> None:
    with pytest.raises(ConfigError, match="without their number"):
        mix(Mixup(), Samples(torch.zeros(2, 1), torch.tensor([0, 1])))
