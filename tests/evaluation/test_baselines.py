from __future__ import annotations

import subprocess
import sys
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainkit.errors import DataError
from trainkit.evaluation import baselines
from trainkit.evaluation.baselines import fit_baseline, simple_baseline
from trainkit.evaluation.intervals import score
from trainkit.types import Predictions


class Split(NamedTuple):
    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_rows: np.ndarray
    test_y: np.ndarray | None
    class_names: tuple[str, ...]


def _split(load: Any, num_train: int, num_classes: int) -> Split:
    inputs, target = load(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(target))
    train, test = order[:num_train], order[num_train:]
    names = tuple(map(str, range(num_classes)))
    return Split(inputs[train], target[train], inputs[test], test, target[test], names)


def _probabilities(predictions: Predictions) -> np.ndarray:
    assert predictions.probabilities is not None
    return predictions.probabilities


def _values(predictions: Predictions) -> np.ndarray:
    assert predictions.values is not None
    return predictions.values


@pytest.fixture(scope="module")
def cancer() -> Split:
    return _split(load_breast_cancer, 400, 2)


@pytest.fixture(scope="module")
def digits() -> Split:
    return _split(load_digits, 1200, 10)


@pytest.fixture(scope="module")
def diabetes() -> Split:
    return _split(load_diabetes, 300, 0)


@pytest.mark.parametrize("name", ["cancer", "digits"])
def test_logistic_is_the_plain_one(name: str, request: pytest.FixtureRequest) -> None:
    split: Split = request.getfixturevalue(name)
    kind, predictions = fit_baseline(*split, "class")
    plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(split.train_x, split.train_y)
    assert kind == "logistic"
    np.testing.assert_allclose(_probabilities(predictions), plain.predict_proba(split.test_x), atol=1e-6)
    assert predictions.class_names == split.class_names
    np.testing.assert_array_equal(predictions.rows, split.test_rows)
    assert score(predictions, resamples=100)["accuracy"].value > 0.95


def test_linear_is_the_plain_one(diabetes: Split) -> None:
    kind, predictions = fit_baseline(*diabetes, "number")
    plain = make_pipeline(StandardScaler(), Ridge()).fit(diabetes.train_x, diabetes.train_y)
    assert kind == "linear"
    np.testing.assert_allclose(_values(predictions), plain.predict(diabetes.test_x), rtol=1e-9)
    assert score(predictions, resamples=100)["r2"].value > 0.3


def test_majority_is_the_plain_one(digits: Split) -> None:
    kind, predictions = simple_baseline(digits.train_y, *digits[3:], "class")
    plain = DummyClassifier(strategy="prior").fit(digits.train_x, digits.train_y)
    assert kind == "majority"
    np.testing.assert_allclose(_probabilities(predictions), plain.predict_proba(digits.test_x), rtol=1e-12)


def test_mean(diabetes: Split) -> None:
    kind, predictions = simple_baseline(diabetes.train_y, *diabetes[3:], "number")
    assert kind == "mean"
    assert (_values(predictions) == diabetes.train_y.mean()).all() and len(predictions) == len(diabetes.test_rows)


@pytest.mark.parametrize(("fixture", "kind", "name"), [("digits", "class", "majority"), ("diabetes", "number", "mean")])
def test_without_arrays_or_too_wide(fixture: str, kind: Any, name: str, request: pytest.FixtureRequest) -> None:
    split: Split = request.getfixturevalue(fixture)
    wide = np.zeros((len(split.train_y), 5001), dtype=np.float32)
    assert fit_baseline(None, split.train_y, None, *split[3:], kind)[0] == name
    assert fit_baseline(wide, split.train_y, wide, *split[3:], kind)[0] == name
    assert fit_baseline(wide[:, :0], split.train_y, wide[:, :0], *split[3:], kind)[0] == name


def test_one_class_in_training_is_the_majority(cancer: Split) -> None:
    kind, predictions = fit_baseline(**cancer._replace(train_y=np.ones(400, dtype=int))._asdict(), target_kind="class")
    assert kind == "majority"
    assert (_probabilities(predictions) == [0.0, 1.0]).all()


def test_one_class_in_the_subsample_is_the_majority() -> None:
    inputs, labels = np.arange(1000.0)[:, None], (np.arange(1000) == 0).astype(np.int64)
    kind, predictions = fit_baseline(inputs, labels, inputs, np.arange(1000), labels, ("a", "b"), "class", max_rows=2)
    assert kind == "majority" and (_probabilities(predictions) == [0.999, 0.001]).all()


def test_class_unseen_in_training_has_no_probability(digits: Split) -> None:
    seen = digits.train_y != 4
    unseen = digits._replace(train_x=digits.train_x[seen], train_y=digits.train_y[seen])
    kind, predictions = fit_baseline(*unseen, "class")
    assert kind == "logistic"
    assert (_probabilities(predictions)[:, 4] == 0).all()
    np.testing.assert_allclose(_probabilities(predictions).sum(axis=1), 1)
    assert np.isfinite(score(predictions, resamples=50)["log_loss"].value)


def test_unknown_test_target_stays_unknown(cancer: Split) -> None:
    assert fit_baseline(**cancer._replace(test_y=None)._asdict(), target_kind="class")[1].target is None


def test_limit_of_iterations_is_no_warning(digits: Split) -> None:
    """Ten iterations are too few, as the plain fit says; the baseline is used all the same."""
    with pytest.warns(ConvergenceWarning):
        LogisticRegression(max_iter=10).fit(StandardScaler().fit_transform(digits.train_x), digits.train_y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kind, predictions = fit_baseline(*digits, "class", max_seconds=1e-9)
    assert kind == "logistic" and not caught
    assert score(predictions, resamples=50)["accuracy"].value > 0.9


def test_other_warnings_of_the_fit_come_through(digits: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = LogisticRegression.fit

    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        warnings.warn("something else did not converge", ConvergenceWarning, stacklevel=2)
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(LogisticRegression, "fit", fit)
    with pytest.warns(ConvergenceWarning, match="something else"):
        fit_baseline(*digits, "class", max_seconds=1e-9)


def test_iterations_are_planned_from_the_sizes() -> None:
    small = baselines._affordable_iterations(1000, 20, 2, 5.0)
    large = baselines._affordable_iterations(20_000, 784, 10, 5.0)
    huge = baselines._affordable_iterations(20_000, 1_000, 1_000, 5.0)
    assert small == 1000 > large > huge == 10
    assert baselines._affordable_iterations(20_000, 784, 10, 2.5) == pytest.approx(large / 2, abs=1)


def test_time_is_about_what_was_planned() -> None:
    """Noise without an answer does not converge early: half a second of planned work, four times that at most."""
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(6000, 400)), rng.integers(0, 10, 6000)
    start = time.process_time()
    fit_baseline(inputs, labels, inputs[:1], np.arange(1), None, tuple("abcdefghij"), "class", max_seconds=0.5)
    assert time.process_time() - start < 2.0


def test_subsample_keeps_shares_and_is_drawn_by_seed() -> None:
    target = np.repeat([0, 1, 2], [6000, 3000, 1000])
    chosen = baselines._subsample(target, 100, seed=0)
    assert np.bincount(target[chosen]).tolist() == [60, 30, 10]
    assert len(np.unique(chosen)) == 100
    np.testing.assert_array_equal(chosen, baselines._subsample(target, 100, seed=0))
    assert not np.array_equal(chosen, baselines._subsample(target, 100, seed=1))
    np.testing.assert_array_equal(baselines._subsample(target, 10_000, seed=0), np.arange(10_000))


def test_max_rows_bounds_the_training_rows(digits: Split) -> None:
    chosen = baselines._subsample(digits.train_y, 200, seed=3)
    few = digits._replace(train_x=digits.train_x[chosen], train_y=digits.train_y[chosen])
    _, limited = fit_baseline(*digits, "class", seed=3, max_rows=200)
    _, wanted = fit_baseline(*few, "class")
    np.testing.assert_array_equal(_probabilities(limited), _probabilities(wanted))


def test_wide_inputs_use_fewer_rows(diabetes: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "_MAX_CELLS", 10 * 50)
    _, limited = fit_baseline(*diabetes, "number")
    monkeypatch.undo()
    _, wanted = fit_baseline(*diabetes, "number", max_rows=50)
    np.testing.assert_array_equal(_values(limited), _values(wanted))


def test_test_rows_are_predicted_in_parts(digits: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole = fit_baseline(*digits, "class")
    monkeypatch.setattr(baselines, "_PREDICT_ROWS", 100)
    _, parts = fit_baseline(*digits, "class")
    np.testing.assert_allclose(_probabilities(parts), _probabilities(whole), rtol=1e-9)


def test_bad_input(cancer: Split) -> None:
    with pytest.raises(DataError, match="no training rows"):
        fit_baseline(cancer.train_x[:0], cancer.train_y[:0], *cancer[2:], "class")
    with pytest.raises(DataError, match="no training rows"):
        simple_baseline(np.zeros(0), np.arange(1), None, (), "number")
    for part in ("train_x", "test_x"):
        holed: Any = np.array(getattr(cancer, part))
        holed[3, 3] = np.nan
        with pytest.raises(DataError, match="inputs hold NaN or infinite numbers"):
            fit_baseline(**{**cancer._asdict(), part: holed}, target_kind="class")
    with pytest.raises(DataError, match="no training rows"):
        fit_baseline(np.zeros((0, 3)), np.zeros(0), np.zeros((1, 3)), np.arange(1), None, (), "number")


def test_importing_the_layer_loads_no_heavy_package() -> None:
    code = (
        "import sys, trainkit.evaluation; print(sorted({'sklearn', 'scipy', 'torch', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
