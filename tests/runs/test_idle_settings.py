"""Settings without effect: refused beside a LightningModule of the user's own, told of beside an estimator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

import trainkit as tk
from trainkit.tasks import Regression

Cli = Callable[..., Any]
MODULE = ("module=custom", "module._target_=own.Classifier")
LOADERS = ("data=loaders", "data.train._target_=own.loader")
QUIET = ("logger=none", "trainer.max_epochs=1", "trainer.threads=1")


@pytest.mark.parametrize("choice", ["model=mlp", "task=classification", "optimizer=sgd", "scheduler=constant"])
def test_a_section_that_the_module_stands_in_for(own: Any, cli: Cli, choice: str) -> None:
    code, out, err = cli("fit", *MODULE, *LOADERS, choice)
    section = choice.partition("=")[0]
    assert (code, out) == (2, "")
    assert err.startswith(f"{section} beside a LightningModule, which has its own\n  where    {section}\n")
    with pytest.raises(tk.ConfigError, match=f"{section} beside a LightningModule"):
        tk.fit(module=own.Classifier(), train=own.loader(), overrides=[*QUIET, choice])
    with pytest.raises(tk.ConfigError, match=f"{section} beside a LightningModule"):
        named: Any = {section: choice.partition("=")[2]}
        tk.fit(module=own.Classifier(), train=own.loader(), overrides=QUIET, **named)
    assert not Path("runs").exists()


def test_a_key_of_such_a_section(own: Any, cli: Cli) -> None:
    code, _, err = cli("fit", *MODULE, *LOADERS, "optimizer.lr=1e-3")
    assert code == 2
    assert err == (
        "optimizer.lr beside a LightningModule, which has its own optimizer\n"
        "  where    optimizer.lr=1e-3\n"
        "  hint     an argument of the module: +module.lr=…\n"
    )


def test_a_composed_config_without_the_module(own: Any) -> None:
    with pytest.raises(tk.ConfigError, match="model beside a LightningModule") as caught:
        tk.fit(tk.compose(), module=own.Classifier(), train=own.loader())
    assert "compose with module=custom" in str(caught.value)


def test_a_module_without_data(own: Any, cli: Cli) -> None:
    words = "there is no data, and Classifier has no train_dataloader"
    with pytest.raises(tk.DataError, match=words):
        tk.fit(module=own.Classifier(), overrides=QUIET)
    with pytest.raises(tk.DataError, match=words):
        tk.fit(module=own.Classifier, overrides=QUIET)
    code, _, err = cli("fit", *MODULE)
    assert (code, err.splitlines()[0]) == (2, words)
    assert not Path("runs").exists()
    named = cli("fit", *MODULE, *LOADERS, *QUIET, "run.dir=run")
    assert (named.code, named.stderr) == (0, "")


def test_a_class_that_brings_its_loaders(own: Any, cli: Cli) -> None:
    done = cli("fit", "module=custom", "module._target_=own.Brings", *QUIET, "run.dir=run")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("data   brings · train 20 samples in 2 batches · test 7 samples")
    assert tk.fit(module=own.Brings, overrides=[*QUIET, "run.dir=again"]).steps == 2
    module = own.Brings()
    assert tk.fit(module=module, overrides=[*QUIET, "run.dir=object"]).steps == 2
    assert module.asked[:3] == ["prepare", "fit", "test"]
    assert tk.load_run("run", trust=["own"]).data.name == "brings"
    assert cli("evaluate", "run", "--trust", "own").code == 0


def test_batch_size(own: Any) -> None:
    assert tk.fit(module=own.Classifier(), train=own.Noisy(), batch_size=50, overrides=[*QUIET, "run.dir=a"]).steps == 2
    for given in ({"train": own.loader()}, {"data": own.Points()}, {"data": tk.LoaderData(own.loader())}):
        with pytest.raises(tk.ConfigError, match="batch_size has no effect on loaders of your own"):
            tk.fit(module=own.Classifier(), batch_size=8, overrides=QUIET, **given)
    with pytest.raises(tk.ConfigError, match="batch_size has no effect"):
        tk.fit(module=own.Brings(), batch_size=8, overrides=QUIET)
    loader = DataLoader(own.Noisy(), 10)
    assert tk.fit(module=own.Classifier(), train=loader, overrides=[*QUIET, "run.dir=b"]).steps == 10


def test_settings_of_nets_beside_an_estimator(cli: Cli) -> None:
    idle = ("data.batch_size=8", "data.sampling=balanced", "trainer.monitor=x", "optimizer.lr=1")
    code, out, _ = cli("fit", "data=wine", "model=logistic", *idle, "run.dir=run", "data.split_seed=1")
    assert code == 0
    assert f"note   without effect here: {' '.join(idle)}" in out.splitlines()
    assert "without effect" not in cli("fit", "data=wine", "model=logistic", "run.dir=other").stdout


def test_the_huber_delta_of_another_loss() -> None:
    assert Regression(loss="huber", huber_delta=2.0).huber_delta == 2.0
    with pytest.raises(tk.ConfigError, match=r"task\.huber_delta has no effect on the absolute error"):
        Regression(loss="absolute", huber_delta=2.0)
