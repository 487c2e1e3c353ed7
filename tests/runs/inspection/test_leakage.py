from __future__ import annotations

import numpy as np
import pytest

from trainkit.runs.inspection.leakage import Column, find_leaks, identifiers

RNG = np.random.default_rng(0)
N = 400
BINARY = np.arange(N) % 2
FIVE = np.arange(N) % 5
NUMBER = RNG.normal(size=N)
NOISE = RNG.normal(size=N)


def leaks(values: np.ndarray, target: np.ndarray, num_classes: int, kind: str = "number") -> list[tuple[str, float]]:
    column = Column("x", kind, values)  # type: ignore[arg-type]
    return [(leak.measure, leak.value) for leak in find_leaks([column], target, num_classes)]


@pytest.mark.parametrize(
    ("values", "target", "num_classes", "measure"),
    [
        (BINARY + NOISE / 100, BINARY, 2, "AUROC"),
        (-BINARY + NOISE / 100, BINARY, 2, "AUROC"),
        (np.where(RNG.random(N) < 0.1, np.nan, BINARY), BINARY, 2, "AUROC"),
        (FIVE * 2.0 + NOISE / 100, FIVE, 5, "accuracy"),
        (NUMBER * 3 + 7, NUMBER, 0, "correlation"),
        (np.exp(NUMBER), NUMBER, 0, "correlation"),  # any rising function of the target
        (-NUMBER + NOISE / 100, NUMBER, 0, "correlation"),
    ],
)
def test_a_number_that_is_the_target_in_disguise(
    values: np.ndarray, target: np.ndarray, num_classes: int, measure: str
) -> None:
    ((said, value),) = leaks(values, target, num_classes)
    assert said == measure and 0.999 <= value <= 1


@pytest.mark.parametrize(
    ("values", "target", "num_classes"),
    [
        (NOISE, BINARY, 2),
        (BINARY + NOISE, BINARY, 2),
        (FIVE + NOISE, FIVE, 5),
        (NUMBER + NOISE / 10, NUMBER, 0),
        (np.ones(N), BINARY, 2),
        (np.full(N, np.nan), BINARY, 2),
        (NUMBER, np.ones(N), 0),
        ((np.arange(N) >= 395).astype(float), (np.arange(N) >= 395).astype(np.int64), 2),  # five rows of a class
        (BINARY[:40].astype(float), BINARY[:40], 2),  # too few rows
    ],
)
def test_an_honest_feature_is_no_leak(values: np.ndarray, target: np.ndarray, num_classes: int) -> None:
    assert leaks(values, target, num_classes) == []


def test_categories() -> None:
    assert leaks(FIVE * 3 % 5, FIVE, 5, "code") == [("accuracy", 1.0)]
    assert leaks(FIVE, FIVE.astype(float) ** 2, 0, "code")[0][0] == "correlation"
    assert leaks(np.arange(N) // 40, BINARY, 2, "code") == []
    assert leaks(np.arange(N), BINARY, 2, "code") == []  # a category each: it tells the row, not the class
    assert leaks(np.zeros(N, np.int64), NUMBER, 0, "code") == []


def test_a_category_that_is_no_better_than_the_commonest_class_is_no_leak() -> None:
    target = (np.arange(10_000) == 3).astype(np.int64)
    assert leaks(np.arange(10_000) % 2, target, 2, "code") == []


IDS = RNG.choice(10**6, N, replace=False).astype(float)


@pytest.mark.parametrize(
    ("name", "values", "is_found"),
    [
        ("patient_id", IDS, True),
        ("customerID", IDS, True),
        ("row", IDS, True),
        ("income", IDS, False),
        ("valid", IDS, False),
        ("paid", IDS, False),
        ("grid", IDS, False),
        ("income", np.sort(IDS), True),  # in the order of the rows
        ("income", np.sort(IDS)[::-1], True),
        ("patient_id", IDS + 0.5, False),
        ("patient_id", IDS // 1000, False),
        ("patient_id", IDS[:40], False),
    ],
)
def test_numbers_that_count_rows(name: str, values: np.ndarray, is_found: bool) -> None:
    assert list(identifiers([Column(name, "number", values)])) == [name] * is_found
