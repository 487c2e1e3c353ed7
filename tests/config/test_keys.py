from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from trainkit.config.compose import compose
from trainkit.config.keys import Key, keys_for
from trainkit.config.shipped import groups

CHOICES = [f"{group}={choice}" for group, names in groups().items() for choice in names]


def leaves(config: DictConfig, parent: str = "") -> Iterator[str]:
    """Keys of a composed config with dots, sections only where they are empty."""
    for name in map(str, config):
        node: Any = None if OmegaConf.is_missing(config, name) else config._get_node(name)
        if isinstance(node, DictConfig) and len(node):
            yield from leaves(node, f"{parent}{name}.")
        else:
            yield f"{parent}{name}"


@pytest.mark.parametrize("choice", CHOICES)
def test_the_keys_are_those_that_hydra_composes(choice: str) -> None:
    composed = set(leaves(compose([choice])))
    found = keys_for([choice])
    without_sections = {name for name in found if not any(other.startswith(f"{name}.") for other in found)}
    empty = {"callbacks", "logger"}  # a group whose choice holds nothing has no key
    assert without_sections - empty == composed - empty


def test_keys_follow_the_choices_typed() -> None:
    assert keys_for(["model=cnn"])["model.width"] == Key("32", "channels of the first stage")
    assert "model.hidden" in keys_for(["model=mlp"]) and "model.hidden" not in keys_for()
    assert {"model.width", "model.hidden"} <= keys_for(["-m", "model=mlp,cnn"]).keys()
    assert "callbacks.early_stopping.patience" in keys_for(["callbacks=early_stopping"])
    assert "model.hidden" in keys_for(["experiment=diabetes"])
    assert "model.width" in keys_for(["experiment=diabetes", "model=cnn"])
    assert "model.hidden" in keys_for(["+experiment=diabetes", "seed=1"])


def test_a_choice_that_does_not_exist_has_no_keys() -> None:
    assert not any(name.startswith("model.") for name in keys_for(["model=nothing"]))
    assert "trainer.max_epochs" in keys_for(["model=nothing", "experiment=nothing"])


def test_a_config_of_the_users_own_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "net.yaml").write_text("depth: 2  # layers\nhead:\n  bias: true\n  kind: 'a b'\n")
    (tmp_path / "own" / "train.yaml").write_text(
        "defaults:\n  - fit\n  - override /model: net\n  - _self_\n\nhydra:\n  sweep: {}\nextra: 3\n"
    )
    keys = keys_for([], "own", "train")
    assert (keys["model.depth"], keys["extra"]) == (Key("2", "layers"), Key("3", ""))
    assert keys["model.head"] == Key("", "") and keys["model.head.kind"] == Key("'a b'", "")
    assert "trainer.max_epochs" in keys and not any(name.startswith(("hydra", "defaults")) for name in keys)


@pytest.mark.parametrize(
    ("comment", "words"),
    [
        ("auto | cpu | gpu", ["auto", "cpu", "gpu"]),
        ("fp32 | bf16-mixed", ["fp32", "bf16-mixed"]),
        ("null | balanced | a list of one weight per class", ["null", "balanced"]),
        ("true | false: keep the share of each class", ["true", "false"]),
        ("min | max; filled with trainer.mode", ["min", "max"]),
        ("processes, one per device", []),
        ("name of the data; null: the file's", []),
        ("", []),
    ],
)
def test_the_values_of_a_key_are_read_from_its_comment(comment: str, words: list[str]) -> None:
    assert Key("x", comment).words() == words
