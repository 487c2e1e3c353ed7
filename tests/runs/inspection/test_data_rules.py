from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trainkit.runs.inspection.data_facts import DataFacts
from trainkit.runs.inspection.data_rules import DATA_RULES
from trainkit.runs.inspection.finding import Finding, apply
from trainkit.runs.inspection.leakage import Leak
from trainkit.runs.inspection.values import PartLook, Sentinel

CLASSES = ("a", "b")


def facts(**changes: Any) -> DataFacts:
    """Two balanced classes, and no row twice, unless changed."""
    sizes = {"train": 400, "val": 100, "test": 100}
    starts = {"train": 0, "val": 400, "test": 500}
    targets = {part: np.arange(size) % 2 for part, size in sizes.items()}
    keys = {part: np.arange(size) + starts[part] for part, size in sizes.items()}
    plain = {"sizes": sizes, "targets": targets, "class_names": CLASSES, "keys": keys, "key_targets": targets}
    return DataFacts(**{**plain, **changes})


def found(**changes: Any) -> list[Finding]:
    return list(apply(DATA_RULES, facts(**changes)))


def with_part(name: str, part: str, values: Any) -> dict[str, Any]:
    """One field by part, changed in one part."""
    return {name: getattr(facts(), name) | {part: np.asarray(values)}}


def test_nothing_is_found_in_plain_data() -> None:
    assert found() == []
    assert found(class_names=(), targets={"train": np.linspace(0, 1, 400)}) == []


@pytest.mark.parametrize(
    ("shared", "is_found"), [(0, False), (1, False), (2, False), (3, True), (50, True), (100, True)]
)
def test_shared_rows_count_where_their_share_is_surely_above_one_per_cent(shared: int, is_found: bool) -> None:
    keys = np.arange(100) + 1_000
    keys[:shared] = np.arange(shared)  # and classes alternate in both parts alike
    names = [finding.name for finding in found(**with_part("keys", "val", keys))]
    assert ("shared_rows" in names) == is_found


def test_a_shared_row_is_told_with_its_share() -> None:
    (one,) = found(**with_part("keys", "test", np.arange(100) + 380))
    assert str(one) == (
        "20 of 100 test rows (20.0 %) stand in training too (data, test) · remove duplicates before the parts are drawn"
    )
    assert one.severity == "error"


def test_rows_that_the_columns_make_equal_are_a_note() -> None:
    shared = with_part("keys", "test", np.arange(100) + 380)
    (one,) = found(**shared, chance_share=0.15)
    assert (one.name, one.severity) == ("shared_rows", "note")
    assert one.what.endswith(
        " stand in training too, no more than columns of so few different values make equal by chance"
    )
    (one,) = found(**shared, chance_share=0.05)
    assert one.severity == "error"


def test_equal_inputs_with_another_target_are_no_shared_row() -> None:
    targets = facts().key_targets | {"test": 1 - facts().key_targets["test"]}
    names = [finding.name for finding in found(**with_part("keys", "test", np.arange(100) + 380), key_targets=targets)]
    assert names == ["conflicting_labels"]


def test_a_dataset_given_twice_is_told_once() -> None:
    (one,) = found(**with_part("keys", "val", np.arange(100)), same_dataset=("val",))
    assert str(one) == (
        "training and validation read the same samples of one Dataset object (data.val) · "
        "leave val out: it is then drawn from the training data"
    )


@pytest.mark.parametrize(("pairs", "is_found"), [(0, False), (2, False), (10, True)])
def test_equal_inputs_of_two_classes(pairs: int, is_found: bool) -> None:
    keys = np.arange(400)
    keys[1 : 2 * pairs : 2] = keys[0 : 2 * pairs : 2]  # neighbours, and classes alternate
    names = [finding.name for finding in found(**with_part("keys", "train", keys))]
    assert names == ["conflicting_labels"] * is_found


def test_equal_inputs_of_one_class_do_not_conflict() -> None:
    keys = np.arange(400)
    keys[2:200:4] = keys[0:198:4]
    assert found(**with_part("keys", "train", keys)) == []


@pytest.mark.parametrize(("rare", "is_found"), [(2, True), (4, True), (5, False)])
def test_nearly_one_label(rare: int, is_found: bool) -> None:
    targets = {part: (np.arange(size) < max(1, rare * size // 400)).astype(int) for part, size in facts().sizes.items()}
    names = [finding.name for finding in found(targets=targets)]
    assert names == ["constant_labels"] * is_found


def test_a_number_that_hardly_changes() -> None:
    targets = {part: np.full(size, 3.5) for part, size in facts().sizes.items()}
    (one,) = found(class_names=(), targets=targets)
    assert one.what == "100.0 % of the training targets are 3.5"
    assert one.hint == "look at the target"


def test_a_part_of_one_class_is_not_told_as_a_missing_class_too() -> None:
    (one,) = found(**with_part("targets", "val", np.ones(100, np.int64)))
    assert (one.name, one.what) == ("single_class", "all 100 validation rows are of class b")


@pytest.mark.parametrize(("rows", "is_found"), [(10, False), (20, True)])
def test_a_class_is_missing_only_where_it_should_have_been(rows: int, is_found: bool) -> None:
    targets = {part: np.arange(size) % 2 for part, size in facts().sizes.items()}
    targets["train"][:rows] = 2
    names = [finding.name for finding in found(class_names=("a", "b", "c"), targets=targets)]
    assert names == ["missing_class", "missing_class"] * is_found


@pytest.mark.parametrize(("size", "is_found"), [(5, True), (19, True), (20, False)])
def test_a_part_too_small_to_tell(size: int, is_found: bool) -> None:
    sizes = facts().sizes | {"test": size}
    assert [finding.name for finding in found(sizes=sizes)] == ["small_part"] * is_found


@pytest.mark.parametrize(
    ("shape", "is_found"),
    [
        ((28, 28, 1), True),
        ((32, 32, 3), True),
        ((32, 48, 4), True),
        ((1, 28, 28), False),
        ((3, 32, 32), False),
        ((3, 32, 3), False),
        ((16, 8, 8), False),
        ((30,), False),
    ],
)
def test_channels_that_stand_last(shape: tuple[int, ...], is_found: bool) -> None:
    assert [finding.name for finding in found(input_shape=shape)] == ["swapped_axes"] * is_found


@pytest.mark.parametrize(("width", "is_found"), [(600, True), (200, False), (100, False), (20_000, False), (30, False)])
def test_a_transposed_matrix(width: int, is_found: bool) -> None:
    assert [finding.name for finding in found(input_shape=(width,))] == ["swapped_batch"] * is_found


@pytest.mark.parametrize(
    ("kind", "hint"),
    [("table", "if it is not known when you predict: 'data.ignore=[status]'"), ("vector", "leave it out")],
)
def test_a_feature_that_gives_the_target_away(kind: str, hint: str) -> None:
    (one,) = found(leaks=(Leak("status", "AUROC", 0.9996),), input_kind=kind)
    assert (one.what, one.hint) == ("alone gives the target: status (AUROC 1.000)", hint)


@pytest.mark.parametrize(
    ("val", "name"),
    [
        (PartLook((3, 8, 9), 0.5, 0.3), None),
        (PartLook((3, 8, 9), 0.5, 5.0), None),
        (PartLook((3, 8, 9), 127.0, 76.0), "other_scale"),
        (PartLook((3, 8, 9), 0.002, 0.001), "other_scale"),
        (PartLook((3, 8, 9), 9.0, 0.3), "other_scale"),
        (PartLook((3, 8, 9), float("nan"), float("nan")), None),
        (PartLook((3, 9, 8), 0.5, 0.3), "other_shape"),
        (PartLook(None, 0.5, 0.3), None),
    ],
)
def test_parts_have_to_look_alike(val: PartLook, name: str | None) -> None:
    given = found(looks={"train": PartLook((3, 8, 9), 0.5, 0.3), "val": val})
    assert [finding.name for finding in given] == ([name] if name else [])


def test_what_is_told_of_parts_that_look_different() -> None:
    looks = {"train": PartLook((3, 8, 9), 0.5, 0.25), "test": PartLook((3, 9, 8), 128.0, 64.0)}
    assert [finding.what for finding in found(looks=looks)] == [
        "test inputs are 3×9×8, training inputs are 3×8×9",
        "test inputs have mean 128, deviation 64; training inputs mean 0.5, deviation 0.25",
    ]


def test_a_hint_names_each_source_column_once() -> None:
    leaks = (Leak("t.days", "AUROC", 1.0), Leak("t.year", "AUROC", 1.0), Leak("x", "AUROC", 1.0))
    (one,) = found(leaks=leaks, sources={"t.days": "t", "t.year": "t"}, input_kind="table")
    assert one.hint == "if it is not known when you predict: 'data.ignore=[t,x]'"


def test_an_identifier_and_changing_samples() -> None:
    names = [finding.what for finding in found(identifiers=("id", "key"), num_changing=3, num_read_twice=16)]
    assert names == ["numbers the rows: id, key", "3 of 16 validation samples changed between two reads"]


@pytest.mark.parametrize("rule", DATA_RULES, ids=lambda rule: rule.__name__)
def test_every_rule_gives_findings_of_its_own_name(rule: Callable[[DataFacts], Any]) -> None:
    bad = facts(
        **with_part("keys", "test", np.arange(100) // 2),
        same_dataset=("val",),
        sizes={"train": 400, "val": 5, "test": 600},
        targets={"train": np.zeros(400, np.int64), "val": np.ones(5, np.int64), "test": np.arange(600) % 2 + 1},
        class_names=("a", "b", "c"),
        input_shape={"swapped_axes": (8, 8, 3)}.get(rule.__name__, (600,)),
        leaks=(Leak("x", "AUROC", 1.0),),
        identifiers=("id",),
        num_changing=1,
        looks={"train": PartLook((1, 4, 16), 0.3, 0.4), "val": PartLook((1, 16, 4), 77.0, 100.0)},
        sentinels=(Sentinel("x", -999e6, 0.04),),
    )  # fmt: skip
    given = list(rule(bad))
    assert given and {finding.name for finding in given} == {rule.__name__}
    assert all(finding.hint and finding.where for finding in given)
