"""Samples in words: classes, numbers, labels and several numbers."""

from __future__ import annotations

import math

import torch

from trainkit.training.sample_texts import Sample, detail_columns, outcome_texts


def sample(predicted: list[float] | float, target: list[float] | float | int) -> Sample:
    return Sample(0, torch.zeros(1), torch.tensor(predicted, dtype=torch.float64), torch.tensor(target))


def test_labels_are_named_and_a_wrong_one_is_marked() -> None:
    names = ["sun", "sea", "sand"]
    right, wrong = sample([0.9, 0.1, 0.7], [1.0, 0.0, math.nan]), sample([0.2, 0.1, 0.7], [0.0, 0.0, 0.0])
    assert detail_columns(right, names) == ["wrong"]
    assert outcome_texts(right, names) == ["sun", "sun", ""]
    assert outcome_texts(wrong, names) == ["–", "sand", "✗"]


def test_several_numbers_with_their_largest_error() -> None:
    one = sample([1.5, 2.0, 3.0, 4.0, 5.0], [1.0, math.nan, 3.0, 4.0, 7.0])
    assert detail_columns(one, ()) == ["largest error"]
    assert outcome_texts(one, ()) == ["1, (missing), 3, 4, …", "1.5, 2, 3, 4, …", "2"]


def test_a_class_and_a_number() -> None:
    assert outcome_texts(sample([0.2, 0.8], 1), ["a", "b"]) == ["b", "b", "0.800", ""]
    assert outcome_texts(sample([0.2, 0.8], 0), ["a", "b"]) == ["a", "b", "0.800", "✗"]
    assert outcome_texts(sample(2.5, 2.0), ()) == ["2", "2.5", "0.5"]
