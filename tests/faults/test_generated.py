"""Bad inputs as nobody thinks them up: tables, arrays and overrides that hypothesis draws, the same in every run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.harness import SMALLEST, Outcome, command

Tally = Callable[[Outcome], None]
drawn = settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
CELL = st.one_of(
    st.sampled_from(
        ["", "NA", "nan", "inf", "1e309", "-0", "1,5", "2024-01-31", "true", '"', "a\nb", "\ufeff", "1" * 400]
    ),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=5),
)
OVERRIDE = st.tuples(
    st.sampled_from(
        ["seed", "model.hidden", "trainer.ema", "data.val_share", "optimizer.lr", "+x.y", "~model", "task"]
    ),
    st.sampled_from(["=", "==", "", "=[", "=${", "@"]),
    st.one_of(st.text(max_size=6), st.integers().map(str), st.floats().map(str)),
).map("".join)


def tried(folder: Path, tally: Tally, *words: str) -> None:
    outcome = command(folder, "fit", *SMALLEST, *words)
    tally(outcome)
    assert outcome.wrong is None, f"{words}: {outcome.wrong}"


def emptied(folder: Path) -> Path:
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    return folder


@pytest.mark.faults
@pytest.mark.timeout(600)
@drawn
@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=30), quoted=st.booleans(), often=st.integers(1, 4)
)
def test_tables(rows: list[tuple[str, str, str]], quoted: bool, often: int, workplace: Path, tally: Tally) -> None:
    cells = [[f'"{cell.replace(chr(34), chr(34) * 2)}"' if quoted else cell for cell in row] for row in rows * often]
    text = "\n".join(["a,b,y", *(",".join(row) for row in cells)])
    (emptied(workplace) / "t.csv").write_text(text, encoding="utf-8", errors="replace")
    tried(workplace, tally, "data=table", "data.path=t.csv", "data.target=y")


@pytest.mark.faults
@pytest.mark.timeout(600)
@drawn
@given(content=st.binary(max_size=200), ending=st.sampled_from(["csv", "tsv", "csv.gz", "parquet", "npz", "pt"]))
def test_bytes(content: bytes, ending: str, workplace: Path, tally: Tally) -> None:
    (emptied(workplace) / f"t.{ending}").write_bytes(content)
    kind = "arrays" if ending in ("npz", "pt") else "table"
    tried(workplace, tally, f"data={kind}", f"data.path=t.{ending}", "data.target=y")


@pytest.mark.faults
@pytest.mark.timeout(600)
@drawn
@given(
    kind=st.sampled_from(["<f4", "<f8", "<i8", "|u1", "|b1", "<c8", "<U3"]),
    labels=st.sampled_from(["<f4", "<f8", "<i8", "|u1", "|b1", "<U3"]),
    shape=st.lists(st.integers(0, 9), max_size=4),
    seed=st.integers(0, 99),
)
def test_arrays(kind: str, labels: str, shape: list[int], seed: int, workplace: Path, tally: Tally) -> None:
    generator = np.random.default_rng(seed)
    inputs = generator.integers(0, 100, (40, *shape)).astype(kind)
    np.savez(emptied(workplace) / "a.npz", x=inputs, y=generator.integers(-1, 3, 40).astype(labels))
    tried(workplace, tally, "data=arrays", "data.path=a.npz")


@pytest.mark.faults
@pytest.mark.timeout(600)
@drawn
@given(override=OVERRIDE)
def test_overrides(override: str, workplace: Path, tally: Tally) -> None:
    tried(emptied(workplace), tally, "data=wine", override)
