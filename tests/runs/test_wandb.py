"""Weights & Biases without a server: one run on it for one run here, whole or resumed."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2 as records_pb2

from trainkit.rundir import read_json

BLOCK, HEADER = 32_768, 7
"""W&B's file is a LevelDB log: blocks of this size, and a header of checksum, length and kind before each piece."""

SMALL = (
    *("fit", "data=wine", "model=mlp", "model.hidden=[8]", "evaluation.resamples=20", "evaluation.baseline=false"),
    *("trainer.threads=1", "trainer.max_steps=40", "trainer.log_every_n_steps=5", "logger.wandb.offline=true"),
)


def records(path: Path) -> Iterator[Any]:
    content, place, record = path.read_bytes(), HEADER, b""
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + HEADER])
        record += content[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (1, 4):
            yield records_pb2.Record.FromString(record)  # type: ignore[attr-defined]
            record = b""


def read(run: Path) -> tuple[set[str], dict[str, Any], list[dict[str, Any]]]:
    """Ids, settings and logged values of a run directory's offline files, in the order they were written."""
    ids: set[str] = set()
    settings: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    for path in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        for record in records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                ids.add(record.run.run_id)
            elif kind == "config":
                settings |= {item.key: json.loads(item.value_json) for item in record.config.update if item.key}
            elif kind == "history":
                items = record.history.item
                history.append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in items})
    return ids, settings, history


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B's caches are the user's, not the run's."""
    for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path_factory.mktemp("wandb")))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    # Lightning's logger sets it for the rest of the process; monkeypatch then takes it back.
    monkeypatch.setenv("WANDB_MODE", "offline")


def test_a_stopped_run_goes_on_under_its_own_id(
    cli: Callable[..., Any], stop_at: Callable[..., None], tmp_path: Path
) -> None:
    stop_at(22)
    code, _, err = cli(*SMALL, "run.dir=made/run", "logger=[tensorboard,wandb]", "callbacks=[confusion,samples]")
    assert (code, err) == (143, "")
    stop_at(None)
    code, out, err = cli("fit", "run.dir=made/run")
    assert (code, err) == (0, "") and "wandb" not in out
    run = tmp_path / "made" / "run"
    ids, settings, history = read(run)
    assert ids == {read_json(run / "environment.json")["run_id"]}
    assert settings["model"] == "trainkit.models.MLP" and settings["optimizer.lr"] == 0.003
    logged = [(item["trainer/global_step"], item["train/loss"]) for item in history if "train/loss" in item]
    assert [step for step, _ in logged] == [4, 9, 14, 19, 24, 29, 34, 39]
    assert {item["trainer/global_step"] for item in history if "val/loss" in item} >= {3, 7, 39}
    assert {item["trainer/global_step"] for item in history if "val/confusion_matrix" in item} >= {3, 39}
    assert list(run.glob("wandb/offline-run-*/files/media/images/val/confusion_matrix_*.png"))
    assert list(run.glob("events.out.tfevents.*"))
    assert {path.name for path in tmp_path.iterdir()} == {"made"}


def test_the_next_run_of_a_process_is_another_one(cli: Callable[..., Any], tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert cli(*SMALL, f"run.dir={name}", "logger=wandb", "trainer.max_steps=5")[0] == 0
    assert read(tmp_path / "a")[0] != read(tmp_path / "b")[0]
    assert [len([item for item in read(tmp_path / name)[2] if "train/loss" in item]) for name in "ab"] == [1, 1]
