from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from trainkit.runs.inspection.eval_facts import eval_facts, has_dropout, layer_facts, silence_dropout
from trainkit.runs.inspection.leakage import Column
from trainkit.runs.inspection.values import PartLook, find_sentinels, look_of, spread_rows

NUMBERS = np.random.default_rng(0).normal(50, 10, 400)


def marked(value: float, count: int) -> Column:
    values = NUMBERS.copy()
    values[:count] = value
    return Column("x", "number", values)


@pytest.mark.parametrize(
    ("value", "count", "is_found"),
    [
        (-9.99e8, 4, True),
        (999_999.0, 40, True),
        (-9.99e8, 3, False),  # less than one per cent
        (9_999.0, 40, False),  # a thousand deviations of 10 are 10,000
        (50.0, 40, False),
        (np.nan, 40, False),
    ],
)
def test_a_far_value_of_many_rows_is_a_mark(value: float, count: int, is_found: bool) -> None:
    given = [(one.feature, one.value, round(one.share, 4)) for one in find_sentinels([marked(value, count)])]
    assert given == [("x", value, count / 400)] * is_found


def test_codes_few_rows_and_few_values_are_no_marks() -> None:
    flag = np.where(np.arange(400) < 20, 1e9, np.arange(400) % 2)
    few = Column("x", "number", marked(1e9, 4).values[:40])
    assert not list(find_sentinels([Column("x", "code", np.arange(400)), few, Column("x", "number", flag)]))


def test_the_look_of_samples_is_that_of_all_their_finite_values() -> None:
    inputs = torch.arange(24.0).reshape(4, 2, 3)
    look = look_of(inputs)
    assert (look.shape, look.mean) == ((2, 3), 11.5)
    assert look.std == pytest.approx(float(inputs.std(correction=0)))
    inputs[0, 0, 0] = torch.inf
    assert look_of(inputs).mean == 12.0
    assert look_of([torch.zeros(2), torch.ones(3)]).shape is None
    assert look_of(torch.tensor([1, 3], dtype=torch.uint8)) == PartLook((), 2.0, 1.0)
    assert np.isnan(look_of([torch.full((2,), torch.nan)]).mean)


def test_rows_are_spread_over_all() -> None:
    assert spread_rows(100, 3).tolist() == [0, 49, 99] and spread_rows(2, 9).tolist() == [0, 1]


class OverTheBatch(nn.Module):
    """A recurrent net that takes samples for the steps of a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.GRU(4, 4)

    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.net(matrix[:, None])[0][:, 0]
        return outputs


class Batchwise(nn.Module):
    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        return matrix.softmax(0)


@pytest.mark.parametrize(
    ("net", "noise", "dependence"),
    [
        (nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)), False, False),
        (nn.BatchNorm1d(4, track_running_stats=False), False, True),
        (Batchwise(), False, True),
        (OverTheBatch(), False, True),
    ],
)
def test_what_a_net_does_in_eval_mode(net: nn.Module, noise: bool, dependence: bool) -> None:
    facts = eval_facts(net, torch.randn(8, 4, generator=torch.Generator().manual_seed(0)))
    assert (bool(facts["eval_noise"]), bool(facts["eval_dependence"])) == (noise, dependence)


def test_a_batch_too_small_to_halve_proves_nothing() -> None:
    assert eval_facts(Batchwise(), torch.eye(3))["eval_dependence"] == 0


def test_layers_are_told_by_name() -> None:
    net = nn.Sequential(
        nn.Dropout(0.95), nn.Dropout(0.9), nn.BatchNorm1d(4, momentum=0.0), nn.BatchNorm1d(4, momentum=None)
    )
    assert layer_facts(net) == {"strong_dropouts": ("0 (0.95)",), "still_norms": ("2",)}


def test_dropout_of_nothing_is_none() -> None:
    net = nn.Sequential(nn.Dropout(0.0), nn.Linear(1, 1))
    assert not has_dropout(net) and has_dropout(nn.Dropout(0.1))
    silence_dropout(net)
    assert not net[0].training and net[1].training
