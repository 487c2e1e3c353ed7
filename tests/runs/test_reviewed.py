"""What a user sees where a run diverges, names classes of his own, or lacks a part: mistakes once made here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Cli = Callable[..., Any]

SMALL = ("data=wine", "logger=none", "trainer.max_epochs=3", "evaluation.resamples=50")

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features, num_outputs):
        super().__init__()
        self.layer = nn.Linear(in_features, num_outputs)

    def forward(self, inputs):
        return self.layer(inputs)

class Broken(Net):
    def forward(self, inputs):
        raise KeyError("my own bug")
"""


@pytest.fixture
def own_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    (tmp_path / "own_net_of_mine.py").write_text(NET, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return ("model=custom", "+model.in_features=???", "+model.num_outputs=???")


def test_a_loss_that_is_nan_ends_the_run_before_its_weights_are_kept(cli: Cli, tmp_path: Path) -> None:
    result = cli("fit", *SMALL, "model=mlp", "optimizer.lr=1e9", "run.dir=diverged")
    assert result.code == 2
    assert result.stderr.startswith("the gradient is not finite at step 2 (epoch 1): ")
    assert "a smaller optimizer.lr" in result.stderr
    run = tmp_path / "diverged"
    assert json.loads((run / "result.json").read_text(encoding="utf-8"))["status"] == "failed"
    assert not (run / "model.safetensors").exists()
    assert not (run / "checkpoints" / "best.json").exists()


def test_printed_commands_work_for_a_net_of_the_users_own(cli: Cli, own_net: tuple[str, ...]) -> None:
    out = cli("fit", *SMALL, *own_net, "model._target_=own_net_of_mine.Net", "run.dir=own").stdout
    assert "run.dir=own 'run.trust=[own_net_of_mine]' continues" in out
    assert "next   trainkit evaluate own --trust own_net_of_mine · own/report.html" in out
    assert cli("evaluate", "own", "--trust", "own_net_of_mine").code == 0


def test_an_error_in_the_users_net_is_told_with_its_line(cli: Cli, own_net: tuple[str, ...]) -> None:
    result = cli("fit", *SMALL, *own_net, "model._target_=own_net_of_mine.Broken")
    assert result.code == 2
    assert "Broken does not take a batch: KeyError: 'my own bug'" in result.stderr
    assert "own_net_of_mine.py:14\n" in result.stderr
    assert "a net for inputs float32 [32, 13]" in result.stderr


def test_without_a_test_part_the_validation_is_what_can_be_evaluated(cli: Cli) -> None:
    out = cli("fit", *SMALL, "data.test_share=0", "run.dir=untested").stdout
    assert "next   trainkit evaluate untested --split validation · untested/report.html" in out
    assert cli("evaluate", "untested", "--split", "validation").code == 0


def test_a_classical_run_promises_no_checkpoints(cli: Cli) -> None:
    out = cli("fit", *SMALL, "model=logistic", "run.dir=classical").stdout
    assert "run    classical\n" in out
    assert "tensorboard" not in out


def test_rows_that_stand_twice_are_counted(cli: Cli, tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [i / 7 for i in range(60)], "y": ["a", "b"] * 30})
    pd.concat([frame, frame[:10]]).to_csv(tmp_path / "twice.csv", index=False)
    out = cli("fit", *SMALL[1:], "data=table", "data.path=twice.csv", "data.target=y").stdout
    assert "data   twice.csv 70 rows · 0 categories, 1 numbers · 10 duplicate rows" in out


def test_predict_names_the_argument_and_not_a_config_key(cli: Cli) -> None:
    cli("fit", *SMALL, "run.dir=wine")
    result = cli("predict", "wine", "nope.csv", "-o", "out.csv")
    assert (result.code, result.stderr) == (2, "there is no file nope.csv\n  where    FILE\n")


def test_letters_beyond_ascii_are_shown_how_to_be_quoted(cli: Cli) -> None:
    result = cli("fit", "data=table", "data.path=a.csv", "data.target=größe")
    assert result.code == 2
    assert "letters beyond ASCII stand in quotes within quotes: \"data.target='größe'\"" in result.stderr
