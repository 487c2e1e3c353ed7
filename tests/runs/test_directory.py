from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import trainkit as tk
from trainkit.rundir import RunDirectory, read_json, sha256
from trainkit.runs import directory
from trainkit.runs.directory import continued_config

Cli = Callable[..., Any]
RESULT_KEYS = {
    *("format_version", "status", "metrics", "objective", "steps", "epochs", "seconds", "samples_per_second"),
    *("peak_memory_bytes", "seed", "split_seed", "data_fingerprint", "exact_resume", "exact_resume_reasons"),
    *("best_checkpoint", "baseline"),
}
OPEN_EVERYTHING = """
import hashlib, html.parser, json, sys
from pathlib import Path
import numpy as np, pandas as pd, torch, yaml
from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
import trainkit as tk

run, raw = Path(sys.argv[1]), sys.argv[2]
opened = {}
for file in sorted(path for path in run.rglob("*") if path.is_file()):
    name = file.relative_to(run).as_posix()
    if file.suffix == ".yaml":
        opened[name] = len(yaml.safe_load(file.read_text()))
    elif file.suffix == ".json":
        opened[name] = len(json.loads(file.read_text()))
    elif file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            opened[name] = {key: len(arrays[key]) for key in arrays}
    elif file.suffix == ".ckpt":
        opened[name] = len(torch.load(file, weights_only=True))
    elif file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as weights:
            opened[name] = sorted(weights.metadata())
    elif file.suffix == ".csv":
        opened[name] = list(pd.read_csv(file))
    elif file.suffix == ".parquet":
        opened[name] = list(pd.read_parquet(file))
    elif "tfevents" in name:
        EventAccumulator(str(file)).Reload()
        opened["events"] = True
    elif file.suffix in (".html", ".md"):
        html.parser.HTMLParser().feed(file.read_text())
        opened[name] = True
    else:
        raise ValueError(f"nobody knows how to open {name}")
loaded = tk.load_run(run)
loaded.predict(raw).to_parquet(run.parent / "again.parquet")
again = tk.evaluate(run)
opened["same metrics"] = again.test == loaded.result.test
print(json.dumps(opened))
"""


def test_a_new_process_opens_every_file_without_the_source_data(churn: Any, tmp_path: Path) -> None:
    raw = tmp_path / "copy.csv"
    raw.write_bytes(churn.file.read_bytes())
    hidden = churn.file.rename(churn.file.with_suffix(".away"))
    try:
        command = [sys.executable, "-W", "error", "-c", OPEN_EVERYTHING, str(churn.run.path), str(raw)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        hidden.rename(churn.file)
    assert (done.returncode, done.stderr) == (0, "")
    said, _, listed = done.stdout.strip().rpartition("\n")
    assert said.startswith(f"data   saved predictions (there is no file {churn.file})\ntest   auroc ")
    opened = json.loads(listed)
    steps = [name for name in opened if name.endswith(".ckpt")]
    assert set(opened) == {
        *("config.yaml", "overrides.yaml", "environment.json", "splits.npz", "model.safetensors", "metrics.csv"),
        *("predictions.parquet", "result.json", "report.html", "MODEL_CARD.md", "events", "same metrics"),
        *("checkpoints/last.json", "checkpoints/best.json", *steps),
    }
    assert opened["same metrics"] and len(steps) >= 2
    assert opened["splits.npz"] == {"train": 4930, "val": 1056, "test": 1057}
    assert opened["metrics.csv"] == ["step", "epoch", "split", "name", "value"]
    assert opened["predictions.parquet"] == ["row", "split", "target", "prediction", "p_No", "p_Yes"]
    assert {"spec", "inputs", "reader", "model", "task", "trainkit", "format_version", "data_fingerprint"} <= set(
        opened["model.safetensors"]
    )
    saved = pd.read_parquet(churn.run.predictions).set_index("row")
    again = pd.read_parquet(tmp_path / "again.parquet").set_index("row").loc[saved.index]
    columns = ["prediction", "p_No", "p_Yes"]
    pd.testing.assert_frame_equal(again[columns], saved[columns], check_exact=True)


def test_the_result_says_everything(digits: RunDirectory) -> None:
    result = read_json(digits.result)
    assert set(result) == RESULT_KEYS | {"files", "run_id", "seal"}
    assert set(result["metrics"]) == {"test", "validation"}
    for values in result["metrics"].values():
        assert set(values["accuracy"]) == {"value", "low", "high", "n", "method"}
        assert values["accuracy"]["low"] <= values["accuracy"]["value"] <= values["accuracy"]["high"]
    assert (result["status"], result["steps"], result["epochs"]) == ("completed", 50, 3)
    assert result["objective"]["name"] == "val/accuracy" and result["objective"]["mode"] == "max"
    assert result["objective"]["value"] == pytest.approx(result["metrics"]["validation"]["accuracy"]["value"], abs=1e-6)
    assert set(result["baseline"]) == {"name", "metrics", "comparison"}
    assert (result["seed"], result["split_seed"], result["exact_resume"]) == (0, 0, True)
    assert result["seconds"]["total"] > result["seconds"]["train"] > 0 < result["samples_per_second"]
    assert result["peak_memory_bytes"] > 50e6
    best = read_json(digits.best)
    assert result["best_checkpoint"] == f"checkpoints/{best['file']}"
    for pointer in (best, read_json(digits.last)):
        assert sha256(digits.checkpoints / pointer["file"]) == pointer["sha256"]


def test_the_config_has_every_size_and_the_overrides_stand_as_written(digits: RunDirectory) -> None:
    config = yaml.safe_load(digits.config.read_text())
    assert (config["model"]["in_features"], config["model"]["num_outputs"]) == (64, 10)
    assert config["task"]["class_counts"] and config["run"]["dir"] is None
    written = yaml.safe_load(digits.overrides.read_text())["overrides"]
    assert written[0].startswith("run.dir=") and written[1:3] == ["trainer.max_steps=50", "checkpoint.every_n_steps=15"]


def test_a_name_taken_within_the_same_second_gets_a_suffix(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Frozen(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr(directory, "datetime", Frozen)
    for _ in range(2):
        assert cli("fit", "data=wine", "model=logistic", "evaluation.resamples=20", "run.name=mine").code == 0
    assert sorted(path.name for path in (tmp_path / "runs/mine").iterdir()) == [
        *("2026-01-02_03-04-05", "2026-01-02_03-04-05-2"),
    ]


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("seed=1", "seed=1, but the run has seed=0"),
        ("trainer.max_steps=51", "trainer.max_steps=51, but the run has trainer.max_steps=50"),
        ("trainer.max_epochs=null", "trainer.max_epochs=None, but the run has trainer.max_epochs=30"),
        ("model=cnn", "model=cnn, but the run has model._target_=trainkit.models.MLP"),
        ("data=wine", "data=wine, but the run has data._target_=trainkit.data.Digits"),
        ("scheduler=constant", "scheduler=constant, but the run has scheduler._target_=trainkit.optim.cosine"),
        ("experiment=diabetes", "experiment=diabetes, but the run has trainer.max_epochs=30"),
        ("+model.extra=3", "model.extra=3, but the run has model.extra=null"),
    ],
)
def test_an_override_that_differs_names_both_values(override: str, text: str, digits: RunDirectory) -> None:
    with pytest.raises(tk.ConfigError) as caught:
        continued_config(digits, tk.compose([override]), [override])
    assert str(caught.value) == (
        f"{text}\n  where    {digits.path}\n"
        "  hint     leave it out to go on with the run's own config, or start a new run"
    )


def test_a_command_that_differs_ends_with_2(cli: Cli, digits: RunDirectory) -> None:
    code, out, err = cli("fit", f"run.dir={digits.path}", "trainer.max_steps=50", "seed=1")
    assert (code, out) == (2, "") and err.startswith("seed=1, but the run has seed=0\n")


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["trainer.max_steps=50", "model=mlp", "evaluation.resamples=50"],
        ["seed=0", "optimizer=adamw", "task=auto", "task=classification", "data=digits", "trainer.max_epochs=30"],
        ["run.name=other", "run.trust=[mine]"],
    ],
)
def test_overrides_that_agree_are_fine(overrides: list[str], digits: RunDirectory) -> None:
    config = tk.compose(overrides)
    stored = continued_config(digits, config, overrides)
    assert stored.trainer.max_steps == 50 and stored.run == config.run
