"""The run directory: the only place that knows its file names, and how its small files are read and written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from trainkit.errors import RunError, writing

FORMAT_VERSION = 1

SEAL = "seal"
"""Key of a small file's own SHA-256: over its name and everything else in it."""

FILES = "files"
"""Key under which ``environment.json`` and ``result.json`` hold sizes and SHA-256s of other files of the run."""


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run.

    Args:
        path: The directory; it need not exist yet.
    """

    path: Path

    config = property(lambda self: self.path / "config.yaml")
    overrides = property(lambda self: self.path / "overrides.yaml")
    environment = property(lambda self: self.path / "environment.json")
    splits = property(lambda self: self.path / "splits.npz")
    checkpoints = property(lambda self: self.path / "checkpoints")
    last = property(lambda self: self.path / "checkpoints" / "last.json")
    best = property(lambda self: self.path / "checkpoints" / "best.json")
    weights = property(lambda self: self.path / "model.safetensors")
    classical_model = property(lambda self: self.path / "model.skops")
    model_info = property(lambda self: self.path / "model.json")
    initial_weights = property(lambda self: self.path / "initial.safetensors")
    metrics = property(lambda self: self.path / "metrics.csv")
    predictions = property(lambda self: self.path / "predictions.parquet")
    result = property(lambda self: self.path / "result.json")
    report = property(lambda self: self.path / "report.html")
    model_card = property(lambda self: self.path / "MODEL_CARD.md")
    error = property(lambda self: self.path / "error.txt")

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return bool(self.config.is_file())

    def status(self) -> str | None:
        """``completed``, ``failed``, ``interrupted``, or None where no result was written yet."""
        return self.read_result().get("status") if self.result.is_file() else None

    def read_result(self) -> dict[str, Any]:
        """What ``result.json`` says.

        Raises:
            RunError: It is missing or damaged, or that of another run.
        """
        values = read_json(self.result)
        own = read_json(self.environment).get("run_id") if self.environment.is_file() else None
        if own is not None and values.get("run_id", own) != own:
            raise RunError(f"'{self.result}' is of another run than '{self.environment}'", where="RUN")
        return values

    def check(self, *paths: Path) -> None:
        """Compares files with the sums that the run recorded; one without a sum, as of an older run, passes.

        Raises:
            RunError: A file is missing, or another than the run wrote.
        """
        sums = self._sums()
        for path in paths:
            if path.name in sums and (fault := _fault(path, sums[path.name])):
                raise RunError(f"'{path}' {fault}", where="RUN", expected="the file as this run wrote it")

    def changes(self) -> list[str]:
        """A sentence for each text file that is not as the run wrote it and can be used all the same.

        Such are the config and the overrides, which somebody may have edited, and the curves, which are only shown.
        """
        sums = self._sums()
        texts = (path for path in (self.config, self.overrides, self.metrics) if path.name in sums)
        faults = ((path, _fault(path, sums[path.name], begins=path == self.metrics)) for path in texts)
        return [f"{path.name} {fault}" for path, fault in faults if fault]

    def _sums(self) -> dict[str, Any]:
        """Size and SHA-256 by file name, as far as they were recorded.

        A run that goes on writes anew what stands in the result.
        """
        sums: dict[str, Any] = {}
        if self.environment.is_file():
            sums |= read_json(self.environment).get(FILES, {})
        if self.result.is_file():
            values = self.read_result()
            known = values.get(FILES, {})
            names = known if values.get("status") == "completed" else {self.metrics.name}
            sums |= {name: known[name] for name in names if name in known}
        return sums

    def events(self) -> list[Path]:
        """TensorBoard's files with curves, the oldest first; not the one with the settings and final metrics."""
        files = sorted(self.path.glob("events.out.tfevents.*"))
        return [file for file in files if b"_hparams_/" not in file.read_bytes()]

    def typed_overrides(self) -> list[str]:
        """The overrides that the run was begun with; none of a run that keeps none.

        Raises:
            RunError: The file is no YAML with a list of texts.
        """
        if not self.overrides.is_file():
            return []
        try:
            found = yaml.safe_load(self.overrides.read_text(encoding="utf-8"))["overrides"]
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise RunError(f"'{self.overrides}' cannot be read: {error}".splitlines()[0]) from error
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            raise RunError(f"'{self.overrides}' cannot be read", expected="a list of texts under 'overrides'")
        return found

    def lineage(self) -> dict[str, Any] | None:
        """The run that this one comes from: ``resume_from`` or ``init_from``, sha256, step, data_fingerprint; or None.

        The sum is that of the file taken over: the checkpoint gone on from, or the weights started from.
        """
        return read_json(self.environment).get("lineage") if self.environment.is_file() else None

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """A directory that holds a run.

        Raises:
            RunError: There is no such directory, it holds no run, or one of a later format.
        """
        run = cls(Path(path))
        if not run.path.is_dir():
            raise RunError(f"there is no run directory '{path}'", where="RUN")
        if not run.exists():
            raise RunError(
                f"'{path}' holds no run", where="RUN", expected="a directory with a config.yaml, as fit makes it"
            )
        if run.environment.is_file():
            version = read_json(run.environment).get("format_version", FORMAT_VERSION)
            if not isinstance(version, int) or version > FORMAT_VERSION:
                raise RunError(
                    f"'{path}' has format {version}", expected=f"{FORMAT_VERSION} or earlier; install a newer trainkit"
                )
        return run

    @classmethod
    def create(cls, root: str | Path, name: str, now: datetime) -> RunDirectory:
        """Makes ``root/name/date_time``; a name taken within the same second gets a suffix.

        Raises:
            RunError: It cannot be made, or the name leads out of ``root``.
        """
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise RunError(
                f"the name '{name}' leads out of '{root}'", where="run.name", expected="a name below run.root"
            )
        stamp = Path(root) / name / now.strftime("%Y-%m-%d_%H-%M-%S")
        for attempt in range(1_000):
            path = stamp if not attempt else stamp.with_name(f"{stamp.name}-{attempt + 1}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise RunError(f"'{path}' cannot be made: {error.strerror}", where="run.root, run.name") from error
            return cls(path)
        raise RunError(f"no free name for '{stamp}'", where="run.dir")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's object.

    Raises:
        RunError: The file is missing, is not JSON, holds something else than an object, or is not as it was written.
    """
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"'{path}' is missing") from error
    except (ValueError, OSError, RecursionError) as error:
        raise RunError(f"'{path}' cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise RunError(f"'{path}' holds a {type(values).__name__}", expected="a JSON object")
    if (SEAL in values or FILES in values) and values.get(SEAL) != _seal(path.name, values):
        raise RunError(f"'{path}' is damaged, or was changed after it was written")
    return values


def write_json(path: Path, values: dict[str, Any], sealed: bool = False) -> None:
    """Writes a JSON file whole or not at all.

    Args:
        path: The file.
        values: Its contents.
        sealed: Whether it gets a sum of itself, by which ``read_json`` sees a change; one that has such keeps it.
    """
    if sealed or SEAL in values:
        values = {**values, SEAL: _seal(path.name, values)}
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _seal(name: str, values: dict[str, Any]) -> str:
    """SHA-256 of the contents of a JSON file under its name, whatever its layout."""
    plain = json.loads(json.dumps({key: value for key, value in values.items() if key != SEAL}))
    return hashlib.sha256(f"{name}\n{json.dumps(plain, sort_keys=True)}".encode()).hexdigest()


def sum_of(content: bytes) -> dict[str, Any]:
    """Size and SHA-256 of a file's content, as a run records them."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def sums_of(*paths: Path) -> dict[str, Any]:
    """Size and SHA-256 of those files that are there, by name."""
    return {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in paths if path.is_file()}


def _fault(path: Path, known: Any, begins: bool = False) -> str | None:
    """What is wrong with a file by its recorded sum; nothing where it ``begins`` as recorded and goes on."""
    if not path.is_file():
        return "is missing"
    try:
        size, expected = int(known["bytes"]), str(known["sha256"])
        found = sum_of(path.read_bytes()[:size])["sha256"] if begins else sha256(path)
    except (OSError, LookupError, TypeError, ValueError) as error:
        return f"cannot be compared with its sum: {error}"
    return None if found == expected else "is damaged, or was changed after the run wrote it"


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, which takes its place when the block ends well: synced, renamed, synced.

    Raises:
        RunError: The disk did not take it; what stood at ``path`` before still does.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            yield temporary
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Waits until a file or directory is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
