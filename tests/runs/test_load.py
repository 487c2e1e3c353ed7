from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import trainkit as tk
from trainkit.data import TableData
from trainkit.models import MLP, Network
from trainkit.rundir import RunDirectory, read_json, write_json

Change = Callable[[dict[str, Any]], None]


def change(run: RunDirectory, section: str, node: Any) -> None:
    config = yaml.safe_load(run.config.read_text())
    config[section] = node
    run.config.write_text(yaml.safe_dump(config))


def test_a_run_gives_back_model_data_config_and_result(digits: RunDirectory) -> None:
    run = tk.load_run(digits.path)
    assert isinstance(run.model, Network) and isinstance(run.model.net, MLP) and not run.model.training
    assert run.config.model.in_features == 64 and run.spec.class_names == tuple("0123456789")
    assert run.result is not None and run.result.status == "completed"
    assert run.path == digits.path
    images = run.data.source.fetch(run.data.rows("test"), 0)[0]
    assert isinstance(images, torch.Tensor) and run.task is not None
    saved = pd.read_parquet(digits.predictions).query("split == 'test'")
    with torch.no_grad():
        direct = run.task.predictions(run.model(images)).numpy()
    columns = [f"p_{name}" for name in run.spec.class_names]
    np.testing.assert_allclose(direct, saved[columns], rtol=1e-5, atol=1e-7)
    again = run.predict(images)
    assert list(again) == ["row", "prediction", *columns]
    np.testing.assert_array_equal(again[columns], saved[columns])
    np.testing.assert_array_equal(run.predict(images.numpy())[columns], saved[columns])


def test_arrays_from_files(digits: RunDirectory, tmp_path: Path) -> None:
    run = tk.load_run(digits.path)
    images = run.data.source.fetch(run.data.rows("test"), 0)[0]
    assert isinstance(images, torch.Tensor)
    np.save(tmp_path / "images.npy", images.numpy())
    np.savez(tmp_path / "images.npz", inputs=images.numpy(), other=np.zeros(3))
    expected = run.predict(images)
    for name in ("images.npy", "images.npz"):
        pd.testing.assert_frame_equal(run.predict(tmp_path / name), expected, check_exact=True)
    with pytest.raises(tk.DataError, match=r"inputs of shape \[2, 1, 9, 9\]"):
        run.predict(np.zeros((2, 1, 9, 9), np.uint8))
    with pytest.raises(tk.DataError, match="cannot predict an int"):
        run.predict(3)  # type: ignore[arg-type]


def test_a_frame_is_predicted_like_its_file(churn: Any) -> None:
    run = tk.load_run(churn.run.path)
    frame = pd.read_csv(churn.file)
    pd.testing.assert_frame_equal(run.predict(frame), run.predict(churn.file), check_exact=True)
    part = run.predict(frame[100:105].drop(columns="churn")).drop(columns="row")
    whole = run.predict(frame).drop(columns="row")[100:105].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, whole, check_exact=True)


def test_another_data_module_can_be_given(churn: Any) -> None:
    data = TableData(churn.file, "churn")
    assert tk.load_run(churn.run.path, data=data).data is data
    assert len(data.splits.test) == 1057


@pytest.mark.parametrize("section", ["data", "model", "task"])
@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "torch.nn.functional.torch.hub.load", "repo_or_dir": "MARKER", "model": "x", "source": "local"},
        {"_target_": "os.system", "command": "touch MARKER"},
        {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "os.system", "command": "touch MARKER"}]},
        {"_target_": "trainkit.rundir.os.system", "command": "touch MARKER"},
        {"_target_": "builtins.exec", "_args_": ["open('MARKER', 'w')"]},
    ],
)
def test_a_config_that_was_tampered_with_runs_nothing(
    node: dict[str, Any], section: str, digits: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hubconf.py").write_text("open('MARKER', 'w')\ndef x(): return None\n")
    change(digits, section, node)
    with pytest.raises(tk.ConfigError, match=r"which a run directory may not name|is not code that trainkit runs"):
        tk.load_run(digits.path)
    with pytest.raises(tk.ConfigError):
        tk.evaluate(digits.path)
    assert not (tmp_path / "MARKER").exists()


@pytest.mark.parametrize("section", ["optimizer", "callbacks", "logger"])
def test_continuing_a_run_that_was_tampered_with_runs_nothing(
    section: str, digits: RunDirectory, cli: Callable[..., Any], tmp_path: Path
) -> None:
    node = {"_target_": "os.system", "command": "touch MARKER"}
    change(digits, section, node if section == "optimizer" else {"mine": node})
    digits.result.unlink()
    code, out, err = cli("fit", f"run.dir={digits.path}")
    note = "note   config.yaml is damaged, or was changed after the run wrote it\n"
    assert (code, out) == (2, note) and err.startswith("'os.system' is not code that trainkit runs unasked\n")
    assert not (tmp_path / "MARKER").exists()


def test_code_of_a_package_that_is_trusted_is_run(
    digits: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trusted_nets.py").write_text(
        "from trainkit.models import MLP\n\n\ndef net(in_features, num_outputs):\n"
        "    return MLP(in_features, num_outputs, hidden=[128, 64])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    before = tk.load_run(digits.path)
    change(digits, "model", {"_target_": "trusted_nets.net", "in_features": 64, "num_outputs": 10})
    with pytest.raises(tk.ConfigError) as refused:
        tk.load_run(digits.path)
    assert refused.value.where == "model._target_"
    assert refused.value.hint == "if you trust it: trust=['trusted_nets'], on the command line --trust trusted_nets"
    assert before.model is not None
    loaded = tk.load_run(digits.path, trust=["trusted_nets"])
    assert loaded.model is not None
    torch.testing.assert_close(loaded.model.state_dict(), before.model.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("model.safetensors", b"nothing", "is damaged or not a trainkit model"),
        ("config.yaml", b"[1, 2", "cannot be read"),
        ("config.yaml", b"- 1\n", "is no mapping"),
        ("environment.json", b"{", "cannot be read"),
        ("environment.json", b'{"format_version": 99}', "has format 99"),
        ("splits.npz", b"PK", "is not a file of splits, or is damaged"),
    ],
)
def test_damaged_files_are_named(file: str, content: bytes, text: str, digits: RunDirectory) -> None:
    (digits.path / file).write_bytes(content)
    with pytest.raises(tk.TrainkitError, match=text):
        tk.evaluate(digits.path)


def test_weights_that_do_not_fit_the_config_are_refused(digits: RunDirectory) -> None:
    node = yaml.safe_load(digits.config.read_text())["model"]
    change(digits, "model", {**node, "hidden": [7]})
    with pytest.raises(tk.RunError, match="the saved weights do not fit MLP: "):
        tk.load_run(digits.path)


def test_a_run_without_weights_says_how_it_stands(digits: RunDirectory) -> None:
    digits.weights.unlink()
    write_json(digits.result, {**read_json(digits.result), "status": "interrupted"})
    with pytest.raises(tk.RunError) as caught:
        tk.load_run(digits.path)
    assert str(caught.value) == (
        f"'{digits.path}' has no weights yet: its status is interrupted\n  where    RUN\n"
        f"  hint     trainkit fit run.dir={digits.path} goes on"
    )
