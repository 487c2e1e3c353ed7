"""``init_from``: a new training from another run's weights, wherever names and shapes agree."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import TensorDataset

import trainkit as tk
from trainkit.config.resolvers import job_hash
from trainkit.rundir import FORMAT_VERSION, RunDirectory, read_json, sha256
from trainkit.runs.weights import load_weights

Cli = Callable[..., Any]
Same = Callable[[RunDirectory, RunDirectory], None]
FAST = ("evaluation.resamples=20", "evaluation.baseline=false", "logger=none", "trainer.threads=1")
TABLE = ("data=table", "data.path=t.csv", "model=mlp", *FAST)


FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "runs"


def net_of(file: Path, prefix: str = "net.") -> dict[str, torch.Tensor]:
    return {n.removeprefix(prefix): tensor for n, tensor in load_file(file).items() if n.startswith(prefix)}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two numbers and two targets: of two classes and of three."""
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=(90, 2))
    kinds = {"two": np.where(numbers[:, 0] > 0, "a", "b"), "three": np.array(["x", "y", "z"])[np.arange(90) % 3]}
    pd.DataFrame({"p": numbers[:, 0], "q": numbers[:, 1], **kinds}).to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


@pytest.mark.parametrize("as_file", [False, True])
def test_a_training_starts_from_the_weights_to_use(
    as_file: bool, cli: Cli, digits: RunDirectory, tmp_path: Path
) -> None:
    given = digits.weights if as_file else digits.path
    code, out, err = cli(
        "fit", "run.dir=new", f"init_from={given}", "model=mlp", "trainer.max_steps=1", "seed=3", *FAST
    )
    assert (code, err) == (0, "") and f"init   6 of 6 tensors from {given}\nplan " in out
    run = RunDirectory(tmp_path / "new")
    parent, begun = net_of(digits.weights), net_of(run.initial_weights, "")
    assert begun.keys() == parent.keys() and all(torch.equal(begun[name], parent[name]) for name in parent)
    assert not all(torch.equal(tensor, parent[name]) for name, tensor in net_of(run.weights).items())
    first_loss = float(out.partition("first loss ")[2].split()[0])
    assert first_loss < 1 < float(out.partition("(chance ")[2].split(")")[0])
    assert read_json(run.environment)["lineage"] == {
        "init_from": str(given),
        "sha256": sha256(digits.weights),
        "step": read_json(digits.best)["step"],
        "data_fingerprint": read_json(digits.result)["data_fingerprint"],
    }
    loaded = tk.load_run(run.path)
    assert loaded.config.init_from == str(given) and (loaded.lineage or {})["init_from"] == str(given)
    assert f"- **Starts from the weights of:** {given}, step " in run.model_card.read_text()


def test_tensors_of_other_sizes_stay_new_and_inputs_are_scaled_by_the_new_data(
    cli: Cli, table: Path, tmp_path: Path
) -> None:
    assert cli("fit", "run.dir=two", *TABLE, "data.target=two", "data.ignore=[three]", "trainer.max_steps=2").code == 0
    frame = pd.read_csv(table)
    frame.assign(p=frame["p"] * 10 + 5).to_csv(table, index=False)
    options = ("data.target=three", "data.ignore=[two]", "trainer.max_steps=1", "seed=4")
    code, out, _ = cli("fit", "run.dir=three", *TABLE, *options, "init_from=two")
    assert code == 0 and "init   4 of 6 tensors from two · new: head.weight, head.bias\n" in out
    runs = [RunDirectory(tmp_path / name) for name in ("two", "three")]
    two, three = net_of(runs[0].weights), net_of(runs[1].initial_weights, "")
    assert [name for name in two if torch.equal(two[name][:1], three[name][:1])] == [
        name for name in two if not name.startswith("head")
    ]
    scales = [load_weights(run).state["inputs.mean"] for run in runs]
    assert scales[1][0] > 3 > 1 > scales[0][0].abs()


def test_a_run_killed_before_its_first_checkpoint_starts_from_the_same_weights_again(
    cli: Cli, digits: RunDirectory, assert_same_run: Same, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = ("fit", f"init_from={digits.path}", "model=mlp", "trainer.max_steps=20", "seed=1", *FAST)
    assert cli(*command, "run.dir=whole").code == 0
    with monkeypatch.context() as patch:
        patch.setattr("trainkit.runs.completion.train", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        assert cli(*command, "run.dir=new").code == 130
    shutil.rmtree(digits.path)
    code, out, _ = cli("fit", "run.dir=new")
    assert code == 0 and "run    new continues from the start: no checkpoint was written yet\n" in out
    assert "init   " not in out
    assert_same_run(RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "new"))


class Own(nn.Module):
    """A body like that of a run with ``Own``, and a head for any number of classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)), nn.Linear(8, classes)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.head(self.body(points))
        return outputs


def test_live_objects_take_weights_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    points = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    options: dict[str, Any] = {"task": "classification", "max_epochs": 1, "batch_size": 16, "overrides": FAST}
    two = tk.fit(model=Own(2), train=TensorDataset(points, (points[:, 0] > 0).long()), name="two", **options)
    assert two.run_dir is not None
    thirds = TensorDataset(points, torch.arange(60) % 3)
    capsys.readouterr()
    three = tk.fit(model=Own(3), train=thirds, init_from=two.run_dir, name="three", **options)
    assert f"init   7 of 9 tensors from {two.run_dir} · new: head.weight, head.bias\n" in capsys.readouterr().out
    assert three.run_dir is not None
    parent, begun = (
        net_of(RunDirectory(two.run_dir).weights),
        net_of(RunDirectory(three.run_dir).initial_weights, ""),
    )
    assert all(torch.equal(begun[name], parent[name]) for name in parent if name.startswith("body"))


def test_a_run_that_gives_no_weights_is_refused(
    cli: Cli, digits: RunDirectory, stop_at: Callable[..., None], tmp_path: Path
) -> None:
    logistic = RunDirectory(FIXTURES / "v1" / "classical" / "run")
    stop_at(3)
    assert cli("fit", "run.dir=unfinished", "model=mlp", *FAST).code == 128 + signal.SIGTERM
    stop_at(None)
    (tmp_path / "damaged.safetensors").write_bytes(digits.weights.read_bytes()[:999])
    save_file({"head.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    save_file({"net.a": torch.zeros(2)}, tmp_path / "later.safetensors", {"format_version": str(FORMAT_VERSION + 1)})
    for name in ("net.pt", "net.pkl"):
        (tmp_path / name).write_bytes(b"\x80\x04N.")
    (tmp_path / "empty").mkdir()
    shutil.copytree(digits.path, tmp_path / "emptied")
    (tmp_path / "emptied" / digits.weights.name).unlink()
    checkpoint = digits.checkpoints / read_json(digits.last)["file"]
    expected = "  expected a run, or its model.safetensors; pickles and checkpoints are not read here\n"
    for given, text in (
        ("nowhere", "there is no 'nowhere'\n  where    init_from\n  expected a run, or its model.safetensors\n"),
        ("empty", "'empty' holds no run\n  where    init_from\n"),
        (
            "unfinished",
            "'unfinished' has no weights yet: it was not finished\n  where    init_from\n  hint     trainkit fit",
        ),
        (
            "emptied",
            "the weights of 'emptied' are missing: there is no model.safetensors in it\n  where    init_from\n",
        ),
        (logistic.path, f"'{logistic.path}' is a classical model, which has no net's weights\n  where    init_from\n"),
        (logistic.weights, f"'{logistic.weights}' holds no net's weights\n  where    init_from\n"),
        ("damaged.safetensors", "'damaged.safetensors' is damaged: "),
        ("other.safetensors", "'other.safetensors' holds no net's weights\n"),
        ("later.safetensors", "'later.safetensors' has format 2\n  where    init_from\n  expected 1 or earlier\n"),
        ("net.pt", f"'net.pt' is no file of weights\n  where    init_from\n{expected}"),
        ("net.pkl", f"'net.pkl' is no file of weights\n  where    init_from\n{expected}"),
        (
            checkpoint,
            f"'{checkpoint}' is no file of weights\n  where    init_from\n{expected}"
            f"  hint     init_from={digits.path}\n",
        ),
    ):
        code, out, err = cli("fit", f"init_from={given}", "model=mlp", "trainer.max_steps=1", *FAST)
        assert (code, out) == (2, "") and err.startswith(text), err
    assert not (tmp_path / "runs").exists()


def test_a_net_that_nothing_fits_names_the_nearest_tensor(cli: Cli, digits: RunDirectory, tmp_path: Path) -> None:
    code, out, err = cli("fit", "data=wine", "model=mlp", "model.hidden=[5]", f"init_from={digits.path}", *FAST)
    assert (code, out) == (2, "")
    assert err == (
        f"no tensor of '{digits.path}' fits the net by name and shape\n  where    init_from\n"
        "  expected such as trunk.1.weight [5, 13]; nearest there is trunk.1.weight [128, 64]\n"
        "  hint     give the model of that run, as its config.yaml has it\n"
    )
    code, out, err = cli("fit", "data=wine", "model=logistic", f"init_from={digits.path}", *FAST)
    assert (code, out) == (2, "") and err.startswith(
        "init_from gives weights to a net, and the model is LogisticRegression\n  where    init_from\n"
    )


def test_a_sweep_over_parents_is_a_job_for_each_and_other_jobs_keep_their_names() -> None:
    plain = tk.compose([])
    hashes = {job_hash(tk.compose([text])) for text in ("init_from=a", "init_from=b", "resume_from=a")}
    assert len({job_hash(plain), *hashes}) == 4
    before = plain.copy()
    for key in ("init_from", "resume_from"):
        before._set_flag("struct", False)
        del before[key]
    assert job_hash(before) == job_hash(plain)
