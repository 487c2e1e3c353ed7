"""The file of a classical model: nothing but known types is loaded from it, and damage is named."""

from __future__ import annotations

import functools
import json
import os
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

import trainkit as tk
from trainkit.rundir import RunDirectory


@pytest.mark.parametrize(
    ("foreign", "named"),
    [
        ([Ridge(), FunctionTransformer(np.log1p)], "numpy.log1p"),
        (Ridge(tol=os.system), "posix.system"),
        (Ridge(tol=Ridge().fit), "sklearn.linear_model._ridge.Ridge"),
        (Ridge(tol=functools.partial(os.system, "ls")), "functools.partial, posix.system"),
        (Ridge(tol=RBF()), "sklearn.gaussian_process.kernels.RBF"),
        (Ridge(tol=np.random.RandomState(0)), "numpy.random.mtrand.RandomState"),
        (Pipeline([("a", Ridge(tol=os.system))]), "posix.system"),
    ],
)
def test_estimators_of_other_types_are_not_loaded(foreign: Any, named: str, logistic: RunDirectory) -> None:
    skops.io.dump(foreign, logistic.classical_model)
    with pytest.raises(tk.RunError) as caught:
        tk.load_run(logistic.path)
    assert str(caught.value).startswith(f"'{logistic.classical_model}' holds foreign types: {named}")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"\x80\x04."])
def test_a_damaged_estimator_is_named(content: bytes, logistic: RunDirectory) -> None:
    logistic.classical_model.write_bytes(content)
    with pytest.raises(tk.RunError, match=r"model.skops' is damaged"):
        tk.load_run(logistic.path)


def doctored(run: RunDirectory, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the schema of ``model.skops``."""
    with zipfile.ZipFile(run.classical_model) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(files["schema.json"])
    change(schema)
    files["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(run.classical_model, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("module", "kind", "loader"),
    [
        ("os", "system", "FunctionNode"),
        ("sklearn.linear_model._ridge", "os.system", "ObjectNode"),
        ("sklearn.utils", "Bunch", "ObjectNode"),
        ("sklearn.linear_model", "LogisticRegression", "ObjectNode"),
        ("trainkit.models", "MLP", "ObjectNode"),
        ("builtins", "dict", "MethodNode"),
        ("builtins", "list", "OperatorFuncNode"),
    ],
)
def test_a_doctored_file_is_refused(module: str, kind: str, loader: str, logistic: RunDirectory) -> None:
    named = {"__module__": module, "__class__": kind, "__loader__": loader, "content": None}
    doctored(logistic, lambda schema: schema["content"]["content"].update(tol=named))
    with pytest.raises(tk.RunError) as caught:
        tk.load_run(logistic.path)
    assert str(caught.value).startswith(f"'{logistic.classical_model}' holds foreign types: {module}.{kind}\n")
