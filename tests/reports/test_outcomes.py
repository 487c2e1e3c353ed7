from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from trainkit.errors import RunError
from trainkit.reports.outcomes import Outcomes, read_outcomes
from trainkit.types import Predictions


def class_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "row": [4, 1, 7, 3],
            "split": ["val", "test", "test", "test"],
            "target": ["yes", "no", "yes", None],
            "prediction": ["yes", "yes", "yes", "no"],
            "p_no": [0.1, 0.4, 0.2, 0.9],
            "p_yes": [0.9, 0.6, 0.8, 0.1],
        }
    )


def test_classes_of_a_frame_are_those_of_its_probability_columns() -> None:
    outcomes = read_outcomes(class_frame())
    assert isinstance(outcomes, Outcomes)
    assert outcomes is not None
    assert (outcomes.split, outcomes.class_names) == ("test", ("no", "yes"))
    assert outcomes.confusion().tolist() == [[0, 1], [0, 1]]


def test_classes_that_look_like_numbers_are_matched_as_text() -> None:
    frame = pd.DataFrame({"split": "test", "target": [3, 5], "prediction": [5, 5], "p_3": [0.1, 0], "p_5": [0.9, 1]})
    outcomes = read_outcomes(frame)
    assert isinstance(outcomes, Outcomes)
    assert outcomes is not None
    assert outcomes.confusion().tolist() == [[0, 1], [0, 1]]


def test_a_class_without_a_column_is_named() -> None:
    frame = class_frame().drop(columns="p_no")
    with pytest.raises(RunError, match="name the class 'no', which has no probability column") as caught:
        read_outcomes(frame)
    assert caught.value.where == "column target"
    assert caught.value.expected == "one of yes"


def test_numbers_of_a_frame() -> None:
    frame = pd.DataFrame({"split": "test", "target": [1.5, None, 2.0], "prediction": [1.0, 5.0, 2.5]})
    outcomes = read_outcomes(frame)
    assert isinstance(outcomes, Outcomes)
    assert outcomes is not None
    assert outcomes.class_names == ()
    assert outcomes.target.tolist() == [1.5, 2.0]
    assert outcomes.predicted.tolist() == [1.0, 2.5]


def test_predictions_by_split_prefer_the_test_part(predictions: dict[str, Predictions]) -> None:
    number = Predictions(np.arange(2), np.array([1.0, 2.0]), values=np.array([1.5, 2.5]))
    first = read_outcomes({"val": number, **predictions})
    assert isinstance(first, Outcomes)
    assert first is not None
    assert first.split == "test"
    assert first.confusion().tolist() == [[34, 6, 0], [0, 15, 0], [0, 0, 5]]
    second = read_outcomes({"val": number})
    assert isinstance(second, Outcomes)
    assert second is not None
    assert second.predicted.tolist() == [1.5, 2.5]


def test_a_split_without_targets_is_passed_over() -> None:
    blind = Predictions(np.arange(2), None, values=np.array([1.5, 2.5]))
    assert read_outcomes({"test": blind}) is None
    assert read_outcomes(None) is None
    assert read_outcomes({}) is None
    frame = class_frame().assign(target=np.full(4, None))
    assert read_outcomes(frame) is None
    assert read_outcomes(class_frame().drop(columns="target")) is None
    known_val = class_frame().assign(target=np.array(["yes", None, None, None], dtype=object))
    outcomes = read_outcomes(known_val)
    assert outcomes is not None
    assert outcomes.split == "val"
