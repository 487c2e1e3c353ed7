"""What is no ``trainkit.DataModule``, given as the data of a net: named, with what it goes with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import trainkit as tk

GOES = "a LightningDataModule goes with module=, a LightningModule of your own; a net with a trainkit.DataModule"
POINTS = TensorDataset(torch.zeros(3, 4), torch.zeros(3))


class Points(L.LightningDataModule):
    """Lightning's, not trainkit's."""

    def train_dataloader(self) -> Any:
        return DataLoader(POINTS)


@pytest.mark.parametrize(
    ("data", "what", "hint"),
    [
        (Points(), "the data is a Points", GOES),
        (Points, "the data is the class Points", "data=Points(…), an object"),
        (POINTS, "the data is a TensorDataset", "train=, val= and test= take Datasets"),
        (DataLoader(POINTS), "the data is a DataLoader", "train=, val= and test= take Datasets"),
        (3, "the data is a int", None),
    ],
)
@pytest.mark.parametrize("model", [nn.Linear(4, 2), None])
def test_given_in_python(data: Any, what: str, hint: str | None, model: Any) -> None:
    with pytest.raises(tk.ConfigError) as caught:
        tk.fit(model=model, data=data)
    error = caught.value
    assert (error.what, error.where, error.expected, error.hint) == (what, "data", "a trainkit.DataModule", hint)


@pytest.mark.parametrize("command", ["fit", "check"])
def test_named_on_the_command_line(
    command: str, cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mypoints.py").write_text("import lightning as L\n\n\nclass Points(L.LightningDataModule):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    code, _, err = cli(command, "data=custom", "data._target_=mypoints.Points", "model=mlp")
    assert (code, err) == (
        2,
        f"the data is a Points\n  where    data\n  expected a trainkit.DataModule\n  hint     {GOES}\n",
    )
    assert not (tmp_path / "runs").exists()


def test_a_class_goes_with_a_module_as_an_object_only() -> None:
    with pytest.raises(tk.ConfigError, match="the data is the class Points"):
        tk.fit(module=L.LightningModule(), data=Points)  # type: ignore[arg-type]
