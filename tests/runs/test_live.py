from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from torch.utils.data import TensorDataset

import trainkit as tk
from trainkit.rundir import sha256
from trainkit.runs.live import check_lists, put_objects
from trainkit.runs.nodes import as_node, record


class Here(nn.Linear):
    pass


def test_importable_things_become_nodes() -> None:
    assert as_node(nn.Linear) == {"_target_": "torch.nn.modules.linear.Linear"}
    assert as_node(functools.partial(nn.Linear, 4, out_features=2, bias=False)) == {
        **{"_target_": "torch.nn.modules.linear.Linear", "_args_": [4], "out_features": 2, "bias": False},
    }
    assert as_node(tk.adamw(lr=0.1), partial=True) == {
        **{"_target_": "torch.optim.adamw.AdamW", "_partial_": True, "lr": 0.1, "betas": [0.9, 0.999]},
        **{"eps": 1e-8, "weight_decay": 0.01},
    }
    assert as_node(tk.cosine(warmup=5), partial=True) == {
        **{"_target_": "trainkit.optim.schedules.cosine", "_partial_": True, "warmup": 5, "final": 0.0},
    }
    nested = functools.partial(nn.ParameterDict, {"a": [1, (2, None)], "b": "text"})
    assert (as_node(nested) or {})["_args_"] == [{"a": [1, (2, None)], "b": "text"}]


@pytest.mark.parametrize(
    "thing",
    [
        nn.Linear(2, 2),
        lambda: nn.Linear(2, 2),
        functools.partial(nn.Linear, device=torch.device("cpu")),
        functools.partial(nn.ParameterList, [np.int64(4)]),
        type("Made", (nn.Linear,), {"__module__": __name__}),
        type("Main", (nn.Linear,), {"__module__": "__main__"}),
        dict,
    ],
)
def test_what_another_process_cannot_import_stays_an_object(thing: Any) -> None:
    assert as_node(thing) is None


def test_an_object_is_recorded_by_class_file_and_source() -> None:
    assert record(Here(1, 1)) == {
        **{"live": f"{__name__}.Here", "file": __file__, "sha256": sha256(Path(__file__))},
    }
    assert record(functools.partial(Here, 1)) == record(Here)


def test_names_and_nodes_take_the_place_of_sections() -> None:
    config = tk.compose(["data=dataset"])
    data = TensorDataset(torch.zeros(4, 2), torch.zeros(4))
    live = put_objects(
        config,
        model=functools.partial(nn.Linear, 2, 1),
        datasets={"train": data},
        data=None,
        task=None,
        optimizer=torch.optim.Adam,
        scheduler=lambda optimizer: None,
    )
    assert live.sections() == {"data", "scheduler"}
    assert config.model._target_ == "torch.nn.modules.linear.Linear"
    assert dict(config.optimizer) == {"_target_": "torch.optim.adam.Adam", "_partial_": True}
    assert config.data.live == "torch.utils.data.dataset.TensorDataset" and config.data.batch_size == 64
    assert config.scheduler.live.endswith(".<lambda>")


@pytest.mark.parametrize(
    ("callbacks", "loggers", "text"),
    [
        ([EarlyStopping], [], "callbacks has the class EarlyStopping"),
        (EarlyStopping("val/loss"), [], "callbacks has a EarlyStopping"),
        ([], ["tensorboard"], "loggers has a str"),
    ],
)
def test_callbacks_and_loggers_are_lists_of_objects(callbacks: Any, loggers: Any, text: str) -> None:
    with pytest.raises(tk.ConfigError) as caught:
        check_lists(callbacks, loggers)
    assert caught.value.what == text
    check_lists((EarlyStopping("val/loss"),), [])


class Needs(nn.Linear):
    __module__ = "__main__"

    def __init__(self, width: int) -> None:
        super().__init__(width, 1)


def gives(thing: Any) -> Callable[[], Any]:
    return lambda: thing


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"model": 3}, "the model is a int"),
        ({"model": gives(3)}, "the model gives a int"),
        ({"task": nn.CrossEntropyLoss()}, "the task is a CrossEntropyLoss"),
        ({"model": Needs}, "Needs cannot be called: missing a required argument: 'width'"),
        ({"task": gives(nn.Linear(1, 1))}, "the task gives a Linear"),
        ({"data": {}}, "the data is a dict"),
        ({"optimizer": nn.Linear(1, 1)}, "the optimizer is a Linear"),
    ],
)
def test_things_of_a_wrong_kind(given: dict[str, Any], text: str) -> None:
    nothing = dict.fromkeys(("model", "data", "task", "optimizer", "scheduler"))
    with pytest.raises(tk.TrainkitError) as caught:
        put_objects(tk.compose(), datasets={}, **{**nothing, **given})
    assert caught.value.what == text
