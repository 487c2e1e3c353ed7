"""Runs on flat parameters: what they learn, what their checkpoints hold, and when the optimizer steps itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import trainkit as tk
from tests.runs.conftest import FAST, WINE, Same, fit
from trainkit.rundir import RunDirectory, read_json
from trainkit.training import TrainModule
from trainkit.training.lean import LeanSteps

Cli = Callable[..., Any]
SHORT = (*WINE, *FAST, "logger=none", "trainer.max_epochs=3", "model.dropout=0")
OPTIMIZERS = ("adamw", "adam", "sgd")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def weights(run: RunDirectory) -> dict[str, Tensor]:
    return load_file(run.weights)


def checkpoint(run: RunDirectory) -> dict[str, Any]:
    path = run.checkpoints / read_json(run.last)["file"]
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[LeanSteps]:
    """What carried out the steps of each run."""
    made: list[LeanSteps] = []
    init = LeanSteps.__init__

    def noted(self: LeanSteps, *args: Any) -> None:
        init(self, *args)
        made.append(self)

    monkeypatch.setattr(LeanSteps, "__init__", noted)
    return made


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_learns_what_the_optimizer_itself_would(optimizer: str, tmp_path: Path) -> None:
    options = (*SHORT, f"optimizer={optimizer}", "trainer.accumulate=2", "trainer.ema=0.9")
    flat = fit(tmp_path / "flat", *options)
    own = fit(tmp_path / "own", *options, "trainer.flat_parameters=false")
    torch.testing.assert_close(weights(flat), weights(own), rtol=1e-3, atol=1e-4)


def test_checkpoints_are_the_ordinary_ones(tmp_path: Path) -> None:
    flat, own = (
        checkpoint(fit(tmp_path / name, *SHORT, f"trainer.flat_parameters={name}")) for name in ("auto", "false")
    )
    state, ordinary = (saved["optimizer_states"][0] for saved in (flat, own))
    assert state["state"].keys() == ordinary["state"].keys()
    for key, entry in state["state"].items():
        assert {name: value.shape for name, value in entry.items()} == {
            name: value.shape for name, value in ordinary["state"][key].items()
        }
        assert float(entry["step"]) == float(ordinary["state"][key]["step"])
    assert "lacks_gradients" not in flat["trainkit"]


def test_a_run_goes_on_from_either_layout(cli: Cli, tmp_path: Path) -> None:
    constant = ("scheduler=constant", "scheduler.warmup=0")
    whole = fit(tmp_path / "whole", *SHORT, *constant, "trainer.max_epochs=4")
    for first, second in (("auto", "false"), ("false", "auto")):
        begun = fit(
            tmp_path / f"begun-{first}",
            *SHORT,
            "scheduler=constant",
            "scheduler.warmup=0",
            f"trainer.flat_parameters={first}",
        )
        command = (f"resume_from={begun.path}", "trainer.max_epochs=4", f"trainer.flat_parameters={second}")
        assert cli("fit", f"run.dir=on-{first}", *command).code == 0
        on = checkpoint(RunDirectory(tmp_path / f"on-{first}"))
        torch.testing.assert_close(on["state_dict"], checkpoint(whole)["state_dict"], rtol=1e-3, atol=1e-4)


class Unused(nn.Module):
    """Has a layer that only some steps use."""

    def __init__(self, first_use: int = 10**9) -> None:
        super().__init__()
        self.layer, self.idle = nn.Linear(13, 3), nn.Linear(13, 3)
        self.first_use, self.calls = first_use, 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += self.training
        outputs: Tensor = self.layer(inputs)
        return outputs + self.idle(inputs) if self.calls > self.first_use else outputs


def test_a_layer_without_gradients_is_left_alone(steps: list[LeanSteps], tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Unused()
    before = net.idle.weight.detach().clone()
    small = [f"run.dir={tmp_path / 'run'}", *FAST, "logger=none", "trainer.max_epochs=2", "trainer.threads=1"]
    tk.fit(model=net, data="wine", overrides=small)
    assert torch.equal(net.idle.weight, before)  # no weight decay either
    assert steps[0].lacks_gradients and steps[0].flat is None
    assert checkpoint(RunDirectory(tmp_path / "run"))["trainkit"]["lacks_gradients"] is True


def test_the_nets_memory_is_its_own_again(tmp_path: Path) -> None:
    net = nn.Linear(13, 3)
    small = [f"run.dir={tmp_path / 'run'}", *FAST, "logger=none", "trainer.max_epochs=1", "trainer.threads=1"]
    tk.fit(model=net, data="wine", overrides=small)
    for p in net.parameters():
        assert p.grad is None and p.untyped_storage().nbytes() == 4 * p.numel()


class Counts(L.Callback):
    """Counts the calls of a hook that Lightning's own step makes."""

    def __init__(self) -> None:
        self.gradients: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.gradients.append(float(pl_module.model.net.weight.grad.norm()))


class Listens(L.Callback):
    """Wants to hear of every backward pass."""

    def __init__(self) -> None:
        self.calls = 0

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        self.calls += 1


def test_callbacks_are_called_as_by_lightning(steps: list[LeanSteps], tmp_path: Path) -> None:
    small = [*FAST, "logger=none", "trainer.max_epochs=2", "trainer.threads=1", "data.batch_size=40"]
    for callback in (Counts(), Listens()):
        overrides = [f"run.dir={tmp_path / type(callback).__name__}", *small]
        result = tk.fit(model=nn.Linear(13, 3), data="wine", callbacks=[callback], overrides=overrides)
        assert result.facts["steps"] == 8
        if isinstance(callback, Counts):
            assert len(callback.gradients) == 8 and min(callback.gradients) > 0
            assert len(steps) == 1 and steps[0].flat is None  # it might put other tensors in place of the weights
        else:
            assert callback.calls == 8 and len(steps) == 1  # by Lightning's own steps


def test_ones_own_trainer_has_lightnings_steps(steps: list[LeanSteps]) -> None:
    samples = TensorDataset(torch.randn(60, 13), torch.arange(60) % 3)
    module = TrainModule(nn.Linear(13, 3), tk.Classification(3))
    trainer = L.Trainer(
        max_steps=3, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    )
    trainer.fit(module, DataLoader(samples, 20), DataLoader(samples, 20))
    assert trainer.global_step == 3 and steps == []


def test_stopped_amid_powers_of_two_it_goes_on_to_the_bit(
    cli: Cli, stop_at: Callable[..., None], assert_same_run: Same, tmp_path: Path
) -> None:
    whole = fit(tmp_path / "whole", *SHORT, "trainer.clip_value=0.1")
    stop_at(5)
    assert cli("fit", "run.dir=stopped", *SHORT, "trainer.clip_value=0.1", "trainer.steps_per_execution=1").code == 143
    stop_at(None)
    assert cli("fit", "run.dir=stopped").code == 0
    assert_same_run(whole, RunDirectory(tmp_path / "stopped"))


def test_gradients_that_were_set_to_none_are_attached_again(tmp_path: Path) -> None:
    """As Lightning does before each validation; here after steps that are no power of two."""

    class Zeroes(L.Callback):
        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            pl_module.zero_grad(set_to_none=True)

    options = [*SHORT, "data.batch_size=50", "trainer.max_epochs=5"]  # three steps an epoch
    for flat in ("auto", "false"):
        overrides = [f"run.dir={tmp_path / flat}", *options, f"trainer.flat_parameters={flat}"]
        tk.fit(callbacks=[Zeroes()], overrides=overrides)
    one, other = (checkpoint(RunDirectory(tmp_path / flat)) for flat in ("auto", "false"))
    torch.testing.assert_close(one["state_dict"], other["state_dict"], rtol=1e-4, atol=1e-5)


Change = Callable[[nn.Module, int, L.Trainer], None]


class EachEpoch(L.Callback):
    """Does something to the net before every epoch."""

    def __init__(self, change: Change) -> None:
        self.change = change

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.change(pl_module.model.net, trainer.current_epoch, trainer)  # type: ignore[union-attr, arg-type]


def clamp(net: Any, epoch: int, trainer: L.Trainer) -> None:
    net[0].weight.data = net[0].weight.data.clamp(-0.2, 0.2)


def reload_state(net: Any, epoch: int, trainer: L.Trainer) -> None:
    state = trainer.optimizers[0].state_dict()
    for values in state["state"].values():
        values["exp_avg"] = torch.zeros_like(values["exp_avg"])
    trainer.optimizers[0].load_state_dict(state)


def drop_state(net: Any, epoch: int, trainer: L.Trainer) -> None:
    if epoch == 2:
        trainer.optimizers[0].state.clear()


def hook(net: Any, epoch: int, trainer: L.Trainer) -> None:
    if epoch == 1:
        trainer.optimizers[0].register_step_post_hook(lambda *_: net[0].weight.data.mul_(0.9))


def forget_some(net: Any, epoch: int, trainer: L.Trainer) -> None:
    net[3].zero_grad()


def raise_dropout(net: Any, epoch: int, trainer: L.Trainer) -> None:
    net[2].p = (0.0, 0.5, 0.0, 0.3)[epoch]


def other_layer(net: Any, epoch: int, trainer: L.Trainer) -> None:
    if epoch == 1:
        net[1] = nn.Tanh()


def one_more_layer(net: Any, epoch: int, trainer: L.Trainer) -> None:
    if epoch == 1:
        net.append(nn.Tanh())


@pytest.mark.parametrize(
    "change",
    [clamp, reload_state, drop_state, hook, forget_some, raise_dropout, other_layer, one_more_layer],
    ids=lambda change: change.__name__,
)
def test_what_a_callback_changes_between_epochs_is_noticed(change: Change, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(160, 12, generator=generator), torch.randint(0, 3, (160,), generator=generator)
    learned = []
    for layout in ("auto", "false"):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
        settings = [f"run.dir={tmp_path / layout}", "data.batch_size=16", "trainer.max_epochs=4", "logger=none"]
        settings += ["data.val_share=0", "data.test_share=0", "evaluation.baseline=false", "trainer.threads=1"]
        settings += [f"trainer.flat_parameters={layout}", "optimizer.lr=0.01"]
        tk.fit(model=net, train=data, callbacks=[EachEpoch(change)], overrides=settings)
        learned.append(net.state_dict())
    torch.testing.assert_close(learned[0], learned[1], rtol=1e-4, atol=1e-5)
