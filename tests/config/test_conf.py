"""Every YAML that trainkit ships: composed in every place it can stand, documented, and bound to its signature."""

from __future__ import annotations

import re
from importlib import resources

import pytest
from omegaconf import OmegaConf

from trainkit.config.check import check_config
from trainkit.config.compose import compose
from trainkit.config.shipped import groups
from trainkit.config.targets import judge_config

CHOICES = [f"{group}={choice}" for group, names in groups().items() for choice in names]
NEEDED = {
    "data=images": ["data.path=pics"],
    "model=torchvision": ["model.name=resnet18"],
    "model=timm": ["model.name=resnet18"],
    "model=pretrained": ["model.name=resnet18"],
    "data=table": ["data.path=a.csv", "data.target=y"],
    "data=dataset": ["+data.train._target_=torchvision.datasets.FakeData"],
    "data=custom": ["data._target_=trainkit.data.Digits"],
    "data=loaders": ["data.train._target_=torchvision.datasets.FakeData"],
    "model=custom": ["model._target_=torch.nn.Flatten"],
    "module=custom": ["module._target_=lightning.pytorch.demos.boring_classes.BoringModel"],
}
KEY = re.compile(r"^ *[\w]+:(.*)$")


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes(choice: str) -> None:
    group, _, name = choice.partition("=")
    cfg = compose([choice])
    always = {"seed", "run", "trainer", "callbacks", "logger"}
    parts = {"data", "model", "task", "optimizer", "scheduler"}
    assert set(cfg) >= always | ({"module"} if group == "module" else parts)
    assert group == "experiment" or name in groups()[group]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_fits_its_signature_and_may_be_named_by_a_run_directory(choice: str) -> None:
    checked = check_config(compose([choice, *NEEDED.get(choice, [])]))
    judge_config(checked)


def test_the_experiment_digits_is_the_default_job() -> None:
    assert compose(["experiment=digits"]) == compose()


def test_every_key_says_its_unit_or_its_choices() -> None:
    root = resources.files("trainkit.conf")
    files = [root.joinpath("fit.yaml"), root.joinpath("data", "_common.yaml")]
    files += [root.joinpath(group, f"{name}.yaml") for group, names in groups().items() for name in names]
    for file in files:
        text = file.read_text(encoding="utf-8").split("\nhydra:")[0]
        keys = [line for line in text.splitlines() if KEY.match(line) and not line.strip().endswith(":")]
        bare = [line for line in keys if "  # " not in line and not re.match(r" *(_target_: \w|_partial_)", line)]
        assert bare == [], file.name


def test_keys_are_the_same_in_every_choice_of_data_that_is_split_here() -> None:
    common = set(OmegaConf.create(resources.files("trainkit.conf").joinpath("data", "_common.yaml").read_text()))
    for name in set(groups()["data"]) - {"custom", "loaders"}:
        assert common | {"_target_", "name"} <= set(compose([f"data={name}"]).data)
