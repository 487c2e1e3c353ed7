"""Freezing, unfreezing, rates by depth and cached features: what trains when, exactly, and what is refused."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import trainkit as tk
from tests.runs.conftest import FAST, Same, StopAt, fit
from trainkit.models import CNN, Network
from trainkit.models.anatomy import anatomy_of
from trainkit.optim import build_optimizer
from trainkit.rundir import RunDirectory
from trainkit.runs.build import build_parts
from trainkit.runs.finetuning import tuning_of

Cli = Callable[..., Any]

IMAGES = (
    *("data=digits", "data.train_share=0.15", "data.batch_size=16"),
    *("model=cnn", "model.width=8", "trainer.threads=1", "trainer.max_epochs=4", "logger=none"),
    *FAST,
)
PROBE = "finetune=linear_probe"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def parts(*overrides: str) -> Any:
    return build_parts(tk.compose([*IMAGES, *overrides]))


def initial(*overrides: str) -> dict[str, torch.Tensor]:
    made = parts(*overrides)
    return {f"net.{name}": tensor.clone() for name, tensor in made.network.net.state_dict().items()}


def changed(run: RunDirectory, start: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in load_file(run.weights).items() if name in start and not tensor.equal(start[name])}


@pytest.mark.parametrize("cache", ["auto", "false"])
def test_a_probe_trains_the_head_alone_and_no_statistic_moves(cache: str, tmp_path: Path) -> None:
    run = fit(tmp_path / "run", *IMAGES, PROBE, f"finetune.cache={cache}")
    head = parts(PROBE)
    names = {f"net.{name}" for name, p in head.network.net.named_parameters() if p.requires_grad}
    assert changed(run, initial(PROBE)) == names and 0 < len(names) < 4


def test_cached_features_give_the_same_head_and_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cached = fit(tmp_path / "cached", *IMAGES, PROBE, "model.dropout=0.0")
    out = capsys.readouterr().out
    assert "cache  features of 1,797 samples in " in out and " parameters train, the others stay random\n" in out
    plain = fit(tmp_path / "plain", *IMAGES, PROBE, "model.dropout=0.0", "finetune.cache=false")
    assert "cache  " not in capsys.readouterr().out
    for name, tensor in load_file(plain.weights).items():
        torch.testing.assert_close(load_file(cached.weights)[name], tensor, rtol=1e-3, atol=1e-4)


def test_what_stays_random_is_told_and_what_was_learned_is_not(cli: Cli, tmp_path: Path) -> None:
    first = fit(tmp_path / "first", *IMAGES, "trainer.max_epochs=1")
    out = cli("fit", *IMAGES, PROBE, f"init_from={first.path}", "trainer.max_epochs=1").stdout
    assert " parameters train\n" in out and "stay random" not in out


@pytest.mark.parametrize(
    "options",
    [(PROBE,), ("finetune=gradual", "finetune.unfreeze_every=9"), ("finetune=full", "finetune.head_lr=0.01")],
)
def test_stopped_and_continued_is_the_whole_run(
    options: tuple[str, ...], cli: Cli, stop_at: StopAt, assert_same_run: Same, tmp_path: Path
) -> None:
    whole = fit(tmp_path / "whole", *IMAGES, *options)
    stop_at(20)
    command = ("fit", "run.dir=stopped", *IMAGES, *options, "trainer.steps_per_execution=1")
    assert cli(*command).code == 128 + signal.SIGTERM
    stop_at(None)
    code, _, err = cli("fit", "run.dir=stopped")
    assert (code, err) == (0, "")
    assert_same_run(whole, RunDirectory(tmp_path / "stopped"))


def test_blocks_train_one_after_the_other_from_the_head_down() -> None:
    made = parts("finetune=gradual", "finetune.unfreeze_every=10")
    tuning = tuning_of(made.network, made.config, 100)
    assert tuning is not None
    numbers = [len(tuning.frozen_at(step)) for step in (0, 9, 10, 20, 1000)]
    assert numbers[0] == numbers[1] > numbers[2] > numbers[3] and numbers[4] == 0
    last = tuning.anatomy.blocks[-1]
    assert {name.rpartition(".")[0] for name in tuning.frozen - tuning.frozen_at(10)} == {
        name.rpartition(".")[0] for name in tuning.frozen if any(name.startswith(f"{block}.") for block in last)
    }


def test_rates_fall_with_the_depth_and_the_head_may_have_its_own() -> None:
    made = parts("finetune=full", "finetune.layer_decay=0.5", "finetune.head_lr=0.02", "optimizer.lr=0.01")
    optimizer, anatomy = build_optimizer(made.optimizer, made.network), anatomy_of(made.network.net)
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, p in made.network.net.named_parameters():
        depth = anatomy.depth_of(name)
        assert rate[id(p)] == pytest.approx(0.02 if depth == 0 else 0.01 * 0.5**depth)


def test_what_stands_still_computes_as_in_evaluation() -> None:
    network = parts(PROBE).network.train()
    norms = [module for module in network.net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)
    moving = parts(PROBE, "finetune.norm=train").network.train()
    assert all(m.training for m in moving.net.modules() if isinstance(m, torch.nn.BatchNorm2d))
    still = parts("finetune.norm=eval").network.train()
    assert not any(m.training for m in still.net.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert all(p.requires_grad for p in still.net.parameters())


def test_blocks_and_names_may_be_frozen() -> None:
    first = [name for name, p in parts("finetune.freeze=1").network.net.named_parameters() if not p.requires_grad]
    module = next(name for name, _ in CNN(1, 10, 8, width=8).named_children())
    named = parts(f"finetune.freeze=[{module}.0*]").network.net
    assert first and [name for name, p in named.named_parameters() if not p.requires_grad]


def test_a_run_is_tuned_from_the_weights_of_another(cli: Cli, tmp_path: Path) -> None:
    parent = fit(tmp_path / "parent", *IMAGES)
    assert cli("fit", "run.dir=run", *IMAGES, PROBE, f"init_from={parent.path}").code == 0
    ours, theirs = load_file(tmp_path / "run" / "model.safetensors"), load_file(parent.weights)
    same = {name for name in ours if ours[name].equal(theirs[name])}
    assert {name for name in ours if name.startswith("net.")} - same and len(same) > 5


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (("finetune.freeze=layr1*",), "nothing in the net is called 'layr1*'"),
        (("finetune.freeze=99",), "finetune.freeze is 99, and the net has "),
        (("finetune.freeze=0",), "finetune.freeze is 0"),
        (("finetune.norm=evil",), "finetune.norm is 'evil'"),
        (("finetune.cache=maybe",), "finetune.cache is 'maybe'"),
        (("finetune.layer_decay=1.5",), "layer_decay is 1.5"),
        (("finetune.head_lr=0",), "head_lr is 0"),
        (("finetune.unfreeze_every=5",), "nothing is frozen that could be unfrozen"),
        (("finetune=gradual", "finetune.unfreeze_every=1.5"), "unfreeze_every is 1.5"),
        (("finetune.cache=true",), "features cannot be computed once: more than the head trains, or moves"),
        (("finetune.freeze=['*']",), "the model has no trainable parameters"),
    ],
)
def test_what_cannot_be_tuned(overrides: tuple[str, ...], what: str, cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("fit", "run.dir=run", *IMAGES, *overrides)
    assert code == 2 and err.startswith(what) and not (tmp_path / "run").exists()


def test_a_head_alone_is_computed_on_features() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    network, inputs = Network(net), torch.randn(5, 3)
    whole = network(inputs)
    network.head = "2"
    assert torch.equal(network(net[1](net[0](inputs))), whole)
    assert network.state_dict().keys() == Network(net).state_dict().keys()
