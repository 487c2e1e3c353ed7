"""Times a training step of ``model=cnn`` with channels first and last: ``python benchmarks/channels_last.py``.

Batches of 128 images, forward, backward and a fused AdamW step; medians of three rounds of medians, taken in turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch.nn import functional

from trainkit.models import CNN, Network

RESULTS = Path(__file__).parent / "results"
SHAPES = ((1, 8), (1, 28), (3, 32), (3, 64))
BATCH, STEPS, WARM_UP, ROUNDS = 128, 12, 3, 3


def seconds(channels: int, size: int, is_last: bool) -> float:
    """Median seconds of a step."""
    torch.manual_seed(0)
    network = Network(CNN(channels, 10, size))
    if is_last:
        network.lay_channels_last()
    images, target = torch.randn(BATCH, channels, size, size), torch.randint(0, 10, (BATCH,))
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        loss = functional.cross_entropy(network(images), target)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    return statistics.median(times[WARM_UP:])


def main() -> None:
    """Prints the times, and writes ``results/channels_last.md``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    lines = [f"# Channels last\n\n{(__doc__ or '').partition(chr(10) * 2)[2].strip()}\n\n"]
    lines.append(f"CPU, {torch.get_num_threads()} threads, torch {torch.__version__.partition('+')[0]}.\n\n")
    lines.append("| images | channels first, ms | channels last, ms | times as fast |\n|---|---|---|---|\n")
    for channels, size in SHAPES:
        rounds = [(seconds(channels, size, False), seconds(channels, size, True)) for _ in range(ROUNDS)]
        first, last = (statistics.median(column) for column in zip(*rounds, strict=True))
        lines.append(f"| {channels}×{size}×{size} | {1e3 * first:.1f} | {1e3 * last:.1f} | {first / last:.2f} |\n")
    (RESULTS / "channels_last.md").write_text("".join(lines), encoding="utf-8")
    print("".join(lines))


if __name__ == "__main__":
    main()
