from __future__ import annotations

import time
from typing import Any

import pytest
import torch

import trainkit as tk
from tests.runs.inspection.conftest import net, parts
from trainkit.runs.build import build_parts
from trainkit.runs.inspection.finding import Finding, apply
from trainkit.runs.inspection.speed import SPEED_RULES, Speed, measure_speed
from trainkit.runs.schedule import run_schedule


def measured(*overrides: str) -> Speed:
    made = build_parts(tk.compose(["data=wine", "model=mlp", *overrides]))
    return measure_speed(made, run_schedule(made), torch.device("cpu"), cores=2)


def found(**changes: Any) -> list[Finding]:
    plain = {"loader": 1e6, "compute": 1e5, "num_samples": 10**6, "reads_dataset": True, "cores": 8}
    return list(apply(SPEED_RULES, Speed(**{**plain, **changes})))


def test_rates_of_a_table_in_memory() -> None:
    speed = measured()
    assert speed.loader > speed.compute > 100
    assert (speed.compute_fp32, speed.num_samples, speed.reads_dataset) == (None, 120 * 32, False)


def test_bf16_is_measured_beside_fp32() -> None:
    speed = measured("trainer.precision=bf16-mixed")
    assert speed.compute_fp32 is not None and speed.compute_fp32 > 100


def test_augmentation_is_measured_beside_the_net() -> None:
    made = build_parts(tk.compose(["data=digits", "model=cnn", "model.width=8", "augment=digits"]))
    speed = measure_speed(made, run_schedule(made), torch.device("cpu"), cores=2)
    assert speed.augmentation is not None and speed.augmentation > 100
    assert measured().augmentation is None


def test_the_rate_is_that_of_the_samples_read() -> None:
    given = parts()

    class Slow(torch.utils.data.Dataset[Any]):
        targets = given["train"].tensors[1]

        def __len__(self) -> int:
            return 400

        def __getitem__(self, index: int) -> Any:
            time.sleep(0.001)
            return given["train"][index]

    result = tk.check(model=net(), **given | {"train": Slow()}, max_steps=20)
    assert result.speed is not None and 100 < result.speed.loader < 1000
    assert result.ok, "twenty steps are not worth a word"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, None),
        ({"loader": 4e4}, None),
        ({"augmentation": 2e5}, None),
        ({"augmentation": 9e4, "num_samples": 10**7}, "slow_augmentation"),
        ({"augmentation": 9e4, "num_samples": 10**5}, None),
        ({"loader": 3e4}, "slow_loader"),
        ({"loader": 3e4, "num_samples": 10**5}, None),  # two seconds
        ({"compute_fp32": 1.2e5}, None),
        ({"compute_fp32": 1.3e5}, "slow_bf16"),
    ],
)
def test_what_is_too_slow(changes: dict[str, Any], name: str | None) -> None:
    assert [finding.name for finding in found(**changes)] == ([name] if name else [])


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({}, "data.num_workers=5, or a Dataset with __getitems__"),
        ({"cores": 2}, "data.num_workers=2, or a Dataset with __getitems__"),
        ({"num_workers": 8}, "read larger pieces, or keep decoded samples in memory (ArrayData, uint8)"),
        ({"reads_dataset": False}, "read larger pieces, or keep decoded samples in memory (ArrayData, uint8)"),
    ],
)
def test_what_is_advised_against_waiting(changes: dict[str, Any], hint: str) -> None:
    (one,) = found(**{"loader": 2.5e4} | changes)
    assert one.what == ("the loader gives 25,000 samples/s, the net takes 100,000: about 30 s of the run are waiting")
    assert one.hint == hint
