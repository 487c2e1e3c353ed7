"""Whether a run that is killed ends as one that is not: one that does, and one that cannot."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainkit.rundir import RunDirectory, write_json
from trainkit.runs.inspection import rehearsal
from trainkit.runs.inspection.finding import apply
from trainkit.runs.inspection.lines import rehearsal_line
from trainkit.runs.inspection.rehearsal import REHEARSAL_RULES, Rehearsal
from trainkit.runs.inspection.sameness import differences

Cli = Callable[..., Any]

STATEFUL = """
import torch
from torch import nn

class Forgetful(nn.Module):
    \"\"\"Its noise comes from a generator that no checkpoint holds.\"\"\"

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(in_features, num_classes)
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        noise = torch.rand(inputs.shape, generator=self.generator) if self.training else 0.0
        return self.head(inputs + noise)

    def __deepcopy__(self, memo):
        return Forgetful(self.head.in_features, self.head.out_features)
"""


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "SECONDS", 0.5)


def test_a_run_that_is_killed_ends_as_one_that_is_not(cli: Cli, tmp_path: Path) -> None:
    options = ("data=wine", "model=mlp", "trainer.ema=0.9", "trainer.threads=1", "callbacks=early_stopping")
    code, out, err = cli("check", "resume=true", *options)
    (line,) = (line for line in out.splitlines() if line.startswith("resume "))
    assert "in a validation, as a checkpoint was made and continued: " in line
    assert line.endswith("weights, optimizer, generators and curves are the same to the bit")
    assert code == 0, out + err
    assert not (tmp_path / "runs").exists()


def test_a_model_with_a_generator_of_its_own_is_found_out(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "KILLS", {"step-{}": "after step {}"})
    (tmp_path / "forgetful.py").write_text(STATEFUL, encoding="utf-8")
    options: tuple[str, ...] = ("data=wine", "model=custom", "model._target_=forgetful.Forgetful")
    options += ("+model.in_features=???", "+model.num_classes=???", "trainer.threads=1", "logger=none")
    code, out, _ = cli("check", "resume=true", *options)
    assert code == 1
    (line,) = (line for line in out.splitlines() if "killed and continued, it ends otherwise" in line)
    assert "checkpoint.state_dict.model.net.head" in line and "generator of its own" in line


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("model=logistic",), "a classical model is fitted at once"),
        (("trainer.devices=2",), "a run on several processes is not rehearsed"),
    ],
)
def test_what_cannot_be_rehearsed_is_told(cli: Cli, options: tuple[str, ...], told: str) -> None:
    code, _, err = cli("check", "resume=true", "data=wine", *options)
    assert code == 2 and told in err


def test_flags_are_true_or_false(cli: Cli) -> None:
    code, _, err = cli("check", "resume=perhaps", "data=wine")
    assert code == 2 and "resume is 'perhaps'" in err


def made(folder: Path, state: dict[str, Any], rows: str = "") -> RunDirectory:
    """A run directory with one checkpoint."""
    run = RunDirectory(folder)
    run.checkpoints.mkdir(parents=True)
    file = run.checkpoints / "step-3.ckpt"
    torch.save(state, file)
    from trainkit.rundir import sha256

    write_json(run.last, {"file": file.name, "sha256": sha256(file), "step": 3, "older": []})
    run.metrics.write_text("step,epoch,split,name,value\n" + rows, encoding="utf-8")
    return run


STATE: dict[str, Any] = {
    "state_dict": {"weight": torch.arange(6.0)},
    "callbacks": {"mine": {"path": "", "count": 3, "seen": [1, 2]}},
    "seconds": 1.0,
    "loss": float("nan"),
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda state: state.update(seconds=2.0), []),
        (lambda state: None, []),
        (
            lambda state: state["state_dict"]["weight"][2:4].add_(0.5),
            ["checkpoint.state_dict.weight differs in 2 of 6 values, by 0.5 at most"],
        ),
        (
            lambda state: state["callbacks"]["mine"].update(count=4),
            ["checkpoint.callbacks.mine.count is 3 in one and 4 in the other"],
        ),
        (
            lambda state: state["callbacks"]["mine"]["seen"].append(3),
            ["checkpoint.callbacks.mine.seen has 2 entries in one and 3 in the other"],
        ),
        (lambda state: state.pop("loss"), ["checkpoint.loss is in one of them only"]),
        (
            lambda state: state.update(state_dict={"weight": torch.zeros(2)}),
            ["checkpoint.state_dict.weight has (6,) torch.float32 in one and (2,) torch.float32 in the other"],
        ),
    ],
)
def test_differences_of_checkpoints(tmp_path: Path, change: Callable[[Any], Any], expected: list[str]) -> None:
    runs = []
    for name in ("one", "other"):
        state = copy.deepcopy(STATE)
        state["callbacks"]["mine"]["path"] = str(tmp_path / name / "best.ckpt")
        if name == "other":
            change(state)
        runs.append(made(tmp_path / name, state))
    assert list(differences(*runs)) == expected


def test_differences_of_curves(tmp_path: Path) -> None:
    rows = "0,0,train,loss,0.5\n0,0,train,samples_per_second,{}\n"
    one = made(tmp_path / "one", STATE, rows.format(1))
    other = made(tmp_path / "other", STATE, rows.format(2))
    assert list(differences(one, other)) == []
    longer = made(tmp_path / "longer", STATE, rows.format(1) * 2)
    assert list(differences(one, longer)) == ["metrics.csv has 1 entries in one and 2 in the other"]


@pytest.mark.parametrize(
    ("first", "cause"),
    [
        ("checkpoint.callbacks.Mine.x is 1 in one and 2 in the other", "a callback whose state_dict()"),
        ("metrics.csv has 3 entries in one and 4 in the other", "values logged outside of self.log"),
        ("checkpoint.trainkit.processes[0].random.torch differs", "draws that depend on time"),
        ("checkpoint.state_dict.a differs", "a Dataset, model or callback with state of its own"),
    ],
)
def test_causes(first: str, cause: str) -> None:
    (finding,) = apply(REHEARSAL_RULES, Rehearsal(20, ("after step 6",), (first, "another")))
    assert finding.severity == "error" and finding.what.endswith(f"{first} and 1 more")
    assert finding.hint.startswith(cause)


def test_a_run_that_was_through_before_it_could_be_killed() -> None:
    assert rehearsal_line(Rehearsal(8, (), ())) == (
        "8 steps whole, and again not killed: it was through: "
        "weights, optimizer, generators and curves are the same to the bit"
    )
