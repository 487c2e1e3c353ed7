"""A user's mistake on the command line: its cause in a few lines, exit code 2, before training, nothing left behind."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from trainkit.config.shipped import groups

Cli = Callable[..., Any]
Case = tuple[str, str]
MODELS = ", ".join(groups()["model"])

MODULE = """
import lightning as L
import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from trainkit.data import ArrayData


class Vectors(ArrayData):
    def __init__(self, fault="none", **common):
        super().__init__(**{**common, "name": "vectors"})
        self.fault = fault

    def arrays(self):
        inputs, labels = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
        if self.fault == "hole":
            inputs[[3, 8], 1] = np.nan
        if self.fault == "infinite":
            inputs[5, 0] = -np.inf
        if self.fault == "label":
            labels[7] = 3
        if self.fault == "one class":
            labels[:] = 1
        if self.fault == "short":
            labels = labels[:-1]
        keep = slice(0, 0) if self.fault == "empty" else slice(None)
        return inputs[keep], labels[keep], ["a", "b", "c"]


class Samples(Dataset):
    def __init__(self, fault="none"):
        self.fault = fault

    def __len__(self):
        return {"empty": 0, "few": 4}.get(self.fault, 60)

    def __getitem__(self, index):
        if self.fault == "triple":
            return torch.zeros(4), index % 3, 1.0
        inputs, label = torch.full((4,), float(index)), index % 3
        if self.fault in ("nan", "inf") and index == 9:
            inputs[2] = float(self.fault)
        if self.fault == "label" and index == 7:
            label = -1
        return inputs, 1 if self.fault == "one class" else label


class Net(nn.Module):
    def __init__(self, features=64, outputs=10, several=False):
        super().__init__()
        self.layer, self.several = nn.Linear(features, outputs), several

    def forward(self, images):
        if images[0].numel() != self.layer.in_features:
            raise ValueError(f"{self.layer.in_features} features wanted")
        outputs = self.layer(images.flatten(1))
        return (outputs, outputs) if self.several else outputs


class Frozen(Net):
    def __init__(self):
        super().__init__()
        self.requires_grad_(False)


class Watcher(L.Callback):
    def __init__(self, monitor):
        self.monitor = monitor
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module and tables, in which the command line runs."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("faulty", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "faulty.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import no_such_package\n")
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": generator.normal(40, 10, 60).round(1),
            "city": generator.choice(["Rome", "Oslo"], 60),
            "Churn": ["yes", "no"] * 30,
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    table.iloc[:0].to_csv(tmp_path / "header.csv", index=False)
    (tmp_path / "empty.csv").write_text("")
    table.iloc[::2].to_csv(tmp_path / "one.csv", index=False)
    table.iloc[:3].to_csv(tmp_path / "three.csv", index=False)
    table.rename(columns={"age": "years"}).to_csv(tmp_path / "other.csv", index=False)
    table.assign(Churn=table["Churn"].where(table.index != 4)).to_csv(tmp_path / "gaps.csv", index=False)
    table.assign(age=table["age"].where(table.index != 6, np.inf)).to_csv(tmp_path / "inf.csv", index=False)
    return tmp_path


TABLE = "fit data=table data.target=Churn data.path="
MINE = "fit data._target_=faulty.Vectors +data.fault="
DATASET = "fit data=dataset +data.train._target_=faulty.Samples +data.train.fault="
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
                                   "  expected one of fp32, bf16-mixed\n  hint     did you mean 'fp32'?\n"),
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
    # files and columns
    (f"{TABLE}tt.csv", "there is no file tt.csv\n  where    data.path\n  hint     did you mean 't.csv'?\n"),
    (f"{TABLE}no/t.csv", "there is no file no/t.csv\n  where    data.path\n  hint     the folder no does not exist\n"),
    ("fit data=table data.path=t.csv", "data.target is not given\n  where    data.target\n  hint     data.target=…\n"),
    (f"{TABLE}t.csv data.target=Chrun",
     "the table has no column 'Chrun'\n  where    data.target\n"
     "  expected one of age, city, Churn\n  hint     did you mean 'Churn'?\n"),
    (f"{TABLE}t.csv data.target=xyz",
     "the table has no column 'xyz'\n  where    data.target\n  expected one of age, city, Churn\n"),
    (f"{TABLE}t.csv data.ignore=[citty]",
     "data.ignore names 'citty', which is not a column of the table\n  where    data.ignore\n"
     "  expected one of age, city\n  hint     did you mean 'city'?\n"),
    (f"{TABLE}t.csv data.test_path=other.csv",
     "'other.csv' lacks the columns age\n  where    data\n  expected those of t.csv\n"),
    (f"{TABLE}empty.csv", "empty.csv is empty\n  where    empty.csv\n  expected a header and at least one row\n"),
    (f"{TABLE}header.csv",
     "header.csv has no rows\n  where    header.csv\n  expected a header and at least one row\n"),
    (f"{TABLE}one.csv", "target 'Churn' has one class only: 'yes' in all 30 rows\n  where    data.target\n"
                        "  expected at least two classes\n"),
    (f"{TABLE}gaps.csv", "target 'Churn' is missing in 1 row: 4 (counted from 0)\n  where    data.target\n"
                         "  expected a value in every row\n  hint     remove these rows from the table\n"),
    (f"{TABLE}inf.csv", "column 'age' holds inf in row 6\n  where    column 'age'\n"
                        "  expected a finite number below 3.4e+38 in size\n  hint     rows are counted from 0\n"),
    (f"{TABLE}inf.csv data.target=age",
     "target 'age' is inf in row 6\n  where    data.target\n  expected a finite number in every row\n"),
    (f"{TABLE}three.csv data.target=age",
     "the val part is empty: 0.15 of 3 rows\n  where    the split\n"
     "  expected a row in each part; train 2 · val 0 · test 1\n"
     "  hint     more rows, or other data.val_share and data.test_share\n"),
    # arrays and datasets of the user's own
    (f"{MINE}hole", "2 rows of the inputs of vectors have numbers that are NaN or infinite\n"
                    "  where    data, rows 3, 8\n"
                    "  expected finite numbers\n"
                    "  hint     rows are counted from 0; leave them out, or fill them in\n"),
    (f"{MINE}infinite", "1 row of the inputs of vectors has numbers that are NaN or infinite\n  where    data, row 5\n"
                        "  expected finite numbers\n"
                    "  hint     rows are counted from 0; leave them out, or fill them in\n"),
    (f"{MINE}label", "label 3 of vectors is out of range\n  where    data, row 7\n"
                     "  expected an integer from 0 to 2\n"),
    (f"{MINE}'one class'", "every target of vectors is of one class (1)\n  where    data\n  expected at least two\n"),
    (f"{MINE}short", "vectors has 60 inputs and 59 targets\n  where    data\n"),
    (f"{MINE}empty", "vectors is empty\n  where    data\n"),
    (f"{DATASET}'nan'", "inputs has NaN or infinite values\n  where    data, sample 9\n  expected finite numbers\n"),
    (f"{DATASET}'inf'", "inputs has NaN or infinite values\n  where    data, sample 9\n  expected finite numbers\n"),
    (f"{DATASET}label", "label -1 of samples is out of range\n  where    data, row 7\n"
                        "  expected an integer from 0 to 2\n"),
    (f"{DATASET}'one class'",
     "every target of samples is of one class (1)\n  where    data\n  expected at least two\n"),
    (f"{DATASET}empty", "Samples is empty\n  where    data.train\n"),
    (f"{DATASET}triple", "a sample is a list of 3\n  where    data.train\n"
                         "  expected (inputs, target), or a dict with the target\n"),
    (f"{DATASET}few", "the val part is empty: 0.15 of 4 rows\n  where    the split\n"
                      "  expected a row in each part; train 3 · val 0 · test 1\n"
                      "  hint     more rows, or other data.val_share and data.test_share\n"),
    ("fit data=dataset", "data.train is not given\n  where    data.train\n  hint     data.train=…\n"),
    # splits and batches
    ("fit data.test_share=0.0001", "the test part is empty: 0.0001 of 1,797 rows\n  where    the split\n"
                                   "  expected a row in each part; train 1527 · val 270 · test 0\n"
                                   "  hint     more rows, or other data.val_share and data.test_share\n"),
    ("fit data.val_share=0.5 data.test_share=0.5",
     "data.val_share and data.test_share leave no rows to train on\n  where    data\n"
     "  expected a sum below 1, not 1\n"),
    ("fit data.batch_size=9999 data.drop_last=true",
     "1258 training samples make no whole batch of 9999\n  where    data.batch_size\n"),
    ("fit model=mlp model.norm=batch data.batch_size=1257",
     "BatchNorm would get a micro-batch of one sample\n  where    data.batch_size\n"
     "  expected larger micro-batches\n  hint     data.drop_last=true, or another data.batch_size\n"),
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
def test_a_mistake_is_told_in_a_few_lines_and_leaves_nothing(cli: Cli, folder: Path, command: str, text: str) -> None:
    before = sorted(folder.rglob("*"))
    words = command.replace("'one class'", "'one_class'").split()
    code, out, err = cli(*(word.replace("one_class", "one class") for word in words))
    assert (code, re.sub(r"\.py:\d+", ".py:LINE", err.replace(str(folder), "HERE"))) == (2, text)
    assert out == ""
    assert sorted(folder.rglob("*")) == before


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


def test_an_unseen_category_is_no_error_and_is_counted(cli: Cli, folder: Path) -> None:
    table = pd.read_csv("t.csv")
    common = ("data=table", "data.path=t.csv", "data.target=Churn", "trainer.max_steps=2", "logger=none")
    assert cli("fit", "run.dir=run", "evaluation.resamples=50", *common).code == 0
    table.loc[[3, 5], "city"] = "Atlantis"
    table.drop(columns="Churn").to_csv("new.csv", index=False)
    code, out, err = cli("predict", "run", "new.csv", "-o", "out.csv")
    assert (code, err) == (0, "")
    assert out == (
        "unseen city: 2 rows of categories that training never saw (unknown bucket)\nfile   out.csv · 60 rows\n"
    )
    made = pd.read_csv("out.csv")
    assert list(made) == ["row", "prediction", "p_no", "p_yes"] and len(made) == 60
    assert np.isfinite(made[["p_no", "p_yes"]]).all(axis=None)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"columns": "age"}, "the table lacks 1 feature column: age\n  expected the 2 feature columns of training\n"),
        ({"index": range(60)}, "new.csv has no rows\n  where    new.csv\n  expected a header and at least one row\n"),
    ],
)
def test_predict_refuses_another_table(cli: Cli, folder: Path, change: dict[str, Any], text: str) -> None:
    common = ("data=table", "data.path=t.csv", "data.target=Churn", "model=logistic")
    assert cli("fit", "run.dir=run", "evaluation.resamples=50", *common).code == 0
    pd.read_csv("t.csv").drop(**change).to_csv("new.csv", index=False)
    assert cli("predict", "run", "new.csv", "-o", "out.csv") == (2, "", text)
    assert not (folder / "out.csv").exists()


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("out.xlsx", "cannot write 'out.xlsx'\n  where    OUT\n  expected a .csv or a .parquet\n"),
        ("no/out.csv", "there is no directory 'no'\n  where    OUT\n"),
    ],
)
def test_predict_refuses_an_output_it_cannot_write(cli: Cli, folder: Path, output: str, text: str) -> None:
    assert cli("predict", "nowhere", "t.csv", "-o", output) == (2, "", text)
