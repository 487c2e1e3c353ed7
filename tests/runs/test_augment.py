"""Augmentation in whole runs: the same bits however a run is cut up, what is refused, and views in the final score."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from sklearn.datasets import load_digits

import trainkit as tk
from trainkit.data.augment import Flip, Mixup
from trainkit.data.augment.base import Samples
from trainkit.rundir import RunDirectory, read_json
from trainkit.training import read_metrics
from trainkit.types import DataSpec

Cli = Callable[..., Any]
FAST = ("evaluation.resamples=20", "evaluation.baseline=false", "logger=none", "trainer.threads=1")
NET = ("model=mlp", "model.hidden=[16]", "data.batch_size=50")
SHORT = (*NET, *FAST, "trainer.max_steps=36", "trainer.log_every_n_steps=6", "checkpoint.every_n_steps=6")
STILL = ("model.dropout=0", "model.input_dropout=0")
ALL = (
    "augment=[digits,mixup_cutmix]",
    *("+augment.policy._target_=trainkit.data.augment.RandAugment", "+augment.policy.max_value=16"),
    *("+augment.jitter._target_=trainkit.data.augment.ColorJitter", "+augment.jitter.max_value=16"),
    *(
        "+augment.erase._target_=trainkit.data.augment.Erase",
        "+augment.resize._target_=trainkit.data.augment.ResizedCrop",
    ),
)


def same(one: RunDirectory, other: RunDirectory) -> None:
    """Weights, curves, optimizer and predictions agree to the last bit."""
    torch.testing.assert_close(load_file(one.weights), load_file(other.weights), rtol=0, atol=0)
    logged = [[row for row in read_metrics(run.metrics) if row["name"] != "samples_per_second"] for run in (one, other)]
    assert logged[0] == logged[1] and logged[0]
    states = [torch.load(run.checkpoints / "step-36.ckpt", weights_only=True) for run in (one, other)]
    torch.testing.assert_close(states[0]["optimizer_states"], states[1]["optimizer_states"], rtol=0, atol=0)
    pd.testing.assert_frame_equal(
        pd.read_parquet(one.predictions), pd.read_parquet(other.predictions), check_exact=True
    )


@pytest.mark.parametrize("sampling", ["shuffle", "balanced"])
def test_steps_per_execution_and_a_stop_in_the_middle_make_no_difference(
    cli: Cli, stop_at: Callable[..., None], tmp_path: Path, sampling: str
) -> None:
    job = (*SHORT, *ALL, f"data.sampling={sampling}", "trainer.steps_per_execution=4")
    assert cli("fit", "run.dir=whole", *job).code == 0
    assert cli("fit", "run.dir=single", *job[:-1], "trainer.steps_per_execution=1").code == 0
    stop_at(15)
    assert cli("fit", "run.dir=stopped", *job).code == 143
    stop_at(None)
    code, out, err = cli("fit", "run.dir=stopped")
    assert (code, err) == (0, "") and "continues from step-" in out
    whole, single, stopped = (RunDirectory(tmp_path / name) for name in ("whole", "single", "stopped"))
    same(whole, single)
    same(whole, stopped)


def test_micro_batches_get_what_the_whole_step_gets(cli: Cli, tmp_path: Path) -> None:
    for name, count in (("one", 1), ("three", 3)):
        assert cli("fit", f"run.dir={name}", *SHORT, *ALL, *STILL, f"trainer.accumulate={count}").code == 0
    one, three = (load_file(RunDirectory(tmp_path / name).weights) for name in ("one", "three"))
    torch.testing.assert_close(one, three, rtol=1e-3, atol=1e-4)


def test_each_augmentation_makes_a_difference(cli: Cli, tmp_path: Path) -> None:
    jobs = {"plain": (), "moved": ("augment=digits",), "flipped": ("augment=flip_crop", "augment.crop=null")}
    for name, overrides in jobs.items():
        assert cli("fit", f"run.dir={name}", *SHORT, *overrides, "trainer.max_steps=6").code == 0
    plain, *others = (load_file(RunDirectory(tmp_path / name).weights) for name in jobs)
    first = next(name for name in plain if name.startswith("net.") and name.endswith("weight"))
    assert all(not torch.equal(plain[first], other[first]) for other in others)


def test_the_plan_tells_what_is_done_and_a_group_composes_with_single_pieces(cli: Cli) -> None:
    rotate = "+augment.rotate._target_=trainkit.data.augment.Rotate"
    chosen = ("augment=flip_crop", "augment.flip.p=0.3", "augment.crop.padding=2", rotate, "+augment.rotate.degrees=20")
    code, out, err = cli("fit", *SHORT, *chosen, "trainer.max_steps=2")
    assert (code, err) == (0, "")
    assert " · augment flip 0.3, crop 2, rotate 20° · fp32 · " in out


@pytest.mark.parametrize(
    ("overrides", "what", "where"),
    [
        (["augment=standard", "data=wine"], "takes pictures, and the data is a table", "augment.resized_crop"),
        (["augment=signal"], "takes signals, and the data is pictures", "augment.shift"),
        (["augment=mixup", "data=wine"], "and the data is a table", "augment.mixup"),
        (["augment=flip_crop", "augment.flip.p=1.5"], "p is 1.5", "augment.flip.p"),
        (
            ["augment=flip_crop", "augment.flip.direction=vertcal"],
            "augment.flip.direction: Flip does not take 'vertcal'",
            "augment.flip.direction",
        ),
        (
            ["augment=flip_crop", "augment.crop.padding=8"],
            "padding 8 of pictures with a side of 8",
            "augment.crop.padding",
        ),
        (["augment=digits", "augment.rotate.degrees=0"], "degrees is 0", "augment.rotate.degrees"),
        (
            ["augment=standard", "augment.resized_crop.scale=[0.5,0.2]"],
            "scale is [0.5, 0.2]",
            "augment.resized_crop.scale",
        ),
        (["augment=standard", "augment.jitter.hue=0.7"], "hue is 0.7", "augment.jitter.hue"),
        (["augment=standard", "augment.jitter.max_value=10"], "values from 0 to 16", "augment.jitter.max_value"),
        (["augment=randaugment", "augment.policy.magnitude=31"], "magnitude is 31", "augment.policy.magnitude"),
        (["augment=mixup", "augment.mixup.alpha=0"], "alpha is 0", "augment.mixup.alpha"),
        (
            ["augment=mixup_cutmix", "augment.mix.choices.cutmix.alpha=-1"],
            "alpha is -1",
            "augment.mix.choices.cutmix.alpha",
        ),
        (["augment=flip_crop", "augment.flip.q=1"], "unknown key 'augment.flip.q'", "augment.flip.q=1"),
        (["+augment.mine._target_=torch.nn.Flatten"], "augment.mine is a Flatten", "augment.mine"),
        (["evaluation.tta=flop"], "evaluation.tta is 'flop'", "evaluation.tta"),
        (["evaluation.tta=1"], "evaluation.tta is 1", "evaluation.tta"),
        (["evaluation.tta=true"], "evaluation.tta is True", "evaluation.tta"),
        (["evaluation.tta=4"], "it has none that makes any", "evaluation.tta"),
        (["evaluation.tta=4", "augment=mixup"], "it has none that makes any", "evaluation.tta"),
        (["evaluation.tta=flip", "data=wine"], "views of pictures, and the data is a table", "evaluation.tta"),
        (["callbacks=augmented"], "there is none", "callbacks"),
        (
            ["augment=mixup", "task=classification", "+task.criterion._target_=torch.nn.NLLLoss"],
            "an augmented batch does not train (mixup 0.2)",
            "augment",
        ),
        (
            [
                *("augment=digits", "module=custom"),
                "module._target_=lightning.pytorch.demos.boring_classes.BoringModel",
            ],
            "augment beside a LightningModule",
            "augment",
        ),
    ],
)
def test_what_cannot_work_is_named_before_training(
    cli: Cli, tmp_path: Path, overrides: list[str], what: str, where: str
) -> None:
    code, _, err = cli("fit", *NET[:1] * ("module=custom" not in overrides), *FAST, *overrides)
    assert code == 2
    assert what in err.splitlines()[0] and where in err
    assert not (tmp_path / "runs").exists()


def test_a_criterion_that_takes_shares_of_classes_learns_from_mixed_samples(cli: Cli) -> None:
    criterion = ("task=classification", "+task.criterion._target_=torch.nn.CrossEntropyLoss")
    code, out, err = cli("fit", *SHORT, "augment=mixup", *criterion, "trainer.max_steps=6")
    assert (code, err) == (0, "") and "augment mixup 0.2" in out


def test_numbers_are_mixed_as_well(cli: Cli, tmp_path: Path) -> None:
    images, labels = load_digits(return_X_y=True)
    np.savez(tmp_path / "numbers.npz", x=images.reshape(-1, 1, 8, 8).astype(np.uint8), y=labels + 0.5)
    data = ("data=arrays", "data.path=numbers.npz", "data.batch_size=50", "model=mlp", "model.hidden=[16]")
    code, out, err = cli(
        "fit", *data, *FAST, "augment=[flip_crop,mixup]", "augment.crop.padding=1", "trainer.max_steps=6"
    )
    assert (code, err) == (0, "") and "regression" in out and "augment flip, crop 1, mixup 0.2" in out


def test_a_classical_model_says_that_augmentation_has_no_effect(cli: Cli) -> None:
    code, out, _ = cli("fit", "model=knn", *FAST, "augment=digits", "evaluation.tta=flip")
    assert code == 0 and "note   without effect here: augment=digits evaluation.tta=flip" in out.replace(
        "logger=none ", ""
    ).replace("trainer.threads=1 ", "")


def test_check_tells_the_augmentation_and_learns_a_batch_without_it(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("check", *SHORT, "augment=mixup_cutmix", "trainer.max_steps=400")
    assert code in (0, 1) and "augment mixup 0.2 or cutmix 1" in out
    plain = cli("check", *SHORT, "trainer.max_steps=400").stdout
    first = [re.search(r"^fits .*: (loss [\d.]+) → ", text, re.MULTILINE) for text in (out, plain)]
    assert first[0] and first[1] and first[0][1] == first[1][1]


def test_a_task_that_does_not_tell_its_classes_is_refused_beside_mixing() -> None:
    spec = DataSpec("image", (1, 8, 8), "class", ("a", "b"))
    with pytest.raises(tk.ConfigError, match="the task has no num_classes") as caught:
        tk.Augment({"m": Mixup()}).check(spec, torch.zeros(2, 1, 8, 8), has_classes_known=False)
    assert caught.value.where == "augment.m"
    tk.Augment({"f": Flip()}).check(spec, torch.zeros(2, 1, 8, 8), has_classes_known=False)


@pytest.mark.parametrize("tta", ["flip", "five_crop", "3"])
def test_views_are_averaged_wherever_the_run_predicts(cli: Cli, tmp_path: Path, tta: str) -> None:
    job = (*SHORT, "trainer.max_steps=12", "augment=[digits,mixup]")
    assert cli("fit", "run.dir=plain", *job).code == 0
    code, out, err = cli("fit", "run.dir=views", *job, f"evaluation.tta={tta}")
    assert (code, err) == (0, "") and f" · means over {dict(flip=2, five_crop=5).get(tta, 3)} views\n" in out
    plain, views = RunDirectory(tmp_path / "plain"), RunDirectory(tmp_path / "views")
    torch.testing.assert_close(load_file(plain.weights), load_file(views.weights), rtol=0, atol=0)
    assert str(OmegaConf.load(views.config).evaluation.tta) == tta
    saved = pd.read_parquet(views.predictions)
    assert not np.allclose(saved["p_0"], pd.read_parquet(plain.predictions)["p_0"])
    assert "unchanged" in cli("evaluate", "views").stdout
    assert read_json(views.result)["metrics"]["test"]["accuracy"]["value"] == pytest.approx(
        tk.evaluate(tmp_path / "views").test["accuracy"].value, abs=0
    )
    images = load_digits().images.astype(np.uint8)[:, None]
    np.save(tmp_path / "some.npy", images[saved["row"]])
    assert cli("predict", "views", "some.npy", "-o", "out.parquet").code == 0
    again = pd.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_array_equal(again["p_3"], saved["p_3"])


def test_views_are_the_mean_of_what_the_net_says_of_each(cli: Cli, tmp_path: Path) -> None:
    assert cli("fit", "run.dir=run", *SHORT, "trainer.max_steps=12", "evaluation.tta=flip").code == 0
    run = tk.load_run(tmp_path / "run")
    images = torch.from_numpy(load_digits().images.astype(np.uint8)[:32, None])
    assert run.model is not None and run.task is not None
    with torch.inference_mode():
        both = [run.task.predictions(run.model(view)) for view in (images, images.flip(-1))]
    found = run.predict(images.numpy()).filter(like="p_").to_numpy()
    np.testing.assert_allclose(found, ((both[0] + both[1]) / 2).numpy(), rtol=1e-12)


def test_augmented_samples_are_shown(cli: Cli, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
        EventAccumulator,
    )

    shown = ("callbacks=augmented", "logger=tensorboard", "callbacks.augmented.every_n_validations=1")
    job = [text for text in SHORT if text != "logger=none"]
    assert cli("fit", "run.dir=run", *job, *shown, "augment=[digits,mixup]", "trainer.max_epochs=2").code == 0
    assert (
        cli("fit", "run.dir=without", *job, "logger=none", "augment=[digits,mixup]", "trainer.max_epochs=2").code == 0
    )
    pictures = EventAccumulator(str(tmp_path / "run"), {"images": 0}).Reload().Images("train/augmented")
    assert len(pictures) == 2 and pictures[0].encoded_image_string != pictures[1].encoded_image_string
    run, without = RunDirectory(tmp_path / "run"), RunDirectory(tmp_path / "without")
    torch.testing.assert_close(load_file(run.weights), load_file(without.weights), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, bool])
def test_labels_are_mixed_and_a_missing_one_stays_with_its_sample(dtype: Any, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    target = generator.integers(0, 2, (60, 3)).astype(dtype)
    inputs = torch.from_numpy(generator.normal(size=(60, 4)).astype(np.float32))
    seen: list[torch.Tensor] = []

    class Seen(torch.nn.MultiLabelSoftMarginLoss):
        def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            seen.append(target)
            return super().forward(input, target)

    tk.fit(
        model=torch.nn.Linear(4, 3),
        train=torch.utils.data.TensorDataset(inputs, torch.from_numpy(target)),
        task=tk.Multilabel(3, criterion=Seen()),
        augment=["mixup"],
        overrides=[f"run.dir={tmp_path / 'run'}", "trainer.max_steps=4", *FAST],
    )
    mixed = torch.cat(seen)
    assert ((mixed > 0) & (mixed < 1)).any() and mixed.is_floating_point()


def test_what_is_not_mixed_keeps_its_target_beside_a_missing_one() -> None:
    target = torch.tensor([[1.0, torch.nan], [torch.nan, 0.0]])
    made = tk.Augment({"mixup": Mixup(p=1e-9)})(Samples(torch.ones(2, 3), target), torch.arange(2), 0)
    torch.testing.assert_close(made.target, target, equal_nan=True)


def test_names_of_augmentations_are_an_argument_of_fit(tmp_path: Path) -> None:
    small = [*SHORT, "trainer.max_steps=2", f"run.dir={tmp_path / 'run'}"]
    tk.fit(augment=["digits", "mixup"], overrides=small)
    config = OmegaConf.load(tmp_path / "run" / "config.yaml")
    assert {"crop", "mixup"} <= set(config.augment)
    with pytest.raises(tk.ConfigError, match="augment is a"):
        tk.fit(augment=tk.Augment({"mixup": Mixup()}), overrides=small)  # type: ignore[arg-type]
