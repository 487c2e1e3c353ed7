from __future__ import annotations

import pytest
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trainkit.config.messages import from_omegaconf, unknown_key
from trainkit.config.schema import schema


@pytest.fixture
def reference() -> DictConfig:
    typed = OmegaConf.create(schema())
    typed.merge_with(
        {"model": {"_target_": "trainkit.models.auto"}, "optimizer": {"lr": 0.1}, "task": {"criterion": None}}
    )
    return typed


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("sede", "did you mean 'seed'?"),
        ("lr", "did you mean 'optimizer.lr'?"),
        ("max_epochs", "did you mean 'trainer.max_epochs'?"),
        ("trainer.max_epoch", "did you mean 'trainer.max_epochs'?"),
        ("trianer.max_epochs", "did you mean 'trainer.max_epochs'?"),
        ("model.hidden", "model=mlp has it"),
        ("task.criterion._target_", "what is null or ??? is filled with a plus: +task.criterion._target_=…"),
        ("model.mine", "an argument of your own class is added with a plus: +model.mine=…"),
        ("trainer.mine", None),
    ],
)
def test_hint_for_an_unknown_key(reference: DictConfig, key: str, hint: str | None) -> None:
    error = unknown_key(key, reference, f"{key}=1")
    assert (error.what, error.where, error.hint) == (f"unknown key '{key}'", f"{key}=1", hint)


def test_without_a_near_name_the_valid_ones_are_listed(reference: DictConfig) -> None:
    assert unknown_key("checkpoint.qqq", reference).expected == (
        "one of checkpoint.every_n_steps, checkpoint.every_n_epochs, checkpoint.every_n_minutes, checkpoint.keep, "
        "checkpoint.on_error"
    )
    assert unknown_key("anything", OmegaConf.create()).expected is None


def test_a_missing_value(reference: DictConfig) -> None:
    cfg = OmegaConf.create({"data": {"path": "???"}})
    with pytest.raises(OmegaConfBaseException) as caught:
        _ = cfg.data.path
    assert str(from_omegaconf(caught.value, reference)) == "data.path is not given\n  hint     data.path=…"


def test_a_list_that_is_none_shows_the_override(reference: DictConfig) -> None:
    with pytest.raises(OmegaConfBaseException) as caught:
        OmegaConf.update(reference, "run.trust", "mypkg")
    assert str(from_omegaconf(caught.value, reference, "run.trust=mypkg")) == (
        "run.trust cannot be 'mypkg'\n  where    run.trust=mypkg\n  expected a list, each text"
    )
