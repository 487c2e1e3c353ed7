"""Files that run something when they are read without care: each would make a marker file."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.linear_model import Ridge

import trainkit as tk
from tests.faults.conftest import call
from trainkit.rundir import RunDirectory, read_json, sha256, write_json


@dataclass(frozen=True)
class Scene:
    """A folder of its own for a payload.

    Attributes:
        folder: Empty but for the runs.
        finished: A run's directory that somebody gave to the user.
        interrupted: Another.
        classical: One of a classical model.
    """

    folder: Path
    finished: RunDirectory
    interrupted: RunDirectory
    classical: RunDirectory

    @property
    def marker(self) -> Path:
        """Made by what is run."""
        return self.folder / "MARKER"


class Evil:
    """Makes the marker when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.marker), "w")


Payload = Callable[[Scene], None]


def pickled(scene: Scene) -> bytes:
    return pickle.dumps({"state_dict": Evil(scene.marker)})


def torch_file(scene: Scene) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": {"a": Evil(scene.marker)}, "callbacks": {}, "optimizer_states": []}, buffer)
    return buffer.getvalue()


def legacy(scene: Scene) -> bytes:
    buffer = io.BytesIO()
    torch.save(Evil(scene.marker), buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def objects(scene: Scene) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil(scene.marker)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def climbing(scene: Scene) -> bytes:
    """An archive that leads out of the folder it would be unpacked in."""
    return archive(**{"../MARKER": b"", "../../MARKER": b"", str(scene.marker): b"", "data.pkl": pickled(scene)})


def used(*words: str | os.PathLike[str]) -> None:
    """Calls a command, which has to end well or with a mistake of the user's."""
    said = call(*words)
    if said.code:
        assert said.code == 2, said.text
        raise tk.RunError(said.text)


FIT = (
    "evaluation.resamples=20",
    "evaluation.baseline=false",
    "trainer.max_steps=1",
    "trainer.threads=1",
    "run.dir=new",
)
FORMS: Mapping[str, Callable[[Scene], bytes]] = {
    "pickle": pickled,
    "torch file": torch_file,
    "old torch file": legacy,
    "objects": objects,
    "climbing archive": climbing,
}


def as_checkpoint(form: str, verb: str) -> Payload:
    """The last checkpoint of a run, with the sum that its pointer names."""

    def use(scene: Scene) -> None:
        run = scene.interrupted if verb == "run.dir" else scene.finished
        entry = read_json(run.last)
        path = run.checkpoints / entry["file"]
        path.write_bytes(FORMS[form](scene))
        known = {"file": path.name, "sha256": sha256(path), "step": entry["step"]}
        write_json(run.last, {**known, "older": []})
        used("fit", f"{verb}={run.path}", *(() if verb == "run.dir" else ("run.dir=new", "trainer.max_epochs=4")))

    return use


def as_file(form: str, name: str, *words: str) -> Payload:
    """A file that the user was given, under a name that a command takes; ``RUN`` stands for a run."""

    def use(scene: Scene) -> None:
        (scene.folder / name).write_bytes(FORMS[form](scene))
        used(*(word.replace("RUN", str(scene.finished.path)) for word in words))

    return use


def in_run(form: str, name: str, classical: bool = False) -> Payload:
    """In place of a file of a run that keeps no sums."""

    def use(scene: Scene) -> None:
        run = scene.classical if classical else scene.finished
        without_sums(run)
        (run.path / name).write_bytes(FORMS[form](scene))
        if name == "predictions.parquet":
            change(run, lambda config: config["data"].update(table="gone"))
        used("evaluate", run.path)

    return use


def without_sums(run: RunDirectory) -> None:
    """As a run of an earlier version, or one whose sums were made to agree."""
    for path in (run.environment, run.result):
        values = read_json(path)
        path.write_text(json.dumps({key: value for key, value in values.items() if key not in ("files", "seal")}))


def change(run: RunDirectory, change: Callable[[dict[str, Any]], object]) -> None:
    config = yaml.safe_load(run.config.read_text())
    change(config)
    run.config.write_text(yaml.safe_dump(config))


def in_config(section: str, node: Any, verb: str) -> Payload:
    """A node in the config of a run; ``MARKER`` stands for the marker."""

    def use(scene: Scene) -> None:
        run = scene.interrupted if verb == "run.dir" else scene.finished
        filled = json.loads(json.dumps(node).replace("MARKER", str(scene.marker)))
        change(run, lambda config: config.update({section: filled}))
        if verb in ("run.dir", "resume_from"):
            used("fit", f"{verb}={run.path}", *(() if verb == "run.dir" else ("run.dir=new", "trainer.max_epochs=4")))
        else:
            used(verb, run.path)

    return use


def as_yaml(text: str, name: str = "config.yaml") -> Payload:
    """At the end of a YAML of a run, which every command reads."""

    def use(scene: Scene) -> None:
        for run in (scene.finished, scene.interrupted):
            with (run.path / name).open("a") as file:
                file.write(text.replace("MARKER", str(scene.marker)))
        try:
            tk.find_runs(scene.folder)
            used("evaluate", scene.finished.path)
        finally:
            used("fit", f"run.dir={scene.interrupted.path}")

    return use


def safetensors(change: Callable[[dict[str, str]], None]) -> Payload:
    """Weights whose metadata says something else."""

    def use(scene: Scene) -> None:
        without_sums(scene.finished)
        path = scene.finished.weights
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata())
        change(metadata)
        save_file(tensors, path, metadata)
        used("evaluate", scene.finished.path)

    return use


def header(content: bytes, size: int | None = None) -> Payload:
    def use(scene: Scene) -> None:
        without_sums(scene.finished)
        scene.finished.weights.write_bytes(struct.pack("<Q", len(content) if size is None else size) + content)
        used("evaluate", scene.finished.path)

    return use


def estimator(tol: Callable[[Scene], Any]) -> Payload:
    def use(scene: Scene) -> None:
        without_sums(scene.classical)
        skops.io.dump(Ridge(tol=tol(scene)), scene.classical.classical_model)
        used("evaluate", scene.classical.path)

    return use


def pointer(name: str, pointed: str) -> Payload:
    """A pointer to a file outside of the run, with the sum of that file."""

    def use(scene: Scene) -> None:
        outside = scene.folder / "step-6.ckpt"
        outside.write_bytes(torch_file(scene))
        run = scene.interrupted
        file = pointed.replace("FOLDER", str(scene.folder))
        entry = {"file": file, "sha256": sha256(outside), "step": 6}
        write_json(run.checkpoints / name, {**entry, "older": [], "monitor": {"step": 6}})
        used("fit", f"run.dir={run.path}")

    return use


def named_run(name: str) -> Payload:
    """A run that names itself so that those that go on from it would lie elsewhere."""

    def use(scene: Scene) -> None:
        change(scene.finished, lambda config: config["run"].update(name=name.replace("FOLDER", str(scene.folder))))
        before = {path for path in scene.folder.parent.glob("*")} | {path for path in scene.folder.glob("*")}
        try:
            used("fit", f"resume_from={scene.finished.path}", "trainer.max_epochs=4", "run.root=deep/runs")
        finally:
            after = {path for path in scene.folder.parent.glob("*")} | {path for path in scene.folder.glob("*")}
            if {path.name for path in after - before} - {"deep"}:
                scene.marker.touch()

    return use


def evil_parquet(scene: Scene) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(pd.DataFrame({"a": [1.0]}))
    evil = {b"pandas": pickled(scene), b"ARROW:schema": pickled(scene)}
    pq.write_table(table.replace_schema_metadata(evil), scene.folder / "data.parquet")
    used("fit", "data=table", "data.path=data.parquet", "data.target=a", *FIT)


def copied_scene(runs: Mapping[str, RunDirectory], folder: Path) -> Scene:
    folder.mkdir()
    return Scene(
        folder, **{name: RunDirectory(Path(shutil.copytree(run.path, folder / name))) for name, run in runs.items()}
    )
