"""Arrays from files or from a script, laid out for a net: ``data=arrays``, and arrays given to ``fit``."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from trainkit.data.array_keys import find_keys
from trainkit.data.array_reading import ONE_ARRAY, ArrayFile, as_array, open_arrays
from trainkit.data.array_targets import encode_target
from trainkit.data.arrays import ArrayData
from trainkit.data.further import extra_parts
from trainkit.data.layout import LayoutChoice, arrange, doubt, find_layout
from trainkit.data.readers import ArrayReader
from trainkit.data.roles import Role
from trainkit.data.splits import EXTRA
from trainkit.errors import ConfigError, DataError
from trainkit.types import TargetKind

Given: TypeAlias = Sequence[Any] | Mapping[str, Any]
"""Arrays as a script gives them: inputs and targets, or a dict of them."""


class LaidOutArrays(ArrayData):
    """Base of arrays whose parts and layout are told by what is given; a subclass overrides ``pools``.

    Args:
        class_names: Names of the classes in the order of integer labels; the distinct labels by default. Of targets
            [N, K] of 0 and 1 the names of the labels; their places by default.
        target_kind: ``class``, ``number`` or ``multilabel``; by default integers, booleans and texts are classes,
            floats a number, and targets [N, K] labels where all are 0 or 1, else numbers.
        target_names: Names of several numbers; ``y0``, ``y1``, … by default.
        layout: Which axes are channels; see ``find_layout``.
        inputs: Key of the inputs, found by its usual names by default.
        target: Likewise for the targets.
        common: Arguments of ``DataModule``; ``group``, ``time`` and ``weight`` name keys.
    """

    reader: ArrayReader
    others: Set[str]
    """Parts beside the training part that were given by themselves."""

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        target_kind: TargetKind | None = None,
        layout: LayoutChoice = "auto",
        inputs: str | Path | None = None,
        target: str | Path | None = None,
        target_names: Sequence[str] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self._given_names = tuple(map(str, target_names or ()))
        self.class_names, self.target_kind, self.layout = class_names, target_kind, layout
        names = {role: name for role, name in self.roles.items() if name is not None}
        self.keys: dict[Role, Any] = {"inputs": inputs, "target": target, **names}
        self.inputs_key, self.unused = "inputs", list[Role]()

    @abc.abstractmethod
    def pools(self) -> dict[str, dict[Role, np.ndarray]]:
        """Inputs [N, ...], target [N] and any of group, time and weight of each part that is given, ``train`` first."""

    @abc.abstractmethod
    def argument(self, part: str) -> str:
        """What gives a part, for errors."""

    def arrays(self) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
        """The pool of all parts, its inputs arranged for a net, and its targets encoded."""
        pools = self.pools()
        main = pools["train"]["inputs"]
        self._found = find_layout(main.shape, main.dtype, self.layout)
        self._raw_shape = main.shape[1:]
        for part, values in pools.items():
            self._check_part(part, values["inputs"], values["target"], pools["train"]["target"])
        self.sizes = {part: len(values["inputs"]) for part, values in pools.items()}
        inputs = main if len(pools) == 1 else np.concatenate([values["inputs"] for values in pools.values()])
        target = np.concatenate([values["target"] for values in pools.values()])
        self._columns = {role: self._column(role, pools) for role in self.keys if role not in ("inputs", "target")}
        self.target_names = self._given_names
        encoded, names = encode_target(target, self.target_kind, self.class_names)
        return arrange(inputs, self._found), encoded, names

    def _check_part(self, part: str, inputs: np.ndarray, target: np.ndarray, first: np.ndarray) -> None:
        named = "" if part == "train" else f" of the {part} part"
        if inputs.ndim == 0 or target.ndim == 0 or len(inputs) != len(target):
            found = f"inputs{named} of shape {list(inputs.shape)} and targets of shape {list(target.shape)}"
            raise DataError(found, where="data", expected="as many targets as inputs")
        if part != "train" and not len(inputs):
            raise DataError(f"the {part} part has no rows", where="data", expected="at least one row in each part")
        if inputs.shape[1:] != self._raw_shape:
            found = f"the inputs{named} have the shape {list(inputs.shape)}"
            expected = "[N, " + ", ".join(map(str, self._raw_shape)) + "] as those to train on"
            raise DataError(found, where="data", expected=expected)
        if target.shape[1:] != first.shape[1:]:
            found = f"the targets{named} have the shape {list(target.shape)}"
            raise DataError(found, where="data", expected=f"that of those to train on, {list(first.shape)}")

    def _column(self, role: Role, pools: Mapping[str, Mapping[Role, np.ndarray]]) -> np.ndarray:
        columns = []
        for part, size in self.sizes.items():
            values = pools[part][role]
            values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
            if values.shape != (size,) or values.dtype.kind not in "biufUSMO":
                named = "" if part == "train" else f" of the {part} part"
                found = f"the {role} '{self.keys[role]}'{named} is {values.dtype} {list(values.shape)}"
                raise DataError(found, where=f"data.{role}", expected=f"a value for each of {size:,} rows")
            columns.append(values.astype(str) if values.dtype.kind == "S" else values)
        return np.concatenate(columns)

    def column(self, role: Role, name: str) -> np.ndarray:
        """The array of a role, of all parts."""
        return self._columns[role]

    def take(self, part: str, arrays: Mapping[str, Any], source: str) -> dict[str, dict[Role, np.ndarray]]:
        """The arrays by role of a part, and of the parts that are named in what holds the training part.

        Args:
            part: What the arrays are given as.
            arrays: By key; one is read when it is asked for.
            source: What holds them, for errors.

        Raises:
            DataError: A key is missing, or a part is given twice.
        """
        keys = find_keys(list(arrays), self.keys, source)
        parts = {
            name: {role: as_array(arrays[key], f"'{key}' of {source}") for role, key in found.items()}
            for name, found in keys.items()
            if name == "train" or part == "train"
        }
        if part != "train":
            return {part: parts["train"]}
        self.inputs_key = keys["train"]["inputs"]
        self.unused = [role for role, name in self.roles.items() if name is None and role in arrays]
        twice = sorted(keys.keys() & self.others)
        if twice:
            argument = self.argument(twice[0])
            raise DataError(f"{source} has a {twice[0]} part of its own", where=argument, hint=f"leave out {argument}")
        return parts

    def notes(self) -> list[str]:
        """As for any data, and a doubt about the axes."""
        doubted = doubt(self._raw_shape, self.spec.input_kind, self.layout)
        return [*super().notes(), *([doubted] if doubted else [])]

    def prepare(self, train_rows: np.ndarray) -> None:
        """As for any arrays; new files are arranged as these were."""
        super().prepare(train_rows)
        self.reader = ArrayReader(self._raw_shape, self._found, self.inputs_key)

    def describe(self) -> str:
        """Name, size and shape, what was moved, and keys that look like something they were not asked to be."""
        words = [super().describe(), *(["channels last, moved first"] if self._found == "channels_last" else [])]
        return " · ".join([*words, *(f"{role} not used (data.{role}={role})" for role in self.unused)])


class GivenArrays(LaidOutArrays):
    """Arrays or tensors given to ``fit`` by a script.

    Args:
        train: Inputs [N, ...] and targets [N], or a dict with them by the keys of a file: ``{"x": x, "y": y}``. Groups,
            moments and weights of the rows stand in it too, and are named by their keys: ``group="patient"``.
        val: Likewise; drawn from ``train`` by default.
        test: Likewise.
        extra_val: Further validation sets by name.
        common: Arguments of ``LaidOutArrays``.
    """

    def __init__(
        self,
        train: Given,
        val: Given | None = None,
        test: Given | None = None,
        extra_val: Mapping[str, Given] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**{**common, "name": common.get("name") or "arrays"})
        given = {"train": train, "val": val, "test": test, **extra_parts(extra_val)}
        self._given = {part: arrays for part, arrays in given.items() if arrays is not None}
        self.others = self._given.keys() - {"train"}

    def pools(self) -> dict[str, dict[Role, np.ndarray]]:
        """What was given, as arrays."""
        parts: dict[str, dict[Role, np.ndarray]] = {}
        for part, given in self._given.items():
            parts |= self.take(part, given if isinstance(given, Mapping) else self._by_key(part, given), part)
        return parts

    def _by_key(self, part: str, pair: Sequence[Any]) -> dict[str, Any]:
        named = [(role, name) for role, name in self.keys.items() if name is not None]
        if named:
            role, name = named[0]
            example = ", ".join(f"'{key}': …" for key in dict.fromkeys(["x", "y", name]))
            what = f"{part} is two arrays, and data.{role}={name} names a key"
            raise DataError(what, where=f"data.{role}", expected="a dict of arrays", hint=f"{part}={{{example}}}")
        return dict(zip(("inputs", "target"), pair, strict=True))

    def argument(self, part: str) -> str:
        """The keyword of ``fit``."""
        return part if not part.startswith(EXTRA) else f"val['{part.removeprefix(EXTRA)}']"


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
        others = {"val": val_path, "test": test_path, **extra_parts(extra_val)}
        self._others = {part: Path(file) for part, file in others.items() if file}
        if path is None and (inputs is None or target is None):
            hint = "data.path=arrays.npz, or data.inputs=x.npy data.target=y.npy"
            raise ConfigError("there are no arrays", where="data.path", hint=hint)
        if path is None and self._others:
            what = f"a {next(iter(self._others))} part in a file, beside inputs and target in files of their own"
            raise ConfigError(what, where="data", hint="put inputs and target into one .npz each: data.path=…")
        name = common.get("name") or Path(str(path or inputs)).name.split(".")[0]
        super().__init__(inputs=inputs, target=target, **{**common, "name": name})
        self.path, self.others = path, self._others.keys()

    def pools(self) -> dict[str, dict[Role, np.ndarray]]:
        """The arrays of every file, by part."""
        if self.path is None:
            self.inputs_key = ONE_ARRAY
            return {"train": {role: _lone(file, f"data.{role}") for role, file in self.keys.items()}}
        parts: dict[str, dict[Role, np.ndarray]] = {}
        for part, path in {"train": Path(self.path), **self._others}.items():
            parts |= self._read(part, open_arrays(path, self.argument(part)))
        return parts

    def argument(self, part: str) -> str:
        """The config key."""
        if part.startswith(EXTRA):
            return f"data.extra_val.{part.removeprefix(EXTRA)}"
        return "data.path" if part == "train" else f"data.{part}_path"

    def _read(self, part: str, file: ArrayFile) -> dict[str, dict[Role, np.ndarray]]:
        if list(file) == [ONE_ARRAY]:
            what, hint = f"'{file.path}' holds one array, without a target", "data.inputs=x.npy data.target=y.npy"
            raise ConfigError(what, where="data.path", expected="a file with inputs and target", hint=hint)
        return self.take(part, file, f"'{file.path}'")


def _lone(path: str | Path, where: str) -> np.ndarray:
    file = open_arrays(path, where)
    if len(file) != 1:
        what = f"'{path}' holds {len(file)} arrays: {', '.join(file)}"
        raise DataError(what, where=where, expected="one array", hint=f"data.path={path}")
    return next(iter(file.values()))
