"""Samples a second in training: trainkit with everything switched on, the loop written by hand, and the floor.

The hand loop holds its tensors in memory, gathers each batch by one ``index_select`` (crops and flips it where that is
asked for), and does nothing but forward, mean loss, ``zero_grad``, backward and a fused optimizer step. The floor is
forward and backward alone on batches gathered beforehand. trainkit follows accuracy, writes TensorBoard every 50 steps,
shows its progress and saves a checkpoint an epoch. Same nets, batches, threads and data.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

import trainkit as tk
from benchmarks.measuring import FLOOR, HAND, OURS, Row, in_turn, rows_of
from benchmarks.peers import DATALOADER, EPOCHS, LIGHTNING, Clock, dataloader_loop, plain_lightning

EVAL_BATCH = 1024
NVML_CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"


@dataclass(frozen=True)
class Case:
    """A net and its data.

    Attributes:
        name: Of the case.
        net: Makes the net.
        shape: Of a sample.
        num_samples: Of the training part.
        batch_size: Samples of an optimizer step.
        epochs: Passes over the samples in one measurement.
        threads: Of torch.
        is_augmented: Whether samples are cropped and flipped.
    """

    name: str
    net: Callable[[], nn.Module]
    shape: tuple[int, ...]
    num_samples: int
    batch_size: int
    epochs: int
    threads: int
    is_augmented: bool = False


def mlp() -> nn.Module:
    """64-128-10."""
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def batch_norm() -> nn.Module:
    """784-64-128-64-10 with BatchNorm."""
    sizes, layers = (784, 64, 128, 64), list[nn.Module]()
    for size, following in itertools.pairwise(sizes):
        layers += [nn.Linear(size, following), nn.BatchNorm1d(following), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def cnn() -> nn.Module:
    """Three convolutions of 32, 64 and 128 channels."""
    layers: list[nn.Module] = []
    for size, following in zip((3, 32, 64), (32, 64, 128), strict=True):
        layers += [nn.Conv2d(size, following, 3, padding=1), nn.BatchNorm2d(following), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


CASES = (
    Case("MLP 64-128-10, batch 64, 1 thread", mlp, (64,), 40_000, 64, 2, 1),
    Case("MLP 784-64-128-64-10, BatchNorm, batch 64, 1 thread", batch_norm, (784,), 40_000, 64, 2, 1),
    Case("CNN 32-64-128, batch 128, crop and flip, 2 threads", cnn, (3, 32, 32), 5_120, 128, 2, 2, True),
)


def samples(case: Case) -> tuple[Tensor, Tensor]:
    """Random inputs and classes."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 10, (case.num_samples,), generator=generator)
    return torch.randn(case.num_samples, *case.shape, generator=generator), target


def crop_and_flip(images: Tensor) -> Tensor:
    """Whole-batch random crop of 4 pixels and flip, as one gather."""
    size, side = len(images), images.shape[-1]
    padded = functional.pad(images, (4, 4, 4, 4))
    down, right = torch.randint(0, 9, (2, size, 1))
    rows, columns = down + torch.arange(side), right + torch.arange(side)
    columns = torch.where(torch.rand(size, 1) < 0.5, columns.flip(1), columns)
    batch = torch.arange(size)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def hand_loop(case: Case, inputs: Tensor, target: Tensor) -> float:
    """Samples a second of the loop written by hand."""
    torch.manual_seed(0)
    net = case.net()
    os.environ.pop(NVML_CHECK, None)  # importing Lightning sets it, and the optimizer then looks for a GPU at each step
    if case.is_augmented:
        net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    started = time.perf_counter()
    for _ in range(case.epochs):
        order = torch.randperm(len(inputs))
        for rows in order.split(case.batch_size):
            batch = inputs.index_select(0, rows)
            if case.is_augmented:
                batch = crop_and_flip(batch).contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(net(batch), target.index_select(0, rows))
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
    return case.epochs * len(inputs) / (time.perf_counter() - started)


def floor(case: Case, inputs: Tensor, target: Tensor) -> float:
    """Samples a second of forward and backward alone."""
    torch.manual_seed(0)
    net = case.net()
    batches = list(zip(inputs.split(case.batch_size), target.split(case.batch_size), strict=True))
    if case.is_augmented:
        net = net.to(memory_format=torch.channels_last)
        batches = [(batch.contiguous(memory_format=torch.channels_last), labels) for batch, labels in batches]
    started = time.perf_counter()
    for _ in range(case.epochs):
        for batch, labels in batches:
            torch.autograd.backward(functional.cross_entropy(net(batch), labels))
            net.zero_grad(set_to_none=True)
    return case.epochs * len(inputs) / (time.perf_counter() - started)


def trainkit(case: Case, data: Any, *more: str, val: Any = None, clock: L.Callback | None = None) -> float:
    """Samples a second of a run with everything on."""
    clocks = [own := Clock(), *([] if clock is None else [clock])]
    os.environ[NVML_CHECK] = "1"  # as importing Lightning leaves it
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "printed", "w", encoding="utf-8") as printed:
        overrides = [
            *(f"run.dir={folder}/run", f"trainer.threads={case.threads}", f"data.batch_size={case.batch_size}"),
            *("data.val_share=0", "data.test_share=0", "evaluation.baseline=false", "trainer.log_every_n_steps=50"),
            *(f"trainer.max_epochs={case.epochs}", "optimizer=adamw", "scheduler=constant"),
            *(["augment=flip_crop"] if case.is_augmented else []),
            *more,
        ]
        with redirect_stdout(printed):
            tk.fit(model=case.net(), train=data, val=val, callbacks=clocks, overrides=overrides)
    return case.epochs * case.num_samples / own.seconds


class Rows(Dataset[Any]):
    """A data set as users write them."""

    def __init__(self, inputs: Tensor, target: Tensor) -> None:
        self.inputs, self.target = inputs, target

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return self.inputs[row], self.target[row]


def peer(case: Case, train: Callable[..., float], data: Dataset[Any]) -> float:
    """Samples a second of what others show."""
    torch.manual_seed(0)
    os.environ.pop(NVML_CHECK, None)
    return case.epochs * case.num_samples / train(case.net(), data, case.batch_size, case.epochs)


def hand_validation(case: Case, inputs: Tensor, target: Tensor) -> float:
    """Samples a second of the loop written by hand: forward, loss and hits in inference mode."""
    net = case.net().eval()
    started, loss, hits = time.perf_counter(), torch.zeros(()), torch.zeros((), dtype=torch.int64)
    with torch.inference_mode():
        for batch, labels in zip(inputs.split(EVAL_BATCH), target.split(EVAL_BATCH), strict=True):
            outputs = net(batch)
            loss += functional.cross_entropy(outputs, labels, reduction="sum")
            hits += (outputs.argmax(1) == labels).sum()
    return len(inputs) / (time.perf_counter() - started)


class ValidationClock(L.Callback):
    """Times validations."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Starts."""
        self.started = time.perf_counter()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Stops, metrics computed."""
        self.seconds.append(time.perf_counter() - self.started)


def validation(case: Case, inputs: Tensor, target: Tensor) -> float:
    """Samples a second of the validation of a run."""
    clock = ValidationClock()
    few = inputs[: case.batch_size * 4], target[: case.batch_size * 4]
    trainkit(case, few, f"data.eval_batch_size={EVAL_BATCH}", "trainer.max_epochs=3", val=(inputs, target), clock=clock)
    return len(inputs) / statistics.median(clock.seconds)


def run(repeats: int) -> list[Row]:
    """Measures every case."""
    rows = []
    for case in CASES:
        torch.set_num_threads(case.threads)
        inputs, target = samples(case)
        tensors, own_rows = TensorDataset(inputs, target), Rows(inputs, target)
        contenders: dict[str, Callable[[], float]] = {
            HAND: partial(hand_loop, case, inputs, target),
            FLOOR: partial(floor, case, inputs, target),
            OURS: partial(trainkit, case, (inputs, target)),
        }
        if not case.is_augmented:
            contenders[DATALOADER] = partial(peer, case, dataloader_loop, tensors)
            contenders[LIGHTNING] = partial(peer, case, plain_lightning, tensors)
        in_turn(contenders, 1)  # warm
        rows += rows_of(case.name, "training throughput", "samples/s", in_turn(contenders, repeats))
        if case.is_augmented:
            continue
        own: dict[str, Callable[[], float]] = {
            DATALOADER: partial(peer, case, dataloader_loop, own_rows),
            OURS: partial(trainkit, case, own_rows),
        }
        name = f"{case.name}, own Dataset"
        rows += rows_of(name, "training throughput", "samples/s", in_turn(own, repeats), DATALOADER)
        checks: dict[str, Callable[[], float]] = {
            HAND: partial(hand_validation, case, inputs, target),
            OURS: partial(validation, case, inputs, target),
        }
        rows += rows_of(case.name, "validation throughput", "samples/s", in_turn(checks, repeats))
    return rows + pictures(repeats)


def pictures(repeats: int) -> list[Row]:
    """60,000 images of the size of MNIST's, each contender in a process of its own."""
    generator, count = np.random.default_rng(0), 60_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npz"
        np.savez(
            path, images=generator.integers(0, 256, (count, 28, 28), np.uint8), labels=generator.integers(0, 10, count)
        )
        values = in_turn(
            {LIGHTNING: lambda: process("lightning", path), OURS: lambda: process("trainkit", path)}, repeats
        )
    case, rows = f"{count:,} images 28×28, BatchNorm MLP, {EPOCHS} epochs, 1 thread", list[Row]()
    for what, unit, index in (("training throughput", "samples/s", 0), ("whole process", "runs/s", 1)):
        rates = {who: [pair[index] for pair in pairs] for who, pairs in values.items()}
        rows += rows_of(case, what, unit, rates, LIGHTNING)
    return rows


def process(who: str, path: Path) -> tuple[float, float]:
    """Samples a second in training, and runs a second of the whole process."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.peers", who, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    whole = time.perf_counter() - started
    return EPOCHS * 60_000 / float(json.loads(done.stdout.splitlines()[-1])["seconds"]), 1 / whole
