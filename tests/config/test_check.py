from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from trainkit.config.check import SIZES, check_config
from trainkit.config.compose import compose
from trainkit.config.resolvers import active_spec
from trainkit.errors import ConfigError
from trainkit.types import DataSpec

Make = Callable[..., DictConfig]
NET = "one of in_features, num_outputs, hidden, dropout, norm, bias, extra"


def _mistake(cfg: DictConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        check_config(cfg)
    return str(caught.value)


def test_a_good_config_comes_back_typed_with_defaults_and_is_not_changed(config: Make) -> None:
    cfg = config(trainer={"precision": "bf16", "max_epochs": 3}, hydra={"job": {}})
    checked = check_config(cfg)
    assert (checked.trainer.precision, checked.trainer.max_epochs, checked.checkpoint.keep) == ("bf16-mixed", 3, 2)
    assert cfg.trainer.precision == "bf16" and "checkpoint" not in cfg and "hydra" not in checked
    assert OmegaConf.is_missing(checked.model, "num_outputs")


def test_sizes_are_those_of_a_data_spec() -> None:
    image = DataSpec("image", (1, 8, 8), "class", ("a", "b"))
    table = DataSpec("table", (4,), "number")
    signal = DataSpec("signal", (1, 40), "number")
    labels = DataSpec("table", (4,), "multilabel", ("a", "b"))
    kinds = (image, table, signal, labels)
    assert {name for spec in kinds for name in spec.sizes()} == SIZES


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ({"hiden": [8]}, f"model.hiden: Net takes no argument 'hiden'\n  expected {NET}\n"
                         "  hint     did you mean 'hidden'?"),
        ({"_parital_": True}, f"model._parital_: Net takes no argument '_parital_'\n  expected {NET}\n"
                              "  hint     did you mean '_partial_'?"),
        ({"hidden": "wide"}, "model.hidden: Net does not take 'wide'\n  expected a list, each an integer"),
        ({"hidden": [8, "a"]}, "model.hidden: Net does not take [8, 'a']\n  expected a list, each an integer"),
        ({"dropout": True}, "model.dropout: Net does not take True\n  expected a number"),
        ({"bias": 1}, "model.bias: Net does not take 1\n  expected true or false"),
        ({"norm": "batsh"}, "model.norm: Net does not take 'batsh'\n  expected one of batch, none"),
        ({"in_features": 2.5}, "model.in_features: Net does not take 2.5\n  expected an integer"),
        ({"dropout": "???"}, "model.dropout is not given\n  where    model.dropout\n  hint     model.dropout=…"),
        ({"_args_": [1, 2, [3], 0.1, "none", True, None, 8]}, "model._args_: Net takes 7 arguments by position, not 8"),
    ],
)  # fmt: skip
def test_an_argument_that_does_not_fit(config: Make, model: dict[str, Any], text: str) -> None:
    assert _mistake(config(model=model)) == text


def test_a_missing_argument_says_how_to_give_it(config: Make) -> None:
    wide = {"_target_": "standins.Wide"}
    assert _mistake(config(model=wide)) == (
        "model.num_classes: Wide needs an argument 'num_classes'\n"
        "  hint     +model.num_classes=???, which the data fills"
    )
    rows = {"_target_": "standins.Rows"}
    assert _mistake(config(data={"_target_": "standins.Data", "train": rows})) == (
        "data.train.part: Rows needs an argument 'part'\n  hint     +data.train.part=…"
    )


@pytest.mark.parametrize(
    "model",
    [
        {"hidden": [], "dropout": 0, "norm": "none", "extra": "anything", "bias": False},
        {"_target_": "standins.Open", "whatever": 1},
        {"_target_": "standins.Wide", "num_classes": "${spec:num_classes}", "width": 3},
        {"_target_": "standins.Wide", "num_classes": "${seed}", "width": "${optimizer.lr}"},
        {"_target_": "standins.Wide", "_args_": [3]},
        {"_target_": "standins.Wide", "_partial_": True},
        {"_target_": "standins.pair", "first": {"_target_": "standins.Wide", "num_classes": 3}, "second": None},
    ],
)
def test_arguments_that_fit(config: Make, model: dict[str, Any]) -> None:
    check_config(config(model=model))


def test_size_names_are_filled_only_where_the_data_is_known(config: Make) -> None:
    data = {"_target_": "standins.Data", "batch_size": "???"}
    assert _mistake(config(data=data)) == (
        "data.batch_size is not given\n  where    data.batch_size\n  hint     data.batch_size=…"
    )


def test_nested_targets_are_bound_in_mappings_and_lists(config: Make) -> None:
    wrong = {"_target_": "standins.Wide", "num_classes": 2, "widht": 3}
    text = "Wide takes no argument 'widht'\n  expected one of num_classes, width\n  hint     did you mean 'width'?"
    pair = {"_target_": "standins.pair", "first": [{"deep": wrong}], "second": None}
    assert _mistake(config(model=pair)) == f"model.first[0].deep.widht: {text}"


def test_a_criterion_that_is_a_function_is_handed_over_and_not_called(config: Make) -> None:
    task = {"_target_": "trainkit.tasks.Regression", "criterion": {"_target_": "torch.nn.functional.huber_loss"}}
    assert _mistake(config(task=task)) == (
        "task.criterion: the function huber_loss would be called while the task is built\n  where    task.criterion\n"
        "  hint     +task.criterion._partial_=true hands it over"
    )
    task["criterion"]["_partial_"] = True  # type: ignore[index]
    check_config(config(task=task))


def test_a_section_without_a_target(config: Make) -> None:
    text = (
        "model has no _target_\n  where    model._target_\n  expected a dotted name\n"
        "  hint     model._target_=mypkg.MyClass"
    )
    assert _mistake(config(model={"_target_": "???"})) == text
    assert _mistake(config(model=None)) == "model is not given\n  where    model\n  expected a mapping with a _target_"
    assert _mistake(config(model="mlp")) == "model is 'mlp'\n  where    model\n  expected a mapping with a _target_"


def test_the_schedule_may_be_left_out(config: Make) -> None:
    assert check_config(config(scheduler=None)).scheduler is None


def test_live_sections_need_no_target(config: Make) -> None:
    check_config(config(model=None), live={"model"})


def test_a_target_that_is_no_callable(config: Make) -> None:
    assert _mistake(config(model={"_target_": "standins.number"})) == (
        "'standins.number' is a int, not a class or function\n  where    model._target_"
    )


def test_a_target_that_does_not_exist(config: Make) -> None:
    assert _mistake(config(model={"_target_": "standins.Nett"})) == (
        "'standins' has no 'Nett'\n  where    model._target_\n  hint     did you mean 'Net'?"
    )


def test_collections_hold_one_target_per_name(config: Make) -> None:
    check_config(config(callbacks={"off": None, "on": {"_target_": "standins.Open"}}))
    assert _mistake(config(callbacks={"mine": {"patience": 3}})).startswith("callbacks.mine has no _target_")
    assert _mistake(config(callbacks=["standins.Open"])) == (
        "callbacks is no mapping of names to _target_s\n  where    callbacks"
    )


def test_a_key_inherited_from_the_choice_whose_target_was_replaced() -> None:
    cfg = compose(["model=mlp", "data.name=digits"])
    cfg.model._target_ = "torch.nn.Flatten"
    with pytest.raises(ConfigError) as caught:
        check_config(cfg, live={"data"})
    assert str(caught.value) == (
        "model.in_features: Flatten takes no argument 'in_features'; "
        "it comes from model=mlp, whose _target_ was replaced\n"
        "  expected one of start_dim, end_dim\n"
        "  hint     start from an empty node: model=custom model._target_=torch.nn.Flatten"
    )


@pytest.mark.parametrize(
    ("target", "hint"),
    [("torch.optim.SGD", "optimizer=sgd"), ("torch.optim.Rprop", "leave it out: ~optimizer.betas")],
)
def test_an_inherited_key_of_the_optimizer(config: Make, target: str, hint: str) -> None:
    optimizer = {"_target_": target, "_partial_": True, "betas": [0.9, 0.999]}
    with pytest.raises(ConfigError) as caught:
        check_config(config(optimizer=optimizer))
    assert caught.value.what == (
        f"optimizer.betas: {target.rpartition('.')[2]} takes no argument 'betas'; "
        "it comes from optimizer=adamw, whose _target_ was replaced"
    )
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        ({"trainer": {"max_epoch": 3}}, "unknown key 'trainer.max_epoch'\n"
                                        "  hint     did you mean 'trainer.max_epochs'?"),
        ({"trainer": {"max_epochs": "x"}}, "trainer.max_epochs cannot be 'x'\n  expected an integer or null"),
        ({"seed": None}, "seed cannot be null\n  expected an integer"),
        ({"sede": 1}, "unknown key 'sede'\n  expected one of seed, resume_from, init_from, run, trainer, checkpoint, "
                      "launch, evaluation, finetune, data, model, task, optimizer, scheduler, module, augment, "
                      "callbacks, logger, or a key unlike these\n"
                      "  hint     did you mean 'seed'?"),
        ({"trainer": {"devices": 0}}, "trainer.devices is 0\n  where    trainer.devices\n  expected at least 1"),
        ({"task": {"weights": "${nothing.there}"}}, "task.weights: Interpolation key 'nothing.there' not found"),
    ],
)  # fmt: skip
def test_mistakes_in_keys_and_values(config: Make, sections: dict[str, Any], text: str) -> None:
    assert _mistake(config(**sections)) == text


def test_keys_of_the_users_own_are_left_alone(config: Make) -> None:
    assert check_config(config(width=8, model={"dropout": "${width}"})).width == 8


def test_an_active_spec_is_used(config: Make) -> None:
    cfg = config(model={"_target_": "standins.Wide", "num_classes": "${spec:num_classes}"})
    with active_spec({"num_classes": 3}):
        assert check_config(cfg).model.num_classes == 3
