from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import trainkit as tk
from trainkit.rundir import RunDirectory
from trainkit.runs.build import build_parts
from trainkit.runs.parts import LiveObjects
from trainkit.runs.weights import load_weights, save_weights, stored_fingerprint


class Tied(nn.Module):
    """Two names for one matrix, and a matrix that is not contiguous."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(13, 13, bias=False)
        self.second = nn.Linear(13, 13, bias=False)
        self.second.weight = self.first.weight
        self.last = nn.Parameter(torch.randn(3, 13).T)

    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.second(self.first(matrix)) @ self.last
        return outputs


def test_tied_weights_are_saved_under_each_name_and_load_again(tmp_path: Path) -> None:
    parts = build_parts(tk.compose(["data=wine"]), LiveObjects(model=Tied()))
    run = RunDirectory(tmp_path)
    assert parts.network is not None
    save_weights(run, parts, tk.TrainModule(parts.network, parts.task))
    saved = load_weights(run)
    net = Tied()
    net.load_state_dict({n.removeprefix("net."): t for n, t in saved.state.items() if n.startswith("net.")})
    assert net.second.weight is net.first.weight and torch.equal(net.last, parts.network.net.last)  # type: ignore[arg-type]
    assert saved.spec == parts.data.spec and stored_fingerprint(run) == parts.data.fingerprint
    assert saved.inputs["kind"] == "table" and list(tmp_path.iterdir()) == [run.weights]
    assert stat.S_IMODE(run.weights.stat().st_mode) == 0o644


def test_the_metadata_says_what_a_model_knows(digits: RunDirectory) -> None:
    with safe_open(digits.weights, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["trainkit"] == tk.__version__ and metadata["format_version"] == "1"
    assert json.loads(metadata["spec"])["class_names"] == list("0123456789")
    assert json.loads(metadata["model"])["_target_"] == "trainkit.models.MLP"
    assert json.loads(metadata["reader"]) == {"kind": "array", "shape": [1, 8, 8], "layout": "as_is", "key": "inputs"}


@pytest.mark.parametrize("metadata", [{}, {"spec": "{", "reader": "{}", "inputs": "{}"}])
def test_a_file_that_is_not_ours_is_refused(metadata: dict[str, str], digits: RunDirectory) -> None:
    save_file({"a": torch.zeros(1)}, digits.weights, metadata)
    with pytest.raises(tk.RunError, match="is damaged or not a trainkit model"):
        load_weights(digits)
