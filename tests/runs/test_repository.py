from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from trainkit.runs import repository
from trainkit.runs.repository import checkout_state, git_state

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A repository on branch ``work`` with one commit of ``note.txt``; calls git in it."""

    def call(*words: str) -> str:
        settings = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
        done = subprocess.run(["git", *settings, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    call("init", "-q", "-b", "work")
    (tmp_path / "note.txt").write_text("one\n")
    call("add", "note.txt")
    call("commit", "-q", "-m", "start")
    return call


def test_a_clean_repository(git: Git, tmp_path: Path) -> None:
    assert git_state(tmp_path) == {
        **{"commit": git("rev-parse", "HEAD"), "branch": "work", "dirty": False, "diff": "", "diff_is_cut": False},
        **{"untracked": [], "untracked_is_cut": False},
    }


def test_changes_staged_ones_and_files_git_does_not_know(git: Git, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("two\n")
    (tmp_path / "staged.txt").write_text("new\n")
    git("add", "staged.txt")
    (tmp_path / "größe und.py").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file.py").write_text("")
    (tmp_path / "ignored.log").write_text("")
    (tmp_path / ".git" / "info" / "exclude").write_text("*.log\n")
    known = git_state(tmp_path / "folder")
    assert known is not None and known["dirty"] and "-one\n+two\n" in known["diff"] and "+new\n" in known["diff"]
    assert sorted(known["untracked"]) == ["folder/", "größe und.py"]


def test_a_detached_head_has_no_branch(git: Git, tmp_path: Path) -> None:
    git("checkout", "-q", "--detach")
    known = git_state(tmp_path)
    assert known is not None and known["branch"] is None and known["commit"] == git("rev-parse", "HEAD")


def test_what_is_too_long_is_cut_and_says_so(git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "note.txt").write_text("line\n" * 300_000)
    for idx in range(repository.MAX_UNTRACKED + 1):
        (tmp_path / f"{idx:04}.txt").touch()
    known = git_state(tmp_path)
    assert known is not None and known["diff_is_cut"] and known["untracked_is_cut"] and known["dirty"]
    assert len(known["diff"].encode()) == repository.MAX_DIFF_BYTES and len(known["untracked"]) == 200


@pytest.mark.parametrize("slow", ["diff", "status", "rev-parse"])
def test_a_repository_too_large_to_ask_does_not_hold_a_run_up(
    slow: str, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, real = git("rev-parse", "HEAD"), git("--exec-path") + "/git"
    stand_in = tmp_path / "bin" / "git"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\ncase " $* " in *" {slow} "*) exec sleep 30;; esac\nexec "{real}" "$@"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:/usr/bin:/bin")
    monkeypatch.setattr(repository, "TIMEOUT_SECONDS", 1.0)
    start = time.perf_counter()
    known = git_state(tmp_path)
    assert time.perf_counter() - start < 5
    if slow == "rev-parse":
        assert known is None
        return
    assert known is not None and (known["commit"], known["branch"]) == (commit, "work")
    missing = {"diff": ("diff", "dirty"), "status": ("untracked",)}[slow]
    assert [name for name in ("diff", "dirty", "untracked") if known[name] is None] == list(missing)


def test_no_repository_no_commit_or_no_git_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None


def test_a_repository_starts_no_program_of_its_own(git: Git, tmp_path: Path) -> None:
    hook = tmp_path / ".git" / "hook.sh"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/.git/started\n")
    hook.chmod(0o755)
    for key in ("core.fsmonitor", "diff.external", "core.pager"):
        git("config", key, str(hook))
    (tmp_path / "note.txt").write_text("two\n")
    known = git_state(tmp_path)
    assert known is not None and "+two\n" in known["diff"] and not (tmp_path / ".git" / "started").exists()


def test_a_package_used_from_a_checkout_has_a_commit(git: Git, tmp_path: Path) -> None:
    commit = git("rev-parse", "HEAD")
    assert checkout_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "unknown.txt").touch()
    assert checkout_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "note.txt").write_text("two\n")
    assert checkout_state(tmp_path) == {"commit": commit, "dirty": True}


def test_a_package_installed_inside_of_a_repository_has_none(git: Git, tmp_path: Path) -> None:
    installed = tmp_path / "site-packages"
    installed.mkdir()
    assert git_state(installed) is not None and checkout_state(installed) is None


def test_a_checkout_without_a_commit_or_without_git_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert checkout_state(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert checkout_state(tmp_path) is None
