"""Augmentation of a batch on the CPU: trainkit's pieces, kornia's, and torchvision's one picture after the other.

    python benchmarks/augmentation.py [--repeats 60] [--output benchmarks/results/augmentation.md]

kornia is not needed by trainkit: ``pip install --no-deps kornia kornia-rs`` for this comparison.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from trainkit.data.augment import (
    Augment,
    Augmentation,
    ColorJitter,
    Crop,
    CutMix,
    Erase,
    Flip,
    Mixup,
    RandAugment,
    ResizedCrop,
    Rotate,
    Samples,
    TrivialAugment,
)

BATCH = 128
SHARE = 4
"""Of a batch's pictures one in so many is augmented one after the other, which takes long; times are scaled up."""


def ours() -> dict[str, dict[str, Augmentation]]:
    """What is timed, by name."""
    return {
        "flip": {"flip": Flip()},
        "crop 4": {"crop": Crop(4)},
        "flip and crop 4": {"flip": Flip(), "crop": Crop(4)},
        "rotate 15°": {"rotate": Rotate(15)},
        "resized crop": {"crop": ResizedCrop()},
        "colour jitter": {"jitter": ColorJitter(0.4, 0.4, 0.4, 0.1)},
        "erase": {"erase": Erase()},
        "mixup": {"mixup": Mixup()},
        "cutmix": {"cutmix": CutMix()},
        "randaugment": {"policy": RandAugment()},
        "trivialaugment": {"policy": TrivialAugment()},
    }


def of_kornia(side: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Those of kornia, with draws for each picture from the global generator; empty without kornia."""
    try:
        import kornia.augmentation as K
    except ImportError:
        return {}
    flip, crop = K.RandomHorizontalFlip(p=0.5), K.RandomCrop((side, side), padding=4)
    made = {
        "flip": flip,
        "crop 4": crop,
        "flip and crop 4": torch.nn.Sequential(flip, crop),
        "rotate 15°": K.RandomRotation(15.0, p=1.0),
        "resized crop": K.RandomResizedCrop((side, side), scale=(0.25, 1.0), ratio=(0.75, 4 / 3)),
        "colour jitter": K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=1.0),
        "erase": K.RandomErasing(p=0.5),
    }
    return {name: _on_bytes(module) for name, module in made.items()}


def _on_bytes(module: torch.nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda images: (module(images.float() / 255) * 255).round().clamp(0, 255).byte()


def of_torchvision(side: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Those of torchvision, one picture after the other, as a Dataset applies them."""
    from torchvision.transforms import v2

    made = {
        "flip": v2.RandomHorizontalFlip(),
        "crop 4": v2.RandomCrop(side, padding=4),
        "flip and crop 4": v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop(side, padding=4)]),
        "rotate 15°": v2.RandomRotation(15, interpolation=v2.InterpolationMode.BILINEAR),
        "resized crop": v2.RandomResizedCrop(side, scale=(0.25, 1.0)),
        "colour jitter": v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
        "erase": v2.RandomErasing(0.5),
        "randaugment": v2.RandAugment(),
        "trivialaugment": v2.TrivialAugmentWide(),
    }
    return {name: _one_by_one(transform) for name, transform in made.items()}


def _one_by_one(transform: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda images: torch.stack([transform(image) for image in images[: len(images) // SHARE]])


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Fastest of some repeats, each of calls for some 5 ms: other work on the machine only adds to them."""
    work()
    started = time.perf_counter()
    work()
    calls = max(1, int(0.005 / max(time.perf_counter() - started, 1e-6)))
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        for _ in range(calls):
            work()
        taken.append((time.perf_counter() - started) / calls * 1e3)
    return min(taken)


def table(side: int, threads: int, repeats: int) -> list[str]:
    """A Markdown table of one picture size and number of threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    images = torch.randint(0, 256, (BATCH, 3, side, side), dtype=torch.uint8)
    samples, numbers = Samples(images, torch.arange(BATCH) % 10), torch.arange(BATCH)
    kornia, vision = of_kornia(side), of_torchvision(side)
    lines = [f"{side} × {side}, {threads} thread{'s' * (threads > 1)}:", ""]
    lines += ["| | trainkit | kornia | torchvision, one by one |", "|---|---|---|---|"]
    for name, pieces in ours().items():
        augment = Augment(pieces, seed=0)
        mine = milliseconds(lambda augment=augment: augment(samples, numbers, 0, 10), repeats)  # type: ignore[misc]
        theirs = [f"{mine:.2f}"]
        for others, factor in ((kornia, 1), (vision, SHARE)):
            other = others.get(name)
            taken = milliseconds(lambda other=other: other(images), repeats) * factor if other else None  # type: ignore[misc]
            theirs.append("" if taken is None else f"{taken:.2f}")
        lines.append(f"| {name} | {' | '.join(theirs)} |")
        print(lines[-1], flush=True)
    return [*lines, ""]


def main() -> None:
    """Prints the tables, and writes them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 224])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    head = (
        f"Milliseconds for a batch of {BATCH} pictures uint8 [3, side, side]; the fastest of {options.repeats} repeats."
    )
    lines = [head, ""]
    for side in options.sides:
        for threads in options.threads:
            lines += table(side, threads, options.repeats)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
