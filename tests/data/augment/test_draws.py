"""Draws by counter: uniform, independent, and the same for a sample wherever it stands."""

from __future__ import annotations

import pytest
import torch

from trainkit.data.augment import Draws

NUM = 100_000
SAMPLES = torch.arange(NUM)


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one, other]).double())[0, 1])


def test_numbers_are_uniform() -> None:
    drawn = Draws.of(SAMPLES, seed=3, epoch=5)
    for number in (drawn.uniform(), drawn.uniform(), drawn.stream("flip").uniform()):
        assert number.dtype == torch.float32 and float(number.min()) >= 0 and float(number.max()) < 1
        share = torch.histc(number, bins=20, min=0, max=1) / NUM
        assert float((share - 0.05).abs().max()) < 4 * (0.05 * 0.95 / NUM) ** 0.5


def test_numbers_of_samples_epochs_seeds_streams_and_draws_are_independent() -> None:
    drawn = Draws.of(SAMPLES, 3, 5)
    first = drawn.uniform()
    others = [
        *(first.roll(1), drawn.uniform(), Draws.of(SAMPLES, 3, 6).uniform(), Draws.of(SAMPLES, 4, 5).uniform()),
        *(Draws.of(SAMPLES + (1 << 40), 3, 5).uniform(), Draws.of(SAMPLES, 3, 5).stream("crop").uniform()),
        *(Draws.of(SAMPLES, 5, 3).uniform(), Draws.of(SAMPLES, 2**32 - 1, 5).uniform()),
    ]
    for other in others:
        assert not torch.equal(first, other) and abs(correlation(first, other)) < 4 / NUM**0.5


def test_a_sample_draws_the_same_in_any_batch() -> None:
    places = torch.randperm(NUM, generator=torch.Generator().manual_seed(0))[:100]
    whole, few = Draws.of(SAMPLES, 1, 2).stream("a"), Draws.of(SAMPLES[places], 1, 2).stream("a")
    for _ in range(3):
        assert torch.equal(whole.uniform()[places], few.uniform())
    assert torch.equal(whole.normal(7)[places], few.normal(7))
    assert torch.equal(whole[places].uniform(), few.uniform())


def test_global_generators_stay_as_they_are() -> None:
    before = torch.get_rng_state()
    drawn = Draws.of(SAMPLES, 1, 2)
    drawn.uniform(), drawn.normal(3), drawn.integers(4)
    assert torch.equal(before, torch.get_rng_state())


def test_integers_chances_and_normal_numbers_have_their_shares() -> None:
    drawn = Draws.of(SAMPLES, 0, 0)
    counts = torch.bincount(drawn.integers(9), minlength=9)
    assert len(counts) == 9 and float((counts / NUM - 1 / 9).abs().max()) < 4 * (1 / 9 / NUM) ** 0.5
    assert float(drawn.chance(0.3).float().mean()) == pytest.approx(0.3, abs=4 * (0.21 / NUM) ** 0.5)
    assert not drawn.chance(0.0).any() and drawn.chance(1.0).all()
    normal = drawn.normal(4)
    assert normal.mean(0).abs().max() < 4 / NUM**0.5 and (normal.std(0) - 1).abs().max() < 4 / (2 * NUM) ** 0.5
    assert torch.corrcoef(normal.T).fill_diagonal_(0).abs().max() < 4 / NUM**0.5


def test_known_numbers_do_not_change() -> None:
    """What a run that goes on would otherwise train on is not what it began with."""
    drawn = Draws.of(torch.tensor([0, 1, 1 << 41]), seed=7, epoch=3).stream("flip")
    assert [round(float(number), 6) for number in drawn.uniform()] == [0.277127, 0.803745, 0.705542]
