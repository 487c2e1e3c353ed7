"""Two processes of one thread each against one: a convolutional net, gradients averaged over gloo."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.measuring import Row, in_turn, rows_of

ONE, TWO = "1 process", "2 processes"
SAMPLES, BATCH_SIZE, EPOCHS = 5_120, 128, 6


def samples_per_second(folder: Path, devices: int) -> float:
    """Of a run's training loop, the start of its processes left out."""
    place = tempfile.mkdtemp(dir=folder)
    command = ["-m", "trainkit.cli", "fit", "data=arrays", f"data.path={folder / 'images.safetensors'}", "model=cnn"]
    command += [f"trainer.devices={devices}", "trainer.threads=1", f"trainer.max_epochs={EPOCHS}"]
    command += [f"data.batch_size={BATCH_SIZE}", "data.val_share=0", "data.test_share=0", "evaluation.baseline=false"]
    subprocess.run([sys.executable, *command, f"run.dir={place}/run"], cwd=folder, check=True, capture_output=True)
    return float(json.loads((Path(place) / "run" / "result.json").read_text(encoding="utf-8"))["samples_per_second"])


def run(repeats: int) -> list[Row]:
    """Measures both in turn."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (SAMPLES, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (SAMPLES,), generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        save_file({"images": images, "labels": labels}, Path(folder) / "images.safetensors")
        contenders = {name: partial(samples_per_second, Path(folder), count) for name, count in ((ONE, 1), (TWO, 2))}
        values = in_turn(contenders, repeats)
    return rows_of("CNN on images 3×32×32, batch 128", "training throughput", "samples/s", values, ONE)
