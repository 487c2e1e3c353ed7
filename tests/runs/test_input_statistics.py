"""``fit_inputs`` of a net of the user's own: what it is shown, and where what it learned goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trainkit as tk
from trainkit.runs import input_statistics
from trainkit.runs.build import build_parts
from trainkit.runs.parts import LiveObjects


class Centred(nn.Module):
    """Takes one tensor, and subtracts what it saw in the middle of the training part."""

    middle: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(13, 3)
        self.register_buffer("middle", torch.zeros(13))
        self.calls: list[int] = []

    def fit_inputs(self, inputs: Tensor) -> None:
        self.calls.append(len(inputs))
        self.middle.copy_(inputs.median(dim=0).values)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs - self.middle)
        return outputs


def test_a_net_is_shown_the_preprocessed_training_rows_once() -> None:
    net = Centred()
    parts = build_parts(tk.compose(["data=wine"]), LiveObjects(model=net))
    rows = parts.data.rows("train")
    assert net.calls == [len(rows)]
    assert parts.network is not None
    prepared = parts.network.inputs(parts.data.source.fetch(rows, 0)[0])
    assert torch.equal(net.middle, prepared.median(dim=0).values)
    assert bool(net.middle.any())


def test_of_many_rows_it_is_shown_an_even_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_statistics, "LARGEST", 10)
    net = Centred()
    build_parts(tk.compose(["data=wine"]), LiveObjects(model=net))
    assert net.calls == [10]


def test_what_it_learned_is_saved_and_loaded_with_the_weights(tmp_path: Path) -> None:
    net = Centred()
    quick = ["trainer.max_epochs=2", "evaluation.resamples=20", "evaluation.baseline=false", "logger=none"]
    result = tk.fit(data="wine", model=net, overrides=[f"run.dir={tmp_path / 'run'}", *quick])
    fresh = Centred()
    assert result.run_dir is not None
    loaded = tk.load_run(result.run_dir, model=fresh)
    assert fresh.calls == []
    assert torch.equal(fresh.middle, net.middle)
    assert loaded.result is not None
    np.testing.assert_array_equal(loaded.result.test["accuracy"].value, result.test["accuracy"].value)
