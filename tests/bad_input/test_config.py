"""A user's mistake in the words of a command: told before training, with nothing left behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainkit.config.shipped import groups

Cli = Callable[..., Any]
Case = tuple[str, str]
MODELS = ", ".join(groups()["model"])
NET = "fit model=custom model._target_=faulty.Net"
CALLBACK = "fit +callbacks.watch._target_="
CASES: list[Case] = [
    # commands, groups, keys, values
    ("fitt", "unknown command 'fitt'\n"
             "  expected one of fit, check, evaluate, predict, list, new\n"
             "  hint     did you mean 'fit'?\n"),
    ("fit modle=mlp", "unknown key 'modle'\n  where    modle=mlp\n  hint     did you mean 'model'?\n"),
    ("fit model=mpl", "group 'model' has no 'mpl'\n  where    model=mpl\n"
                      f"  expected one of {MODELS}\n"
                      "  hint     did you mean 'mlp'?\n"),
    ("fit sede=1", "unknown key 'sede'\n  where    sede=1\n  hint     did you mean 'seed'?\n"),
    ("fit trainer.max_epoch=3", "unknown key 'trainer.max_epoch'\n  where    trainer.max_epoch=3\n"
                                "  hint     did you mean 'trainer.max_epochs'?\n"),
    ("fit seed=abc", "seed cannot be 'abc'\n  where    seed=abc\n  expected an integer\n"),
    ("fit trainer.max_epochs=many", "trainer.max_epochs cannot be 'many'\n  where    trainer.max_epochs=many\n"
                                    "  expected an integer or null\n"),
    ("fit optimizer.lr=fast", "optimizer.lr: AdamW does not take 'fast'\n  expected a number\n"),
    ("fit optimizer.lr=-1", "torch.optim.AdamW cannot be built: Invalid learning rate: -1\n  where    optimizer\n"),
    ("fit scheduler.warmup=2.0", "warm-up 2.0 is out of range\n  where    scheduler.warmup\n"
                                 "  expected steps as an integer ≥ 0, or a share of the run in [0, 1)\n"),
    ("fit trainer.precision=fp3", "trainer.precision is 'fp3'\n  where    trainer.precision\n"
                                   "  expected one of fp32, bf16-mixed, bf16-true, fp16-mixed\n"
                                   "  hint     did you mean 'fp32'?\n"),
    ("fit data.batch_size=0", "data.batch_size is 0\n  where    data.batch_size\n  expected at least 1\n"),
    # targets and their arguments
    ("fit model=custom model._target_=no_such_package.Net",
     "no module 'no_such_package' for 'no_such_package.Net'\n  where    model._target_\n"
     "  hint     is it installed, or in the working directory?\n"),
    ("fit model=custom model._target_=faulty.Nett",
     "'faulty' has no 'Nett'\n  where    model._target_\n  hint     did you mean 'Net'?\n"),
    ("fit model=custom model._target_=broken.Net",
     "importing 'broken' for 'broken.Net' failed: ModuleNotFoundError: No module named 'no_such_package'\n"
     "  where    model._target_\n"),
    ("fit model=custom", "model has no _target_\n  where    model._target_\n  expected a dotted name\n"
                         "  hint     model._target_=mypkg.MyClass\n"),
    (f"{NET} +model.featurs=3", "model.featurs: Net takes no argument 'featurs'\n"
                                "  expected one of features, outputs, several\n  hint     did you mean 'features'?\n"),
    ("fit model=custom model._target_=torch.nn.Linear",
     "model.in_features: Linear needs an argument 'in_features'\n"
     "  hint     +model.in_features=???, which the data fills\n"),
    ("fit model=mlp model.hidden=big", "model.hidden: MLP does not take 'big'\n  expected a list, each an integer\n"),
    # monitors
    ("fit trainer.monitor=val/acuracy",
     "nobody logs 'val/acuracy'\n  where    trainer.monitor\n"
     "  expected one of train/loss, train/accuracy, val/loss, val/accuracy\n  hint     did you mean 'val/accuracy'?\n"),
    ("fit data.val_share=0 trainer.monitor=val/loss",
     "there is no validation part in which to watch 'val/loss'\n  where    trainer.monitor\n  expected null\n"
     "  hint     data.val_share=0.15 draws one\n"),
    ("fit trainer.monitor=train/loss trainer.log_every_n_steps=50",
     "'train/loss' is logged every 50 steps, and looked at after 20\n  where    trainer.monitor\n"
     "  expected a value of the validation, or one logged before\n  hint     trainer.log_every_n_steps=20\n"),
    ("fit callbacks=early_stopping callbacks.early_stopping.monitor=val/los",
     "nobody logs 'val/los'\n  where    callbacks, EarlyStopping.monitor\n"
     "  expected one of train/loss, train/accuracy, val/loss, val/accuracy, lr, grad_norm, train/samples_per_second\n"
     "  hint     did you mean 'val/loss'?\n"),
    (f"{CALLBACK}faulty.Watcher +callbacks.watch.monitor=val/f1",
     "nobody logs 'val/f1'\n  where    callbacks, Watcher.monitor\n"
     "  expected one of train/loss, train/accuracy, val/loss, val/accuracy, lr, grad_norm, train/samples_per_second\n"),
    ("fit callbacks=early_stopping data.val_share=0",
     "callbacks.early_stopping.monitor is not given: there is no validation part\n"
     "  where    callbacks.early_stopping.monitor\n  hint     callbacks.early_stopping.monitor=…\n"),
    (f"{CALLBACK}lightning.pytorch.callbacks.StochasticWeightAveraging +callbacks.watch.swa_lrs=0.1",
     "StochasticWeightAveraging cannot work here: its pass for BatchNorm would train the model\n"
     "  where    callbacks\n  hint     lightning.pytorch.callbacks.EMAWeightAveraging\n"),
    # models that do not fit
    (f"{NET} +model.outputs=7",
     "the model gives outputs of shape [batch, 7]\n  where    model\n  expected [batch, 10], a logit for each class\n"),
    (f"{NET} +model.features=63",
     "Net does not take a batch: ValueError: 63 features wanted\n"
     "  where    model, HERE/faulty.py:LINE\n  expected a net for inputs float32 [64, 1, 8, 8]\n"),
    (f"{NET} +model.several=true", "the model gives a tuple\n  where    model\n  expected one tensor\n"),
    ("fit model=custom model._target_=faulty.Frozen",
     "the model has no trainable parameters\n  where    model\n"),
    ("fit model=custom model._target_=collections.OrderedDict",
     "the model is a OrderedDict\n  where    model\n  expected an nn.Module or a scikit-learn estimator\n"),
    ("fit model=linear", "Ridge does not fit a target of classes\n  where    model\n  hint     use model=logistic\n"),
    ("fit task=regression", "the task is for a number, and the target of digits is a class\n"
                            "  where    task\n  expected task=classification, or task=auto\n"),
    ("fit model=cnn data=wine", "model.in_channels is not given, and the data does not decide it\n"
                                "  where    model.in_channels\n"
                                "  hint     model=auto takes what fits the data, or model.in_channels=…\n"),
    # run directories
    ("evaluate nowhere", "there is no run directory 'nowhere'\n  where    RUN\n"),
    ("predict nowhere t.csv -o out.csv", "there is no run directory 'nowhere'\n  where    RUN\n"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "text"), CASES, ids=[command for command, _ in CASES])
def test_a_mistake_is_told_in_a_few_lines_and_leaves_nothing(
    refused: Callable[[str, str], None], command: str, text: str
) -> None:
    refused(command, text)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("run.dir=t.csv/here", "'t.csv/here' cannot be made: Not a directory\n  where    run.dir\n"),
        ("run.root=t.csv", "'t.csv/digits' cannot be made: Not a directory\n  where    run.root, run.name\n"),
    ],
)
def test_a_run_directory_that_cannot_be_made(cli: Cli, folder: Path, option: str, text: str) -> None:
    before = sorted(folder.rglob("*"))
    code, _, err = cli("fit", "model=mlp", option)
    assert (code, re.sub(r"\d{4}-[\d_-]+", "TIME", err)) == (2, text)
    assert sorted(folder.rglob("*")) == before


def test_more_gpus_than_exist(cli: Cli, folder: Path) -> None:
    there = torch.cuda.device_count()
    expected = f"at most {there}" if there else "trainer.accelerator=cpu on this machine"
    assert cli("fit", "trainer=gpu", f"trainer.devices={there + 1}") == (
        2,
        "",
        f"trainer.devices={there + 1} GPUs asked for, {there} found\n"
        f"  where    trainer.devices\n  expected {expected}\n",
    )
    assert not (folder / "runs").exists()


def test_a_mistake_in_a_sweep_stops_it_before_the_first_job(cli: Cli, folder: Path) -> None:
    code, out, err = cli("fit", "-m", "seed=0,one", "model=mlp")
    assert (code, out) == (2, "")
    assert err == "seed cannot be 'one'\n  where    seed=0,one\n  expected an integer\n"
    assert not (folder / "runs").exists()
