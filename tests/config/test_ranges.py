from __future__ import annotations

from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from trainkit.config.ranges import check_ranges, precision_name
from trainkit.config.schema import schema
from trainkit.errors import ConfigError


def _config(overrides: dict[str, Any]) -> DictConfig:
    cfg = OmegaConf.create(schema() | {"data": {"batch_size": 64, "val_share": 0.15, "test_share": 0.15}})
    for key, value in overrides.items():
        OmegaConf.update(cfg, key, value)
    return cfg


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"data.batch_size": 0}, "data.batch_size is 0\n  where    data.batch_size\n  expected at least 1"),
        ({"data.eval_batch_size": 0},
         "data.eval_batch_size is 0\n  where    data.eval_batch_size\n  expected at least 1"),
        ({"seed": -1}, "seed is -1\n  where    seed\n  expected at least 0"),
        ({"seed": 2**32}, "seed is 4294967296\n  where    seed\n  expected at most 4294967295"),
        ({"data.val_share": 1.0}, "data.val_share is 1.0\n  where    data.val_share\n"
                                  "  expected a share of the rows, from 0 to below 1"),
        ({"data.test_share": -0.1}, "data.test_share is -0.1\n  where    data.test_share\n"
                                    "  expected a share of the rows, from 0 to below 1"),
        ({"data.val_share": 0.6, "data.test_share": 0.5},
         "data.val_share and data.test_share leave no rows to train on\n"
                                                          "  where    data\n  expected a sum below 1, not 1.1"),
        ({"trainer.devices": 0}, "trainer.devices is 0\n  where    trainer.devices\n  expected at least 1"),
        ({"trainer.accumulate": 0}, "trainer.accumulate is 0\n  where    trainer.accumulate\n  expected at least 1"),
        ({"trainer.max_epochs": 0}, "trainer.max_epochs is 0\n  where    trainer.max_epochs\n  expected at least 1"),
        ({"trainer.max_steps": 0}, "trainer.max_steps is 0\n  where    trainer.max_steps\n  expected at least 1"),
        ({"trainer.max_epochs": None}, "nothing ends the training\n  where    trainer\n"
                                       "  expected max_epochs, max_steps, or both"),
        ({"trainer.threads": 0}, "trainer.threads is 0\n  where    trainer.threads\n  expected at least 1"),
        ({"trainer.clip_norm": 0}, "trainer.clip_norm is 0.0\n  where    trainer.clip_norm\n"
                                   "  expected above 0, or null for none"),
        ({"trainer.steps_per_execution": "many"}, "trainer.steps_per_execution is 'many'\n"
                                                  "  where    trainer.steps_per_execution\n"
                                                  "  expected auto, or an integer of at least 1"),
        ({"trainer.steps_per_execution": True}, "trainer.steps_per_execution is True\n"
                                                "  where    trainer.steps_per_execution\n"
                                                "  expected auto, or an integer of at least 1"),
        ({"trainer.val_every_n_steps": 50},
         "trainer.val_every_n_epochs and trainer.val_every_n_steps exclude each other\n"
                                            "  where    trainer\n"
                                            "  hint     trainer.val_every_n_epochs=null to count in steps"),
        ({"trainer.val_every_n_epochs": None}, "without validation no epoch can be chosen as the best\n"
                                               "  where    trainer\n"
                                               "  expected val_every_n_epochs or val_every_n_steps"),
        ({"trainer.mode": "maximum"}, "trainer.mode is 'maximum'\n  where    trainer.mode\n  expected one of min, max\n"
                                        "  hint     did you mean 'max'?"),
        ({"trainer.accelerator": "cuda"}, "trainer.accelerator is 'cuda'\n  where    trainer.accelerator\n"
                                          "  expected one of auto, cpu, gpu"),
        ({"trainer.precision": "bf16-mix"},
         "trainer.precision is 'bf16-mix'\n  where    trainer.precision\n"
         "  expected one of fp32, bf16-mixed, bf16-true, fp16-mixed\n  hint     did you mean 'bf16-mixed'?"),
        ({"checkpoint.keep": 1}, "checkpoint.keep is 1\n  where    checkpoint.keep\n  expected at least 2"),
        ({"launch.timeout_seconds": 0}, "launch.timeout_seconds is 0\n  where    launch.timeout_seconds\n"
                                        "  expected at least 1"),
        ({"evaluation.confidence": 1.0}, "evaluation.confidence is 1.0\n  where    evaluation.confidence\n"
                                         "  expected between 0 and 1, both excluded"),
        ({"run.name": "a/b"}, "run.name is 'a/b'\n  where    run.name\n"
                              "  expected a name without slashes (see run.root)"),
        ({"trainer.devices": 8, "trainer.accumulate": 16}, "data.batch_size 64 cannot be split\n"
                                                           "  where    data.batch_size\n"
                                                           "  expected at least 128: 8 devices × 16 micro-batches"),
    ],
)  # fmt: skip
def test_a_value_out_of_range(overrides: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_ranges(_config(overrides))
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"trainer.max_epochs": None, "trainer.max_steps": 1},
        {"trainer.val_every_n_epochs": None, "trainer.val_every_n_steps": 50},
        {"trainer.steps_per_execution": 16, "trainer.mode": "min", "trainer.clip_norm": None},
        {"data.val_share": 0.0, "data.test_share": 0},
        {"data.batch_size": 128, "trainer.devices": 8, "trainer.accumulate": 16},
        {"run.name": "v1.2"},
    ],
)
def test_values_in_range(overrides: dict[str, Any]) -> None:
    check_ranges(_config(overrides))


@pytest.mark.parametrize(
    ("alias", "name"),
    [("fp32", "fp32"), (32, "fp32"), ("32-true", "fp32"), ("bf16", "bf16-mixed"), ("bf16-mixed", "bf16-mixed")],
)
def test_precision_has_one_spelling(alias: Any, name: str) -> None:
    assert precision_name(alias) == name
    cfg = _config({"trainer.precision": alias})
    check_ranges(cfg)
    assert cfg.trainer.precision == name
