"""A table that ``predict`` cannot take, or a file that it cannot write, and a category that it does take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

Cli = Callable[..., Any]


def test_an_unseen_category_is_no_error_and_is_counted(cli: Cli, folder: Path) -> None:
    table = pd.read_csv("t.csv")
    common = ("data=table", "data.path=t.csv", "data.target=Churn", "trainer.max_steps=2", "logger=none")
    assert cli("fit", "run.dir=run", "evaluation.resamples=50", *common).code == 0
    table.loc[[3, 5], "city"] = "Atlantis"
    table.drop(columns="Churn").to_csv("new.csv", index=False)
    code, out, err = cli("predict", "run", "new.csv", "-o", "out.csv")
    assert (code, err) == (0, "")
    assert out == (
        "unseen city: 2 rows of categories that training never saw (unknown bucket)\nfile   out.csv · 60 rows\n"
    )
    made = pd.read_csv("out.csv")
    assert list(made) == ["row", "prediction", "p_no", "p_yes"] and len(made) == 60
    assert np.isfinite(made[["p_no", "p_yes"]]).all(axis=None)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"columns": "age"}, "the table lacks 1 feature column: age\n  expected the 2 feature columns of training\n"),
        ({"index": range(60)}, "new.csv has no rows\n  where    new.csv\n  expected a header and at least one row\n"),
    ],
)
def test_predict_refuses_another_table(cli: Cli, folder: Path, change: dict[str, Any], text: str) -> None:
    common = ("data=table", "data.path=t.csv", "data.target=Churn", "model=logistic")
    assert cli("fit", "run.dir=run", "evaluation.resamples=50", *common).code == 0
    pd.read_csv("t.csv").drop(**change).to_csv("new.csv", index=False)
    assert cli("predict", "run", "new.csv", "-o", "out.csv") == (2, "", text)
    assert not (folder / "out.csv").exists()


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("out.xlsx", "cannot write 'out.xlsx'\n  where    OUT\n  expected a .csv or a .parquet\n"),
        ("no/out.csv", "there is no directory 'no'\n  where    OUT\n"),
    ],
)
def test_predict_refuses_an_output_it_cannot_write(cli: Cli, folder: Path, output: str, text: str) -> None:
    assert cli("predict", "nowhere", "t.csv", "-o", output) == (2, "", text)
