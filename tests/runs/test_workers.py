"""How many loader processes a run has where that is left to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import trainkit as tk
from trainkit.data.sources import DatasetSource
from trainkit.errors import DataError
from trainkit.runs import workers
from trainkit.runs.build import build_parts
from trainkit.runs.live import put_objects
from trainkit.runs.parts import Parts


class Slow(Dataset[Any]):
    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.values = torch.randn(96, 4)

    def __len__(self) -> int:
        return 96

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        if self.seconds:
            time.sleep(self.seconds)
        return self.values[row], row % 2


class Opens(Slow):
    """Reads from a file that it holds open."""

    def __init__(self, path: Path) -> None:
        super().__init__(0.001)
        path.write_text("x")
        self.file = path.open()


def parts_of(dataset: Slow, *overrides: str) -> Parts:
    config = tk.compose(["data=dataset", "data.batch_size=32", "model=custom", *overrides])
    live = put_objects(config, model=nn.Linear(4, 2), datasets={"train": dataset}, **NOTHING)
    return build_parts(config, live)


NOTHING: dict[str, Any] = dict.fromkeys(("module", "batch_size", "data", "task", "optimizer", "scheduler"))


@pytest.fixture
def settle(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    def settled(dataset: Slow, *overrides: str, cores: int = 4, steps: int = 10**6) -> tuple[int, str]:
        monkeypatch.setattr(workers, "usable_cores", lambda: cores)
        parts = parts_of(dataset, *overrides)
        workers.settle_workers(parts, steps)
        assert isinstance(parts.data.num_workers, int)
        return parts.data.num_workers, parts.notes.get("workers", "")

    return settled


def test_slow_reading_is_done_by_as_many_processes_as_there_are_cores(settle: Callable[..., tuple[int, str]]) -> None:
    assert settle(Slow(0.001)) == (4, "samples are read by 4 processes beside training")
    assert settle(Slow(0.001), cores=2) == (2, "samples are read by 2 processes beside training")


@pytest.mark.parametrize(
    ("seconds", "options"),
    [(0.0, {}), (0.001, {"steps": 100}), (0.001, {"cores": 1})],
    ids=["at once", "a short run", "one core"],
)
def test_reading_stays_in_this_process(
    seconds: float, options: dict[str, int], settle: Callable[..., tuple[int, str]]
) -> None:
    assert settle(Slow(seconds), **options) == (0, "")


def test_a_net_that_takes_longer_than_reading_needs_one_process(
    settle: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "seconds_of_step", lambda parts: 1.0)
    assert settle(Slow(0.001)) == (1, "samples are read by 1 process beside training")


def test_what_holds_an_open_file_is_not_read_by_several_processes(
    settle: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    dataset = Opens(tmp_path / "file")
    number, note = settle(dataset)
    dataset.file.close()
    assert number == 0
    assert note == (
        "samples are read in this process, as Opens cannot be pickled and may hold an open file; "
        "data.num_workers=4 reads them in 4 processes beside training"
    )


def test_what_the_user_asks_for_stays(settle: Callable[..., tuple[int, str]]) -> None:
    assert settle(Slow(0.001), "data.num_workers=0") == (0, "")
    assert settle(Slow(0.0), "data.num_workers=3") == (3, "")


@pytest.mark.parametrize("given", ["many", -1, 1.5])
def test_a_number_that_is_none_is_refused(given: Any) -> None:
    with pytest.raises(DataError, match="num_workers is"):
        tk.DatasetData(train=Slow(), num_workers=given)


def test_samples_on_another_device_stay_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    source = DatasetSource([Slow()])
    assert workers._is_on_cpu(source)
    monkeypatch.setattr(source, "fetch", lambda rows, key: (torch.zeros(1, 4, device="meta"), torch.zeros(1)))
    assert not workers._is_on_cpu(source)
