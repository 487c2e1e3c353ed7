from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import trainkit
from trainkit.errors import ConfigError, RunError
from trainkit.runs.find import FoundRun, read_runs
from trainkit.runs.query import find_runs, flat_keys, lower_is_better, metric_names, parse_filter, search

MakeRun = Callable[..., Path]


@pytest.fixture
def runs(make_run: MakeRun, tmp_path: Path) -> Path:
    """Five runs of three kinds, one of them failed and one of another task."""
    sgd = {"optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1}}
    cnn = {"model": {"_target_": "trainkit.models.CNN", "width": 32}, "data": {"name": "digits", "batch_size": 64}}
    number = ("val/rmse", "min", 3.0)
    make_run("runs/digits/2026-01-01_00-00-01", {"accuracy": 0.9, "log_loss": 0.3}, overrides=("model=mlp",))
    make_run("runs/digits/2026-01-01_00-00-02", {"accuracy": 0.95, "log_loss": 0.4}, config=cnn, seconds={"total": 9.0})
    make_run("runs/digits/2026-01-01_00-00-03", {"accuracy": None, "log_loss": 0.2}, config=sgd, seconds={})
    make_run("runs/digits/2026-01-01_00-00-04", status="failed", objective=None, epochs=1)
    make_run("runs/price/2026-01-01_00-00-05", {"rmse": 4.0}, objective=number, overrides=("+experiment=price",))
    return tmp_path / "runs"


def numbers(found: Sequence[FoundRun]) -> str:
    """Last digits of the directories' names, in order."""
    return "".join(run.path.name[-1] for run in found)


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("date", "54321"),
        ("name", "12345"),
        ("time", "21453"),
        ("accuracy", "21543"),
        ("log_loss", "31254"),
        ("rmse", "54321"),
        ("val/accuracy", "32154"),
        ("val/rmse", "54321"),
    ],
)
def test_runs_are_sorted_best_first_and_those_without_the_metric_last(runs: Path, sort: str, order: str) -> None:
    assert numbers(search(runs, sort=sort)) == order


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (["model=cnn"], "2"),
        (["model=CNN"], "2"),
        (["model=mlp"], "1345"),
        (["model=trainkit"], ""),
        (["model!=cnn"], "1345"),
        (["optimizer=sgd"], "3"),
        (["data=digits"], "2"),
        (["data.name=digits"], "2"),
        (["experiment=price"], "5"),
        (["optimizer.lr=1e-3"], "1245"),
        (["optimizer.lr=0.0010"], "1245"),
        (["optimizer.lr!=1e-3"], "3"),
        (["optimizer.lr>1e-2"], "3"),
        (["model.hidden=[8]"], "1345"),
        (["model.width<=32"], "2"),
        (["status=failed"], "4"),
        (["status!=failed"], "1235"),
        (["name=price"], "5"),
        (["epochs<4"], "4"),
        (["seconds>=10"], "145"),
        (["accuracy>=0.9"], "12"),
        (["accuracy > 0.9"], "2"),
        (["accuracy==0.9"], "1"),
        (["rmse<5"], "5"),
        (["val/accuracy>0.4", "model=cnn"], "2"),
        (["model=mlp", "status=completed", "log_loss<0.25"], "3"),
    ],
)
def test_a_run_is_kept_if_it_meets_every_filter(runs: Path, filters: list[str], kept: str) -> None:
    assert numbers(search(runs, sort="name", filters=filters)) == kept


def test_truth_values_and_nulls_are_compared_as_yaml_writes_them(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("runs/1", config={"data": {"stratify": True, "path": None, "name": "2026"}})
    make_run("runs/2", config={"data": {"path": "files/churn.csv", "name": None}})
    for text, kept in (
        *(("data.stratify=true", "1"), ("data.stratify=1", ""), ("data.path=null", "1"), ("data.path=x", "")),
        *(("data.name=2026", "1"), ("data=2026", "1"), ("data=churn", "2"), ("data.stratify>0", "")),
    ):
        assert numbers(search(tmp_path / "runs", filters=[text])) == kept, text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sort": "acuracy"}, "no run has the metric 'acuracy'\n  where    --sort\n  expected one of date, time, name, "
                              "accuracy, log_loss, rmse, val/accuracy, val/rmse\n  hint     did you mean 'accuracy'?"),
        ({"filters": ["modle=cnn"]}, "no run has 'modle'\n  where    --filter\n  hint     did you mean 'model'?"),
        ({"filters": ["optimizer.rl=1"]}, "no run has 'optimizer.rl'\n  where    --filter\n"
                                          "  hint     did you mean 'optimizer.lr'?"),
        ({"filters": ["xyzxyz>1"]}, "no run has 'xyzxyz'\n  where    --filter\n"
                                    "  hint     a metric, or a config key with dots such as optimizer.lr"),
        ({"filters": ["accuracy"]}, "cannot read the filter 'accuracy'\n  where    --filter\n"
                                    "  expected key=value, or >=, <=, >, <, != for ="),
        ({"filters": ["accuracy>high"]}, "'high' is no number\n  where    --filter accuracy>high\n"
                                         "  expected accuracy>NUMBER"),
        ({"limit": 0}, "limit is 0\n  where    --limit\n  expected an integer ≥ 1"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_nearest_valid_one(runs: Path, options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        search(runs, **options)  # type: ignore[arg-type]
    assert str(caught.value) == text


def test_a_limit_keeps_the_first(runs: Path) -> None:
    assert numbers(search(runs, sort="accuracy", limit=2)) == "21"


def test_no_runs_are_no_mistake_but_no_directory_is(tmp_path: Path) -> None:
    assert search(tmp_path, sort="accuracy", filters=["model=cnn"]) == []
    with pytest.raises(RunError):
        search(tmp_path / "missing")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.b=c=d", ("a.b", "=", "c=d")),
        ("val/loss<=0.1", ("val/loss", "<=", "0.1")),
        ("a != ", ("a", "!=", "")),
        ("a==1", ("a", "=", "1")),
    ],
)
def test_filters_are_read(text: str, parts: tuple[str, str, str]) -> None:
    read = parse_filter(text)
    assert (read.key, read.compare, read.value) == parts


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("rmse", True), ("mae", True), ("val/loss", True), ("log_loss", True), ("brier", True), ("max_error", True)),
        *(("accuracy", False), ("val/f1_macro", False), ("r2", False), ("auroc", False)),
        *(("rmse_height", True), ("auroc_loss", False), ("r2_error", False), ("pinball", True)),
    ],
)
def test_the_direction_of_a_metric_is_known_by_its_name(name: str, expected: bool) -> None:
    assert lower_is_better(name) is expected


def test_the_runs_own_objective_decides_the_direction(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("runs/1", {"cost": 3.0}, objective=("val/cost", "min", 1.0))
    make_run("runs/2", {"cost": 2.0}, objective=("val/cost", "min", 2.0))
    assert numbers(search(tmp_path / "runs", sort="cost")) == "21"
    assert numbers(search(tmp_path / "runs", sort="val/cost")) == "12"
    assert lower_is_better("accuracy", read_runs(tmp_path / "runs")) is False


def test_metric_names_stand_once_each(runs: Path) -> None:
    names = metric_names(read_runs(runs))
    assert sorted(names) == ["accuracy", "log_loss", "rmse", "val/accuracy", "val/rmse"]


def test_flat_keys_have_dots_and_include_sections() -> None:
    assert dict(flat_keys({"a": {"b": {"c": 1}}, "d": 2})) == {
        "a": {"b": {"c": 1}},
        "a.b": {"c": 1},
        "a.b.c": 1,
        "d": 2,
    }


def test_runs_come_as_a_table_for_notebooks(runs: Path) -> None:
    assert trainkit.find_runs is find_runs
    frame = find_runs(runs, sort="accuracy", filters=["status=completed"])
    assert list(frame["path"].map(lambda path: path.name[-1])) == ["2", "1", "5", "3"]
    best = frame.iloc[0]
    assert (best["accuracy"], best["accuracy_low"], best["accuracy_high"]) == (0.95, 0.95 - 0.1, 0.95 + 0.1)
    assert (best["name"], best["status"], best["model._target_"]) == ("digits", "completed", "trainkit.models.CNN")
    assert best["optimizer.lr"] == 0.001 and best["epochs"] == 4 and best["seconds"] == 9.0
    assert frame["rmse"].notna().sum() == 1 and "model" not in frame


def test_a_table_of_no_runs_has_its_columns(tmp_path: Path) -> None:
    frame = find_runs(tmp_path)
    assert list(frame) == ["path", "status", "name", "began", "epochs", "steps", "seconds", "objective", "error"]
    assert frame.empty


def test_a_table_of_runs_imports_no_torch(runs: Path) -> None:
    code = f"import sys, trainkit; print(len(trainkit.find_runs({str(runs)!r})), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "5 False\n"
