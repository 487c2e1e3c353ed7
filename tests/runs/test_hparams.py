from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # type: ignore[import-untyped]

import trainkit as tk
from trainkit.rundir import RunDirectory, read_json
from trainkit.runs.build import build_parts
from trainkit.runs.hparams import flat, log_settings, tried


def hparams(folder: Path) -> dict[str, Any]:
    """Settings of the session that TensorBoard's HParams tab shows."""
    events = EventAccumulator(str(folder)).Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    session = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in session.items()}


def test_settings_and_final_metrics_stand_in_the_events(digits: RunDirectory) -> None:
    settings = hparams(digits.path)
    config = yaml.safe_load(digits.config.read_text())
    assert (settings["model"], settings["optimizer"], settings["data"]) == ("MLP", "AdamW", "digits")
    assert settings["data.batch_size"] == 64 and "optimizer._partial_" not in settings
    assert not settings.keys() & {"data.name", "data.drop_last", "model.in_features", "model.num_classes"}
    assert settings["optimizer.lr"] == config["optimizer"]["lr"] and settings["seed"] == 0
    assert settings["trainer.max_steps"] == 50 and settings["model.hidden"] == str(config["model"]["hidden"])
    events = EventAccumulator(str(digits.path)).Reload()
    result = read_json(digits.result)
    for name, estimate in result["metrics"]["test"].items():
        (point,) = events.Scalars(f"hp/test_{name}")
        assert (point.step, point.value) == (49, pytest.approx(estimate["value"], rel=1e-6))
    (objective,) = events.Scalars("hp/objective")
    assert objective.value == pytest.approx(result["objective"]["value"])


def test_nested_settings_become_dotted_keys() -> None:
    nested = {"_target_": "a.B", "x": {"_target_": "c.D", "y": 1}, "z": [1, 2], "left_out": None, "on": True}
    assert dict(flat(nested, "model")) == {
        **{"model": "a.B", "model.x": "c.D", "model.x.y": 1, "model.z": "[1, 2]", "model.on": True},
    }


def test_classes_are_told_by_their_last_name_where_asked() -> None:
    nested = {"_target_": "a.B", "_partial_": True, "x": {"_target_": "c.D"}}
    assert dict(flat(nested, "model", short_names=True)) == {"model": "B", "model.x": "D"}


def test_what_the_data_decides_is_filled_in_or_left_out() -> None:
    settings = tried(build_parts(tk.compose(["data=wine", "model=mlp", "model.norm=batch"])))
    assert (settings["data"], settings["data.batch_size"], settings["model.norm"]) == ("wine", 32, "batch")
    assert not any(isinstance(value, bool) for value in settings.values())


class Keeps:
    def log_hyperparams(self, settings: dict[str, Any]) -> None:
        self.settings = settings


def test_other_loggers_get_the_whole_config() -> None:
    keeps = Keeps()
    log_settings(build_parts(tk.compose(["data=wine", "model=mlp"])), [keeps])  # type: ignore[list-item]
    assert keeps.settings["model"] == "trainkit.models.MLP" and keeps.settings["data.split_seed"] == 0
    assert keeps.settings["model.in_features"] == 13 and keeps.settings["checkpoint.keep"] == 2
    assert {type(value) for value in keeps.settings.values()} <= {bool, int, float, str}
