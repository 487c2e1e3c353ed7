"""Labels: the loss by hand, labels that are not known, metrics against scikit-learn, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.classification import MultilabelAccuracy

from trainkit.errors import ConfigError
from trainkit.tasks import Multilabel

NAN = math.nan


def example(num_rows: int = 200, num_labels: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(num_rows, num_labels, generator=generator) < torch.tensor([0.5, 0.3, 0.2, 0.1])).float()
    return torch.randn(num_rows, num_labels, generator=generator) + target, target


def test_the_loss_is_the_mean_over_labels() -> None:
    logits, target = example()
    loss_sum, weight = Multilabel(4).loss(logits, target)
    assert float(weight) == len(target)
    expected = functional.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(loss_sum / weight, expected)


def test_labels_that_are_not_known_count_for_nothing() -> None:
    logits, target = example()
    target[::3, 1] = NAN
    target[7] = NAN
    logits.requires_grad_()
    loss_sum, weight = Multilabel(4).loss(logits, target)
    known = ~target.isnan()
    assert float(weight) == pytest.approx(float(known.sum()) / 4)
    expected = functional.binary_cross_entropy_with_logits(logits[known], target[known])
    torch.testing.assert_close(loss_sum / weight, expected)
    torch.autograd.backward(loss_sum)
    assert logits.grad is not None and (logits.grad[~known] == 0).all() and logits.grad.isfinite().all()


def test_settings_of_the_loss_by_hand() -> None:
    logits, target = torch.tensor([[0.3, -1.2]]), torch.tensor([[1.0, 0.0]])
    p = logits.sigmoid()
    log = -torch.stack([p[0, 0].log(), (1 - p[0, 1]).log()])
    rows = torch.tensor([3.0])

    def loss(*, is_training: bool = False, weight: Tensor | None = None, **options: Any) -> Tensor:
        loss_sum, total = Multilabel(2, **options).train(is_training).loss(logits, target, weight)
        return loss_sum / total

    torch.testing.assert_close(loss(pos_weight=[5.0, 7.0]), (5 * log[0] + log[1]) / 2)
    torch.testing.assert_close(loss(pos_weight="balanced", label_counts=[[8, 2], [9, 1]]), (4 * log[0] + log[1]) / 2)
    missed = torch.stack([1 - p[0, 0], p[0, 1]])
    torch.testing.assert_close(loss(loss="focal", focal_gamma=1.5), (missed**1.5 * log).mean())
    torch.testing.assert_close(loss(weight=rows), log.mean())
    other = -torch.stack([(1 - p[0, 0]).log(), p[0, 1].log()])
    torch.testing.assert_close(loss(label_smoothing=0.2, is_training=True), (0.9 * log + 0.1 * other).mean())
    torch.testing.assert_close(loss(label_smoothing=0.2), log.mean())


def test_a_criterion_gives_losses_by_label_or_by_sample() -> None:
    logits, target = example()
    expected = functional.binary_cross_entropy_with_logits(logits, target)
    for criterion in (nn.BCEWithLogitsLoss(), nn.MultiLabelSoftMarginLoss()):
        task = Multilabel(4, criterion=criterion)
        task.check(logits, target)
        loss_sum, weight = task.loss(logits, target)
        torch.testing.assert_close(loss_sum / weight, expected)
    target[0, 0] = NAN
    by_label = Multilabel(4, criterion=nn.BCEWithLogitsLoss())
    by_label.check(logits, target)
    torch.testing.assert_close(by_label.loss(logits, target), Multilabel(4).loss(logits, target))
    by_sample = Multilabel(4, criterion=nn.MultiLabelSoftMarginLoss())
    with pytest.raises(ConfigError, match="MultiLabelSoftMarginLoss gives no loss per target"):
        by_sample.check(logits, target)
    assert by_sample.loss(logits, target)[0].isnan()  # never a wrong number


def test_metrics_are_those_of_scikit_learn() -> None:
    logits, target = example()
    task = Multilabel(4, metrics={"own": MultilabelAccuracy(4, average="micro", ignore_index=-1)})
    predictions, metrics = task.predictions(logits), task.metrics()
    for rows in (slice(0, 70), slice(70, 200)):
        metrics.update(predictions[rows], target[rows])
    values = {name: float(value) for name, value in metrics.compute().items()}
    truth, scores = target.numpy(), predictions.numpy()
    assert values["auroc_macro"] == pytest.approx(roc_auc_score(truth, scores, average="macro"))
    assert values["average_precision_macro"] == pytest.approx(average_precision_score(truth, scores, average="macro"))
    assert values["f1_micro"] == pytest.approx(f1_score(truth, scores > 0.5, average="micro"))
    assert values["own"] == pytest.approx(((scores > 0.5) == truth).mean())
    assert task.monitor == "auroc_macro" and task.mode_of("val/auroc_macro") == task.mode_of("own") == "max"


def test_metrics_leave_out_what_is_not_known_or_not_defined() -> None:
    logits, target = example()
    target[:100, 2] = NAN
    target[:, 3] = 0.0  # no sample has it
    metrics = Multilabel(4).metrics()
    metrics.update(Multilabel(4).predictions(logits), target)
    values, scores = metrics.compute(), logits.sigmoid().numpy()
    parts = [(slice(None), 0), (slice(None), 1), (slice(100, None), 2)]
    aurocs = [roc_auc_score(target[rows, k].numpy(), scores[rows, k]) for rows, k in parts]
    assert float(values["auroc_macro"]) == pytest.approx(np.mean(aurocs))
    known = ~target.isnan().numpy()
    assert float(values["f1_micro"]) == pytest.approx(f1_score(target.numpy()[known], scores[known] > 0.5))
    nothing = Multilabel(2).metrics()
    nothing.update(torch.full((3, 2), 0.4, dtype=torch.float64), torch.zeros(3, 2))
    assert all(value.isnan() for value in nothing.compute().values())


def test_members_are_merged_by_their_probabilities() -> None:
    outputs = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(Multilabel(4).merge(outputs).sigmoid(), outputs.sigmoid().mean(dim=1))


def test_mixed_targets_are_rounded_for_the_metrics() -> None:
    mixed = torch.tensor([[0.7, 0.2, NAN], [0.5, 0.0, 1.0]])
    torch.testing.assert_close(
        Multilabel(3).plain_target(mixed), torch.tensor([[1, 0, NAN], [1, 0, 1.0]]), equal_nan=True
    )


def test_chance() -> None:
    logits, target = torch.zeros(8, 3), (torch.arange(24).reshape(8, 3) % 2).float()
    for options in ({}, {"loss": "focal", "focal_gamma": 1.0}):
        task = Multilabel(3, **options)  # type: ignore[arg-type]
        loss_sum, weight = task.loss(logits, target)
        assert task.chance() == pytest.approx(float(loss_sum / weight))
    assert Multilabel(3, pos_weight="balanced").chance() is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_labels": 1}, "a task of 1 label"),
        ({"pos_weight": [1.0]}, "positive weights [1.0] do not fit"),
        ({"pos_weight": [1.0, 0.0, 2.0]}, "positive weights [1.0, 0.0, 2.0] do not fit"),
        ({"pos_weight": "equal"}, "positive weights 'equal'"),
        ({"label_smoothing": 1.0}, "label smoothing 1.0"),
        ({"loss": "hinge"}, "there is no loss 'hinge'"),
        ({"focal_gamma": 1.0}, "task.focal_gamma has no effect on cross_entropy"),
        ({"criterion": nn.BCEWithLogitsLoss(), "pos_weight": "balanced"}, "task.pos_weight has no effect"),
        ({"metrics": {"f1_micro": MultilabelAccuracy(3)}}, "'f1_micro' is what the task itself logs"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Multilabel(**{"num_labels": 3, **options})
    assert str(caught.value).startswith(said)


def test_outputs_of_a_wrong_shape() -> None:
    with pytest.raises(ConfigError, match=r"shape \[batch, 2\]"):
        Multilabel(3).check(torch.zeros(4, 2), torch.zeros(4, 3))
