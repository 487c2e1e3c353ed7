"""What a run directory says of its own files: sums, seals, and a config that anybody may have written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

import trainkit as tk
from trainkit.rundir import FILES, SEAL, RunDirectory, read_json, sum_of, write_json
from trainkit.runs.stored import load_config


def written(path: Path, **values: object) -> RunDirectory:
    run = RunDirectory(path)
    run.config.write_text("run: {}\ntrainer: {}\nevaluation: {}\n")
    run.splits.write_bytes(b"splits")
    sums = {file.name: sum_of(file.read_bytes()) for file in (run.config, run.splits)}
    write_json(run.environment, {"format_version": 1, "run_id": "a", FILES: sums, **values}, sealed=True)
    return run


def test_a_changed_file_is_refused_and_a_changed_config_told_of(tmp_path: Path) -> None:
    run = written(tmp_path)
    run.check(run.splits, run.weights)  # of the weights nothing is known
    assert run.changes() == []
    run.splits.write_bytes(b"splits!")
    with pytest.raises(tk.RunError, match=r"splits.npz' is damaged, or was changed after the run wrote it"):
        run.check(run.splits)
    run.splits.unlink()
    with pytest.raises(tk.RunError, match=r"splits.npz' is missing"):
        run.check(run.splits)
    run.config.write_text("run: {name: x}\ntrainer: {}\nevaluation: {}\n")
    assert run.changes() == ["config.yaml is damaged, or was changed after the run wrote it"]


def test_a_seal_is_of_one_file_and_survives_another_layout(tmp_path: Path) -> None:
    run = written(tmp_path)
    values = read_json(run.environment)
    run.environment.write_text(json.dumps(dict(reversed(values.items()))))
    assert read_json(run.environment) == values
    write_json(run.environment, values | {"seed": 3})  # which seals it anew
    assert read_json(run.environment)["seed"] == 3
    for broken in (values | {"seed": 4}, {key: value for key, value in values.items() if key != SEAL}):
        run.environment.write_text(json.dumps(broken))
        with pytest.raises(tk.RunError, match="is damaged, or was changed after it was written"):
            read_json(run.environment)
    (tmp_path / "other.json").write_text(json.dumps(values))
    with pytest.raises(tk.RunError, match="is damaged"):
        read_json(tmp_path / "other.json")


def test_the_result_of_another_run_is_refused(tmp_path: Path) -> None:
    run = written(tmp_path)
    write_json(run.result, {"status": "completed", "run_id": "a"}, sealed=True)
    assert run.status() == "completed"
    write_json(run.result, {"status": "completed", "run_id": "b"}, sealed=True)
    with pytest.raises(tk.RunError, match=r"result.json' is of another run than '.*environment.json'"):
        run.status()
    write_json(run.result, {"status": "completed"})  # as of an earlier version
    assert run.status() == "completed"


def test_curves_of_an_interrupted_run_may_grow(tmp_path: Path) -> None:
    run = written(tmp_path)
    run.metrics.write_bytes(b"step\n1\n")
    write_json(run.result, {"status": "interrupted", FILES: {"metrics.csv": sum_of(b"step\n1\n")}}, sealed=True)
    run.metrics.write_bytes(b"step\n1\n2\n")
    assert run.changes() == []
    run.metrics.write_bytes(b"step\n3\n2\n")
    assert run.changes() == ["metrics.csv is damaged, or was changed after the run wrote it"]


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "${seed}", [{"a": "${hydra:job.name}"}]])
def test_a_config_that_looks_things_up_is_refused(value: object, tmp_path: Path) -> None:
    run = written(tmp_path)
    run.config.write_text(yaml.safe_dump({"run": {}, "trainer": {}, "evaluation": {}, "data": {"path": value}}))
    with pytest.raises(tk.RunError, match=r"config.yaml' has an interpolation at data.path"):
        load_config(run)
    run.config.write_text("run: {}\ntrainer: 3\n")
    with pytest.raises(tk.RunError, match=r"config.yaml' has no section 'trainer'"):
        load_config(run)
    assert OmegaConf.is_config(load_config(written(tmp_path)))
