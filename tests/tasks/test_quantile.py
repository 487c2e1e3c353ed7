"""Quantiles: the pinball loss by hand, predictions in order, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torchmetrics import MeanAbsolutePercentageError

from trainkit.errors import ConfigError
from trainkit.tasks import Quantile
from trainkit.tasks.quantile import pinball

LEVELS = (0.1, 0.5, 0.9)


def test_the_pinball_loss_by_hand() -> None:
    quantiles = torch.tensor([[1.0, 2.0, 5.0], [4.0, 4.0, 4.0]])
    expected = [(0.1 * 2 + 0.5 * 1 + 0.1 * 2) / 3, (0.9 * 1 + 0.5 * 1 + 0.1 * 1) / 3]
    made = pinball(quantiles, torch.tensor([3.0, 3.0]), torch.tensor(LEVELS))
    torch.testing.assert_close(made, torch.tensor(expected))


def test_it_is_least_at_the_quantiles_of_the_target() -> None:
    torch.manual_seed(0)
    target = torch.randn(4001, dtype=torch.float64).exp()
    task = Quantile(quantiles=LEVELS)
    outputs = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([outputs], line_search_fn="strong_wolfe", max_iter=200)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss_sum, weight = task.loss(outputs.expand(len(target), 3), target)
        loss = loss_sum / weight
        torch.autograd.backward(loss)
        return loss

    for _ in range(20):
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    expected = torch.quantile(target, torch.tensor(LEVELS, dtype=torch.float64))
    torch.testing.assert_close(outputs.detach()[0], expected, rtol=0.02, atol=0.01)


def test_the_loss_is_standardised_summed_and_weighted() -> None:
    task = Quantile(target_mean=10.0, target_scale=2.0, quantiles=LEVELS)
    outputs, target = torch.randn(5, 3), 10 + 2 * torch.randn(5, dtype=torch.float64)
    losses = pinball(outputs, ((target - 10) / 2).float(), torch.tensor(LEVELS))
    loss, count = task.loss(outputs, target)
    torch.testing.assert_close(loss, losses.sum())
    assert count == 5.0
    weight = torch.tensor([0.0, 1.0, 2.0, 0.5, 1.0])
    loss, total = task.loss(outputs, target, weight)
    torch.testing.assert_close(loss, (losses * weight).sum())
    assert total == weight.sum()


def test_predictions_are_in_order_and_in_the_targets_own_unit() -> None:
    task = Quantile(target_mean=10.0, target_scale=2.0, quantiles=LEVELS)
    made = task.predictions(torch.tensor([[1.0, -1.0, 0.0]]))
    assert made.dtype == torch.float64 and made.tolist() == [[8.0, 10.0, 12.0]]


def test_metrics_of_the_median_and_of_the_range() -> None:
    task = Quantile(quantiles=LEVELS, metrics={"mape": MeanAbsolutePercentageError()})
    metrics, quantiles = task.metrics(), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64)
    target = torch.tensor([2.5, 8.0], dtype=torch.float64)
    metrics.update(quantiles, target)
    values = {name: float(value) for name, value in metrics.compute().items()}
    assert values["coverage"] == 0.5 and values["mae"] == 1.75
    assert values["mape"] == pytest.approx((0.5 / 2.5 + 3 / 8) / 2)
    assert values["pinball"] == pytest.approx(float(pinball(quantiles, target, torch.tensor(LEVELS)).mean()))
    assert (task.mode_of("val/pinball"), task.monitor, task.chance()) == ("min", "pinball", None)


@pytest.mark.parametrize("levels", [[0.5], [0.1, 0.9], [0.9, 0.5], [0.5, 0.5, 0.9], [0.0, 0.5, 1.0], [0.5, 1.2]])
def test_levels_that_cannot_be(levels: list[float]) -> None:
    with pytest.raises(ConfigError) as error:
        Quantile(quantiles=levels)
    assert error.value.where == "task.quantiles"


def test_outputs_of_another_number_are_told() -> None:
    with pytest.raises(ConfigError) as error:
        Quantile(quantiles=LEVELS).check(torch.zeros(4, 1), torch.zeros(4))
    assert error.value.expected == "[batch, 3], a number for each quantile"
