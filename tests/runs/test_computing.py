"""How a net computes: memory format, precision, compilation and recomputed activations, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from torch import nn

import trainkit as tk
from tests.runs.conftest import FAST, WINE, fit
from trainkit.models import CNN, Network
from trainkit.rundir import RunDirectory, read_json
from trainkit.runs.computing import computing, matching

Cli = Callable[..., Any]

SHORT = ("trainer.max_epochs=2", "logger=none", *FAST)
IMAGES = (
    *("data=digits", "data.train_share=0.15", "data.batch_size=16"),
    *("model=cnn", "model.width=8", "trainer.threads=1"),
)
OWN = ("data=digits", "module=custom", "module._target_=own.Classifier")
CHECKPOINTING = "trainer.activation_checkpointing"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trainer(**settings: Any) -> Any:
    return OmegaConf.create({"compile": False, "precision": "fp32", "activation_checkpointing": None, **settings})


def weights(run: RunDirectory) -> dict[str, torch.Tensor]:
    return load_file(run.weights)


def test_images_have_their_channels_last_by_default_and_predict_as_they_were_scored(tmp_path: Path) -> None:
    run = fit(tmp_path / "run", *IMAGES, *SHORT)
    plain = fit(tmp_path / "plain", *IMAGES, *SHORT, "trainer.channels_last=false")
    loaded = tk.load_run(run.path)
    assert isinstance(loaded.model, Network) and loaded.model.is_channels_last
    kernel = next(p for p in loaded.model.net.parameters() if p.ndim == 4 and p.shape[1] > 1)
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    saved = pd.read_parquet(run.predictions)
    loaded.data.setup()
    again = loaded.predict(loaded.data.source.inputs[saved["row"].to_list()])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(again["p_0"].to_numpy(), saved["p_0"].to_numpy())
    assert not tk.load_run(plain.path).model.is_channels_last  # type: ignore[union-attr]
    one, other = (pd.read_parquet(made.predictions)[["p_0", "p_1"]].to_numpy() for made in (run, plain))
    np.testing.assert_allclose(one, other, atol=0.05)  # the same up to rounding, which training blows up


def test_a_net_without_convolutions_keeps_its_format(tmp_path: Path) -> None:
    run = fit(tmp_path / "run", "data=digits", "model=mlp", *SHORT)
    assert not tk.load_run(run.path).model.is_channels_last  # type: ignore[union-attr]


def test_activations_computed_anew_change_no_bit(tmp_path: Path) -> None:
    options = (*IMAGES, *SHORT, "model.dropout=0.3")
    kept = fit(tmp_path / "kept", *options)
    anew = fit(tmp_path / "anew", *options, f"{CHECKPOINTING}=[*]")
    assert all(torch.equal(tensor, weights(anew)[name]) for name, tensor in weights(kept).items())


def test_activations_computed_anew_are_not_kept() -> None:
    torch.manual_seed(0)
    blocks = nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), nn.GELU()) for _ in range(6)))
    network, inputs = Network(nn.Sequential(blocks, nn.Linear(64, 1))), torch.randn(32, 64)

    def kept() -> int:
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):  # type: ignore[func-returns-value]
            network(inputs).sum()
        return sum(sizes)

    before = kept()
    with computing(network, trainer(activation_checkpointing=["0.*"])):
        assert kept() < before / 2
    assert kept() == before


def test_patterns_name_the_outermost_modules() -> None:
    net = CNN(1, 3, 8, width=4)
    outermost = [name for name, _ in net.named_children()]
    assert list(matching(net, ["*"])) == outermost
    assert list(matching(net, [])) == []


def test_narrow_weights_are_wide_again_afterwards(tmp_path: Path) -> None:
    run = fit(tmp_path / "run", "data=digits", "model=mlp", *SHORT, "trainer.precision=bf16-true")
    own = {
        name: tensor for name, tensor in weights(run).items() if name.startswith("net.") and tensor.is_floating_point()
    }
    assert {tensor.dtype for tensor in own.values()} == {torch.float32}
    assert all(torch.equal(tensor, tensor.bfloat16().float()) for tensor in own.values())
    saved, loaded = pd.read_parquet(run.predictions), tk.load_run(run.path)
    loaded.data.setup()
    again = loaded.predict(loaded.data.source.inputs[saved["row"].to_list()])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(again["p_0"].to_numpy(), saved["p_0"].to_numpy())


def test_a_compiled_run_learns_the_same_and_saves_the_same_names(tmp_path: Path) -> None:
    run = fit(tmp_path / "run", *WINE, *SHORT, "trainer.compile={backend: aot_eager}")
    plain = fit(tmp_path / "plain", *WINE, *SHORT)
    assert weights(run).keys() == weights(plain).keys()
    for name, tensor in weights(plain).items():
        torch.testing.assert_close(tensor, weights(run)[name], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="torch.compile needs a C++ compiler")
def test_a_run_is_compiled_by_torchs_own_compiler(tmp_path: Path) -> None:
    run = fit(tmp_path / "run", *WINE, *SHORT, "trainer.compile=true")
    plain = fit(tmp_path / "plain", *WINE, *SHORT)
    for name, tensor in weights(plain).items():
        torch.testing.assert_close(tensor, weights(run)[name], rtol=1e-2, atol=1e-3)


def test_the_average_is_what_is_validated_and_kept(tmp_path: Path) -> None:
    run = fit(tmp_path / "run", *WINE, *SHORT, "trainer.ema=0.9")
    state = torch.load(run.checkpoints / read_json(run.best)["file"], weights_only=True)
    average = state["trainkit"]["average"]["weights"]
    kept = weights(run)
    assert all(torch.equal(average[f"model.{name}"], kept[name]) for name in kept if f"model.{name}" in average)
    trained = state["state_dict"]
    assert not any(torch.equal(trained[name], average[name]) for name in average if name.endswith("weight"))
    best = read_json(run.best)["monitor"]["value"]
    assert tk.evaluate(run.path, split="validation").validation["accuracy"].value == pytest.approx(best)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("trainer.precision=fp16-mixed",
         "fp16-mixed needs a GPU | trainer.precision | bf16-mixed, bf16-true or fp32 on a CPU"),
        ("trainer.ema=1",
         "trainer.ema is 1.0 | trainer.ema | a number between 0 and 1, such as 0.999, or null for none"),
        ("trainer.compile=maybe",
         "trainer.compile is 'maybe' | trainer.compile | "
         "true, false, or settings of torch.compile such as {mode: max-autotune}"),
        ("trainer.channels_last=never",
         "trainer.channels_last is 'never' | trainer.channels_last | true, false or auto"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(override: str, told: str, cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("fit", "run.dir=run", "trainer.accelerator=cpu", *WINE, override)
    assert code == 2 and not (tmp_path / "run").exists()
    what, where, expected = told.split(" | ")
    assert err == f"{what}\n  where    {where}\n  expected {expected}\n"


def test_a_pattern_that_names_nothing_is_told_with_what_there_is(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("fit", "run.dir=run", *IMAGES, f"{CHECKPOINTING}=[bloks.*]")
    assert code == 2 and err.startswith("no module of the net is called 'bloks.*'\n  where    trainer.activation_ch")
    assert "hint" in err and not (tmp_path / "run").exists()


def test_no_compiler_is_told_before_training(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    code, _, err = cli("fit", "run.dir=run", "trainer.accelerator=cpu", *WINE, "trainer.compile=true")
    assert code == 2 and err.startswith("trainer.compile has no C++ compiler\n") and not (tmp_path / "run").exists()


def test_a_module_of_ones_own_decides_on_its_gradients(cli: Cli, own: Any) -> None:
    code, _, err = cli("fit", "run.dir=run", *OWN, "trainer.on_nonfinite=skip")
    assert code == 2 and "trainer.on_nonfinite=skip does not reach into a LightningModule of your own\n" in err


@pytest.mark.parametrize("setting", ["ema=0.9", "compile=true", f"{CHECKPOINTING.split('.')[1]}=[net]"])
def test_a_module_of_ones_own_sees_to_itself(setting: str, cli: Cli, own: Any) -> None:
    code, _, err = cli("fit", "run.dir=run", *OWN, f"trainer.{setting}")
    key = setting.split("=")[0]
    assert code == 2 and f"trainer.{key} does not reach into a LightningModule of your own\n" in err
