"""Regression on several targets: each standardised by itself, missing ones left out, R² and errors by target."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from torch import Tensor, nn

from trainkit.errors import ConfigError
from trainkit.tasks import Regression

MEAN, SCALE = [10.0, -2.0], [5.0, 0.5]


def example() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(50, 2, generator=generator)
    noise = torch.randn(50, 2, generator=generator)
    target = (outputs + 0.5 * noise).double() * torch.tensor(SCALE).double() + torch.tensor(MEAN).double()
    return outputs, target


def task(**options: Any) -> Regression:
    return Regression(MEAN, SCALE, target_names=["height", "left arm"], **options)


def test_each_target_counts_by_its_own_scale() -> None:
    outputs, target = example()
    loss_sum, weight = task().loss(outputs, target)
    scaled = (target - torch.tensor(MEAN)) / torch.tensor(SCALE)
    assert float(weight) == 50
    assert float(loss_sum / weight) == pytest.approx(float((outputs - scaled).square().mean()), rel=1e-6)
    predicted = task().predictions(outputs)
    np.testing.assert_allclose(predicted.numpy(), outputs.double().numpy() * SCALE + MEAN)


@pytest.mark.parametrize("loss", ["squared", "absolute", "huber"])
def test_missing_targets_and_row_weights(loss: Any) -> None:
    outputs, target = example()
    target[::4, 0] = math.nan
    weight = torch.rand(50, generator=torch.Generator().manual_seed(1))
    outputs.requires_grad_()
    loss_sum, total = task(loss=loss).loss(outputs, target, weight)
    known = ~target.isnan()
    each = task(loss=loss)._losses(outputs, ((target - torch.tensor(MEAN)) / torch.tensor(SCALE)).float())
    weights = weight[:, None].expand(50, 2)[known]
    expected = (each[known] * weights).sum() / weights.sum()
    torch.testing.assert_close((loss_sum / total).float(), expected)
    torch.autograd.backward(loss_sum)
    assert outputs.grad is not None and (outputs.grad[~known] == 0).all() and outputs.grad.isfinite().all()


def test_metrics_are_those_of_scikit_learn() -> None:
    outputs, target = example()
    for loss, error, name in (("squared", root_mean_squared_error, "rmse"), ("huber", mean_absolute_error, "mae")):
        of = task(loss=loss)
        predicted, metrics = of.predictions(outputs), of.metrics()
        for rows in (slice(0, 20), slice(20, 50)):
            metrics.update(predicted[rows], target[rows])
        values = {key: float(value) for key, value in metrics.compute().items()}
        truth, made = target.numpy(), predicted.numpy()
        assert set(values) == {"r2_macro", f"{name}_height", f"{name}_left_arm"}
        assert values["r2_macro"] == pytest.approx(r2_score(truth, made))
        assert values[f"{name}_height"] == pytest.approx(error(truth[:, 0], made[:, 0]))
        assert values[f"{name}_left_arm"] == pytest.approx(error(truth[:, 1], made[:, 1]))
        assert (of.monitor, of.mode, of.mode_of(f"val/{name}_height")) == ("r2_macro", "max", "min")


def test_metrics_leave_out_missing_and_constant_targets() -> None:
    outputs, target = example()
    target[:30, 0] = math.nan
    metrics = task().metrics()
    metrics.update(task().predictions(outputs), target)
    values, made = metrics.compute(), task().predictions(outputs).numpy()
    truth = target.numpy()
    r2 = [r2_score(truth[30:, 0], made[30:, 0]), r2_score(truth[:, 1], made[:, 1])]
    assert float(values["r2_macro"]) == pytest.approx(np.mean(r2))
    target[:, 1] = 3.25
    metrics.reset()
    metrics.update(task().predictions(outputs), target)
    assert float(metrics.compute()["r2_macro"]) == pytest.approx(r2[0])


def test_only_the_first_twenty_errors_are_curves() -> None:
    many = Regression([0.0] * 30, [1.0] * 30)
    assert len(many.metrics()) == 21 and many.sizes()["num_outputs"] == 30


def test_a_criterion_by_target() -> None:
    outputs, target = example()
    target[0, 0] = math.nan
    of = task(criterion=nn.SmoothL1Loss())
    of.check(outputs, target)
    loss_sum, weight = of.loss(outputs, target)
    known = ~target.isnan()
    scaled = ((target - torch.tensor(MEAN)) / torch.tensor(SCALE)).float()
    torch.testing.assert_close(loss_sum / weight, nn.SmoothL1Loss()(outputs[known], scaled[known]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target_mean": [0.0, 1.0], "target_scale": [1.0]}, "[2] means, [1] scales"),
        (
            {"target_mean": [0.0, 1.0], "target_scale": [1.0, 1.0], "target_names": ["a"]},
            "[2] means, [2] scales, 1 names",
        ),
        ({"target_mean": [0.0], "target_scale": [1.0]}, "[1] means"),
        ({"target_mean": [0.0, 1.0], "target_scale": [1.0, 0.0]}, "target scale 1.0, 0.0"),
    ],
)
def test_sizes_that_do_not_fit(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Regression(**options)
    assert str(caught.value).startswith(said)


def test_outputs_of_a_wrong_shape() -> None:
    with pytest.raises(ConfigError, match=r"\[batch, 2\], a number for each target"):
        task().check(torch.zeros(4), torch.zeros(4, 2))
    with pytest.raises(ConfigError, match="one number each"):
        Regression().check(torch.zeros(4, 2), torch.zeros(4, 2))
