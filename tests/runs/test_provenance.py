from __future__ import annotations

import importlib.metadata
import inspect
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import trainkit as tk
import trainkit.data
from trainkit.rundir import read_json, sha256
from trainkit.runs.build import build_parts
from trainkit.runs.devices import Devices
from trainkit.runs.machine import packages
from trainkit.runs.parts import LiveObjects
from trainkit.runs.provenance import environment, exactness, source_of
from trainkit.runs.repository import checkout_state

CPU, CUDA = Devices("cpu", 1, 1), Devices("cuda", 2, 1)


def test_the_environment_says_where_a_run_came_from(cli: Callable[..., Any], tmp_path: Path) -> None:
    def git(*words: str) -> str:
        settings = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
        return subprocess.run(
            ["git", *settings, *words], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    (tmp_path / "note.txt").write_text("one\n")
    git("init", "-q")
    git("add", "note.txt")
    git("commit", "-q", "-m", "start")
    (tmp_path / "note.txt").write_text("two\n")
    words = ["fit", "data=wine", "model=logistic", "run.dir=run", "evaluation.resamples=20", "seed=5"]
    assert cli(*words).code == 0
    known = read_json(tmp_path / "run" / "environment.json")
    assert (known["format_version"], known["trainkit"], known["command"]) == (
        1,
        tk.__version__,
        ["trainkit fit", *words[1:]],
    )
    assert known["git"]["commit"] == git("rev-parse", "HEAD").strip()
    assert known["git"]["diff"].endswith("-one\n+two\n")
    assert (known["seed"], known["split_seed"], len(known["data_fingerprint"])) == (5, 0, 64)
    assert known["packages"]["torch"] == importlib.metadata.version("torch")
    assert {"lightning", "hydra-core", "scikit-learn", "numpy"} <= set(known["packages"])
    assert known["hardware"]["devices"] == 1 and known["hardware"]["cpus"] >= 1
    source = known["sources"]["trainkit.data.BundledTable"]
    file = Path(inspect.getfile(trainkit.data.BundledTable))
    assert source == {"file": "trainkit/data/bundled.py", "sha256": sha256(file)}
    assert known["trainkit_checkout"] == checkout_state(Path(tk.__file__).parents[1])
    assert known["lineage"] is None and known["started"].endswith("+00:00")
    assert len(known["packages"]) > 40 and {"variables", "torch", "determinism", "interpreter"} <= set(known)


def test_outside_of_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment(build_parts(tk.compose(["data=wine", "model=mlp"])), CPU)["git"] is None


def test_objects_of_a_script_are_among_the_sources() -> None:
    live = LiveObjects(model=torch.nn.Linear(13, 3), optimizer=tk.adamw())
    sources = environment(build_parts(tk.compose(["data=wine"]), live), CPU)["sources"]
    assert sources["model: torch.nn.modules.linear.Linear"]["file"] == "torch/nn/modules/linear.py"
    assert "optimizer: functools.partial" in sources


def test_what_was_typed_into_a_shell_has_no_source() -> None:
    scope: dict[str, Any] = {}
    exec("class Typed: pass", {"__name__": "typed"}, scope)
    for thing in (scope["Typed"], len, dict):
        assert source_of(thing) == {"file": None, "sha256": None}


def test_what_was_given_to_python_c_has_none_either() -> None:
    script = "from trainkit.runs.provenance import source_of\nclass Given: pass\nprint(source_of(Given)['file'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr


def test_whether_a_run_can_go_on_to_the_bit() -> None:
    parts = build_parts(tk.compose(["data=wine", "model=mlp"]))
    assert exactness(parts, CPU) == {"exact_resume": True, "exact_resume_reasons": []}
    assert exactness(parts, CUDA) == {
        "exact_resume": False,
        "exact_resume_reasons": ["kernels of the GPU are not deterministic: trainer.deterministic=true"],
    }
    parts.config.trainer.deterministic = True
    assert exactness(parts, CUDA)["exact_resume"]


def test_it_is_written_in_a_moment() -> None:
    """150 ms on an idle machine, in a repository; three times that where others work beside."""
    parts = build_parts(tk.compose(["data=wine", "model=mlp"]))
    seconds = []
    for _ in range(3):
        packages.cache_clear()
        start = time.perf_counter()
        environment(parts, CPU)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.45


def test_the_script_is_known_by_name_and_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = build_parts(tk.compose(["data=wine", "model=mlp"]))
    script = tmp_path / "train.py"
    script.write_text("print(1)\n")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    assert environment(parts, CPU)["script"] == {"file": "train.py", "sha256": sha256(script)}
    monkeypatch.delattr(sys.modules["__main__"], "__file__")
    assert environment(parts, CPU)["script"] is None


def test_nothing_tells_secrets_or_who_ran_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_TOKEN", "a-secret-of-mine")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr("trainkit.runs.provenance.git_state", lambda folder: None)
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/trainkit", "fit"])
    known = environment(build_parts(tk.compose(["data=wine", "model=mlp"])), CPU)
    assert known["command"] == ["trainkit", "fit"] and known["variables"]["OMP_NUM_THREADS"] == "3"
    text = json.dumps(known)
    assert "a-secret-of-mine" not in text and "MY_API_TOKEN" not in text
    for name in (platform.node(), str(Path.home()), str(Path.cwd())):
        assert f'"{name}' not in text and f"{name}/" not in text
