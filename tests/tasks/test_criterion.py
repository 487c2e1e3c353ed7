"""A loss of the user's own: per sample or a mean, with row weights, found wrong before training, trained."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import trainkit as tk
from trainkit.errors import ConfigError
from trainkit.tasks import Classification, Regression


def batch(num_classes: int = 3, size: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(size, num_classes, generator=generator)
    return outputs, torch.randint(0, num_classes, (size,), generator=generator)


def focal(outputs: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    loss = functional.cross_entropy(outputs, target, reduction="none")
    return (1 - torch.exp(-loss)) ** gamma * loss


def mean_of_focal(outputs: Tensor, target: Tensor) -> Tensor:
    return focal(outputs, target).mean()


class Tempered(nn.Module):
    """Has a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(outputs * self.temperature, target)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_torchs_cross_entropy_is_the_built_in_loss(reduction: str) -> None:
    outputs, target = batch()
    own = Classification(3, criterion=nn.CrossEntropyLoss(reduction=reduction)).loss(outputs, target)
    builtin = Classification(3).loss(outputs, target)
    torch.testing.assert_close(own[0], builtin[0])
    assert own[1] == builtin[1] == 16.0


def test_a_loss_per_sample_is_summed_and_a_mean_is_multiplied() -> None:
    outputs, target = batch()
    expected = focal(outputs, target).sum()
    for criterion in (focal, mean_of_focal, functools.partial(focal, gamma=2.0)):
        total, weight = Classification(3, criterion=criterion).loss(outputs, target)
        torch.testing.assert_close(total, expected)
        assert weight == 16.0


def test_rows_are_weighed_in_a_loss_per_sample() -> None:
    outputs, target = batch()
    weights = torch.linspace(0, 2, 16)
    total, weight = Classification(3, criterion=focal).loss(outputs, target, weights)
    torch.testing.assert_close(total, (focal(outputs, target) * weights).sum())
    assert float(weight) == pytest.approx(16.0)


def test_rows_cannot_be_weighed_in_a_mean() -> None:
    with pytest.raises(ConfigError) as error:
        Classification(3, criterion=mean_of_focal).loss(*batch(), torch.ones(16))
    assert str(error.value) == (
        "mean_of_focal gives one number for a batch, in which rows cannot be weighed\n"
        "  where    task.criterion\n  expected a loss for each sample, [batch]"
    )


def test_numbers_come_standardised() -> None:
    outputs, target = torch.randn(8, 1), torch.randn(8, dtype=torch.float64) * 3 + 5
    own = Regression(5.0, 3.0, criterion=nn.MSELoss()).loss(outputs, target)
    torch.testing.assert_close(own, Regression(5.0, 3.0).loss(outputs, target))


def test_a_single_logit_comes_with_zeros_and_ones() -> None:
    outputs, target = batch(2)
    column = (outputs[:, 1] - outputs[:, 0]).unsqueeze(1)
    total, _ = Classification(2, criterion=nn.BCEWithLogitsLoss()).loss(column, target)
    torch.testing.assert_close(total, Classification(2).loss(column, target)[0])


def test_evaluation_measures_the_criterion_too() -> None:
    outputs, target = batch()
    task = Classification(3, criterion=focal)
    assert torch.equal(task.eval().loss(outputs, target)[0], task.train().loss(outputs, target)[0])


@pytest.mark.parametrize("task", [Classification(3, criterion=focal), Regression(criterion=nn.MSELoss())])
def test_what_chance_would_cost_is_not_known(task: tk.Task) -> None:
    assert task.chance() is None


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Classification(3, criterion=nn.CrossEntropyLoss),  # type: ignore[arg-type]
            "the criterion is the class CrossEntropyLoss\n  where    task.criterion\n"
            "  expected an nn.Module or function of (outputs, target)",
        ),
        (
            lambda: Regression(criterion="huber"),  # type: ignore[arg-type]
            "the criterion is a str\n  where    task.criterion\n"
            "  expected an nn.Module or function of (outputs, target)",
        ),
        (
            lambda: Classification(3, class_weights=[1, 1, 2], criterion=focal),
            "task.class_weights has no effect on a criterion of your own\n  where    task.class_weights\n"
            "  hint     give it to focal, or leave it out",
        ),
        (
            lambda: Classification(3, label_smoothing=0.1, criterion=nn.CrossEntropyLoss()),
            "task.label_smoothing has no effect on a criterion of your own\n  where    task.label_smoothing\n"
            "  hint     give it to CrossEntropyLoss, or leave it out",
        ),
        (
            lambda: Regression(loss="huber", criterion=functools.partial(focal, gamma=1.0)),
            "task.loss has no effect on a criterion of your own\n  where    task.loss\n"
            "  hint     give it to focal, or leave it out",
        ),
    ],
)
def test_arguments_that_cannot_be(build: Callable[[], tk.Task], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        build()
    assert str(error.value) == message


def _raises(outputs: Tensor, target: Tensor) -> Tensor:
    raise KeyError("gamma")


@pytest.mark.parametrize(
    ("criterion", "text"),
    [
        (lambda o, t: o, "<lambda> gives losses of shape [16, 3] for a batch of 16\n"),
        (lambda o, t: o.mean(dim=0), "<lambda> gives losses of shape [3] for a batch of 16\n"),
        (lambda o, t: 1.0, "<lambda> gives a float\n"),
        (lambda o, t: o.detach().mean(), "the loss of <lambda> has no gradient\n"),
        (_raises, "_raises does not take a batch: KeyError: 'gamma'\n  where    task.criterion, "),
        (nn.BCEWithLogitsLoss(), "BCEWithLogitsLoss does not take a batch: ValueError: Target size"),
    ],
)
def test_mistakes_are_found_by_the_check(criterion: Any, text: str) -> None:
    outputs, target = batch()
    with pytest.raises(ConfigError) as error:
        Classification(3, criterion=criterion).check(outputs.requires_grad_(), target)
    assert str(error.value).startswith(text)


def test_an_error_of_the_users_code_names_its_line_and_the_batch() -> None:
    with pytest.raises(ConfigError) as error:
        Classification(3, criterion=_raises).check(*batch())
    line = _raises.__code__.co_firstlineno + 1
    assert error.value.where == f"task.criterion, {__file__}:{line}"
    assert error.value.expected == "a loss of outputs float32 [16, 3] and targets int64 [16]"


def test_parameters_of_a_criterion_are_trained_saved_and_loaded(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    task = Classification(3, criterion=Tempered())
    small = ["evaluation.baseline=false", "evaluation.resamples=20", "logger=none"]
    result = tk.fit(data="wine", model="mlp", task=task, max_steps=6, overrides=small)
    again = Classification(3, criterion=Tempered())
    assert result.run_dir is not None
    tk.load_run(result.run_dir, task=again)
    saved, trained = again.state_dict(), task.state_dict()
    assert list(saved) == ["criterion.temperature"] and float(saved["criterion.temperature"]) != 1.0
    assert torch.equal(saved["criterion.temperature"], trained["criterion.temperature"])
