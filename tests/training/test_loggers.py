"""The table of metrics and the TensorBoard events, whole and resumed."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from trainkit.training import MetricsCSV, TensorBoard, read_metrics

if TYPE_CHECKING:
    from tests.training.conftest import Job

HEADER = "step,epoch,split,name,value\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.csv"


def test_a_row_per_value(path: Path) -> None:
    table = MetricsCSV(path)
    table.log_metrics({"train/loss": 1.5, "lr": 0.001, "epoch": 0}, step=9)
    table.log_metrics({"val/loss": 0.1 + 0.2, "epoch": 1}, step=19)
    table.log_metrics({"val/group/a": 2}, step=20)
    table.save()
    assert path.read_text() == (
        HEADER + "9,0,train,loss,1.5\n9,0,train,lr,0.001\n19,1,val,loss,0.30000000000000004\n20,0,val/group,a,2.0\n"
    )


def test_values_are_written_when_saved(path: Path) -> None:
    table = MetricsCSV(path)
    table.log_metrics({"lr": 1.0}, step=1)
    assert path.read_text() == HEADER
    table.save()
    table.save()
    assert path.read_text() == HEADER + "1,0,train,lr,1.0\n"
    table.log_metrics({"lr": 2.0}, step=2)
    table.finalize("success")
    assert path.read_text() == HEADER + "1,0,train,lr,1.0\n2,0,train,lr,2.0\n"


def test_a_value_without_a_step_belongs_to_the_last_one(path: Path) -> None:
    table = MetricsCSV(path)
    table.log_metrics({"lr": 1.0}, step=7)
    table.log_metrics({"own": 2.0})
    table.save()
    MetricsCSV(path, resume_step=8)
    assert path.read_text() == HEADER + "7,0,train,lr,1.0\n7,0,train,own,2.0\n"


def test_names_with_commas(path: Path) -> None:
    table = MetricsCSV(path)
    table.log_metrics({'val/a,"b"': 1.0}, step=1)
    table.save()
    assert [row["name"] for row in read_metrics(path)] == ['a,"b"']


def test_a_new_run_starts_the_table_afresh(path: Path) -> None:
    path.write_text(HEADER + "1,0,train,lr,1.0\n")
    MetricsCSV(path)
    assert path.read_text() == HEADER


def test_a_resume_drops_what_came_after_its_checkpoint(path: Path) -> None:
    """The steps of rows are counted from 0: ten steps done are 0 to 9."""
    kept = "".join(f"{step},0,train,loss,{step}.0\n" for step in range(10))
    path.write_text(HEADER + kept + "10,1,train,loss,10.0\n12,1,val,loss,0.1\n")
    table = MetricsCSV(path, resume_step=10)
    table.log_metrics({"train/loss": 7.0, "epoch": 1}, step=10)
    table.save()
    assert path.read_text() == HEADER + kept + "10,1,train,loss,7.0\n"


@pytest.mark.parametrize("half", ["1", "19", "19,1", "19,1,train,lo", "19,1,train,loss,", "19,1,train,loss,0.12"])
def test_a_half_line_is_left_out(path: Path, half: str) -> None:
    path.write_text(HEADER + "9,0,train,loss,1.0\n" + half)
    assert [row["step"] for row in read_metrics(path)] == ["9"]
    MetricsCSV(path, resume_step=100)
    assert path.read_text() == HEADER + "9,0,train,loss,1.0\n"


def test_a_letter_cut_in_half(path: Path) -> None:
    path.write_bytes((HEADER + "9,0,train,loss,1.0\n19,1,train,größe").encode()[:-2])
    assert [row["step"] for row in read_metrics(path)] == ["9"]


def test_a_resume_without_a_table(path: Path) -> None:
    MetricsCSV(path, resume_step=100)
    assert path.read_text() == HEADER
    assert read_metrics(path) == []


def test_nothing_else_is_left_beside_the_table(path: Path) -> None:
    MetricsCSV(path).log_hyperparams({"lr": 1.0})
    assert [file.name for file in path.parent.iterdir()] == ["metrics.csv"]


def test_of_a_run(job: Callable[..., Job]) -> None:
    outcome = job(max_steps=9).fit()
    with outcome.run.metrics.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted({(row["split"], row["name"]) for row in rows}) == [
        ("train", "accuracy"),
        ("train", "grad_norm"),
        ("train", "loss"),
        ("train", "lr"),
        ("train", "samples_per_second"),
        ("val", "accuracy"),
        ("val", "loss"),
    ]
    assert [(row["step"], row["epoch"]) for row in rows if row["name"] == "lr"] == [("3", "0"), ("7", "0")]
    assert [(row["step"], row["epoch"]) for row in rows if row["split"] == "val"] == [("8", "0")] * 2


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_events_stand_in_the_directory_itself(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.log_metrics({"train/loss": 0.5, "epoch": 0}, step=3)
    board.save()
    assert scalars(tmp_path) == {"train/loss": [(3, 0.5)]}
    board.finalize("success")
    assert [file.name.split(".")[0] for file in tmp_path.iterdir()] == ["events"]


def test_a_resume_hides_the_later_points(tmp_path: Path) -> None:
    for resume_step, points in ((0, range(12)), (10, range(10, 15))):
        board = TensorBoard(tmp_path, resume_step=resume_step)
        for step in points:
            board.log_metrics({"train/loss": step + resume_step / 100}, step=step)
        board.finalize("success")
    expected = [float(step) for step in range(10)] + [step + 0.1 for step in range(10, 15)]
    steps, values = zip(*scalars(tmp_path)["train/loss"], strict=True)
    assert list(steps) == list(range(15))
    assert list(values) == pytest.approx(expected)


def test_a_run_killed_before_its_first_checkpoint_hides_all_its_points(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        logger = TensorBoard(tmp_path, resume_step=0)
        for step in range(3):
            logger.log_metrics({"loss": value + step}, step)
        logger.save()
        time.sleep(1.1)  # the viewer reads files in the order of their names, which have whole seconds
    assert scalars(tmp_path) == {"loss": [(0, 2.0), (1, 3.0), (2, 4.0)]}
