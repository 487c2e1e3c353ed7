"""Turns the rows of a table into float32 numbers and integer codes, the same way for ever; fitted on training rows.

A fitted encoder is plain data; ``to_json`` goes into the metadata of the weights, and a saved model takes raw files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from trainkit.data.columns import column_kind, select_columns
from trainkit.data.dates import CYCLIC
from trainkit.data.features import (
    VALUE,
    CategoryFeature,
    NumberFeature,
    Singles,
    fit_category,
    fit_numbers,
    read_codes,
    read_numbers,
)
from trainkit.data.several import SeveralTargets
from trainkit.data.targets import TargetColumn
from trainkit.data.values import Floats, Ints
from trainkit.errors import DataError, did_you_mean
from trainkit.types import TargetKind

MIN_COUNT = 5
ROWS_PER_MIN_COUNT = 50


@dataclass(frozen=True, eq=False)
class EncodedTable:
    """Rows of a table as arrays.

    Attributes:
        numbers: float32 [N, F] in the columns' own units, NaN for missing.
        codes: int64 [N, C]; 0 is the bucket of unknown and rare categories.
        unseen: Per category column, how many rows hold a value that training never saw; columns without are left out.
        missing: Cells without a value in the feature columns.
    """

    numbers: Singles
    codes: Ints
    unseen: dict[str, int]
    missing: int

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class TableEncoder:
    """How the rows of a table become arrays.

    Attributes:
        target: The target column, or several.
        numbers: Numeric inputs in the order of the columns of ``EncodedTable.numbers``.
        categories: Categorical inputs in the order of the columns of ``EncodedTable.codes``.
        ignored: Column → why it is not used.
        missing: Cells without a value in the feature columns of the training rows.
        min_count: Training rows a category needs for a code of its own.
    """

    target: TargetColumn | SeveralTargets
    numbers: tuple[NumberFeature, ...]
    categories: tuple[CategoryFeature, ...]
    ignored: dict[str, str]
    missing: int
    min_count: int

    @classmethod
    def fit(
        cls,
        frame: pd.DataFrame,
        target: str | SeveralTargets,
        features: Sequence[str] | None = None,
        ignore: Iterable[str] = (),
        *,
        target_kind: TargetKind | None = None,
        min_count: int | None = None,
        all_dates: bool = False,
    ) -> TableEncoder:
        """Learn kinds, vocabularies, statistics and classes from the training rows.

        Args:
            frame: The training rows [N]; their index is the row number that errors name.
            target: Column name of the target, or several targets as they are read.
            features: Columns to use, none of which is ignored as an identifier; None for all but the target.
            ignore: Columns not to use.
            target_kind: ``class`` or ``number``; None infers it (see ``targets.infer_target_kind``).
            min_count: Training rows a category needs for a code of its own; None for 5, or one in fifty rows in a
                table of fewer than 250, but at least 1.
            all_dates: Whether dates in every usual spelling are read, and give their place in the year too.

        Raises:
            DataError: No rows, wrong column names, a target that cannot be learned, an infinite number, no feature.
        """
        frame = with_text_names(frame)
        fitted_target = TargetColumn.fit(frame, target, target_kind) if isinstance(target, str) else target
        chosen = select_columns(frame, fitted_target.names, features, ignore)
        if min_count is None:
            min_count = max(1, min(MIN_COUNT, len(frame) // ROWS_PER_MIN_COUNT))
        numbers: list[NumberFeature] = []
        categories: list[CategoryFeature] = []
        ignored = dict.fromkeys(ignore, "as asked")
        for name in chosen:
            kind = column_kind(frame[name], named=features is not None, min_count=min_count, all_dates=all_dates)
            if kind.kind == "ignored":
                ignored[name] = kind.reason
            elif kind.kind == "category":
                categories.append(fit_category(frame[name], min_count))
            else:
                found, constant = fit_numbers(frame[name], is_date=kind.kind == "date", layout=kind.layout)
                found = [number for number in found if all_dates or number.part not in CYCLIC]
                constant = {part: why for part, why in constant.items() if all_dates or not part.endswith(CYCLIC)}
                numbers += found
                ignored |= constant
        if not numbers and not categories:
            why = ", ".join(f"{name} ({reason})" for name, reason in ignored.items())
            raise DataError("no feature column is left", where="data.features", hint=f"ignored {why}" if why else None)
        encoder = cls(fitted_target, tuple(numbers), tuple(categories), ignored, 0, min_count)
        return replace(encoder, missing=encoder.transform(frame).missing)

    @property
    def number_names(self) -> tuple[str, ...]:
        """Names of the numeric inputs [F]."""
        return tuple(feature.name for feature in self.numbers)

    @property
    def category_names(self) -> tuple[str, ...]:
        """Names of the categorical inputs [C]."""
        return tuple(feature.column for feature in self.categories)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of all inputs: numbers, then categories."""
        return self.number_names + self.category_names

    @property
    def columns(self) -> tuple[str, ...]:
        """Source columns a table must have, each once."""
        names = [number.column for number in self.numbers] + [category.column for category in self.categories]
        return tuple(dict.fromkeys(names))

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of codes per categorical input [C], the unknown bucket included."""
        return tuple(feature.cardinality for feature in self.categories)

    @property
    def has_rare(self) -> tuple[bool, ...]:
        """Whether training rows fall into bucket 0, per categorical input [C]."""
        return tuple(bool(feature.rare) for feature in self.categories)

    @property
    def number_mean(self) -> Floats:
        """Training mean per numeric input, float64 [F]."""
        return np.array([feature.mean for feature in self.numbers], np.float64)

    @property
    def number_scale(self) -> Floats:
        """Training population standard deviation per numeric input (1 where it is 0), float64 [F]."""
        return np.array([feature.scale for feature in self.numbers], np.float64)

    @property
    def number_missing(self) -> Floats:
        """1 where a numeric input is missing in some training row, else 0, float64 [F]."""
        return np.array([feature.has_missing for feature in self.numbers], np.float64)

    @property
    def target_kind(self) -> TargetKind:
        """``class``, ``number`` or ``multilabel``."""
        return self.target.kind

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of their indices, or of the labels; empty for a number."""
        return self.target.class_names

    def transform(self, frame: pd.DataFrame) -> EncodedTable:
        """Encode rows; each row's result depends on nothing but that row. Columns that are no features do not matter.

        Args:
            frame: Rows [N]; their index is the row number that errors name.

        Raises:
            DataError: A feature column is missing, or a value of a number or date column cannot be read or is infinite.
        """
        frame = with_text_names(frame)
        self._check_columns(frame)
        numbers = np.empty((len(frame), len(self.numbers)), np.float32)
        codes = np.empty((len(frame), len(self.categories)), np.int64)
        unseen: dict[str, int] = {}
        missing = 0
        parts: dict[str, dict[str, Singles]] = {}
        for place, number in enumerate(self.numbers):
            name = number.column
            if name not in parts:
                parts[name] = read_numbers(frame[name], is_date=number.part != VALUE, layout=number.layout)
                missing += int(np.isnan(parts[name][number.part]).sum())
            numbers[:, place] = parts[name][number.part]
        for place, category in enumerate(self.categories):
            read = read_codes(frame[category.column], category)
            codes[:, place] = read.values
            missing += read.num_missing
            if read.num_unseen:
                unseen[category.column] = read.num_unseen
        return EncodedTable(numbers, codes, unseen, missing)

    def _check_columns(self, frame: pd.DataFrame) -> None:
        lacking = [name for name in self.columns if name not in frame.columns]
        if not lacking:
            return
        others = [name for name in frame.columns if name not in (*self.columns, *self.target.names)]
        near = [(name, did_you_mean(name, others)) for name in lacking]
        plural = "s" if len(lacking) > 1 else ""
        raise DataError(
            f"the table lacks {len(lacking)} feature column{plural}: {', '.join(lacking)}",
            expected=f"the {len(self.columns)} feature columns of training",
            hint="; ".join(f"{name}: {guess}" for name, guess in near if guess) or None,
        )

    def encode_target(self, frame: pd.DataFrame) -> Ints | Floats:
        """The target of rows: int64 [N] class indices, or float64 [N] in its own unit; of several targets [N, T].

        Raises:
            DataError: No target column, missing values, a class that training never saw, a value that is no number.
        """
        return self.target.encode(with_text_names(frame))

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values that ``from_json`` takes back."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TableEncoder:
        """The encoder that ``to_json`` wrote, equal to it in every bit."""
        target = values["target"]
        return cls(
            target=(
                SeveralTargets(tuple(target["names"]), target["kind"])
                if "names" in target
                else TargetColumn(target["name"], target["kind"], tuple(target["class_names"]))
            ),
            numbers=tuple(NumberFeature(**number) for number in values["numbers"]),
            categories=tuple(
                CategoryFeature(item["column"], tuple(item["values"]), tuple(item["rare"]), item["has_missing"])
                for item in values["categories"]
            ),
            ignored=dict(values["ignored"]),
            missing=values["missing"],
            min_count=values["min_count"],
        )


def with_text_names(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with its column names as texts.

    Raises:
        DataError: Two columns have one name.
    """
    names = [str(name) for name in frame.columns]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise DataError(f"the table has {names.count(twice[0])} columns named '{twice[0]}'", where="data.path")
    return frame.set_axis(names, axis=1)
