"""A user's own LightningModule under ``fit``: as it is, with loaders or a data module, stopped and gone on with."""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import trainkit as tk
from trainkit.rundir import RunDirectory, read_json
from trainkit.training import read_metrics, usable_checkpoint

Cli = Callable[..., Any]
QUIET = ["logger=none", "trainer.threads=1"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The user's file ``own.py`` in the working directory, imported."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).with_name("own_modules.py"), tmp_path / "own.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own", raising=False)
    yield importlib.import_module("own")
    sys.modules.pop("own", None)


class StopAfter(L.Callback):
    """Signals the process after a batch, counted over epochs."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.fit_loop.epoch_loop.total_batch_idx + 1 == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def fit(directory: str, *overrides: str, **given: Any) -> tk.Result:
    return tk.fit(**given, overrides=[*QUIET, f"run.dir={directory}", *overrides])


def last_checkpoint(directory: str) -> dict[str, Any]:
    path, broken = usable_checkpoint(RunDirectory(Path(directory)))
    assert path is not None and not broken
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    return checkpoint


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Where two checkpoints differ in any bit."""
    if isinstance(one, dict):
        yield from (path for _ in [0] if one.keys() != other.keys())
        for key in one.keys() & other.keys():
            yield from differences(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        yield from (path for _ in [0] if len(one) != len(other))
        for idx, (left, right) in enumerate(zip(one, other, strict=False)):
            yield from differences(left, right, f"{path}[{idx}]")
    elif not (torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other):
        yield path


def gan(own: Any) -> dict[str, Any]:
    return {"module": own.GAN(), "train": own.loader(), "max_epochs": 2}


def classifier(own: Any, schedule: str) -> dict[str, Any]:
    return {"module": own.Classifier(schedule), "train": own.loader(), "val": own.fixed(), "max_epochs": 3}


def pairs(own: Any) -> dict[str, Any]:
    return {"module": own.Pairs("epoch"), "train": {"a": own.loader(), "b": own.loader(50)}, "max_epochs": 2}


def by_hand(own: Any) -> dict[str, Any]:
    return {"module": own.ByHand(), "train": own.loader(), "val": own.fixed(), "max_epochs": 2}


def datamodule(own: Any) -> dict[str, Any]:
    return {"module": own.Classifier("plateau"), "data": own.Points(), "max_epochs": 2}


CASES: dict[str, tuple[Callable[[Any], dict[str, Any]], tuple[str, ...], tuple[int, ...]]] = {
    "gan": (gan, (), (3, 7)),
    "by step": (functools.partial(classifier, schedule="step"), ("checkpoint.every_n_steps=5",), (6, 13)),
    "by epoch": (functools.partial(classifier, schedule="epoch"), (), (7, 20)),
    "plateau": (functools.partial(classifier, schedule="plateau"), (), (4, 14)),
    "validation within an epoch": (
        functools.partial(classifier, schedule="step"),
        ("trainer.val_every_n_epochs=null", "trainer.val_every_n_steps=4"),
        (4, 9),
    ),
    "accumulated": (functools.partial(classifier, schedule="step"), ("trainer.accumulate=3",), (5, 8)),
    "accumulated by hand": (by_hand, (), (3,)),
    "two loaders": (pairs, (), (5,)),
    "a data module": (datamodule, (), (2, 7)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_stopped_run_goes_on_bit_for_bit(case: str, own: Any) -> None:
    make, overrides, stops = CASES[case]

    def start(directory: str, *callbacks: L.Callback) -> tk.Result:
        torch.manual_seed(5)
        return fit(directory, *overrides, **make(own), callbacks=callbacks)

    whole = start("whole")
    for stop in stops:
        with pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)):
            start(f"stopped{stop}", StopAfter(stop))
        result = read_json(Path(f"stopped{stop}/result.json"))
        assert result["status"] == "interrupted" and result["steps"] == stop
        assert start(f"stopped{stop}").steps == whole.steps
        assert not list(differences(last_checkpoint("whole"), last_checkpoint(f"stopped{stop}")))
        assert Path("whole/metrics.csv").read_bytes() == Path(f"stopped{stop}/metrics.csv").read_bytes()


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


def test_a_module_scores_itself_again(own: Any, cli: Cli) -> None:
    words = ["fit", "module=custom", "module._target_=own.Classifier", "data=loaders", "data.train._target_=own.loader"]
    assert cli(*words, "+data.val._target_=own.fixed", *QUIET, "trainer.max_epochs=1", "run.dir=run").code == 0
    before = read_json(Path("run/result.json"))["metrics"]["validation"]
    done = cli("evaluate", "run", "--split", "validation", "--trust", "own")
    assert done.code == 0 and f"loss {before['loss']['value']:.3f}" in done.stdout
    assert cli("evaluate", "run", "--trust", "own").stderr.startswith("the module scores no test part\n")


@pytest.mark.parametrize(("make", "options"), [(gan, ()), (functools.partial(classifier, schedule="epoch"), ())])
def test_more_epochs_in_a_new_directory_are_the_longer_run_to_the_bit(make: Any, options: Any, own: Any) -> None:
    def start(directory: str, epochs: int, **given: Any) -> tk.Result:
        torch.manual_seed(5)
        log = "trainer.log_every_n_steps=5"
        return fit(directory, log, **{**make(own), "max_epochs": epochs, **given})

    start("whole", 4)
    start("first", 2)
    before = Path("first/metrics.csv").read_bytes()
    assert start("second", 4, resume_from="first").steps == 28
    assert not list(differences(last_checkpoint("whole"), last_checkpoint("second")))
    assert Path("whole/metrics.csv").read_bytes() == Path("second/metrics.csv").read_bytes()
    assert read_json(Path("second/environment.json"))["lineage"]["step"] == 14
    assert Path("first/metrics.csv").read_bytes() == before


def test_a_run_that_ended_amid_an_epoch_goes_on_with_the_next(own: Any) -> None:
    fit("first", "trainer.max_epochs=null", module=own.GAN(), train=own.loader(), max_steps=9)
    result = fit("second", module=own.GAN(), train=own.loader(), max_epochs=4, resume_from="first")
    assert (result.steps, result.epochs) == (9 + 2 * 7, 4)
    with pytest.raises(tk.ConfigError, match=r"has done 23 steps, and trainer\.max_epochs=3 asks for 21"):
        fit("third", module=own.GAN(), train=own.loader(), max_epochs=3, resume_from="second")


def test_a_module_starts_from_the_weights_of_another_run(own: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fit("first", module=own.Classifier(), train=own.loader(), max_epochs=1)
    before = tk.load_run("first", module=own.Classifier()).module
    assert before is not None
    module = own.Classifier()
    module.configure_optimizers = lambda: torch.optim.SGD(module.net[4:].parameters(), 1e-9)
    fit("second", module=module, train=own.loader(), max_steps=1, init_from="first")
    assert "init   9 of 9 tensors from first\n" in capsys.readouterr().out
    assert torch.equal(module.net[0].weight, before.get_parameter("net.0.weight"))
