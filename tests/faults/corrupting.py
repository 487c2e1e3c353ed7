"""Ways in which a file of a run directory may be broken, drawn from a seed."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

KINDS = ("flip", "flip", "flip", "cut", "empty", "delete", "garbage", "swap", "other", "repeat", "zeros")


@dataclass(frozen=True)
class Corruption:
    """One broken file.

    Attributes:
        kind: One of ``KINDS``.
        file: Its path within the run.
        seed: Draws places and bytes.
    """

    kind: str
    file: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind} {self.file} ({self.seed})"

    def apply(self, run: Path, other: Path) -> bool:
        """Breaks the file; False where that left it as it was."""
        rng, path = random.Random(self.seed), run / self.file
        before = path.read_bytes()
        if self.kind == "delete":
            path.unlink()
            return True
        if self.kind == "swap":
            return self._swap(rng, run, path)
        if self.kind == "other":
            source = other / self.file
            source = source if source.is_file() else other / "metrics.csv"
            shutil.copyfile(source, path)
        else:
            path.write_bytes(self._broken(rng, before))
        return path.read_bytes() != before

    def _broken(self, rng: random.Random, before: bytes) -> bytes:
        content, size = bytearray(before), len(before)
        at = rng.randrange(size)
        until = min(size, at + rng.randint(1, 200))
        if self.kind == "flip":
            for _ in range(rng.choice((1, 1, 1, 8))):
                content[rng.randrange(size)] ^= 1 << rng.randrange(8)
        elif self.kind == "cut":
            del content[at:]
        elif self.kind == "empty":
            content.clear()
        elif self.kind == "garbage":
            content[:] = rng.randbytes(rng.choice((1, 100, size)))
        elif self.kind == "repeat":
            content[at:at] = content[at:until]
        elif self.kind == "zeros":
            content[at:until] = bytes(until - at)
        return bytes(content)

    def _swap(self, rng: random.Random, run: Path, path: Path) -> bool:
        others = sorted(file for file in run.rglob("*") if file.is_file() and file != path)
        second = rng.choice(others)
        one, two = path.read_bytes(), second.read_bytes()
        path.write_bytes(two)
        second.write_bytes(one)
        return one != two


def drawn(files: list[str], count: int, seed: int) -> list[Corruption]:
    """``count`` corruptions, every file and every kind in its turn."""
    rng = random.Random(seed)
    pairs = [(kind, file) for kind in KINDS for file in files]
    rng.shuffle(pairs)
    chosen = [pairs[idx % len(pairs)] for idx in range(count)]
    return [Corruption(kind, file, rng.randrange(1 << 30)) for kind, file in chosen]


def files_of(run: Path) -> list[str]:
    """Every file of a run by its path within it; those whose names differ from run to run by that of a kind."""
    return sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
