"""Whether a run that is killed ends as one that is not: a short version of it, whole and with kills, in processes.

``python -m trainkit.runs.inspection.rehearsal RUN FOLDER KILL`` trains such a version, and is killed where it is told.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig, OmegaConf, open_dict

from trainkit.config.copying import copied
from trainkit.config.targets import targets_of
from trainkit.errors import ConfigError, RunError
from trainkit.rundir import RunDirectory
from trainkit.runs.devices import Devices
from trainkit.runs.directory import begin
from trainkit.runs.inspection.finding import Finding, Rule, error
from trainkit.runs.inspection.sameness import differences
from trainkit.runs.launch import LIVE, OUTCOME, packed, surroundings
from trainkit.runs.parts import RunParts
from trainkit.runs.worker import main as work
from trainkit.training import CheckpointWriter

SECONDS = 10.0
"""Of training that the short version takes, about."""

FEWEST, EPOCHS = 8, 2.5
"""Optimizer steps at least, and epochs at most."""

KILLS = {"step-{}": "after step {}", "validation-1": "in a validation", "save-1": "as a checkpoint was made"}
"""Where the run is killed, one after the other, and how that is told."""

WITHOUT = "none"


@dataclass(frozen=True)
class Rehearsal:
    """What a short version of a run came to, whole and killed.

    Attributes:
        steps: Its optimizer steps.
        kills: Where it was killed, in words.
        differences: What differs in the end, a sentence each; empty where all is the same to the bit.
    """

    steps: int
    kills: tuple[str, ...]
    differences: tuple[str, ...]


class Killed(L.Callback):
    """Has the system kill this process: at a step, in a validation, or as a checkpoint is made.

    Args:
        place: ``step``, with the checkpoints before it on the disk; ``validation`` or ``save``, however far writing is.
        number: Of the step, or of the validation or checkpoint that this process comes to, from 1.
    """

    def __init__(self, place: str, number: int) -> None:
        self.place, self.number, self._count = place, number, 0

    def _reached(self, place: str) -> None:
        self._count += place == self.place
        if place == self.place and self._count >= self.number:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """At the step, before it is committed."""
        if self.place == "step" and trainer.global_step >= self.number:
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, CheckpointWriter) and callback.background is not None:
                    callback.background.wait()
            os.kill(os.getpid(), signal.SIGKILL)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """In the validation."""
        self._reached("validation")

    def on_save_checkpoint(self, *args: Any) -> None:
        """As the checkpoint is put together."""
        self._reached("save")


def rehearse(parts: RunParts, devices: Devices, samples_per_second: float, per_epoch: int, total: int) -> Rehearsal:
    """Trains a short version of a run whole, and again with kills.

    Args:
        parts: Of the run; they stay as they are.
        devices: Where it trains.
        samples_per_second: That are about to be expected.
        per_epoch: Optimizer steps of an epoch.
        total: Of the run.

    Raises:
        ConfigError: The run is on several processes.
        LaunchError: An object of the script cannot be sent to another process.
        RunError: The short version does not train.
    """
    if devices.count > 1:
        raise ConfigError("a run on several processes is not rehearsed", where="resume", hint="trainer.devices=1")
    affordable = int(SECONDS * samples_per_second / parts.data.batch_size)
    steps = min(total, max(FEWEST, min(int(EPOCHS * per_epoch) + 1, affordable)))
    config = _shortened(parts.config, steps, per_epoch)
    live = replace(parts.live, loggers=())
    payload = packed(live)
    with tempfile.TemporaryDirectory(prefix="trainkit-") as place:
        folder = Path(place)
        if payload is not None:
            (folder / LIVE).write_bytes(pickle.dumps(asdict(payload)))
        runs = [
            _begun(replace(parts, config=config, live=live), devices, folder / name) for name in ("whole", "killed")
        ]
        with surroundings(devices):
            _train(runs[0], folder, WITHOUT)
            kills = tuple(_killed(runs[1], folder, steps))
            _train(runs[1], folder, WITHOUT)
        return Rehearsal(steps, kills, tuple(differences(*runs)))


def _shortened(config: DictConfig, steps: int, per_epoch: int) -> DictConfig:
    """Trains few steps, with two validations and several checkpoints on the way, and logs to no service."""
    config = copied(config)
    with open_dict(config):
        OmegaConf.update(config, "trainer.max_steps", steps)
        if steps < 2 * per_epoch:
            OmegaConf.update(config, "trainer.val_every_n_steps", max(1, steps // 3))
            OmegaConf.update(config, "trainer.val_every_n_epochs", None)
        OmegaConf.update(config, "checkpoint.every_n_steps", max(1, steps // 4))
        kept = {name.split(".")[0] for name, target in targets_of(config.get("logger")) if "TensorBoard" in target}
        for name in list(config.get("logger") or {}):
            if name not in kept:
                config.logger[name] = None
    return config


def _begun(parts: RunParts, devices: Devices, place: Path) -> RunDirectory:
    config = copied(parts.config)
    OmegaConf.update(config, "run.dir", str(place))
    return begin(replace(parts, config=config), devices, [])


def _killed(run: RunDirectory, folder: Path, steps: int) -> Iterator[str]:
    """Trains and is killed, again and again; where that was."""
    for kill, told in KILLS.items():
        kill, told = kill.format(steps // 2), told.format(steps // 2)
        if _train(run, folder, kill):
            yield told
        else:
            return  # it was through before it came there


def _train(run: RunDirectory, folder: Path, kill: str) -> bool:
    """Trains in a process of its own; whether it was killed as it was to be."""
    command = [sys.executable, "-m", "trainkit.runs.inspection.rehearsal", str(run.path), str(folder), kill]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == -signal.SIGKILL and kill != WITHOUT:
        return True
    if done.returncode != 0:
        outcome = folder / OUTCOME
        lines = (outcome.read_text(encoding="utf-8") if outcome.is_file() else done.stderr).strip().splitlines()
        raise RunError(f"the short version does not train: {lines[-1] if lines else done.returncode}", where="resume")
    return False


def not_exact(rehearsal: Rehearsal) -> Iterator[Finding]:
    """A run that is killed and continued ends otherwise than one that is not."""
    if not rehearsal.differences:
        return
    more = len(rehearsal.differences) - 1
    what = f"killed and continued, it ends otherwise: {rehearsal.differences[0]}" + f" and {more:,} more" * (more > 0)
    yield error("not_exact", what, "run.dir", _causes(rehearsal.differences[0]))


def _causes(first: str) -> str:
    """What usually lies behind a difference, by what it is."""
    if first.startswith("checkpoint.callbacks"):
        return "a callback whose state_dict() does not hold all that it goes on from, or holds times"
    if first.startswith(("metrics.csv", "TensorBoard")):
        return "values logged outside of self.log, or by a callback that counts without a state_dict()"
    if "random" in first:
        return (
            "draws that depend on time or on another process, or a generator that is not torch's, NumPy's or Python's"
        )
    return (
        "a Dataset, model or callback with state of its own that no state_dict() holds, or a generator of its own; "
        "on a GPU trainer.deterministic=true"
    )


REHEARSAL_RULES: tuple[Rule[Rehearsal], ...] = (not_exact,)
"""Every rule on exact resume."""


def main(run_dir: str, folder: str, kill: str) -> bool:
    """Trains a run directory in this process, which is killed where it is told."""
    from trainkit.runs.inspection import rehearsal  # for a class of ``__main__`` would be a stranger's, that sees steps

    place, _, number = kill.partition("-")
    callbacks: Sequence[L.Callback] = () if kill == WITHOUT else (rehearsal.Killed(place, int(number)),)
    return work(run_dir, folder, callbacks)


if __name__ == "__main__":
    sys.exit(0 if main(*sys.argv[1:]) else 2)
