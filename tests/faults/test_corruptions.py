"""Every file of a run broken in every way: a clear error, or the right result, and never another one in silence."""

from __future__ import annotations

import contextlib
import io
import shutil
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from safetensors.torch import load_file

import trainkit as tk
from tests.faults.conftest import Runs, call
from tests.faults.corrupting import Corruption, drawn, files_of
from trainkit.errors import TrainkitError
from trainkit.rundir import RunDirectory, read_json
from trainkit.runs.find import read_run
from trainkit.training import read_metrics

SEED = 20_261_201
TIMES = ("seconds", "samples_per_second", "peak_memory_bytes", "run_id", "files", "seal")
Facts = dict[str, Any]
Uses = tuple[Callable[[RunDirectory], dict[str, Any]], ...]


@dataclass
class Tally:
    """What became of corruptions."""

    count: int = 0
    refused: int = 0
    told: int = 0
    unharmed: int = 0
    silent: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        line = f"corruptions {self.count} · silent wrong loads {len(self.silent)} · tracebacks {len(self.tracebacks)}"
        return f"{line} · refused {self.refused} · told {self.told} · unharmed {self.unharmed}"


def frame_of(frame: pd.DataFrame) -> Facts:
    return {str(name): frame[name].to_numpy().tolist() for name in frame}


def inputs() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.1, 5, (7, 13)).astype(np.float32)


def of_loading(run: RunDirectory) -> Facts:
    """What ``load_run`` gives."""
    loaded = tk.load_run(run.path)
    assert loaded.model is not None
    frame = pd.DataFrame(inputs(), columns=list(loaded.spec.feature_names))
    result = {} if loaded.result is None else loaded.result.to_json()
    return {
        "weights": {name: tensor.tolist() for name, tensor in loaded.model.state_dict().items()},
        "spec": loaded.spec,
        "config": OmegaConf.to_container(loaded.config),
        "result": {key: value for key, value in result.items() if key not in TIMES} if result else None,
        "splits": {name: rows.tolist() for name, rows in loaded.data.splits.parts().items()},
        "predictions": frame_of(loaded.predict(frame)),
        "lineage": loaded.lineage,
    }


def of_scoring(run: RunDirectory) -> Facts:
    """What ``evaluate`` gives."""
    result = tk.evaluate(run.path)
    return {"test": result.test, "validation": result.validation, "objective": result.objective}


def of_saved(run: RunDirectory) -> Facts:
    """What ``evaluate`` gives where the data is gone."""
    from trainkit.data import BundledTable

    def gone(self: BundledTable, *_: Any) -> None:
        raise tk.DataError("there is no file")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BundledTable, "setup", gone)
        return of_scoring(run)


def of_listing(run: RunDirectory) -> Facts:
    """What ``list runs`` reads."""
    found = read_run(run.path)
    if found.status == "damaged":
        raise tk.RunError(found.error or "")
    if found.error:
        print(found.error)
    kept = ("status", "test", "validation", "objective", "epochs", "steps", "config", "choices")
    # By its age an unfinished run may be running: whatever changes its directory makes it look so.
    return {name: getattr(found, name) for name in kept} | {"status": found.status.replace("running?", "interrupted")}


def of_continuing(run: RunDirectory) -> Facts:
    """What ``fit run.dir=`` comes to."""
    said = call("fit", f"run.dir={run.path}")
    if said.code:
        assert said.code == 2, said
        raise tk.RunError(said.text)
    print(said.text)
    result = read_json(run.result)
    return {
        "weights": {name: tensor.tolist() for name, tensor in load_file(run.weights).items()},
        "predictions": frame_of(pd.read_parquet(run.predictions)),
        "result": {key: value for key, value in result.items() if key not in TIMES},
        "curves": [row for row in read_metrics(run.metrics) if row["name"] != "samples_per_second"],
        "best": read_json(run.best)["monitor"],
    }


OF_FINISHED: Uses = (of_loading, of_scoring, of_saved, of_listing)
OF_INTERRUPTED: Uses = (of_listing, of_continuing)


@contextlib.contextmanager
def copied(run: RunDirectory, place: Path) -> Iterator[RunDirectory]:
    copy = RunDirectory(Path(shutil.copytree(run.path, place / "run")))
    yield copy
    for path in sorted(copy.path.rglob("*"), reverse=True):  # rmtree names files below a handle, which no guard sees
        path.rmdir() if path.is_dir() else path.unlink()
    copy.path.rmdir()


def expected(run: RunDirectory, uses: Uses, place: Path) -> list[Facts]:
    with copied(run, place) as copy, contextlib.redirect_stdout(io.StringIO()):
        return [use(copy) for use in uses]


def names_it(text: str, corruption: Corruption) -> bool:
    """Whether a text names the broken file, or where two were exchanged, any file of the run."""
    if corruption.kind in ("swap", "other"):
        return any(ending in text for ending in (".json", ".yaml", ".npz", ".ckpt", ".csv", ".safetensors", ".parquet"))
    name = Path(corruption.file).name
    return name in text or (name == "predictions.parquet" and "no saved predictions" in text)


def judge(
    corruption: Corruption,
    run: RunDirectory,
    uses: Uses,
    right: list[Facts],
    tally: Tally,
) -> None:
    outcomes = set()
    for use, known in zip(uses, right, strict=True):
        out = io.StringIO()
        case = f"{corruption} · {use.__name__}"
        try:
            with contextlib.redirect_stdout(out):
                found = use(run)
        except TrainkitError as error:
            outcomes.add("refused")
            if not names_it(f"{error}\n{out.getvalue()}", corruption):
                tally.unnamed.append(f"{case}: {error}")
        except Exception:  # of any class: all of them fail the test by the tally
            tally.tracebacks.append(f"{case}\n{traceback.format_exc(limit=-6)}")
        else:
            if found == known or (corruption.kind, corruption.file) == ("delete", "result.json"):
                continue  # a run without a result is one that was killed, whatever else it holds
            told = names_it(out.getvalue(), corruption)
            outcomes.add("told" if told else "silent")
            if not told:
                keys = [key for key in known if found.get(key) != known[key]]
                tally.silent.append(f"{case}: other {', '.join(keys)}\n{out.getvalue()}")
    tally.refused += "refused" in outcomes
    tally.told += outcomes == {"told"}
    tally.unharmed += not outcomes


def carry_out(runs: Runs, count: int, place: Path, seed: int = SEED) -> Tally:
    tally = Tally()
    pairs = ((runs.finished, runs.others[0], OF_FINISHED), (runs.interrupted, runs.others[1], OF_INTERRUPTED))
    for share, (run, other, uses) in zip((count - count // 2, count // 2), pairs, strict=True):
        right = expected(run, uses, place)
        for corruption in drawn(files_of(run.path), share, seed):
            with copied(run, place) as copy:
                if corruption.apply(copy.path, other.path):
                    judge(corruption, copy, uses, right, tally)
                else:
                    tally.unharmed += 1
                tally.count += 1
    return tally


def assert_clean(tally: Tally) -> None:
    with_faults = [*tally.tracebacks, *tally.silent, *tally.unnamed]
    assert not with_faults, "\n\n".join([str(tally), *with_faults])


def test_forty_corruptions(runs: Runs, tmp_path: Path) -> None:
    assert_clean(carry_out(runs, 40, tmp_path))


@pytest.mark.faults
@pytest.mark.timeout(3_600)
def test_five_hundred_corruptions(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tally = carry_out(runs, 500, tmp_path, seed=1)
    with capsys.disabled():
        print(f"\n{tally}")
    assert_clean(tally)
