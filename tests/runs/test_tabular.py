"""``model=tabular`` from raw files to predictions: exact to the bit, loaded by its directory alone, refused in time."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import trainkit as tk
from trainkit.rundir import RunDirectory
from trainkit.runs.build import build_parts
from trainkit.runs.input_statistics import fit_inputs

Cli = Callable[..., Any]
NET = ("model=tabular", "model.width=16", "model.num_members=4", "model.number_width=4", "model.num_bins=8")
FAST = ("trainer.threads=1", "trainer.max_epochs=4", "evaluation.resamples=20", "evaluation.baseline=false")


def frame(num_rows: int = 300) -> pd.DataFrame:
    """A number that hangs on a date, a category with rare values, and a number that is skewed and sometimes missing."""
    generator = np.random.default_rng(0)
    moment = pd.Timestamp("2021-01-01") + pd.to_timedelta(generator.integers(0, 1000, num_rows), unit="D")
    skewed = generator.lognormal(sigma=2, size=num_rows)
    town = generator.choice(["Aarau", "Bern", "Chur", "Davos"], num_rows, p=[0.5, 0.3, 0.19, 0.01])
    price = np.log(skewed) + moment.month.to_numpy() / 6 + (town == "Bern") + generator.normal(size=num_rows) / 10
    return pd.DataFrame(
        {
            "sold": moment.strftime("%d.%m.%Y"),
            "size": np.where(generator.random(num_rows) < 0.05, np.nan, skewed),
            "town": town,
            "price": price,
        }
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    frame().to_csv(tmp_path / "homes.csv", index=False)
    return tmp_path / "homes.csv"


def options(table: Path, *more: str) -> tuple[str, ...]:
    return ("data=table", f"data.path={table}", "data.target=price", "data.numbers=quantile", *NET, *FAST, *more)


def test_a_run_loads_by_itself_and_predicts_raw_files(table: Path, cli: Cli) -> None:
    done = cli("fit", *options(table, "run.dir=run"))
    assert done.code == 0, done.stderr
    assert "data   homes.csv 300 rows · 1 categories, 1 numbers · dates sold (day first)" in done.stdout
    new = pd.DataFrame({"sold": ["31.12.2024", "2024-07-01"], "size": [5.0, None], "town": ["Basel", "Bern"]})
    new.to_csv(table.parent / "new.csv", index=False)
    assert cli("predict", "run", "new.csv", "-o", "out.csv").code == 0
    written = pd.read_csv(table.parent / "out.csv")["prediction"]
    loaded = tk.load_run(table.parent / "run")
    np.testing.assert_allclose(loaded.predict(new)["prediction"], written, rtol=1e-12)
    saved = load_file(loaded.directory.weights)
    assert saved["inputs.quantiles"].shape == (7, len(loaded.data.splits.train))
    assert saved["net.numbers.embedding.impl.weight"].shape == (8, 8)
    assert not torch.equal(saved["net.numbers.embedding.impl.weight"][0], torch.full((8,), 4.0))
    kept = pd.read_parquet(loaded.directory.predictions)
    again = loaded.predict(frame().iloc[kept["row"]])["prediction"]
    np.testing.assert_allclose(kept["prediction"], again, rtol=1e-5)


def test_a_stopped_run_continues_to_the_bit(
    table: Path,
    cli: Cli,
    stop_at: Callable[..., None],
    assert_same_run: Callable[[RunDirectory, RunDirectory], None],
) -> None:
    assert cli("fit", *options(table, "run.dir=whole")).code == 0
    stop_at(11)
    assert cli("fit", *options(table, "run.dir=halves", "trainer.steps_per_execution=4")).code == 128 + signal.SIGTERM
    stop_at(None)
    assert cli("fit", "run.dir=halves").code == 0
    assert_same_run(*(RunDirectory(table.parent / name) for name in ("whole", "halves")))


def test_steps_per_execution_change_nothing(
    table: Path, cli: Cli, assert_same_run: Callable[[RunDirectory, RunDirectory], None]
) -> None:
    for steps in (1, 4):
        assert cli("fit", *options(table, f"trainer.steps_per_execution={steps}", f"run.dir=k{steps}")).code == 0
    assert_same_run(*(RunDirectory(table.parent / name) for name in ("k1", "k4")))


def test_micro_batches_give_the_gradient_of_the_whole(table: Path, cli: Cli) -> None:
    still = ("model.dropout=0", "trainer.max_steps=6")
    for parts in (1, 4):
        assert cli("fit", *options(table, *still, f"trainer.accumulate={parts}", f"run.dir=a{parts}")).code == 0
    whole, cut = (load_file(RunDirectory(table.parent / name).weights) for name in ("a1", "a4"))
    for name, tensor in whole.items():
        torch.testing.assert_close(cut[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_statistics_are_of_the_training_rows_and_the_same_in_every_process(table: Path) -> None:
    parts = build_parts(tk.compose(list(options(table))))
    assert parts.network is not None
    before = {name: tensor.clone() for name, tensor in parts.network.net.state_dict().items()}
    fit_inputs(parts.network, parts.data)
    assert all(torch.equal(before[name], tensor) for name, tensor in parts.network.net.state_dict().items())
    numbers = parts.data.source.fetch(parts.data.rows("train"), 0)[0]["numbers"]  # type: ignore[index]
    prepared = parts.network.inputs({"numbers": numbers, "codes": torch.zeros(len(numbers), 1, dtype=torch.int64)})
    first = prepared["numbers"][:, 0]
    encoded = parts.network.net.numbers.encoding(prepared["numbers"])[:, 0]  # type: ignore[operator, union-attr]
    torch.testing.assert_close(encoded[first.argmin()], torch.zeros(8), rtol=0, atol=1e-6)
    torch.testing.assert_close(encoded[first.argmax()], torch.ones(8))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "data.numbers=quantiles",
            "data.numbers: TableData does not take 'quantiles'\n  expected one of standard, quan",
        ),
        ("model.num_members=0", "num_members is 0\n  where    model.num_members\n  expected an integer ≥ 1"),
        (
            "model.number_embedding=bins",
            "model.number_embedding: Tabular does not take 'bins'\n  expected one of piece",
        ),
        ("model.num_bins=1", "num_bins is 1\n  where    model.num_bins\n  expected an integer ≥ 2"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    override: str, expected: str, table: Path, cli: Cli
) -> None:
    done = cli("fit", *options(table, override, "run.dir=run"))
    assert done.code == 2
    assert expected in done.stderr
    assert not (table.parent / "run").exists()


def test_data_without_columns_is_refused(cli: Cli, tmp_path: Path) -> None:
    done = cli("fit", "data=digits", "model=tabular")
    assert done.code == 2
    assert "model.num_numbers is not given, and the data does not decide it" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_date_that_cannot_be_read_is_told_in_the_layout_of_the_column(table: Path, cli: Cli) -> None:
    assert cli("fit", *options(table, "run.dir=run", "trainer.max_steps=2")).code == 0
    pd.DataFrame({"sold": ["12/31/2024"], "size": [5.0], "town": ["Bern"]}).to_csv(
        table.parent / "new.csv", index=False
    )
    done = cli("predict", "run", "new.csv", "-o", "out.csv")
    assert done.code == 2
    assert "column 'sold' holds '12/31/2024' in row 0" in done.stderr
    assert "expected a date such as 31.01.2024" in done.stderr
