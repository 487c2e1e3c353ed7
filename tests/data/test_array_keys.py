"""Which keys of a file are inputs and targets, and of which part."""

from __future__ import annotations

from typing import Any

import pytest

from trainkit.data.array_keys import find_keys
from trainkit.errors import DataError


def found(keys: str, **given: str | None) -> dict[str, dict[str, str]]:
    return find_keys(keys.split(), {"inputs": None, "target": None, **given}, "'f.npz'")


def refusal(keys: str, **given: str | None) -> str:
    with pytest.raises(DataError) as caught:
        found(keys, **given)
    return str(caught.value)


@pytest.mark.parametrize(
    ("keys", "parts"),
    [
        ("inputs target", {"train": "inputs target"}),
        ("t y x templates", {"train": "x y"}),
        ("X labels", {"train": "X labels"}),
        ("images targets", {"train": "images targets"}),
        ("data target inputs", {"train": "inputs target"}),
        ("x_test x_train y_train y_test", {"train": "x_train y_train", "test": "x_test y_test"}),
        ("x x_test y y_test t", {"train": "x y", "test": "x_test y_test"}),
        (
            "x_train y_train x_val y_val x_test y_test",
            {"train": "x_train y_train", "val": "x_val y_val", "test": "x_test y_test"},
        ),
        (
            "train_images train_labels val_images val_labels test_images test_labels",
            {"train": "train_images train_labels", "val": "val_images val_labels", "test": "test_images test_labels"},
        ),
    ],
)
def test_usual_names_are_found(keys: str, parts: dict[str, str]) -> None:
    assert {part: " ".join(roles.values()) for part, roles in found(keys).items()} == parts


def test_given_names_come_first() -> None:
    keys = "a b x y w w_test a_test b_test"
    assert found(keys, inputs="a", target="b") == {
        "train": {"inputs": "a", "target": "b"},
        "test": {"inputs": "a_test", "target": "b_test"},
    }
    with_weights: dict[str, Any] = found(keys, inputs="a", target="b", weight="w")
    assert [roles["weight"] for roles in with_weights.values()] == ["w", "w_test"]
    by_train = found("x_train y_train x_test y_test", inputs="x_train")
    assert by_train["test"] == {"inputs": "x_test", "target": "y_test"}


def test_keys_that_are_not_there_are_refused() -> None:
    assert refusal("scans labels") == (
        "'f.npz' has no key that is called like the inputs\n  where    data.inputs\n"
        "  expected one of inputs, x, X, images, data\n  hint     it has scans, labels"
    )
    assert refusal("scans labels", inputs="scan") == (
        "'f.npz' has no key 'scan'\n  where    data.inputs\n  expected one of scans, labels\n"
        "  hint     did you mean 'scans'?"
    )
    assert refusal("x_train y_train x_test") == (
        "'f.npz' has inputs of a test part and no target for it\n  where    data.target\n"
        "  expected one of x_train, y_train, x_test"
    )
    assert refusal("x y x_test y_test g", group="g").startswith("'f.npz' has inputs of a test part and no group for it")
