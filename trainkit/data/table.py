"""Tables from CSV and Parquet files: columns sorted out by kind, encoded with the vocabularies of the training part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import nn

from trainkit.data.dates import DateLayout
from trainkit.data.encoding import TableEncoder
from trainkit.data.features import VALUE
from trainkit.data.fingerprint import fingerprint_arrays, fingerprint_file
from trainkit.data.further import extra_parts
from trainkit.data.module import DataModule
from trainkit.data.preprocessing import TableInputs, column_quantiles, takes_columns
from trainkit.data.readers import TableReader
from trainkit.data.reading import read_table
from trainkit.data.roles import Role, role_words
from trainkit.data.several import SeveralTargets, label_strata
from trainkit.data.sources import TensorSource
from trainkit.data.splits import EXTRA
from trainkit.data.targets import TargetColumn
from trainkit.data.values import Column, distinct_texts, has_decimal_commas, holds_nested
from trainkit.errors import DataError, did_you_mean, one_of
from trainkit.types import DataSpec, Inputs, TargetKind

if TYPE_CHECKING:
    import pandas as pd

Dates: TypeAlias = Literal["iso", "all"]
Numbers: TypeAlias = Literal["standard", "quantile"]

MOST_QUANTILES = 1_000
"""Quantiles of the training part that a number's rank is told by, as in scikit-learn's ``QuantileTransformer``."""

LARGEST_COMPARED = 200_000
"""Rows up to which a table is searched for rows that stand in it twice; a second's work."""


class TableData(DataModule):
    """A table with one target column, or several.

    Numbers, categories, booleans and dates are told apart by their values; columns that identify rows or never change
    are ignored, which the printed line says. A batch is ``{"numbers": float32 [B, F], "codes": int64 [B, C]}``.

    Args:
        path: A .csv or .parquet file. Rows are split at random unless ``val_path`` or ``test_path`` fix a part.
        target: Column to predict; or several, labels (0 and 1, no and yes) or numbers, of which cells may be empty.
        features: Columns to learn from; all others by default.
        ignore: Columns to leave out.
        val_path: A file whose rows are the validation part.
        test_path: A file whose rows are the test part.
        target_kind: ``class`` or ``number``, of several columns ``multilabel`` or ``number``; told from the values by
            default.
        extra_val: Files of further validation sets by name; they are scored and choose nothing.
        numbers: How numbers are scaled: ``standard`` by mean and standard deviation, ``quantile`` by their rank in the
            training part, made normally distributed.
        dates: Which texts are dates, and what becomes of them: ``iso``, those as in ISO 8601, as numbers of the
            calendar; ``all``, those of every usual spelling, with their place in the year as sine and cosine too.
        common: Arguments of ``DataModule``; ``name`` is the file's stem by default.

    Raises:
        DataError: A file, a column or a value that cannot be used.
    """

    reader: TableReader

    def __init__(
        self,
        path: str | Path,
        target: str | Sequence[str],
        features: Sequence[str] | None = None,
        ignore: Sequence[str] = (),
        val_path: str | Path | None = None,
        test_path: str | Path | None = None,
        target_kind: TargetKind | None = None,
        extra_val: Mapping[str, str | Path] | None = None,
        numbers: Numbers = "standard",
        dates: Dates = "iso",
        **common: Any,
    ) -> None:
        super().__init__(**{**common, "name": common.get("name") or Path(path).name.split(".")[0]})
        self.path = Path(path)
        given = {"val": val_path, "test": test_path, **extra_parts(extra_val)}
        self.other_paths = {part: Path(file) for part, file in given.items() if file}
        self.target: str | tuple[str, ...] = target if isinstance(target, str) else tuple(target)
        self.features = (features,) if isinstance(features, str) else features
        self.ignore = (ignore,) if isinstance(ignore, str) else tuple(ignore)
        self.target_kind = target_kind
        for key, value, known in (("numbers", numbers, Numbers), ("dates", dates, Dates)):
            if value not in (names := get_args(known)):
                what, hint = f"there is no data.{key} '{value}'", did_you_mean(str(value), names)
                raise DataError(what, where=f"data.{key}", expected=one_of(names), hint=hint)
        self.numbers, self.dates = numbers, dates

    def read_frames(self) -> list[pd.DataFrame]:
        """The main table, then those of other parts; also sets the fingerprint."""
        paths = [self.path, *self.other_paths.values()]
        frames = [read_table(path) for path in paths]
        columns = [*self._targets, *(self.features or ()), "-", *self.ignore]
        columns += [f"{role}={name}" for role, name in self.roles.items() if name]
        self.fingerprint = fingerprint_arrays(np.array([*map(fingerprint_file, paths), *columns]))
        return frames

    def load(self) -> int:
        """Reads the files into one pool."""
        import pandas as pd

        frames = self.read_frames()
        self._check_columns(frames)
        self.sizes = dict(zip(["train", *self.other_paths], map(len, frames), strict=True))
        self._frame = frames[0].reset_index(drop=True)
        if len(frames) > 1:  # errors name a row by its index
            paths = [self.path, *self.other_paths.values()]
            sized = zip(paths, self.sizes.values(), strict=True)
            rows = [f"{row} of {path}" for path, size in sized for row in range(size)]
            self._frame = pd.concat(frames, ignore_index=True).set_axis(rows, axis=0)
        own = self._frame.iloc[: sum(size for part, size in self.sizes.items() if not part.startswith(EXTRA))]
        plain = own.loc[:, [not holds_nested(own[name]) for name in own.columns]]
        self.duplicates = int(plain.duplicated().sum()) if len(own) <= LARGEST_COMPARED else 0
        for role, name in self.roles.items():
            if name is not None:
                self.column(role, name)
        self._fitted = self._fit_target()
        return len(self._frame)

    @property
    def _targets(self) -> tuple[str, ...]:
        return (self.target,) if isinstance(self.target, str) else self.target

    def _fit_target(self) -> TargetColumn | SeveralTargets:
        if isinstance(self.target, str):
            return TargetColumn.fit(self._frame, self.target, self.target_kind)
        return SeveralTargets.fit(self._frame, self.target, self.target_kind)

    def strata(self) -> np.ndarray | None:
        """The classes, or combinations of labels; None for numbers."""
        if self._fitted.kind == "number":
            return None
        encoded = np.asarray(self._fitted.encode(self._frame))
        return encoded if encoded.ndim == 1 else label_strata(encoded)

    def _check_columns(self, frames: list[pd.DataFrame]) -> None:
        main, roles = set(frames[0].columns), {name for name in self.roles.values() if name}
        for frame, path in zip(frames[1:], self.other_paths.values(), strict=True):
            needed = main - set(self.ignore) if self.features is None else main & {*self._targets, *self.features}
            missing = sorted((needed | main & roles) - set(frame.columns))
            if missing:
                raise DataError(
                    f"'{path}' lacks the columns {', '.join(missing)}", where="data", expected=f"those of {self.path}"
                )

    def column(self, role: Role, name: str) -> Column:
        """A column of the table that says something of its rows."""
        names = [str(column) for column in self._frame.columns]
        if name in self._targets or name not in names:
            others = [column for column in names if column not in self._targets]
            what = f"data.{role} names the target '{name}'" if name in self._targets else f"there is no column '{name}'"
            raise DataError(what, where=f"data.{role}", expected=one_of(others), hint=did_you_mean(name, others))
        return self._frame.iloc[:, names.index(name)]

    def _ignored(self) -> tuple[str, ...]:
        """Columns that are no features: those left out, and those with a role unless features name them."""
        features = self.features or ()
        if self.roles["weight"] in features:
            what = f"data.features names the weight '{self.roles['weight']}'"
            raise DataError(what, where="data.features", expected="feature columns only")
        roles = {name for name in self.roles.values() if name and name not in features}
        return (*self.ignore, *sorted(roles - set(self.ignore)))

    def prepare(self, train_rows: np.ndarray) -> None:
        """Fits the encoder on the training rows and encodes all."""
        fitted = self._fitted
        encoder = TableEncoder.fit(
            self._frame.iloc[train_rows],
            fitted.name if isinstance(fitted, TargetColumn) else fitted,
            self.features,
            self._ignored(),
            target_kind=fitted.kind,
            all_dates=self.dates == "all",
        )
        self.reader = TableReader(encoder)
        encoded = encoder.transform(self._frame)
        self.missing, self.unseen = encoded.missing, encoded.unseen
        self._quantiles = None
        if self.numbers == "quantile":
            self._quantiles = column_quantiles(encoded.numbers[train_rows], MOST_QUANTILES)
        inputs: Inputs = {"numbers": torch.from_numpy(encoded.numbers), "codes": torch.from_numpy(encoded.codes)}
        target = np.array(encoder.encode_target(self._frame))  # a copy: pandas may hand out a view that is read only
        tensor = torch.from_numpy(target)
        self.source = TensorSource(inputs, tensor.float() if encoder.target_kind == "multilabel" else tensor)
        self.spec = DataSpec(
            input_kind="table",
            input_shape=(self._inputs(as_matrix=True).width,),
            target_kind=encoder.target_kind,
            class_names=encoder.class_names,
            feature_names=encoder.feature_names,
            cardinalities=encoder.cardinalities,
            num_numbers=len(encoder.number_names) + int(np.sum(encoder.number_missing)),
            target_name=self.target if isinstance(self.target, str) else ", ".join(self.target),
            target_names=self._targets if tensor.ndim == 2 and encoder.target_kind == "number" else (),
        )

    def _inputs(self, as_matrix: bool) -> TableInputs:
        encoder = self.reader.encoder
        return TableInputs(
            torch.from_numpy(encoder.number_mean),
            torch.from_numpy(encoder.number_scale),
            torch.from_numpy(encoder.number_missing),
            encoder.cardinalities,
            torch.tensor(encoder.has_rare, dtype=torch.bool),
            as_matrix,
            self._quantiles,
        )

    def input_module(self, net: nn.Module) -> nn.Module:
        """Scaling, marks of missing numbers, and one-hot categories for nets that take one matrix."""
        return self._inputs(as_matrix=not takes_columns(net))

    def flat_arrays(self) -> np.ndarray:
        """The matrix that a net of one matrix gets, float32 [N, D]."""
        assert isinstance(self.source, TensorSource)
        assert isinstance(self.source.inputs, dict)
        with torch.no_grad():
            matrix = self._inputs(as_matrix=True)(self.source.inputs)
        return np.asarray(matrix.numpy())

    def notes(self) -> list[str]:
        """Columns that were meant to be numbers and are none, besides what is said of every kind of data."""
        encoder = self.reader.encoder
        doubted = [name for name in (*encoder.category_names, *encoder.ignored) if name in self._frame.columns]
        spoilt = [name for name in doubted if name not in self.ignore and has_decimal_commas(self._texts(name))]
        more = ", …" * (len(spoilt) > 4)
        said = f"{', '.join(spoilt[:4])}{more}: numbers with decimal commas are read as texts; write decimal points"
        return [*super().notes(), *([said] if spoilt else [])]

    def _texts(self, name: str) -> list[str]:
        column = self._frame.loc[:, name].iloc[:MOST_QUANTILES]
        return [] if holds_nested(column) else distinct_texts(column).texts

    def describe(self) -> str:
        """Rows, kinds of columns, missing cells, and what is ignored and why."""
        encoder = self.reader.encoder
        dates = {feature.column: feature.layout for feature in encoder.numbers if feature.part != VALUE}
        plain = sum(feature.part == VALUE for feature in encoder.numbers)
        counts = f"{len(encoder.category_names)} categories, {plain} numbers"
        sized = zip([self.path, *self.other_paths.values()], self.sizes.values(), strict=True)
        parts = [" + ".join(f"{path.name} {size:,}" for path, size in sized) + " rows", counts]
        if dates:
            parts.append(f"dates {', '.join(map(_date_words, dates, dates.values()))}")
        if self.missing:
            parts.append(f"{self.missing:,} missing")
        if self.duplicates:
            parts.append(f"{self.duplicates:,} duplicate row" + "s" * (self.duplicates > 1))
        parts += role_words(self.roles)
        ignored = [f"{name} ({why})" for name, why in encoder.ignored.items() if name not in self.roles.values()]
        if ignored:
            named = ignored[:4]
            more = len(ignored) - len(named)
            parts.append("ignored " + ", ".join(named) + (f" and {more} more" if more else ""))
        if self.unseen:
            parts.append(f"{sum(self.unseen.values()):,} cells of unseen categories")
        return " · ".join(parts)


def _date_words(name: str, layout: DateLayout) -> str:
    return f"{name} ({layout.replace('_', ' ')})" if layout in ("day_first", "month_first") else name
