"""Arrays from files or from a script, laid out for a net: ``data=arrays``, and pairs of arrays given to ``fit``."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainkit.data.array_keys import find_keys
from trainkit.data.array_reading import ONE_ARRAY, ArrayFile, as_array, open_arrays
from trainkit.data.array_targets import encode_target
from trainkit.data.arrays import ArrayData
from trainkit.data.layout import LayoutChoice, arrange, find_layout
from trainkit.data.readers import ArrayReader
from trainkit.data.roles import Role
from trainkit.data.splits import EXTRA
from trainkit.errors import ConfigError, DataError
from trainkit.types import TargetKind

if TYPE_CHECKING:
    from trainkit.data.values import Column


class LaidOutArrays(ArrayData):
    """Base of arrays whose parts and layout are told by what is given; a subclass overrides ``pools``.

    Args:
        class_names: Names of the classes in the order of integer labels; the distinct labels by default.
        target_kind: ``class`` or ``number``; by default integers, booleans and texts are classes, floats a number.
        layout: Which axes are channels; see ``find_layout``.
        common: Arguments of ``DataModule``.
    """

    reader: ArrayReader

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        target_kind: TargetKind | None = None,
        layout: LayoutChoice = "auto",
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.class_names, self.target_kind, self.layout = class_names, target_kind, layout
        self.inputs_key = "inputs"

    @abc.abstractmethod
    def pools(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Inputs [N, ...] and targets [N] of each part that is given, ``train`` first."""

    def arrays(self) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
        """The pool of all parts, its inputs arranged for a net, and its targets encoded."""
        pools = self.pools()
        main = pools["train"][0]
        self._found = find_layout(main.shape, main.dtype, self.layout)
        self._raw_shape = main.shape[1:]
        for part, (inputs, target) in pools.items():
            self._check_part(part, inputs, target)
        self.sizes = {part: len(inputs) for part, (inputs, _) in pools.items()}
        inputs = main if len(pools) == 1 else np.concatenate([inputs for inputs, _ in pools.values()])
        target = np.concatenate([target for _, target in pools.values()])
        encoded, names = encode_target(target, self.target_kind, self.class_names)
        return arrange(inputs, self._found), encoded, names

    def _check_part(self, part: str, inputs: np.ndarray, target: np.ndarray) -> None:
        named = "" if part == "train" else f" of the {part} part"
        if inputs.ndim == 0 or target.ndim == 0 or len(inputs) != len(target):
            found = f"inputs{named} of shape {list(inputs.shape)} and targets of shape {list(target.shape)}"
            raise DataError(found, where="data", expected="as many targets as inputs")
        if inputs.shape[1:] != self._raw_shape:
            found = f"the inputs{named} have the shape {list(inputs.shape)}"
            expected = "[N, " + ", ".join(map(str, self._raw_shape)) + "] as those to train on"
            raise DataError(found, where="data", expected=expected)

    def prepare(self, train_rows: np.ndarray) -> None:
        """As for any arrays; new files are arranged as these were."""
        super().prepare(train_rows)
        self.reader = ArrayReader(self._raw_shape, self._found, self.inputs_key)

    def describe(self) -> str:
        """Name, size and shape, and what was moved."""
        line = super().describe()
        return f"{line} · channels last, moved first" if self._found == "channels_last" else line


class GivenArrays(LaidOutArrays):
    """Pairs of arrays or tensors given to ``fit`` by a script.

    Args:
        train: Inputs [N, ...] and targets [N].
        val: Likewise; drawn from ``train`` by default.
        test: Likewise.
        extra_val: Further validation sets by name.
        common: Arguments of ``LaidOutArrays``.
    """

    def __init__(
        self,
        train: Sequence[Any],
        val: Sequence[Any] | None = None,
        test: Sequence[Any] | None = None,
        extra_val: Mapping[str, Sequence[Any]] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**{**common, "name": common.get("name") or "arrays"})
        extra = {f"{EXTRA}{name}": pair for name, pair in (extra_val or {}).items()}
        given = {"train": train, "val": val, "test": test, **extra}
        self._given = {part: pair for part, pair in given.items() if pair is not None}

    def pools(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The pairs as arrays."""
        return {
            part: (as_array(pair[0], f"the inputs of {part}"), as_array(pair[1], f"the targets of {part}"))
            for part, pair in self._given.items()
        }


class ArrayFiles(LaidOutArrays):
    """Arrays in files: one with inputs and targets (and perhaps all parts) by key, or a file for each.

    Parts that one file holds by their names are taken as they are: ``x_train, y_train, x_test, y_test`` (and
    ``x_val, y_val``), ``train_images, train_labels, …``, or ``x, y, x_test, y_test``.

    Args:
        path: A .npz or .safetensors, or a .pt with a dict of tensors.
        inputs: Key of the inputs in ``path``, found by its usual names by default; without ``path``, a file of its own.
        target: Likewise for the targets.
        val_path: A file whose rows are the validation part.
        test_path: A file whose rows are the test part.
        extra_val: Files of further validation sets by name; they are scored and choose nothing.
        common: Arguments of ``LaidOutArrays``; ``name`` is the file's stem by default. ``group``, ``time`` and
            ``weight`` name keys, or files where there is no ``path``.

    Raises:
        ConfigError: Neither ``path`` nor both ``inputs`` and ``target``, or parts with files of their own beside it.
        DataError: A file or a key that is not there, or arrays that cannot be learned from.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        inputs: str | Path | None = None,
        target: str | Path | None = None,
        val_path: str | Path | None = None,
        test_path: str | Path | None = None,
        extra_val: Mapping[str, str | Path] | None = None,
        **common: Any,
    ) -> None:
        others = {"val": val_path, "test": test_path}
        others |= {f"{EXTRA}{name}": file for name, file in (extra_val or {}).items()}
        self._others = {part: Path(file) for part, file in others.items() if file}
        if path is None and (inputs is None or target is None):
            hint = "data.path=arrays.npz, or data.inputs=x.npy data.target=y.npy"
            raise ConfigError("there are no arrays", where="data.path", hint=hint)
        if path is None and self._others:
            what = f"a {next(iter(self._others))} part in a file, beside inputs and target in files of their own"
            raise ConfigError(what, where="data", hint="put inputs and target into one .npz each: data.path=…")
        name = common.get("name") or Path(str(path or inputs)).name.split(".")[0]
        super().__init__(**{**common, "name": name})
        self.path, self._inputs_name, self._target_name = path, inputs, target
        self._columns: dict[Role, np.ndarray] = {}

    def pools(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The arrays of every file, by part."""
        names = {role: name for role, name in self.roles.items() if name is not None}
        parts: dict[str, dict[str, np.ndarray]] = {}
        if self.path is None:
            roles: dict[str, Any] = {"inputs": self._inputs_name, "target": self._target_name, **names}
            parts["train"] = {role: _lone(file, f"data.{role}") for role, file in roles.items()}
            self.inputs_key = ONE_ARRAY
        else:
            given = {"inputs": self._inputs_name, "target": self._target_name, **names}
            for part, path in {"train": Path(self.path), **self._others}.items():
                where = "data.path" if part == "train" else f"data.{part}_path"
                where = where if not part.startswith(EXTRA) else f"data.extra_val.{part.removeprefix(EXTRA)}"
                parts |= self._read(part, open_arrays(path, where), given)
        self._columns = {role: np.concatenate([values[role] for values in parts.values()]) for role in names}
        return {part: (values["inputs"], values["target"]) for part, values in parts.items()}

    def _read(self, part: str, file: ArrayFile, given: Mapping[str, Any]) -> dict[str, dict[str, np.ndarray]]:
        if list(file) == [ONE_ARRAY]:
            what, hint = f"'{file.path}' holds one array, without a target", "data.inputs=x.npy data.target=y.npy"
            raise ConfigError(what, where="data.path", expected="a file with inputs and target", hint=hint)
        keys = find_keys(list(file), given, str(file.path))
        if part == "train":
            self.inputs_key = keys["train"]["inputs"]
            twice = sorted(keys.keys() & self._others.keys())
            if twice:
                what = f"'{file.path}' has a {twice[0]} part of its own"
                raise ConfigError(what, where=f"data.{twice[0]}_path", hint=f"leave out data.{twice[0]}_path")
            return {name: {role: file[key] for role, key in found.items()} for name, found in keys.items()}
        return {part: {role: file[key] for role, key in keys["train"].items()}}

    def column(self, role: Role, name: str) -> Column:
        """The array of a role, of all parts."""
        import pandas as pd

        values = self._columns[role]
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        num_rows = sum(self.sizes.values())
        if values.shape != (num_rows,) or values.dtype.kind not in "biufUSM":
            found = f"the {role} '{name}' is {values.dtype} {list(values.shape)}"
            raise DataError(found, where=f"data.{role}", expected=f"a value for each of {num_rows:,} rows")
        return pd.Series(values.astype(str) if values.dtype.kind == "S" else values, name=name)


def _lone(path: str | Path, where: str) -> np.ndarray:
    file = open_arrays(path, where)
    if len(file) != 1:
        what = f"'{path}' holds {len(file)} arrays: {', '.join(file)}"
        raise DataError(what, where=where, expected="one array", hint=f"data.path={path}")
    return next(iter(file.values()))
