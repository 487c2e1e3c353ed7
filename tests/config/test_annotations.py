from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Optional, Union

import pytest

from trainkit.config.annotations import describe, fits, parameters_of


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (3, int),
        (3, float),
        (0.5, float),
        (True, bool),
        ("a", str),
        (None, None),
        (None, Optional[int]),  # noqa: UP045
        (3, int | None),
        (3, Union[str, int]),  # noqa: UP007
        ("batch", Literal["batch", "layer"]),
        ([1, 2], list[int]),
        ([], Sequence[int]),
        ([0.9, 0.999], tuple[float, float]),
        ([1, 2, 3], tuple[int, ...]),
        ([1], list),
        ({"a": 1}, dict[str, int]),
        ({"a": 1}, Mapping),
        ("here", pathlib.Path),
        (3, Any),
        ({"_target_": "torch.nn.ReLU"}, int),
        ([{"_target_": "torch.nn.ReLU"}], list[int]),
    ],
)
def test_fits(value: Any, hint: Any) -> None:
    assert fits(value, hint)


@pytest.mark.parametrize(
    ("value", "hint", "words"),
    [
        (True, int, "an integer"),
        (True, float, "a number"),
        (1, bool, "true or false"),
        (0.5, int, "an integer"),
        ("3", int, "an integer"),
        (3, str, "text"),
        ("x", int | None, "an integer or null"),
        (None, int, "an integer"),
        ("batsh", Literal["batch", "none"], "one of batch, none"),
        (1, Literal[True], "True"),
        ("ab", Sequence[str], "a list, each text"),
        ([1, "a"], list[int], "a list, each an integer"),
        ([0.9], tuple[float, float], "a list of a number, a number"),
        (3, list, "a list"),
        ([1], dict[str, int], "a mapping"),
        ({"a": "b"}, dict[str, int], "a mapping"),
        (1, None, "null"),
    ],
)
def test_does_not_fit(value: Any, hint: Any, words: str) -> None:
    assert not fits(value, hint)
    assert describe(hint) == words


def test_a_class_is_described_by_its_name() -> None:
    assert describe(pathlib.Path) == "Path"


def test_parameters_of_leaves_out_what_cannot_be_evaluated() -> None:
    class Net:
        def __init__(self, width: int, other: Unknown, bare, *, depth: list[int]): ...  # type: ignore[name-defined, no-untyped-def]  # noqa: F821

    parameters, hints = parameters_of(Net)
    assert list(parameters) == ["width", "other", "bare", "depth"]
    assert hints == {"width": int, "depth": list[int]}


def test_keywords_of_own_classes_are_those_of_their_bases() -> None:
    class Base:
        def __init__(self, path: str, *, size: int = 3) -> None: ...

    class Middle(Base):
        def __init__(self, flag: bool, **more: Any) -> None: ...

    class Derived(Middle):
        def __init__(self, **more: Any) -> None: ...

    assert list(parameters_of(Derived)[0]) == ["more"]
    for kind in (Base, Middle, Derived):
        kind.__module__ = "trainkit.somewhere"
    parameters, hints = parameters_of(Derived)
    assert hints == {"path": str, "size": int, "flag": bool, "more": Any}
    assert list(parameters) == ["flag", "path", "size"]
    assert all(parameter.default is None for parameter in parameters.values())
