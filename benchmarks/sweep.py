"""What one more job of a multirun takes beyond its own training loop: config, data, net, scores, report, files."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import OURS, Row, rows_of

JOBS = 6


def seconds_beyond_training(folder: Path) -> list[float]:
    """Of each job after the first, whose imports come once."""
    seeds = ",".join(map(str, range(JOBS)))
    command = ["-m", "trainkit.cli", "fit", "-m", f"seed={seeds}", "trainer.max_epochs=1", f"run.root={folder}"]
    subprocess.run([sys.executable, *command], cwd=folder, check=True, capture_output=True)
    done = sorted(folder.glob("**/result.json"), key=lambda path: path.stat().st_mtime)
    trained = [json.loads(path.read_text(encoding="utf-8"))["seconds"]["train"] for path in done]
    ends = [path.stat().st_mtime for path in done]
    if len(ends) != JOBS:
        raise RuntimeError(f"{len(ends)} of {JOBS} jobs were finished")
    return [after - before - own for (before, after), own in zip(itertools.pairwise(ends), trained[1:], strict=True)]


def run(repeats: int) -> list[Row]:
    """Measures the default configuration on digits."""
    values = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            values += seconds_beyond_training(Path(folder))
    return rows_of("multirun of the default configuration", "a further job beyond its training", "s", {OURS: values})
