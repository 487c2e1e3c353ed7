"""Regression: the loss is of the standardised target, everything told is in the target's own unit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from torch import Tensor
from torch.nn import functional

from trainkit.errors import ConfigError
from trainkit.tasks import Regression
from trainkit.tasks.regression import Loss

MEAN, SCALE = 152.0, 77.0


def batch(size: int = 64, offset: float = MEAN) -> tuple[Tensor, Tensor]:
    """Standardised outputs and targets in their own unit, which the outputs hit with an error of a half."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(size, generator=generator)
    noise = 0.5 * torch.randn(size, generator=generator)
    return outputs, offset + SCALE * (outputs + noise).double()


def test_loss_is_the_mean_squared_error_of_the_standardised_target() -> None:
    outputs, target = batch()
    total, weight = Regression(MEAN, SCALE).loss(outputs, target)
    assert weight == 64.0
    expected = functional.mse_loss(outputs, ((target - MEAN) / SCALE).float())
    torch.testing.assert_close(total / weight, expected)


def test_a_column_of_outputs_is_the_same() -> None:
    outputs, target = batch()
    task = Regression(MEAN, SCALE)
    assert torch.equal(task.loss(outputs.unsqueeze(1), target)[0], task.loss(outputs, target)[0])
    assert torch.equal(task.predictions(outputs.unsqueeze(1)), task.predictions(outputs))


def test_loss_under_bf16_is_in_float32() -> None:
    """Errors are small against the values they are the difference of: eight bits of mantissa lose them."""
    _, target = batch()
    outputs = ((target - MEAN) / SCALE).bfloat16()
    total, _ = Regression(MEAN, SCALE).loss(outputs, target)
    assert total.dtype == torch.float32
    exact = (outputs.double() - (target - MEAN) / SCALE).square().sum()
    assert float(total) == pytest.approx(float(exact), rel=1e-5)


def test_predictions_are_in_the_targets_own_unit() -> None:
    outputs, _ = batch()
    values = Regression(MEAN, SCALE).predictions(outputs)
    assert values.dtype == torch.float64
    torch.testing.assert_close(values, outputs.double() * SCALE + MEAN)


@pytest.mark.parametrize("offset", [MEAN, 1e6])
def test_metrics_equal_scikit_learns(offset: float) -> None:
    outputs, target = batch(200, offset)
    task = Regression(offset, SCALE)
    metrics = task.metrics()
    for start in range(0, 200, 64):
        metrics.update(task.predictions(outputs[start : start + 64]), target[start : start + 64])
    values = {name: float(value) for name, value in metrics.compute().items()}
    predicted, known = outputs.double().numpy() * SCALE + offset, target.numpy()
    assert values == {
        "rmse": pytest.approx(root_mean_squared_error(known, predicted), rel=1e-9),
        "mae": pytest.approx(mean_absolute_error(known, predicted), rel=1e-9),
        "r2": pytest.approx(r2_score(known, predicted), rel=1e-6),
    }


def test_metrics_do_not_depend_on_the_size_of_a_batch() -> None:
    outputs, target = batch(2000)
    task = Regression(MEAN, SCALE)
    seen = []
    for size in (1, 7, 2000):
        metrics = task.metrics()
        for start in range(0, 2000, size):
            metrics.update(task.predictions(outputs[start : start + size]), target[start : start + size])
        seen.append(np.array([float(value) for value in metrics.compute().values()]))
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-11)
    np.testing.assert_allclose(seen[0], seen[2], rtol=1e-11)


def test_metrics_of_one_row() -> None:
    """No share of a variance can be explained where there is none."""
    metrics = Regression().metrics()
    metrics.update(torch.tensor([1.0]), torch.tensor([3.0]))
    values = {name: float(value) for name, value in metrics.compute().items()}
    assert (values["rmse"], values["mae"]) == (2.0, 2.0)
    assert math.isnan(values["r2"])


def test_train_metrics() -> None:
    outputs, target = batch()
    task = Regression(MEAN, SCALE)
    metrics = task.train_metrics()
    metrics.update(task.predictions(outputs), target)
    expected = (task.predictions(outputs) - target).square().mean().sqrt()
    assert {name: float(value) for name, value in metrics.compute().items()} == {"rmse": pytest.approx(float(expected))}


def test_chance_is_the_loss_of_the_mean() -> None:
    _, target = batch(500)
    task = Regression(float(target.mean()), float(target.std(correction=0)))
    total, weight = task.loss(torch.zeros(500), target)
    assert float(total) / float(weight) == pytest.approx(task.chance())


def test_mean_and_scale_are_saved_exactly() -> None:
    state = Regression(1 / 3, 1e-9).state_dict()
    assert {name: value.item() for name, value in state.items()} == {"target_mean": 1 / 3, "target_scale": 1e-9}


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan])
def test_a_scale_that_cannot_be(scale: float) -> None:
    with pytest.raises(ConfigError) as error:
        Regression(0.0, scale)
    assert str(error.value) == f"target scale {scale}\n  where    task.target_scale\n  expected a number above 0"


@pytest.mark.parametrize("shape", [(8,), (8, 1), (8, 1, 1)])
def test_outputs_that_fit(shape: tuple[int, ...]) -> None:
    Regression().check(torch.zeros(shape), torch.zeros(8))


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((8, 2), "[batch, 2]"),
        ((8, 3, 1), "[batch, 3, 1]"),
        ((4, 1), "[4, 1] for a batch of 8"),
        ((), "[] for a batch of 8"),
    ],
)
def test_outputs_that_do_not_fit(shape: tuple[int, ...], shown: str) -> None:
    with pytest.raises(ConfigError) as error:
        Regression().check(torch.zeros(shape), torch.zeros(8))
    assert str(error.value) == (
        f"the model gives outputs of shape {shown}\n  where    model\n  expected [batch] or [batch, 1], one number each"
    )


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("squared", functional.mse_loss),
        ("absolute", functional.l1_loss),
        ("huber", functional.huber_loss),
    ],
)
def test_losses_are_torchs_of_the_standardised_target(loss: Loss, expected: Callable[..., Tensor]) -> None:
    outputs, target = batch()
    total, weight = Regression(MEAN, SCALE, loss=loss).loss(outputs, target)
    torch.testing.assert_close(total / weight, expected(outputs, ((target - MEAN) / SCALE).float()))


def test_delta_is_in_standard_deviations() -> None:
    """An error of 3 deviations costs δ · (3 - δ / 2) whatever the target's unit."""
    task = Regression(MEAN, SCALE, loss="huber", huber_delta=0.5)
    total, _ = task.loss(torch.zeros(1), torch.tensor([MEAN + 3 * SCALE], dtype=torch.float64))
    assert float(total) == pytest.approx(0.5 * (3 - 0.25))


@pytest.mark.parametrize(
    ("loss", "monitor", "chance"), [("squared", "rmse", 1.0), ("absolute", "mae", None), ("huber", "mae", None)]
)
def test_the_monitor_and_chance_follow_the_loss(loss: Loss, monitor: str, chance: float | None) -> None:
    task = Regression(MEAN, SCALE, loss=loss)
    assert (task.monitor, task.mode, task.chance()) == (monitor, "min", chance)
    assert list(task.train_metrics()) == [monitor]
    assert {f"train/{monitor}", f"val/{monitor}"} <= set(task.metric_names())


def test_weights_apply_to_every_loss() -> None:
    outputs, target = batch()
    weights = torch.linspace(0, 2, 64)
    task = Regression(MEAN, SCALE, loss="absolute")
    total, weight = task.loss(outputs, target, weights)
    errors = (outputs - ((target - MEAN) / SCALE).float()).abs()
    torch.testing.assert_close(total / weight, (errors * weights).sum() / weights.sum())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"loss": "hubr"},
            "there is no loss 'hubr'\n  where    task.loss\n  expected one of squared, absolute, huber\n"
            "  hint     did you mean 'huber'?",
        ),
        ({"huber_delta": 0}, "huber delta 0\n  where    task.huber_delta\n  expected a number above 0"),
    ],
)
def test_losses_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Regression(**settings)
    assert str(error.value) == message
