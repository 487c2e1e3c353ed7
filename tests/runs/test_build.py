from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch.utils.data import TensorDataset

import trainkit as tk
from trainkit.config.copying import copied
from trainkit.data import DatasetData
from trainkit.models import CNN1d
from trainkit.runs.build import build, build_parts, seed_everything
from trainkit.runs.parts import LiveObjects


def built(*overrides: str, live: LiveObjects | None = None) -> Any:
    return build_parts(tk.compose(overrides), live)


def weights(parts: Any) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in parts.network.net.state_dict().values()])


def test_sizes_come_from_the_data() -> None:
    parts = built("data=wine", "model=mlp", "task=classification", "task.class_weights=balanced")
    assert (parts.config.model.in_features, parts.config.model.num_outputs) == (13, 3)
    assert list(parts.config.task.class_counts) == [41, 50, 33]
    expected = torch.tensor([124 / 3 / count for count in (41, 50, 33)])
    assert torch.allclose(parts.task.class_weights, expected)
    parts = built("data=diabetes", "model=mlp")
    target = parts.data.targets("train")
    assert float(parts.task.target_mean) == pytest.approx(target.mean())
    assert float(parts.task.target_scale) == pytest.approx(target.std())


@pytest.mark.parametrize(
    ("data", "model", "task", "why"),
    [
        ("digits", "CNN", "Classification", "cnn (auto: images)"),
        ("wine", "Tabular", "Classification", "tabular (auto: table)"),
        ("diabetes", "Tabular", "Regression", "tabular (auto: table)"),
    ],
)
def test_auto_chooses_by_the_data_and_says_why(data: str, model: str, task: str, why: str) -> None:
    parts = built(f"data={data}")
    assert (type(parts.network.net).__name__, type(parts.task).__name__) == (model, task)
    assert parts.notes == {"model": why, "task": "auto"}
    assert parts.config.model._target_ == f"trainkit.models.{model}"


def test_signals_get_the_net_for_signals() -> None:
    data = DatasetData(TensorDataset(torch.randn(60, 2, 50), torch.arange(60) % 3))
    data.setup()
    data.spec = replace(data.spec, input_kind="signal")
    parts = built("data=dataset", live=LiveObjects(data=data))
    assert isinstance(parts.network.net, CNN1d) and parts.notes["model"] == "cnn1d (auto: signals)"
    model = parts.config.model
    assert (model.in_channels, model.sequence_length, model.num_outputs) == (2, 50, 3)
    inputs, _ = data.source.fetch(data.rows("train")[:4], 0)
    assert parts.network(inputs).shape == (4, 3)


def test_what_is_the_users_passes_through_the_automatic_task() -> None:
    own = ["+task.criterion._target_=torch.nn.SmoothL1Loss", "+task.criterion.beta=0.5"]
    task = built("data=diabetes", "model=mlp", *own, "+task.metrics.r._target_=torchmetrics.PearsonCorrCoef").task
    assert isinstance(task, tk.Regression) and list(task.own_metrics) == ["r"]
    assert (task.criterion.beta, task.criterion.reduction) == (0.5, "none")  # type: ignore[union-attr]


def test_a_nested_node_that_cannot_be_built_is_named() -> None:
    own = ["+task.metrics.f1._target_=torchmetrics.classification.BinaryF1Score", "+task.metrics.f1.thresold=0.5"]
    with pytest.raises(tk.ConfigError) as caught:
        built("data=wine", "model=mlp", *own)
    assert str(caught.value) == (
        "torchmetrics.classification.BinaryF1Score cannot be built: Unexpected keyword arguments: `thresold`\n"
        "  where    task.metrics.f1"
    )


def test_spec_serves_other_names_and_nested_nodes() -> None:
    layers = [
        {"_target_": "torch.nn.Linear", "in_features": "???", "out_features": "${spec:num_classes}"},
        {"_target_": "torch.nn.LogSoftmax", "dim": 1},
    ]
    config = copied(tk.compose(["data=wine", "model=custom"]))
    config.model = {"_target_": "torch.nn.Sequential", "_args_": layers}
    parts = build_parts(config)
    assert parts.network is not None
    assert [tuple(p.shape) for p in parts.network.net.parameters()] == [(3, 13), (3,)]
    assert OmegaConf.is_missing(config.model._args_[0], "in_features")


def test_a_size_that_the_data_does_not_decide() -> None:
    with pytest.raises(tk.ConfigError) as caught:
        built("data=wine", "model=cnn")
    assert caught.value.where == "model.in_channels"


def test_the_seed_decides_the_weights_and_nothing_else() -> None:
    first = built("data=wine", "model=mlp")
    torch.rand(3)
    assert torch.equal(weights(first), weights(built("data=wine", "model=mlp")))
    other = built("data=wine", "model=mlp", "seed=1")
    assert not torch.equal(weights(first), weights(other))
    assert (first.data.splits.train == other.data.splits.train).all()


def test_all_generators_are_seeded() -> None:
    import random

    import numpy as np

    draws = []
    for _ in range(2):
        seed_everything(3)
        draws.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
    assert draws[0] == draws[1]


def test_a_net_given_as_an_object_is_the_one_that_is_used() -> None:
    net = torch.nn.Linear(13, 3)
    parts = built("data=wine", live=LiveObjects(model=net))
    assert parts.network.net is net


@pytest.mark.parametrize(
    ("node", "text"),
    [
        ({"_target_": "torch.nn.Linear", "in_features": -1, "out_features": 2}, "torch.nn.Linear cannot be built: "),
        ({"_target_": "trainkit.data.BundledTable", "table": "win"}, "there is no bundled table 'win'"),
        ({"_target_": "collections.OrderedDict"}, "data is a OrderedDict"),
    ],
)
def test_what_cannot_be_built_is_told_by_its_cause(node: dict[str, Any], text: str) -> None:
    with pytest.raises(tk.ConfigError) as caught:
        build(OmegaConf.create(node), "data", tk.DataModule)
    assert caught.value.what.startswith(text)


def test_a_bug_in_a_component_keeps_its_traceback() -> None:
    with pytest.raises(Exception, match="division by zero") as caught:
        build(OmegaConf.create({"_target_": "operator.truediv", "_args_": [1, 0]}), "model")
    assert not isinstance(caught.value, tk.TrainkitError)
