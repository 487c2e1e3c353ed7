"""The containers that pass between the layers."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from trainkit.types import DataSpec, Estimate, Predictions, StepOutput

TABLE = DataSpec(
    "table",
    (9,),
    "class",
    class_names=("no", "yes"),
    feature_names=("age", "town"),
    cardinalities=(4, 3),
    num_numbers=2,
    target_name="label",
)


def test_sizes_of_a_table() -> None:
    assert TABLE.sizes() == {
        "num_outputs": 2,
        "out_features": 2,
        "num_classes": 2,
        "in_features": 9,
        "input_shape": [9],
        "num_numbers": 2,
        "cardinalities": [4, 3],
    }


def test_sizes_of_images() -> None:
    assert DataSpec("image", (3, 32, 24), "class", ("a", "b", "c")).sizes() == {
        "num_outputs": 3,
        "out_features": 3,
        "num_classes": 3,
        "in_channels": 3,
        "image_size": 32,
        "image_height": 32,
        "image_width": 24,
        "in_features": 2304,
        "input_shape": [3, 32, 24],
    }


def test_sizes_of_signals() -> None:
    assert DataSpec("signal", (2, 500), "class", ("a", "b", "c")).sizes() == {
        "num_outputs": 3,
        "out_features": 3,
        "num_classes": 3,
        "in_channels": 2,
        "sequence_length": 500,
        "in_features": 1000,
        "input_shape": [2, 500],
    }


def test_sizes_where_a_number_is_predicted_and_where_the_shape_is_not_known() -> None:
    assert DataSpec("vector", (5,), "number").sizes() == {
        "num_outputs": 1,
        "out_features": 1,
        "in_features": 5,
        "input_shape": [5],
    }
    assert DataSpec("other", (), "number").sizes() == {"num_outputs": 1, "out_features": 1}


def test_number_of_classes() -> None:
    assert TABLE.num_classes == 2
    assert DataSpec("vector", (5,), "number").num_classes == 0


@pytest.mark.parametrize("spec", [TABLE, DataSpec("image", (1, 8, 8), "number"), DataSpec("other", (), "number")])
def test_a_spec_comes_back_from_json(spec: DataSpec) -> None:
    again = DataSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert hash(again) == hash(spec)
    assert again.sizes() == spec.sizes()


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TABLE.num_numbers = 3  # type: ignore[misc]


def test_predictions_have_a_length() -> None:
    assert len(Predictions(np.arange(7), None)) == 7


def test_an_estimate_is_printed_with_its_interval_and_counts_as_its_value() -> None:
    estimate = Estimate(0.94125, 0.9281, 0.9534, 300, "wilson")
    assert str(estimate) == "0.941 [0.928, 0.953]"
    assert float(estimate) == 0.94125
    assert estimate == Estimate(0.94125, 0.9281, 0.9534, 300)
    assert estimate != Estimate(0.94125, 0.9281, 0.9534, 301)


def test_a_step_output_unpacks() -> None:
    loss, outputs = torch.tensor(1.0), torch.ones(2, 3)
    loss_sum, weight, *rest = StepOutput(loss, 2.0, outputs, torch.zeros(2))
    assert (loss_sum is loss, weight, rest[0] is outputs) == (True, 2.0, True)


def test_several_labels_are_as_many_outputs() -> None:
    spec = DataSpec("vector", (3,), "multilabel", ("sun", "sea", "sand"))
    sizes = spec.sizes()
    assert (sizes["num_classes"], sizes["num_outputs"], sizes["out_features"]) == (3, 3, 3)
    assert DataSpec.from_json(spec.to_json()) == spec
