"""The run directory: its names, how it is made and opened, and files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from pathlib import Path

import pytest

from trainkit import rundir
from trainkit.errors import RunError
from trainkit.rundir import FORMAT_VERSION, RunDirectory, atomic_path, read_json, sha256, sync, write_json

NOW = datetime(2026, 11, 23, 5, 10, 2)


def begun(path: Path) -> RunDirectory:
    """A directory in which a run was begun."""
    run = RunDirectory(path)
    path.mkdir(parents=True)
    run.config.write_text("seed: 0\n")
    return run


def opening(path: Path) -> str:
    with pytest.raises(RunError) as caught:
        RunDirectory.open(path)
    return str(caught.value)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_file_names() -> None:
    run = RunDirectory(Path("r"))
    files = ["config.yaml", "overrides.yaml", "environment.json", "splits.npz", "checkpoints", "checkpoints/last.json"]
    files += ["checkpoints/best.json", "model.safetensors", "model.skops", "model.json", "initial.safetensors"]
    files += ["metrics.csv", "predictions.parquet", "result.json", "report.html", "MODEL_CARD.md", "error.txt"]
    attributes = [name for name, value in vars(RunDirectory).items() if isinstance(value, property)]
    assert [str(getattr(run, name)) for name in attributes] == [f"r/{file}" for file in files]


def test_create_names_the_directory_by_the_time(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "runs", "churn", NOW)
    assert run.path == tmp_path / "runs/churn/2026-11-23_05-10-02"
    assert run.path.is_dir()
    assert not run.exists()


def test_a_name_taken_within_the_same_second_gets_a_suffix(tmp_path: Path) -> None:
    made = [RunDirectory.create(tmp_path, "churn", NOW).path.name for _ in range(3)]
    assert made == ["2026-11-23_05-10-02", "2026-11-23_05-10-02-2", "2026-11-23_05-10-02-3"]
    (tmp_path / "churn" / "2026-11-23_05-10-03").write_text("a file in the way")
    other = RunDirectory.create(tmp_path, "churn", NOW.replace(second=3)).path.name
    assert other == "2026-11-23_05-10-03-2"


def test_a_file_in_the_way_of_the_root_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError) as caught:
        RunDirectory.create(tmp_path / "runs", "churn", NOW)
    assert str(caught.value) == (
        f"'{tmp_path}/runs/churn/2026-11-23_05-10-02' cannot be made: Not a directory\n  where    run.root, run.name"
    )


def test_create_gives_up_where_every_name_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(self: Path, **options: bool) -> None:
        raise FileExistsError

    monkeypatch.setattr(Path, "mkdir", taken)
    with pytest.raises(RunError, match=r"^no free name for '.*churn/2026-11-23_05-10-02'"):
        RunDirectory.create(tmp_path, "churn", NOW)


def test_open_gives_a_run_that_was_begun(tmp_path: Path) -> None:
    run = begun(tmp_path / "r")
    assert RunDirectory.open(tmp_path / "r") == RunDirectory.open(str(tmp_path / "r")) == run
    for version in ({}, {"format_version": FORMAT_VERSION}):
        write_json(run.environment, version)
        assert RunDirectory.open(run.path) == run


def test_what_is_no_run_is_not_opened(tmp_path: Path) -> None:
    assert opening(tmp_path / "none") == f"there is no run directory '{tmp_path}/none'\n  where    RUN"
    (tmp_path / "file").write_text("text")
    assert opening(tmp_path / "file").startswith("there is no run directory")
    assert opening(tmp_path) == (
        f"'{tmp_path}' holds no run\n  where    RUN\n  expected a directory with a config.yaml, as fit makes it"
    )


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, "2", None])
def test_a_later_format_is_not_opened(tmp_path: Path, version: object) -> None:
    run = begun(tmp_path / "r")
    write_json(run.environment, {"format_version": version})
    assert opening(run.path) == (
        f"'{run.path}' has format {version}\n  expected {FORMAT_VERSION} or earlier; install a newer trainkit"
    )


def test_a_damaged_environment_is_named(tmp_path: Path) -> None:
    run = begun(tmp_path / "r")
    run.environment.write_text("[1]")
    assert opening(run.path) == f"'{run.environment}' holds a list\n  expected a JSON object"


def test_status(tmp_path: Path) -> None:
    run = begun(tmp_path / "r")
    assert run.status() is None
    write_json(run.result, {"status": "completed"})
    assert run.status() == "completed"
    write_json(run.result, {"metrics": {}})
    assert run.status() is None


def test_json_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    values = {"text": "Zürich ✓", "list": [1, 2.5, None], "inner": {"a": True}}
    write_json(path, values)
    assert read_json(path) == values
    assert "Zürich ✓" in path.read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8").endswith("}\n")


def test_json_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    with pytest.raises(RunError) as caught:
        read_json(path)
    assert str(caught.value) == f"'{path}' is missing"
    for content, reason in (
        (b'{"a": 1', "Expecting ',' delimiter: line 1 column 8 (char 7)"),
        (b"", "Expecting value: line 1 column 1 (char 0)"),
        (b"\xff\xfe{}", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ):
        path.write_bytes(content)
        with pytest.raises(RunError) as caught:
            read_json(path)
        assert str(caught.value) == f"'{path}' cannot be read: {reason}"
    with pytest.raises(RunError, match="cannot be read"):
        read_json(tmp_path)
    path.write_text('"text"')
    with pytest.raises(RunError) as caught:
        read_json(path)
    assert str(caught.value) == f"'{path}' holds a str\n  expected a JSON object"


def test_values_that_are_no_json_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}
    assert names(tmp_path) == ["values.json"]


def test_an_atomic_write_appears_at_its_end_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_atomic_write_that_fails_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_an_atomic_write_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "file"):
        pass
    assert names(tmp_path) == []


def test_an_atomic_write_syncs_the_file_then_renames_then_syncs_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    path = tmp_path / "file"

    def synced(handle: Path) -> None:
        done.append(f"sync {'folder' if handle == tmp_path else 'file'}, there: {path.exists()}")

    monkeypatch.setattr(rundir, "sync", synced)
    with atomic_path(path) as temporary:
        temporary.write_text("new")
    assert done == ["sync file, there: False", "sync folder, there: True"]


def test_two_processes_do_not_share_a_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_path(tmp_path / "file") as mine:
        monkeypatch.setattr(os, "getpid", lambda: 12345)
        with atomic_path(tmp_path / "file") as theirs:
            assert mine != theirs
            mine.write_text("mine")
            theirs.write_text("theirs")
        assert (tmp_path / "file").read_text() == "theirs"
    assert (tmp_path / "file").read_text() == "mine"


def test_sync_closes_what_it_opened(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        sync(path)
        sync(tmp_path)
    assert len(os.listdir("/dev/fd")) == before


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 500_000)
    assert sha256(path) == hashlib.sha256(b"abc" * 500_000).hexdigest()
