from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from trainkit.errors import DataError
from trainkit.evaluation.checked import Checked
from trainkit.types import Predictions

Make = Callable[..., Predictions]


def test_derived_arrays() -> None:
    probabilities = np.array([[0.2, 0.8], [0.5, 0.5], [0.2, 0.8], [1.0, 0.0]])
    rows = Checked(
        Predictions(np.arange(4), np.array([1, 1, 0, 1]), probabilities=probabilities, class_names=("no", "yes"))
    )
    assert rows.predicted.tolist() == [1, 0, 1, 0]
    assert rows.correct.tolist() == [True, False, False, False]
    assert rows.ranking.order.tolist() == [0, 2, 1, 3]
    assert rows.ranking.is_positive.tolist() == [True, False, True, True]
    assert rows.ranking.starts is not None and rows.ranking.starts.tolist() == [0, 2, 3]
    np.testing.assert_allclose(rows.surprise, [-np.log(0.8), -np.log(0.5), -np.log(0.2), 52 * np.log(2)])


def test_ranking_without_ties_has_no_groups(classes: Make) -> None:
    assert Checked(classes(50)).ranking.starts is None


def test_certain_and_right_is_no_surprise() -> None:
    certain = Predictions(np.arange(1), np.array([0]), probabilities=np.array([[1.0, 0.0]]), class_names=("a", "b"))
    assert str(Checked(certain).surprise[0]) == "0.0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": None}, "the predictions have no target"),
        ({"rows": np.arange(0)}, "there are no predictions to score"),
        ({"target": np.zeros(5, dtype=np.int64)}, "target has 5 rows, but the predictions have 4"),
        ({"target": np.array([0, 1, 2, 0])}, "labels reach from 0 to 2"),
        ({"target": np.array([0, -1, 1, 0])}, "labels reach from -1 to 1"),
        ({"target": np.zeros(4)}, "the target of classes holds float64"),
        ({"probabilities": np.full((4, 2), np.nan)}, "8 of 8 numbers in the predictions are NaN or infinite"),
        ({"probabilities": np.full((4, 2), -1.0)}, "probabilities lie outside"),
        ({"probabilities": np.full((4, 2), 1.1)}, "probabilities lie outside"),
        ({"probabilities": np.full((4, 3), 0.3)}, r"probabilities of shape \[4, 3\] do not fit 2 class names"),
        ({"probabilities": None}, "either class probabilities or numbers"),
        ({"values": np.zeros(4)}, "either class probabilities or numbers"),
    ],
)
def test_unfit_classes_are_refused(classes: Make, change: dict[str, np.ndarray | None], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Checked(replace(classes(4), **change))  # type: ignore[arg-type]


def test_unfit_numbers_are_refused(numbers: Make) -> None:
    good = numbers(4)
    with pytest.raises(DataError, match="1 of 4 numbers in the predictions are NaN or infinite"):
        Checked(replace(good, values=np.array([0, 1, 2, np.inf])))
    with pytest.raises(DataError, match="1 of 4 numbers in the target are NaN or infinite"):
        Checked(replace(good, target=np.array([0, 1, 2, np.nan])))
