"""The job that a command asks for, the run that it names taken up and judged; for ``fit`` and ``check`` alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from trainkit.errors import RunError
from trainkit.rundir import RunDirectory, read_json
from trainkit.runs import narrate
from trainkit.runs.directory import continued_config
from trainkit.runs.fitting import Fitting
from trainkit.runs.judging import taken_up
from trainkit.runs.parts import LiveObjects
from trainkit.runs.result import Result
from trainkit.runs.resume import Parent, open_parent
from trainkit.runs.stored import say_changes
from trainkit.training import usable_checkpoint


@dataclass(frozen=True)
class Job:
    """A new run, one that goes on from another, or one begun earlier.

    Attributes:
        config: Of the run; that of a run begun earlier is its own.
        begun: The run whose parts of the data are used: the parent, or the one that is continued; None for none.
        parent: The run that a new one goes on from.
        checkpoint: Where training goes on from; None from the start.
        broken: A sentence for each newer checkpoint that is not whole.
        is_finished: Whether there is nothing left to do.
        overrides: As the user wrote them.
    """

    config: DictConfig
    begun: RunDirectory | None = None
    parent: Parent | None = None
    checkpoint: Path | None = None
    broken: Sequence[str] = ()
    is_finished: bool = False
    overrides: Sequence[str] = ()

    @property
    def is_new(self) -> bool:
        """Whether it gets a directory of its own."""
        return self.begun is None or self.parent is not None

    @property
    def fitting(self) -> Fitting | None:
        """The checkpoint that the net has to fit; None where training starts afresh."""
        key = "run.dir" if self.parent is None else "resume_from"
        return None if self.checkpoint is None else Fitting(self.checkpoint, key)


def asked_job(config: DictConfig, live: LiveObjects, overrides: Sequence[str]) -> Job:
    """What a config, objects and overrides come to once the run that they name has been looked at.

    Args:
        config: Composed.
        live: Objects of a script that stand in for sections of it.
        overrides: As the user wrote them, after those of the run that he names.

    Raises:
        ConfigError: An override asks for what that run does not allow, or its config names code that is not trusted.
        RunError: There is no such run, or nothing of it to go on from.
    """
    place = OmegaConf.select(config, "run.dir")
    if place and RunDirectory(Path(place)).exists():
        return _continued(RunDirectory.open(place), config, live, overrides)
    if place and RunDirectory(Path(place)).result.is_file():
        raise RunError(f"'{RunDirectory(Path(place)).config}' is missing", where="run.dir", hint="another run.dir")
    parent = open_parent(config, [*overrides, *live.named])
    if parent is None:
        return Job(config, overrides=overrides)
    config = taken_up(parent.directory, parent.config, config, live, "resume_from", overrides)
    _check_files(parent.directory)
    say_changes(parent.directory)
    return Job(config, parent.directory, parent, parent.checkpoint)


def _continued(directory: RunDirectory, config: DictConfig, live: LiveObjects, overrides: Sequence[str]) -> Job:
    say_changes(directory)  # before what follows from them is refused
    stored = continued_config(directory, config, [*overrides, *live.named])
    if directory.status() == "completed":
        return Job(stored, directory, is_finished=True)
    stored = taken_up(directory, stored, config, live, "run.dir", overrides)
    _check_files(directory)
    checkpoint, broken = usable_checkpoint(directory)
    return Job(stored, directory, None, checkpoint, broken)


def _check_files(directory: RunDirectory) -> None:
    """Refuses damaged splits, and an environment that does not say which data the run is of."""
    directory.check(directory.splits)
    if not isinstance(read_json(directory.environment).get("data_fingerprint"), str):
        raise RunError(f"'{directory.environment}' does not say which data the run is of", where="RUN")


def say_finished(directory: RunDirectory, narrator: narrate.Narrator) -> Result:
    """Tells of a run that is finished what it came to."""
    result = Result.load(directory)
    narrator.say("run", f"{directory.path} is finished; nothing to do")
    narrator.say("test", narrate.metrics_text(result.test))
    return result
