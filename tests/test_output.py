"""What a run prints: compared with ``output.txt``, in which numbers, times and paths are masked.

After a change that is meant: ``.venv/bin/python tests/test_output.py``, then look at the difference.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from trainkit.cli import main

GOLDEN = Path(__file__).with_name("output.txt")
FIT = ["fit", "trainer.max_epochs=4", "model=mlp", "evaluation.resamples=200"]
MASKS = (
    (re.compile(r"\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2}"), "DATE"),
    (re.compile(r"[\d.]+[kMG]? samples/s"), "N samples/s"),
    (re.compile(r"\d+:\d{2}\b"), "TIME"),
    (re.compile(r"[+−]?\d+\.\d+"), "N"),
    (re.compile(r"N: (better|worse|not distinguishable)"), "N: COMPARED"),
    (re.compile(r"epoch \d+\)"), "epoch N)"),
    (re.compile(r"[\d,]+ parameters"), "N parameters"),
    (re.compile(r"adamw \S+ cosine, warm-up \d+"), "adamw N cosine, warm-up N"),
    (re.compile(r"\d+ threads?"), "N thread"),
)
ESCAPES = ("\r", "\x1b", "\b")


def masked(text: str) -> str:
    """The text without what differs between machines, settings and days."""
    for pattern, mask in MASKS:
        text = pattern.sub(mask, text)
    return text


def fit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainkit.cli", *FIT, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def on_terminal(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    """Exit code of a run in this process, and what a terminal as its standard output was sent."""
    ours, theirs = pty.openpty()
    pieces: list[bytes] = []

    def read() -> None:
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux tells the end of a terminal by an error, others by nothing
                return
            if not piece:
                return
            pieces.append(piece)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        code = main([*FIT, *arguments])
    reader.join()
    os.close(ours)
    return code, b"".join(pieces).decode()


def test_the_output_is_the_recorded_one_and_nothing_stands_on_standard_error(tmp_path: Path) -> None:
    done = fit(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert not [mark for mark in ESCAPES if mark in done.stdout]
    assert masked(done.stdout) == GOLDEN.read_text(encoding="utf-8"), __doc__


def test_a_terminal_sees_the_bar_move_and_the_same_lines_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, seen = on_terminal(monkeypatch, "trainer.steps_per_execution=1")
    assert code == 0
    drawn = re.findall(r"\rtrain  ([━╌]+) (\d+)/80 · \d+:\d{2} · ETA \d+:\d{2} · ", seen)
    steps = [int(step) for _, step in drawn]
    assert steps and steps == sorted(set(steps))
    assert [bar.count("━") for bar, _ in drawn] == [round(24 * step / 80) for step in steps]
    wiped = re.sub(r"\r[^\r\n]+(?=\r)", "", seen.replace("\r\n", "\n")).replace("\r", "")
    assert masked(wiped) == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("train  80/80 · 0:38 · 54.1k samples/s · val/auroc 0.851 (best 0.853, epoch 14)",
         "train  80/80 · TIME · N samples/s · val/auroc N (best N, epoch N)"),
        ("bar    logistic 0.845: not distinguishable (+0.003 [−0.008, +0.013])",
         "bar    logistic N: COMPARED (N [N, N])"),
    ],
)  # fmt: skip
def test_masks_leave_words_and_counts(line: str, shown: str) -> None:
    assert masked(line) == shown


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        GOLDEN.write_text(masked(fit(Path(scratch)).stdout), encoding="utf-8")
