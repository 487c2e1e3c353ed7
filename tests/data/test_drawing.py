"""From settings and facts to parts: given parts, folds, shares of the training part, and the words for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainkit.data.drawing import RowFacts, SplitSettings, describe, draw_splits, moment_text
from trainkit.data.splits import Splits
from trainkit.errors import DataError

STRATA = np.array([0] * 80 + [1] * 20)


def drawn(facts: RowFacts | None = None, **settings: Any) -> Splits:
    return draw_splits({"train": 100}, facts or RowFacts(), SplitSettings(**settings))


def refusal(facts: RowFacts | None = None, sizes: dict[str, int] | None = None, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        draw_splits(sizes or {"train": 100}, facts or RowFacts(), SplitSettings(**settings))
    return str(caught.value)


def test_extra_sets_follow_the_other_parts() -> None:
    sizes = {"train": 60, "test": 20, "val/a": 5, "val/b": 15}
    splits = draw_splits(sizes, RowFacts(), SplitSettings())
    assert list(splits.parts()) == ["train", "val", "test", "val/a", "val/b"]
    assert splits.test.tolist() == list(range(60, 80))
    assert splits.extra["val/a"].tolist() == list(range(80, 85))
    assert splits.extra["val/b"].tolist() == list(range(85, 100))
    assert (len(splits.val), splits.num_rows) == (9, 100)


@pytest.mark.parametrize(
    "facts",
    [RowFacts(), RowFacts(STRATA), RowFacts(STRATA, groups=np.arange(100) // 2), RowFacts(times=np.arange(100) // 3)],
    ids=["random", "stratified", "grouped", "by time"],
)
def test_a_smaller_share_of_the_training_part_is_in_a_larger_one(facts: RowFacts) -> None:
    whole, before = drawn(facts), set[int]()
    for share in (0.2, 0.3, 0.5, 0.9, 1.0):
        splits = drawn(facts, train_share=share)
        np.testing.assert_array_equal(splits.val, whole.val)
        np.testing.assert_array_equal(splits.test, whole.test)
        assert before <= set(splits.train.tolist()) <= set(whole.train.tolist())
        assert abs(len(splits.train) - share * len(whole.train)) <= 2
        before = set(splits.train.tolist())
    assert before == set(whole.train.tolist())


def test_a_share_keeps_classes_groups_and_the_latest_rows() -> None:
    kept = drawn(RowFacts(STRATA), train_share=0.5).train
    assert [int((STRATA[kept] == label).sum()) for label in (0, 1)] == [28, 7]
    groups = np.arange(100) // 5
    whole, kept = drawn(RowFacts(groups=groups)).train, drawn(RowFacts(groups=groups), train_share=0.5).train
    assert set(whole[np.isin(groups[whole], groups[kept])]) == set(kept)
    assert drawn(RowFacts(times=np.arange(100)), train_share=0.5).train.tolist() == list(range(35, 70))


def test_rare_classes_are_kept_as_long_as_there_is_room() -> None:
    strata = np.repeat(np.arange(5), [92, 2, 2, 2, 2])
    assert set(strata[drawn(RowFacts(strata), test_share=0.0, val_share=0.0, train_share=0.05).train]) == set(range(5))
    assert refusal(RowFacts(strata), test_share=0.0, val_share=0.0, train_share=0.03) == (
        "0.03 of 100 training rows leaves no row of 2 of the classes\n  where    data.train_share\n"
        "  expected a row of each class"
    )


def test_shares_are_drawn_by_the_split_seed() -> None:
    kept = {tuple(drawn(train_share=0.2, seed=seed).train.tolist()) for seed in range(8)}
    assert len(kept) == 8
    assert tuple(drawn(train_share=0.2, seed=3).train.tolist()) in kept


def test_a_fold_is_one_of_those_that_test_every_row_once() -> None:
    folds = [drawn(RowFacts(STRATA), folds=4, fold=fold, val_share=0.1) for fold in range(4)]
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(100))
    assert all((len(fold.train), len(fold.val), STRATA[fold.test].sum()) == (65, 10, 5) for fold in folds)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fold": 2}, "fold 2 of no folds\n  where    data.fold\n  hint     data.folds=5"),
        ({"folds": 1, "fold": 0}, "data.folds is 1\n  where    data.folds\n  expected at least 2"),
        ({"folds": 5}, "data.fold is not given\n  where    data.fold\n  expected 0 to 4, for 5 folds"),
        ({"folds": 5, "fold": 5}, "data.fold is 5\n  where    data.fold\n  expected 0 to 4, for 5 folds"),
        ({"folds": 5, "fold": -1}, "data.fold is -1\n  where    data.fold\n  expected 0 to 4, for 5 folds"),
        ({"train_share": 0.0}, "data.train_share is 0\n  where    data.train_share\n  expected above 0 and up to 1"),
        ({"train_share": 1.5}, "data.train_share is 1.5\n  where    data.train_share\n  expected above 0 and up to 1"),
        (
            {"train_share": float("nan")},
            "data.train_share is nan\n  where    data.train_share\n  expected above 0 and up to 1",
        ),
        (
            {"folds": 5, "fold": 0, "sizes": {"train": 80, "val": 20}},
            "data.folds and a val part of its own exclude each other\n  where    data.folds\n"
            "  hint     leave out data.folds, or the val part",
        ),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    assert refusal(**settings) == message


def test_a_group_in_two_given_parts_is_refused() -> None:
    groups = np.array([f"p{row // 2}" for row in range(100)], dtype=object)
    sizes = {"train": 80, "test": 20}
    assert draw_splits(sizes, RowFacts(groups=groups), SplitSettings()).num_rows == 100
    groups[95] = "p0"
    part = (
        "train"
        if 0 in draw_splits({"train": 80}, RowFacts(groups=groups[:80]), SplitSettings(test_share=0)).train
        else "val"
    )
    assert refusal(RowFacts(groups=groups), sizes) == (
        f"group 'p0' is in the {part} part and in the test part\n  where    data.group\n"
        "  expected each group in one part"
    )
    extra = {"train": 60, "val": 10, "test": 10, "val/extra": 20}
    assert draw_splits(extra, RowFacts(groups=groups), SplitSettings()).num_rows == 100


@pytest.mark.parametrize(
    ("facts", "settings", "words"),
    [
        (RowFacts(), {"seed": 3}, "split seed 3"),
        (RowFacts(STRATA), {}, "stratified, split seed 0"),
        (RowFacts(STRATA), {"stratify": False}, "split seed 0"),
        (RowFacts(STRATA, np.arange(100)), {}, "grouped by patient (70/15/15 groups), stratified, split seed 0"),
        (RowFacts(STRATA, times=np.arange(100)), {}, "by time (when): train until 69"),
        (RowFacts(STRATA), {"folds": 5, "fold": 2}, "stratified, fold 2 of 5, split seed 0"),
        (RowFacts(), {"train_share": 0.1}, "10 % of train, split seed 0"),
    ],
)
def test_words(facts: RowFacts, settings: dict[str, Any], words: str) -> None:
    given = SplitSettings(**settings)
    names = {"group": "patient", "time": "when"}
    assert describe(draw_splits({"train": 100}, facts, given), given, facts, names, {"train": 100}) == words


@pytest.mark.parametrize(
    ("sizes", "facts", "settings", "words"),
    [
        ({"val": 10}, RowFacts(STRATA), {}, "val as given, stratified, split seed 0"),
        ({"val": 10}, RowFacts(STRATA), {"test_share": 0.0}, "parts as given"),
        ({"val": 10, "test": 10}, RowFacts(STRATA), {}, "parts as given"),
        ({"val": 10, "test": 10, "val/far": 5}, RowFacts(STRATA), {}, "parts as given"),
        (
            {"val": 10, "test": 10},
            RowFacts(STRATA),
            {"train_share": 0.5},
            "parts as given, stratified, 50 % of train, split seed 0",
        ),
        ({"test": 10}, RowFacts(times=np.arange(100)), {}, "test as given, by time (when): train until 75"),
        ({"val": 10, "test": 10}, RowFacts(times=np.arange(100)), {}, "parts as given, train until 79 (when)"),
        (
            {"val": 10, "test": 10},
            RowFacts(groups=np.arange(100) // 2),
            {},
            "parts as given, grouped by patient (40/5/5 groups)",
        ),
    ],
)
def test_words_of_parts_that_are_given(
    sizes: dict[str, int], facts: RowFacts, settings: dict[str, Any], words: str
) -> None:
    sizes = {"train": 100 - sum(sizes.values()), **sizes}
    given, names = SplitSettings(**settings), {"group": "patient", "time": "when"}
    assert describe(draw_splits(sizes, facts, given), given, facts, names, sizes) == words


def test_shares_that_groups_cannot_meet_are_told() -> None:
    facts, given = RowFacts(groups=np.array(["a"] * 590 + ["b"] * 5 + ["c"] * 5)), SplitSettings()
    splits = draw_splits({"train": 600}, facts, given)
    words = describe(splits, given, facts, {"group": "patient", "time": None}, {"train": 600})
    assert words == ("grouped by patient (1/1/1 groups), val 1 % (asked 15 %), test 1 % (asked 15 %), split seed 0")


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (np.datetime64("2021-03-01T00:00:00.000000"), "2021-03-01"),
        (np.datetime64("2021-03-01T08:30:00.000000"), "2021-03-01T08:30:00"),
        (np.float64(17.5), "17.5"),
        (np.float64(1614556800), "1614556800"),
    ],
)
def test_moments_are_told_as_people_write_them(moment: Any, text: str) -> None:
    assert moment_text(moment) == text
