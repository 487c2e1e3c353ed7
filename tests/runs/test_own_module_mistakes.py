"""Mistakes in a user's own LightningModule, found before anything is written, and what its runs cannot do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn

import trainkit as tk
from tests.runs.own_runs import QUIET, fit

Cli = Callable[..., Any]


class NoOptimizer(L.LightningModule):
    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return batch[0].sum().requires_grad_()  # type: ignore[no-any-return]


class GivesNone(NoOptimizer):
    def configure_optimizers(self) -> None:
        return None


class WantsTwo(GivesNone):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        one, two = self.optimizers()  # type: ignore[attr-defined]
        one.step(), two.step()


class NoStep(L.LightningModule):
    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([nn.Parameter(torch.zeros(1))])


class Fails(GivesNone):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return nn.Linear(7, 2)(batch[0]).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([nn.Parameter(torch.zeros(1))])


class Unpicklable(GivesNone):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return (batch[0] * self.weight).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["mine"] = Path("x")


@pytest.mark.parametrize(
    ("module", "overrides", "message"),
    [
        (NoOptimizer, (), "NoOptimizer has no optimizer"),
        (GivesNone, (), "GivesNone has no optimizer: configure_optimizers gives none"),
        (WantsTwo, (), "WantsTwo has no optimizer: configure_optimizers gives none"),
        (NoStep, (), "NoStep has no training_step"),
        (Unpicklable, (), "the checkpoint's 'mine' holds a pathlib.PosixPath, which a checkpoint does not load again"),
        (Fails, (), "Fails fails on a batch: RuntimeError: mat1 and mat2 shapes cannot be multiplied (16x4 and 7x2)"),
        ("Classifier", ("trainer.monitor=val_los",), "nobody logs 'val_los'"),
        ("Classifier", ("trainer.devices=2", "trainer.accelerator=cpu"), "a LightningModule of your own trains in one"),
        (
            "Classifier",
            ("trainer.steps_per_execution=8",),
            "a LightningModule takes single batches, not 8 steps at once",
        ),
        ("ByHand", ("trainer.clip_norm=1",), "ByHand optimizes by hand, and trainer.clip_norm would have no effect"),
        ("ByHand", ("trainer.accumulate=2",), "ByHand optimizes by hand, and trainer.accumulate would have no effect"),
        ("Classifier", ("callbacks=early_stopping", "callbacks.early_stopping.monitor=acc"), "nobody logs 'acc'"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(
    module: Any, overrides: tuple[str, ...], message: str, own: Any
) -> None:
    made = getattr(own, module)() if isinstance(module, str) else module()
    with pytest.raises(tk.TrainkitError) as caught:
        fit("run", *overrides, module=made, train=own.loader(), val=own.fixed(), max_epochs=1)
    assert str(caught.value).startswith(message)
    assert not Path("run").exists()


def test_random_generators_stay_as_they_are_under_the_trial(own: Any) -> None:
    from trainkit.runs.devices import find_devices
    from trainkit.runs.own_module import build_module_parts
    from trainkit.runs.own_trial import look
    from trainkit.runs.parts import LiveObjects

    config = tk.compose(["module=custom", "module._target_=own.Classifier", *QUIET])
    parts = build_module_parts(config, LiveObjects(module=own.Classifier(), data=tk.LoaderData(own.loader())))
    before, weights = torch.get_rng_state(), {k: v.clone() for k, v in parts.module.state_dict().items()}
    seen = look(parts, find_devices(parts.config))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in parts.module.state_dict().items())
    assert seen.num_optimizers == 1 and "train_loss_epoch" in seen.names and seen.monitor is None


def test_loaders_need_a_module_that_knows_what_is_in_them(own: Any, cli: Cli) -> None:
    done = cli("fit", "data=loaders", "data.train._target_=own.loader")
    assert done.code == 2 and done.stderr.startswith("nothing is known of the batches of a loader of your own\n")


def test_what_such_a_run_cannot_do_is_said(own: Any, cli: Cli) -> None:
    fit("run", module=functools.partial(own.Classifier), train=own.loader(), max_epochs=1)
    Path("new.csv").write_text("x\n1\n")
    done = cli("predict", "run", "new.csv", "-o", "out.csv", "--trust", "own")
    assert done.code == 2 and done.stderr.startswith("'run' is a run of Classifier, a LightningModule of your own\n")
    done = cli("evaluate", "run", "--trust", "own")
    assert done.code == 2 and done.stderr.startswith("the data of this run was given in Python\n")
