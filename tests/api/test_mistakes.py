"""Mistakes in the arguments of ``fit``: told before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import trainkit as tk
from tests.api.clouds import Net, Points
from tests.api.conftest import fit

NET = Net()
WRONG: list[tuple[dict[str, Any], str, str | None]] = [
    (
        {"train": DataLoader(Points(), batch_size=8)},
        "train is a DataLoader",
        "give train=loader.dataset and batch_size=8",
    ),
    ({"train": None, "val": Points()}, "there is no training data", None),
    ({"train": iter([1, 2])}, "train is a list_iterator", None),
    ({"optimizer": torch.optim.Adam(NET.parameters())}, "the optimizer is a Adam", None),
    (
        {"scheduler": torch.optim.lr_scheduler.ConstantLR(torch.optim.SGD(NET.parameters()))},
        "the scheduler is a ConstantLR",
        None,
    ),
    ({"optimizer": "adamww"}, "group 'optimizer' has no 'adamww'", "did you mean 'adamw'?"),
    ({"task": nn.CrossEntropyLoss()}, "the task is a CrossEntropyLoss", None),
    ({"model": 3}, "the model is a int", None),
    ({"model": nn.Linear(4, 7)}, "the model gives outputs of shape [batch, 7]", None),
    ({"model": nn.Linear(5, 3)}, "Linear does not take a batch: RuntimeError: ", None),
    ({"data": tk.DatasetData(Points())}, "data is given beside train, val or test", None),
    ({"train": None, "data": Points(), "batch_size": None}, "the data is a Points", None),
    (
        {"train": None, "data": tk.DatasetData(Points())},
        "data.batch_size=16 beside a data module, which has settings of its own",
        "give it to DatasetData",
    ),
    ({"seed": "x"}, "seed cannot be 'x'", None),
    ({"precision": "fp8"}, "trainer.precision is 'fp8'", None),
    ({"overrides": ["sede=1"]}, "unknown key 'sede'", "did you mean 'seed'?"),
    ({"callbacks": [L.Callback]}, "callbacks has the class Callback", None),
    ({"cfg": tk.compose(), "overrides": [], "model": "mlp"}, "model=mlp beside a composed config",
     "tk.compose(['model=mlp'])"),
    ({"cfg": tk.compose(), "overrides": []}, "train is given, but the config has data trainkit.data.Digits",
     "compose it with data=dataset"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "what", "hint"), WRONG, ids=[what for _, what, _ in WRONG])
def test_mistakes_raise_before_anything_is_written(
    given: dict[str, Any], what: str, hint: str | None, folder: Path
) -> None:
    with pytest.raises(tk.TrainkitError) as caught:
        fit(**{"model": Net(), "train": Points(), **given})
    assert caught.value.what.startswith(what)
    assert hint is None or caught.value.hint == hint
    assert list(folder.iterdir()) == []
