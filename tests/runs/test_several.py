"""Runs of several targets: labels and numbers, from the table to predictions of new rows, with what cannot be."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_linnerud, make_multilabel_classification

import trainkit as tk
from tests.runs.conftest import FAST, Same, StopAt, fit
from trainkit.evaluation import score
from trainkit.rundir import RunDirectory
from trainkit.runs.score import saved_predictions
from trainkit.runs.weights import load_weights

Cli = Callable[..., Any]
NAMES = ["sun", "sea", "sand", "snow"]
LABELS = ("data=table", f"data.target=[{','.join(NAMES)}]")
NUMBERS = ("data=table", "data.target=[Weight,Waist,Pulse]", "data.val_share=0.3", "data.test_share=0.3")
QUICK = ("model=mlp", "trainer.max_epochs=3", "trainer.threads=1", "evaluation.resamples=50", "logger=none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tables: labels, of which some cells are empty, and three numbers."""
    folder = tmp_path_factory.mktemp("several")
    x, y = make_multilabel_classification(300, 6, n_classes=4, random_state=1)
    frame = pd.DataFrame(x, columns=[f"x{place}" for place in range(6)])
    frame[NAMES] = y
    frame.to_csv(folder / "whole.csv", index=False)
    frame.loc[::7, "sea"] = np.nan
    frame.to_csv(folder / "labels.csv", index=False)
    load_linnerud(as_frame=True).frame.to_csv(folder / "numbers.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def labels(folder: Path) -> RunDirectory:
    return fit(folder / "labels", *LABELS, f"data.path={folder / 'labels.csv'}", *QUICK)


@pytest.fixture(scope="module")
def numbers(folder: Path) -> RunDirectory:
    return fit(folder / "numbers", *NUMBERS, f"data.path={folder / 'numbers.csv'}", *QUICK)


def test_a_run_of_labels(labels: RunDirectory) -> None:
    result = tk.load_run(labels.path).result
    assert result is not None and list(result.test)[:2] == ["auroc_macro", "average_precision_macro"]
    assert {f"auroc_{name}" for name in NAMES} <= result.test.keys()
    assert result.objective_name == "val/auroc_macro" and result.objective_mode == "max"
    assert result.baseline["name"] == "logistic" and result.baseline["comparison"]["metric"] == "auroc_macro"
    frame = pd.read_parquet(labels.predictions)
    columns = [f"target_{name}" for name in NAMES] + ["prediction"] + [f"p_{name}" for name in NAMES]
    assert list(frame) == ["row", "split", *columns]
    said = ["|".join(name for name in NAMES if row[f"p_{name}"] > 0.5) for _, row in frame.iterrows()]
    assert frame["prediction"].tolist() == said
    assert 0 < frame["target_sea"].isna().sum() < len(frame) / 3


def test_a_run_of_numbers(numbers: RunDirectory) -> None:
    result = tk.load_run(numbers.path).result
    assert result is not None and list(result.test)[:2] == ["r2_macro", "rmse_Weight"]
    assert result.objective_name == "val/r2_macro" and result.objective_mode == "max"
    assert result.baseline["name"] == "linear"
    names = ["Weight", "Waist", "Pulse"]
    columns = [f"{kind}_{name}" for kind in ("target", "prediction") for name in names]
    assert list(pd.read_parquet(numbers.predictions)) == ["row", "split", *columns]


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_what_a_run_saved_is_scored_alike(kind: str, labels: RunDirectory, numbers: RunDirectory) -> None:
    run = {"labels": labels, "numbers": numbers}[kind]
    result = tk.load_run(run.path).result
    assert result is not None
    saved = saved_predictions(run, "test", load_weights(run).spec)
    assert score(saved, resamples=50) == result.test
    assert tk.evaluate(run.path).test == result.test


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_new_rows(
    kind: str, folder: Path, cli: Cli, tmp_path: Path, labels: RunDirectory, numbers: RunDirectory
) -> None:
    run = {"labels": labels, "numbers": numbers}[kind]
    names = NAMES if kind == "labels" else ["Weight", "Waist", "Pulse"]
    frame = pd.read_csv(folder / f"{kind}.csv").drop(columns=names).head(9)
    frame.to_csv(tmp_path / "new.csv", index=False)
    assert cli("predict", str(run.path), "new.csv", "-o", "out.csv").code == 0
    made = pd.read_csv(tmp_path / "out.csv")
    predicted = ["prediction", *(f"p_{name}" for name in names)] if kind == "labels" else []
    assert list(made) == ["row", *(predicted or [f"prediction_{name}" for name in names])]
    saved = pd.read_parquet(run.predictions).set_index("row")
    row = next(row for row in range(9) if row in saved.index)
    column = f"p_{names[0]}" if kind == "labels" else f"prediction_{names[0]}"
    assert made[column][row] == pytest.approx(saved[column][row], rel=1e-6)


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_report_and_card_name_every_target(kind: str, labels: RunDirectory, numbers: RunDirectory) -> None:
    run = {"labels": labels, "numbers": numbers}[kind]
    page, card = run.report.read_text(), (run.path / "MODEL_CARD.md").read_text()
    names = NAMES if kind == "labels" else ["Weight", "Waist", "Pulse"]
    assert ("<h2>Labels</h2>" if kind == "labels" else "<h2>Predicted against true</h2>") in page
    assert all(name in page for name in names)
    assert (f"Labels (4):** {', '.join(NAMES)}" if kind == "labels" else "Weight, Waist, Pulse (numbers)") in card


def test_it_prints_what_is_learned(folder: Path, cli: Cli) -> None:
    code, out, err = cli("fit", *LABELS, f"data.path={folder / 'labels.csv'}", *QUICK)
    assert (code, err) == (0, "")
    line = next(line for line in out.splitlines() if line.startswith("task"))
    assert line.startswith("task   4 labels (auto) · ") and " missing · monitor val/auroc_macro ↑" in line
    code, out, err = cli("fit", *NUMBERS, f"data.path={folder / 'numbers.csv'}", *QUICK)
    line = next(line for line in out.splitlines() if line.startswith("task"))
    assert (code, line) == (0, "task   regression (auto) · 3 targets: Weight, Waist, Pulse · monitor val/r2_macro ↑")


@pytest.mark.parametrize("name", ["random_forest", "knn", "logistic", "hist_gradient_boosting"])
def test_classical_models_of_labels(name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("evaluation.resamples=20", "model.max_iter=5") if "hist" in name else ("evaluation.resamples=20",)
    run = fit(tmp_path / "run", *LABELS, f"data.path={folder / 'whole.csv'}", f"model={name}", *options)
    loaded = tk.load_run(run.path)
    assert loaded.result is not None and loaded.result.test["auroc_macro"].value > 0.6
    assert loaded.result.baseline["name"] == ("shares" if name == "logistic" else "logistic")
    made = loaded.predict(folder / "whole.csv")
    saved = pd.read_parquet(run.predictions)
    np.testing.assert_allclose(saved["p_snow"], made["p_snow"].to_numpy()[saved["row"]], rtol=1e-9)


@pytest.mark.parametrize("name", ["random_forest", "linear", "hist_gradient_boosting"])
def test_classical_models_of_numbers(name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = fit(tmp_path / "run", *NUMBERS, f"data.path={folder / 'numbers.csv'}", f"model={name}", *QUICK[3:4])
    made = tk.load_run(run.path).predict(folder / "numbers.csv")
    assert list(made) == ["row", "prediction_Weight", "prediction_Waist", "prediction_Pulse"]


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_stopped_and_continued_is_the_whole_run(
    kind: str, folder: Path, cli: Cli, stop_at: StopAt, assert_same_run: Same, tmp_path: Path
) -> None:
    data = (*(LABELS if kind == "labels" else NUMBERS), f"data.path={folder / f'{kind}.csv'}", "data.batch_size=8")
    options = (*data, *QUICK, "trainer.max_epochs=8", "trainer.log_every_n_steps=3", *FAST)
    whole = fit(tmp_path / "whole", *options, "trainer.steps_per_execution=4")
    stop_at(5)
    command = ("fit", "run.dir=stopped", *options, "trainer.steps_per_execution=1")
    assert cli(*command).code == 128 + signal.SIGTERM
    stop_at(None)
    code, _, err = cli("fit", "run.dir=stopped")
    assert (code, err) == (0, "")
    assert_same_run(whole, RunDirectory(tmp_path / "stopped"))


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (("task=classification",), "the task is for a class, and the target of labels is several labels"),
        (("task=regression",), "the task is for a number, and the target of labels is several labels"),
        (("task=quantile", "data.target_kind=number"), "quantiles are of one number, and the target of labels is 4"),
        (("model=random_forest",), " training rows lack one of their 4 targets"),
        (("model=linear",), "Ridge does not fit a target of classes"),
        (("callbacks=confusion",), "ConfusionMatrix shows classes, and 'sun, sea, sand, snow' is several labels"),
        (("data.sampling=balanced",), "balanced sampling of a multilabel target"),
        (("data.target=[sun,x1]", "task=multilabel"), "the task is for several labels, and the target of labels is a"),
        (("+task.criterion._target_=torch.nn.MultiLabelSoftMarginLoss",), "MultiLabelSoftMarginLoss gives no loss per"),
    ],
)
def test_what_cannot_be(overrides: tuple[str, ...], what: str, folder: Path, cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("fit", "run.dir=run", *LABELS, f"data.path={folder / 'labels.csv'}", *QUICK, *overrides)
    assert code == 2 and what in err.splitlines()[0] and not (tmp_path / "run").exists()


def test_check_finds_a_feature_that_is_a_label(folder: Path, cli: Cli, tmp_path: Path) -> None:
    frame = pd.read_csv(folder / "whole.csv")
    frame.assign(copy=frame["snow"] * 2.5 + 1, never=0).to_csv(tmp_path / "leaky.csv", index=False)
    code, out, _ = cli("check", *LABELS, "data.path=leaky.csv", *QUICK)
    assert code == 1 and "alone gives the target: copy" in out
    code, out, _ = cli("check", *LABELS, f"data.path={folder / 'labels.csv'}", *QUICK)
    assert code == 0 and "nothing to mend" in out


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_part_without_any_target_is_refused_before_training(
    part: str, folder: Path, cli: Cli, tmp_path: Path
) -> None:
    frame = pd.read_csv(folder / "whole.csv").head(30)
    frame[NAMES] = np.nan
    frame.to_csv(tmp_path / "blind.csv", index=False)
    asked = ("fit", "run.dir=run", *LABELS, f"data.path={folder / 'whole.csv'}", f"data.{part}_path=blind.csv", *QUICK)
    code, _, err = cli(*asked)
    assert code == 2 and err.startswith(f"no row of the {part} part has a target") and not (tmp_path / "run").exists()


def test_a_test_part_on_which_the_headline_is_undefined_is_told_as_such(folder: Path, cli: Cli, tmp_path: Path) -> None:
    frame = pd.read_csv(folder / "whole.csv").head(30)
    frame[NAMES] = 0
    frame.to_csv(tmp_path / "none.csv", index=False)
    code, out, err = cli("fit", *LABELS, f"data.path={folder / 'whole.csv'}", "data.test_path=none.csv", *QUICK)
    assert (code, err) == (0, "") and "bar    logistic nan: not distinguishable" in out
