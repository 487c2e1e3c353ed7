from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import trainkit as tk
from trainkit.rundir import RunDirectory

Cli = Callable[..., Any]


@pytest.fixture
def own_churn(churn: Any, tmp_path: Path) -> Any:
    """The run, with a copy of its file that a test may change."""
    copy = tmp_path / "churn.csv"
    copy.write_bytes(churn.file.read_bytes())
    config = churn.run.config
    config.write_text(config.read_text().replace(str(churn.file), str(copy)))
    return churn._replace(file=copy)


@pytest.mark.parametrize("split", ["test", "validation"])
def test_unchanged_data_is_scored_afresh_to_the_same_metrics(split: str, cli: Cli, digits: RunDirectory) -> None:
    digits.predictions.unlink()
    code, out, err = cli("evaluate", digits.path, "--split", split)
    assert (code, err) == (0, "")
    label = "test " if split == "test" else "val  "
    assert out.startswith(f"data   the run's own data, unchanged\n{label}  accuracy ")
    again, was = tk.evaluate(digits.path, split=split), tk.load_run(digits.path).result
    assert was is not None
    assert (again.test, again.validation) == (was.test, was.validation)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("one cell", "the data has changed since"),
        ("fewer rows", "the train part names rows beyond the 60 there are"),
        ("no target", "the table has no column 'churn'"),
        ("gone", "there is no file {file}"),
    ],
)
def test_changed_or_missing_data_gives_way_to_the_saved_predictions(
    change: str, why: str, own_churn: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.read_csv(own_churn.file)
    if change == "one cell":
        frame.loc[3, "tenure"] = 1_000
    if change == "gone":
        own_churn.file.unlink()
    else:
        changed = frame[:60] if change == "fewer rows" else frame
        changed.drop(columns=["churn"] * (change == "no target")).to_csv(own_churn.file, index=False)
    again = tk.evaluate(own_churn.run.path)
    assert f"data   saved predictions ({why.format(file=own_churn.file)})\n" in capsys.readouterr().out
    was = tk.load_run(own_churn.run.path).result
    assert was is not None and again.test == was.test


def test_without_data_and_predictions_nothing_can_be_scored(own_churn: Any) -> None:
    own_churn.file.unlink()
    own_churn.run.predictions.unlink()
    with pytest.raises(tk.RunError, match="has no saved predictions, and there is no file"):
        tk.evaluate(own_churn.run.path)


def test_a_split_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    shares = ("data.val_share=0", "data.test_share=0")
    assert cli("fit", "run.dir=run", "data=wine", "model=mlp", "trainer.max_steps=2", *shares).code == 0
    assert cli("evaluate", "run") == (2, "", "'run' has no test part\n  where    split\n")
    with pytest.raises(tk.RunError, match="there is no split 'train'"):
        tk.evaluate(tmp_path / "run", split="train")
