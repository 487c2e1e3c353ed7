"""Errors of the user's: a few lines that say what, where, what was expected, and the nearest valid name."""

from __future__ import annotations

import copy
import pickle

import pytest

from trainkit.errors import ConfigError, DataError, LaunchError, RunError, TrainkitError, did_you_mean, one_of

KINDS = (TrainkitError, ConfigError, DataError, RunError, LaunchError)


def test_the_text_has_a_line_for_each_part() -> None:
    error = DataError("label 12 is out of range", where="data, row 3", expected="0 to 9", hint="count from 0")
    assert str(error) == (
        "label 12 is out of range\n  where    data, row 3\n  expected 0 to 9\n  hint     count from 0"
    )


def test_parts_that_are_not_given_have_no_line() -> None:
    assert str(ConfigError("no")) == "no"
    assert str(ConfigError("no", hint="yes")) == "no\n  hint     yes"
    assert str(ConfigError("no", where="", expected=None)) == "no"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_mistake_of_the_users(kind: type[TrainkitError]) -> None:
    error = kind("what", where="here")
    assert isinstance(error, TrainkitError)
    assert (error.exit_code, error.what, error.where, error.expected, error.hint) == (2, "what", "here", None, None)
    assert error.args == ("what",)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_come_whole_from_another_process(kind: type[TrainkitError]) -> None:
    error = kind("what", where="where", expected="expected", hint="hint")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert (again.what, again.where, again.expected, again.hint) == ("what", "where", "expected", "hint")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sede", "did you mean 'seed'?"),
        ("mdoel", "did you mean 'model'?"),
        ("seed", "did you mean 'seed'?"),
        ("xyz", None),
        ("", None),
    ],
)
def test_did_you_mean(name: str, expected: str | None) -> None:
    assert did_you_mean(name, ["data", "model", "seed"]) == expected
    assert did_you_mean(name, iter(("data", "model", "seed"))) == expected


def test_did_you_mean_takes_the_nearest() -> None:
    assert did_you_mean("optimiser", ["optimize", "optimizer", "optimum"]) == "did you mean 'optimizer'?"
    assert did_you_mean("seed", []) is None


def test_one_of() -> None:
    assert one_of(["a", "b"]) == "one of a, b"
    assert one_of(iter(["a", "b"])) == "one of a, b"
    names = [f"n{i}" for i in range(32)]
    assert one_of(names[:30]) == "one of " + ", ".join(names[:30])
    assert one_of(names) == "one of " + ", ".join(names[:30]) + ", … (2 more)"
    assert one_of(names, limit=1) == "one of n0, … (31 more)"
