"""Run directories of every format so far load, predict, are scored and go on: those in ``tests/fixtures/runs``."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import trainkit as tk
from trainkit.rundir import FORMAT_VERSION, RunDirectory, read_json
from trainkit.runs.result import Result

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "runs"
RUNS = sorted(path.parent.relative_to(FIXTURES).as_posix() for path in FIXTURES.glob("*/*/run"))
NETS = [name for name in RUNS if (FIXTURES / name / "run" / "checkpoints").is_dir()]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Copies a format's directory, goes into it, and gives the folder of one run there."""

    def copy(name: str) -> Path:
        version, _, run = name.partition("/")
        shutil.copytree(FIXTURES / version, tmp_path / version)
        monkeypatch.chdir(tmp_path / version)
        return Path(run)

    return copy


def test_every_format_has_its_runs() -> None:
    kinds = ("classical", "images", "table")
    assert sorted(f"v{version}/{kind}" for version in range(1, FORMAT_VERSION + 1) for kind in kinds) == RUNS


@pytest.mark.parametrize("name", RUNS)
def test_it_opens_and_gives_its_result(name: str, place: Callable[[str], Path]) -> None:
    folder = place(name)
    run = RunDirectory.open(folder / "run")
    assert (run.status(), run.lineage()) == ("completed", None)
    test = read_json(folder / "scores.json")["test"]
    result = Result.load(run)
    assert {name: (score.value, score.low, score.high, score.n) for name, score in result.test.items()} == {
        name: (score["value"], score["low"], score["high"], score["n"]) for name, score in test.items()
    }


@pytest.mark.parametrize("name", RUNS)
def test_its_model_says_of_raw_inputs_what_it_said_then(name: str, place: Callable[[str], Path]) -> None:
    folder = place(name)
    expected = pd.read_csv(folder / "expected.csv", dtype={"prediction": str})
    (raw,) = folder.glob("raw.*")
    loaded = tk.load_run(folder / "run")
    made = loaded.predict(raw)
    assert loaded.spec.class_names == tuple(column.removeprefix("p_") for column in expected.columns[2:])
    # To the last bit only where processor and versions are the same.
    pd.testing.assert_frame_equal(made.astype({"prediction": str}), expected, rtol=1e-5, check_dtype=False)


@pytest.mark.parametrize("name", RUNS)
def test_it_is_scored_again_from_its_saved_predictions(
    name: str, place: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = place(name)
    Path("table.csv").unlink()
    again = tk.evaluate(folder / "run")
    source = "the run's own data, unchanged" if name.endswith("images") else "saved predictions (there is no file"
    assert capsys.readouterr().out.startswith(f"data   {source}")
    for metric, score in Result.load(RunDirectory(folder / "run")).test.items():
        assert again.test[metric].value == pytest.approx(score.value, rel=1e-5)


@pytest.mark.parametrize("name", NETS)
def test_a_net_goes_on_and_gives_its_weights_to_another(name: str, place: Callable[[str], Path]) -> None:
    folder = place(name)
    before = read_json(folder / "run" / "result.json")["steps"]
    overrides = ["run.dir=longer", "evaluation.resamples=20", "evaluation.baseline=false"]
    result = tk.fit(resume_from=folder / "run", max_epochs=3, overrides=overrides)
    assert (result.status, result.steps) == ("completed", before * 3 // 2)
    config = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    model = [f"model.{key}={value}" for key, value in config["model"].items() if key in ("hidden", "width")]
    data = ["data=digits"] if "images" in name else ["data=table", "data.path=table.csv", "data.target=kind"]
    kind = "cnn" if "images" in name else "mlp"
    overrides = [f"model={kind}", *model, *data, *overrides[1:]]
    begun = tk.fit(init_from=folder / "run", max_steps=1, name="begun", overrides=overrides)
    assert begun.run_dir is not None
    state = load_file(RunDirectory(begun.run_dir).initial_weights)
    parent = load_file(folder / "run" / "model.safetensors")
    assert state.keys() == {name.removeprefix("net.") for name in parent if name.startswith("net.")}
    assert all(torch.equal(tensor, parent[f"net.{name}"]) for name, tensor in state.items())


@pytest.mark.parametrize("name", RUNS)
def test_nothing_in_it_names_a_machine(name: str) -> None:
    named = re.compile(rb"/(tmp|home|root|Users|usr|opt|var|mnt)/|\\Users\\|https?://(?!arxiv\.org)")
    for file in (FIXTURES / name).rglob("*"):
        if file.is_file():
            assert named.search(file.read_bytes()) is None, file
    known = read_json(FIXTURES / name / "run" / "environment.json")
    assert (
        known["git"] is None
        and known["command"] == []
        and set(known["hardware"])
        == {
            *("accelerator", "devices", "threads"),
        }
    )


def test_they_stay_small() -> None:
    assert sum(file.stat().st_size for file in FIXTURES.glob("v1/**/*")) < 500_000


def test_a_run_of_a_later_format_is_refused(place: Callable[[str], Path]) -> None:
    run = RunDirectory(place("v1/table") / "run")
    known = read_json(run.environment) | {"format_version": FORMAT_VERSION + 1}
    run.environment.write_text(json.dumps(known))
    for use in (tk.load_run, tk.evaluate, lambda path: tk.fit(resume_from=path), lambda path: tk.fit(init_from=path)):
        with pytest.raises(tk.RunError, match="has format 2\n"):
            use(run.path)


def test_a_reader_of_a_later_kind_is_refused(place: Callable[[str], Path]) -> None:
    run = RunDirectory(place("v1/table") / "run")
    tensors: dict[str, Any] = load_file(run.weights)
    with safe_open(run.weights, framework="pt") as file:
        metadata = file.metadata() | {"reader": json.dumps({"kind": "hologram"})}
    save_file(tensors, run.weights, metadata)
    with pytest.raises(tk.DataError) as caught:
        tk.load_run(run.path)
    assert str(caught.value) == ("unknown reader 'hologram' in the model's metadata\n  where    model.safetensors")


def test_predictions_are_what_the_fixtures_claim() -> None:
    """Guards the fixtures themselves: three kinds are told apart, so that a constant model would not pass."""
    for name in RUNS:
        expected = pd.read_csv(FIXTURES / name / "expected.csv", dtype={"prediction": str})
        assert expected["prediction"].nunique() > 1
        probabilities = expected.iloc[:, 2:].to_numpy()
        assert np.allclose(probabilities.sum(axis=1), 1) and np.ptp(probabilities[:, 0]) > 0.1
