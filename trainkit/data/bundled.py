"""Real data sets that scikit-learn carries: there without a network, for demos, tests and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trainkit.data.arrays import ArrayData
from trainkit.data.fingerprint import fingerprint_arrays
from trainkit.data.table import TableData
from trainkit.errors import ConfigError, did_you_mean, one_of

if TYPE_CHECKING:
    import pandas as pd

_TABLES = ("breast_cancer", "diabetes", "iris", "wine")


class Digits(ArrayData):
    """1,797 handwritten digits as uint8 images [1, 8, 8] with values 0 to 16 (Alpaydin & Kaynak, 1998).

    Args:
        common: Arguments of ``DataModule``.
    """

    def __init__(self, **common: Any) -> None:
        super().__init__(**{**common, "name": common.get("name") or "digits"})

    def arrays(self) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
        """Images, labels and the ten class names."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        return bunch.images.astype(np.uint8)[:, None], bunch.target, [str(digit) for digit in range(10)]


class BundledTable(TableData):
    """One of scikit-learn's small tables.

    Args:
        table: ``breast_cancer``, ``wine``, ``iris`` (classes) or ``diabetes`` (a number).
        common: Arguments of ``DataModule``.

    Raises:
        ConfigError: There is no such table, or a file is given for one of its parts.
    """

    def __init__(self, table: Literal["breast_cancer", "diabetes", "iris", "wine"], **common: Any) -> None:
        if table not in _TABLES:
            raise ConfigError(
                f"there is no bundled table '{table}'",
                where="data.table",
                expected=one_of(_TABLES),
                hint=did_you_mean(table, _TABLES),
            )
        fixed = sorted({"val_path", "test_path"} & common.keys())
        if fixed:
            raise ConfigError(f"a bundled table has no {fixed[0]}", where=f"data.{fixed[0]}", hint="use data=table")
        super().__init__(path=table, target="target", **common)
        self.table = table

    def read_frames(self) -> list[pd.DataFrame]:
        """Loads the table; classes by their names."""
        from sklearn import datasets

        bunch = getattr(datasets, f"load_{self.table}")(as_frame=True)
        frame: pd.DataFrame = bunch.frame.copy()
        if self.table != "diabetes":
            frame["target"] = np.asarray(bunch.target_names)[frame["target"]]
        numbers = frame.drop(columns="target").to_numpy()
        self.fingerprint = fingerprint_arrays(numbers, frame["target"].to_numpy().astype(str))
        return [frame]
