"""Several targets scored: as scikit-learn scores them, without what is missing, with intervals, paired, and a bar."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainkit.errors import DataError
from trainkit.evaluation import compare, fit_several, metrics_for, score
from trainkit.types import Predictions

NAMES = ("sun", "the sea", "snow")


def labels(num_rows: int = 150, seed: int = 0) -> Predictions:
    generator = np.random.default_rng(seed)
    target = (generator.random((num_rows, 3)) < [0.5, 0.3, 0.1]).astype(float)
    made = 1 / (1 + np.exp(-(2 * target - 1 + generator.normal(size=target.shape))))
    return Predictions(np.arange(num_rows), target, made, class_names=NAMES, is_multilabel=True)


def numbers(num_rows: int = 150) -> Predictions:
    generator = np.random.default_rng(1)
    target = generator.normal(size=(num_rows, 2)) * [1, 100]
    values = target + generator.normal(size=target.shape) * [0.5, 20]
    return Predictions(np.arange(num_rows), target, values=values, target_names=("u", "v"))


def arrays(made: Predictions) -> tuple[np.ndarray, np.ndarray]:
    values = made.probabilities if made.is_multilabel else made.values
    assert made.target is not None and values is not None
    return made.target, values


def test_labels_are_scored_as_by_scikit_learn() -> None:
    made = labels()
    truth, scores = arrays(made)
    found = {name: estimate.value for name, estimate in score(made, resamples=20).items()}
    called = scores > 0.5
    expected = {
        "auroc_macro": roc_auc_score(truth, scores, average="macro"),
        "average_precision_macro": average_precision_score(truth, scores, average="macro"),
        "f1_macro": f1_score(truth, called, average="macro"),
        "f1_micro": f1_score(truth, called, average="micro"),
        "subset_accuracy": accuracy_score(truth, called),
        "log_loss": np.mean([log_loss(truth[:, k], scores[:, k]) for k in range(3)]),
        "auroc_sun": roc_auc_score(truth[:, 0], scores[:, 0]),
        "auroc_the_sea": roc_auc_score(truth[:, 1], scores[:, 1]),
        "auroc_snow": roc_auc_score(truth[:, 2], scores[:, 2]),
    }
    assert list(found) == list(expected)
    assert found == pytest.approx(expected)


def test_numbers_are_scored_as_by_scikit_learn() -> None:
    made = numbers()
    truth, values = arrays(made)
    found = {name: estimate.value for name, estimate in score(made, resamples=20).items()}
    expected = {"r2_macro": r2_score(truth, values)}
    for metric, function in (("rmse", root_mean_squared_error), ("mae", mean_absolute_error), ("r2", r2_score)):
        expected |= {f"{metric}_{name}": function(truth[:, k], values[:, k]) for k, name in enumerate("uv")}
    assert list(found) == list(expected)
    assert found == pytest.approx(expected)


def test_what_is_missing_counts_for_nothing() -> None:
    whole = labels()
    truth, scores = arrays(whole)
    truth = truth.copy()
    truth[:50, 0] = math.nan
    truth[140:] = math.nan  # nothing is known of these rows
    lacking = score(replace(whole, target=truth), resamples=20)
    assert lacking["auroc_sun"].value == pytest.approx(roc_auc_score(truth[50:140, 0], scores[50:140, 0]))
    assert lacking["auroc_snow"].value == pytest.approx(roc_auc_score(truth[:140, 2], scores[:140, 2]))
    known = ~np.isnan(truth)
    assert lacking["f1_micro"].value == pytest.approx(f1_score(truth[known], scores[known] > 0.5))
    right = ((scores > 0.5) == (truth == 1)) | ~known
    assert lacking["subset_accuracy"].value == pytest.approx(right[:140].all(axis=1).mean())
    assert {name: estimate.n for name, estimate in lacking.items() if estimate.n != 140} == {"auroc_sun": 90}
    assert lacking["subset_accuracy"].method == "wilson"


def test_a_label_that_no_row_has_is_left_out() -> None:
    made = labels()
    truth, scores = arrays(made)
    truth = truth.copy()
    truth[:, 1] = 0.0
    found = score(replace(made, target=truth), resamples=20)
    assert math.isnan(found["auroc_the_sea"].value)
    expected = np.mean([roc_auc_score(truth[:, k], scores[:, k]) for k in (0, 2)])
    assert found["auroc_macro"].value == pytest.approx(expected)
    truth[:, 1] = math.nan
    assert score(replace(made, target=truth), resamples=20)["auroc_macro"].value == pytest.approx(expected)


def test_a_mean_over_labels_is_of_the_same_labels_in_every_resample() -> None:
    """A label of one row lacks in a third of the resamples; without it the mean would be of easier labels."""
    made = labels()
    truth, scores = (array.copy() for array in arrays(made))
    truth[:, 2] = 0.0
    truth[7, 2], scores[7, 2] = 1.0, 0.0  # the worst there can be
    found = score(replace(made, target=truth, probabilities=scores), resamples=500)["auroc_macro"]
    others = np.mean([roc_auc_score(truth[:, k], scores[:, k]) for k in (0, 1)])
    assert found.value == pytest.approx(2 / 3 * others, abs=0.01)
    assert found.high < 0.75 * others and "undefined" not in found.method


def test_intervals_cover_the_truth() -> None:
    """The macro AUROC of 100 draws of one population: 95 % of the intervals should hold it."""
    truth = score(labels(100_000, seed=999), resamples=1)["auroc_macro"].value
    held = 0
    for seed in range(100):
        estimate = score(labels(120, seed=seed), resamples=200)["auroc_macro"]
        held += estimate.low <= truth <= estimate.high
    assert 88 <= held <= 99


def test_an_interval_of_many_labels_holds_its_own_estimate() -> None:
    """Ties of rows that come twice make the average precision of every resample higher than that of the rows."""
    generator = np.random.default_rng(0)
    target, scores = generator.random((300, 100)) < 0.1, generator.random((300, 100))
    names = tuple(map(str, range(100)))
    made = Predictions(np.arange(300), target.astype(float), scores, class_names=names, is_multilabel=True)
    found = score(made, resamples=100)
    for name in ("auroc_macro", "average_precision_macro", "f1_macro", "log_loss"):
        assert found[name].low < found[name].value < found[name].high
    difference = compare(made, replace(made, probabilities=scores.round(1)), "average_precision_macro", resamples=100)
    assert difference.difference.low < difference.difference.value < difference.difference.high


def test_groups_are_drawn_whole() -> None:
    made = labels()
    groups = np.arange(150) // 10
    found = score(made, resamples=50, groups=groups)
    assert {estimate.method for estimate in found.values()} == {"bootstrap of 15 groups"}
    truth = arrays(made)[0].copy()
    truth[:10] = math.nan  # a group of which nothing is known
    lacking = score(replace(made, target=truth, groups=groups), resamples=50)
    assert lacking["f1_micro"].method == "bootstrap of 14 groups"


def test_an_auroc_of_one_has_an_interval() -> None:
    made = labels()
    truth = arrays(made)[0]
    perfect = score(replace(made, probabilities=truth * 0.8 + 0.1), resamples=20)
    assert (perfect["auroc_snow"].value, perfect["auroc_snow"].method) == (1.0, "newcombe")
    assert perfect["auroc_snow"].low < perfect["auroc_sun"].low < 1.0  # fewer rows have snow
    assert (perfect["auroc_macro"].value, perfect["auroc_macro"].method) == (1.0, "newcombe")
    assert perfect["auroc_snow"].low < perfect["auroc_macro"].low < perfect["auroc_sun"].low
    grouped = score(replace(made, probabilities=truth * 0.8 + 0.1), resamples=20, groups=np.arange(150) // 3)
    assert grouped["auroc_sun"].method == "newcombe of 50 groups"
    assert grouped["auroc_sun"].low < perfect["auroc_sun"].low


@pytest.mark.parametrize("made", [labels(), numbers()], ids=["labels", "numbers"])
def test_two_models_are_compared_on_the_same_rows(made: Predictions) -> None:
    truth, values = arrays(made)
    worse = values + np.random.default_rng(3).normal(size=values.shape) * values.std(axis=0)
    field = "probabilities" if made.is_multilabel else "values"
    worse = worse.clip(0, 1) if made.is_multilabel else worse
    order = np.random.default_rng(4).permutation(len(made))
    other = replace(made, rows=made.rows[order], target=truth[order], **{field: worse[order]})
    for metric in metrics_for(made):
        found = compare(made, other, metric, resamples=100)
        a, b = score(made, resamples=1)[metric].value, score(other, resamples=1)[metric].value
        assert found.difference.value == pytest.approx(a - b)
        assert found.difference.low < found.difference.high
    assert compare(made, other, next(iter(metrics_for(made))), resamples=100).better == "a"
    with pytest.raises(DataError, match="the targets of 1 of 150 rows differ"):
        changed = truth.copy()
        changed[3, 1] = 1 - changed[3, 1]
        compare(made, replace(made, target=changed), next(iter(metrics_for(made))))
    with pytest.raises(DataError, match="are of different"):
        compare(labels(), numbers(), "auroc_macro")


def test_the_bar_is_a_model_for_each_target() -> None:
    generator = np.random.default_rng(0)
    train_x, test_x = generator.normal(size=(300, 4)), generator.normal(size=(100, 4))
    weights = generator.normal(size=(4, 3))
    train_y = (train_x @ weights + generator.normal(size=(300, 3)) > 1).astype(float)
    test_y = (test_x @ weights > 1).astype(float)
    test = replace(labels(100), target=test_y)
    name, bar = fit_several(train_x, train_y, test_x, test)
    assert name == "logistic" and bar.is_multilabel and bar.class_names == NAMES
    for place in range(3):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train_x, train_y[:, place])
        assert bar.probabilities is not None
        np.testing.assert_allclose(bar.probabilities[:, place], model.predict_proba(test_x)[:, 1], atol=1e-6)
    train_y[:100, 0], train_y[:, 2] = math.nan, 0.0
    lacking = fit_several(train_x, train_y, test_x, test)[1].probabilities
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train_x[100:], train_y[100:, 0])
    assert lacking is not None
    np.testing.assert_allclose(lacking[:, 0], model.predict_proba(test_x)[:, 1], atol=1e-6)
    np.testing.assert_array_equal(lacking[:, 2], 0.0)
    name, bar = fit_several(None, train_y, None, test)
    assert name == "shares" and bar.probabilities is not None
    np.testing.assert_allclose(bar.probabilities[0], np.nanmean(train_y, axis=0))
    with pytest.raises(DataError, match="no training rows"):
        fit_several(train_x[:0], train_y[:0], test_x, test)


def test_the_bar_of_numbers_is_a_ridge_for_each() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 3))
    y = x @ generator.normal(size=(3, 2)) + 5
    test = replace(numbers(50), target=y[150:])
    name, bar = fit_several(x[:150], y[:150], x[150:], test)
    assert name == "linear" and score(bar, resamples=5)["r2_macro"].value > 0.99
    assert fit_several(None, y[:150], None, test)[0] == "mean"


def test_predictions_that_do_not_fit() -> None:
    made = labels()
    with pytest.raises(DataError, match="no target to be scored"):
        score(replace(made, target=None))
    with pytest.raises(DataError, match="at least one row with a target"):
        score(replace(made, target=np.full((150, 3), math.nan)))
    with pytest.raises(DataError, match=r"for 3 targets"):
        score(replace(made, target=arrays(made)[0][:, :2]))
    with pytest.raises(DataError, match="other numbers than 0 and 1"):
        score(replace(made, target=arrays(made)[0] * 2))
