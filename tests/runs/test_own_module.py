"""A user's own LightningModule under ``fit``: as it is, with loaders or a data module, scored and reported."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.utils.data import DataLoader, IterableDataset

import trainkit as tk
from tests.runs.own_runs import QUIET, fit, last_checkpoint
from trainkit.rundir import RunDirectory, read_json
from trainkit.training import read_metrics

Cli = Callable[..., Any]


def test_a_gan_trains_by_config_is_reported_and_goes_on(own: Any, cli: Cli) -> None:
    words = ["fit", "module=custom", "module._target_=own.GAN", "+module.latent_size=4", "data=loaders"]
    words += ["data.train._target_=own.loader", "trainer.max_epochs=2", "trainer.threads=1", "run.dir=run"]
    done = cli(*words)
    assert done.code == 0 and not done.stderr
    assert done.stdout.splitlines() == [
        "data   noisy · train 100 samples in 7 batches",
        "module GAN (your own) · 277 parameters · 2 optimizers by hand · no monitor: the last weights are kept",
        "plan   2 epochs = 14 batches × 16 · fp32 · 1 thread",
        "check  dry batch ok · logs d_loss, d_loss_epoch, d_loss_step, g_loss, g_loss_epoch, g_loss_step",
        "run    run  (Ctrl-C saves; run.dir=run 'run.trust=[own]' continues)",
        *(line for line in done.stdout.splitlines() if line.startswith("train  14/14 · ")),
        "test   no test part",
        "next   tensorboard --logdir . · run/report.html",
    ]
    run = RunDirectory(Path("run"))
    config = tk.load_run("run", trust=["own"]).config
    assert config.module._target_ == "own.GAN" and config.model is None and config.task is None
    result = read_json(run.result)
    assert result["status"] == "completed" and result["steps"] == 14 and result["exact_resume"]
    assert {row["name"] for row in read_metrics(run.metrics)} >= {"g_loss_step", "d_loss_epoch"}
    assert "GAN" in run.report.read_text() and "GAN" in run.model_card.read_text()
    assert cli("fit", "run.dir=run").stdout.startswith("run    run is finished; nothing to do")


def test_the_best_weights_are_those_that_are_scored_and_saved(own: Any) -> None:
    module = own.Classifier("step")
    result = fit("run", module=module, train=own.loader(), val=own.fixed(), test=own.fixed(), max_epochs=4)
    rows = [row for row in read_metrics(RunDirectory(Path("run")).metrics) if row["split"] == "val"]
    losses = [float(row["value"]) for row in rows if row["name"] == "loss"]
    assert result.objective_name == "val_loss" and result.objective_mode == "min"
    assert result.objective == min(losses)
    assert float(result.validation["loss"]) == pytest.approx(min(losses), rel=1e-6)
    assert result.test["loss"].n == 40 and str(result.test["loss"]) == f"{float(result.test['loss']):.3f}"
    loaded = tk.load_run("run", module=own.Classifier("step"))
    assert loaded.module is not None and not loaded.module.training
    for name, tensor in loaded.module.state_dict().items():
        assert torch.equal(tensor, module.state_dict()[name])


def test_the_hooks_of_a_data_module_work_and_it_is_set_up_once(own: Any) -> None:
    class Seen(own.Classifier):  # type: ignore[misc]
        largest = 0.0

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            Seen.largest = max(Seen.largest, float(batch[0].abs().max()))
            return super().training_step(batch, batch_idx)

    data = own.Points()
    fit("run", module=Seen(), data=data, max_epochs=1)
    assert data.asked == ["prepare", "fit", "test"]
    assert Seen.largest > 2 * float(own.Noisy().points.abs().max())
    assert "train_dataloader" not in vars(data)


def test_a_data_module_by_config_and_one_without_validation(own: Any, cli: Cli) -> None:
    words = ["fit", "module=custom", "module._target_=own.Classifier", "data=custom", "data._target_=own.TrainOnly"]
    done = cli(*words, *QUIET, "trainer.max_epochs=1")
    assert done.code == 0 and "no monitor" in done.stdout and "no test part" in done.stdout
    assert done.stdout.startswith("data   trainonly · train 100 samples in 7 batches\n")


@pytest.mark.parametrize("data", ["digits", "wine"])
def test_the_data_of_trainkit_comes_as_prepared_batches(data: str, own: Any, cli: Cli) -> None:
    Path("flat.py").write_text(
        "from torch import nn\nfrom torchmetrics.classification import MulticlassAccuracy\nimport own\n\n\n"
        "class Flat(own.Classifier):\n"
        "    def __init__(self, in_features, num_classes):\n        super().__init__()\n"
        "        self.net = nn.Linear(in_features, num_classes)\n"
        "        self.accuracy = MulticlassAccuracy(num_classes)\n"
        "        self.val_accuracy = MulticlassAccuracy(num_classes)\n\n"
        "    def forward(self, inputs):\n        assert inputs.is_floating_point() and abs(float(inputs.mean())) < 1\n"
        "        return self.net(inputs.flatten(1))\n"
    )
    words = ["fit", "module=custom", "module._target_=flat.Flat", "+module.in_features=???", "+module.num_classes=???"]
    done = cli(*words, f"data={data}", *QUIET, "trainer.max_epochs=1", "run.dir=run")
    assert done.code == 0, done.stderr
    assert "split  train " in done.stdout and "monitor val_loss ↓" in done.stdout
    assert read_json(Path("run/result.json"))["metrics"]["test"]["loss"]["n"] in (270, 27)


def test_max_steps_counts_batches_whatever_optimizers_there_are(own: Any) -> None:
    result = fit("run", "trainer.max_epochs=null", module=own.GAN(), train=own.loader(), max_steps=9)
    assert result.steps == 9
    assert last_checkpoint("run")["global_step"] == 18


def test_a_loader_without_a_length_trains_and_says_that_it_goes_on_inexactly(own: Any) -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            data = own.Noisy(40)
            return (data[idx] for idx in range(40))

    result = fit("run", module=own.Classifier(), train=DataLoader(Stream(), 16), max_epochs=2)
    assert result.steps == 6
    assert not result.facts["exact_resume"] and "no order by indices" in result.facts["exact_resume_reasons"][0]


def test_loaders_and_datasets_of_all_kinds_are_taken(own: Any) -> None:
    class Brings(own.Classifier):  # type: ignore[misc]
        def train_dataloader(self) -> Any:
            return own.loader(20)

    assert fit("a", module=Brings(), max_epochs=1).steps == 2
    assert fit("b", module=own.Classifier(), train=own.Noisy(), batch_size=50, max_epochs=1).steps == 2
    partial = functools.partial(own.Classifier, width=4)
    assert fit("c", module=partial, train=own.loader(), max_epochs=1).steps == 7
    assert read_json(Path("c/environment.json"))["sources"]["own.Classifier"]["sha256"]
    assert tk.load_run("c", trust=["own"]).module is not None


def test_early_stopping_and_what_a_module_saves_that_is_not_plain(own: Any) -> None:
    module = own.Classifier(extra=Path("x"))
    stop = EarlyStopping("val_loss", patience=1, min_delta=10.0)
    result = fit("run", module=module, train=own.loader(), val=own.fixed(), max_epochs=9, callbacks=[stop])
    assert result.epochs == 2
    assert last_checkpoint("run")["hyper_parameters"] == {"schedule": "step", "width": 8, "extra": "PosixPath('x')"}


def test_a_module_scores_itself_again(own: Any, cli: Cli) -> None:
    words = ["fit", "module=custom", "module._target_=own.Classifier", "data=loaders", "data.train._target_=own.loader"]
    assert cli(*words, "+data.val._target_=own.fixed", *QUIET, "trainer.max_epochs=1", "run.dir=run").code == 0
    before = read_json(Path("run/result.json"))["metrics"]["validation"]
    done = cli("evaluate", "run", "--split", "validation", "--trust", "own")
    assert done.code == 0 and f"loss {before['loss']['value']:.3f}" in done.stdout
    assert cli("evaluate", "run", "--trust", "own").stderr.startswith("the module scores no test part\n")
