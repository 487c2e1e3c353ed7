"""``resume_from``: a new run that goes on from another one's last checkpoint; called by ``run_pipeline``."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from trainkit.config.copying import copied, plain
from trainkit.config.earlier import LENGTHS, key_of
from trainkit.config.ranges import check_lineage
from trainkit.config.targets import targets_of
from trainkit.errors import ConfigError, RunError
from trainkit.rundir import RunDirectory, atomic_path, sha256, write_json
from trainkit.runs.directory import disagreements, put_moved
from trainkit.runs.handover import put_callbacks, put_epoch, put_schedule
from trainkit.runs.observers import build_callbacks
from trainkit.runs.parts import Parts, RunParts
from trainkit.runs.schedule import run_schedule
from trainkit.runs.stored import load_config
from trainkit.training import CheckpointWriter, best_saved, best_score, checkpoint_path, step_of, usable_checkpoint

INTERVAL = "trainer.log_every_n_steps"

MAY_CHANGE = (
    *LENGTHS,
    *("trainer.val_every_n_epochs", "trainer.val_every_n_steps", INTERVAL),
    *("trainer.devices", "trainer.accelerator", "trainer.threads", "trainer.precision", "trainer.deterministic"),
    *("trainer.accumulate", "trainer.steps_per_execution", "data.num_workers"),
    *("trainer.on_nonfinite", "trainer.compile", "trainer.channels_last", "trainer.flat_parameters"),
    *("trainer.activation_checkpointing", "data.cache", "data.cache_dir"),
    *("scheduler", "callbacks", "logger", "checkpoint", "launch", "evaluation", "run", "resume_from"),
)
"""Keys and sections that a run may have otherwise than the one it goes on from: how long it trains, on what and with
which schedule, and how it is watched; not what is learned from which data by which steps."""


@dataclass(frozen=True)
class Parent:
    """The run that a new one goes on from; it stays as it is.

    Attributes:
        directory: Its files.
        config: Config of the new run: the parent's own, with what was asked to change.
        checkpoint: The parent's newest checkpoint that is whole.
        broken: A sentence for each newer one that is not.
        keeps_interval: Whether values are logged as often as in the parent.
    """

    directory: RunDirectory
    config: DictConfig
    checkpoint: Path
    broken: Sequence[str]
    keeps_interval: bool = True

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return step_of(self.checkpoint)

    def take_over(self, parts: Parts) -> None:
        """Records in the new run's parts where it comes from.

        Raises:
            ConfigError: It asks for no more steps than the parent has done.
        """
        self.record(parts, run_schedule(parts).total_steps)
        self.keep_interval(parts, run_schedule(replace(parts, config=self.own_config())).log_every)

    def record(self, parts: RunParts, total: int) -> None:
        """Records in the new run's parts where it comes from.

        Args:
            parts: Of the new run; ``notes`` and ``lineage`` are set.
            total: Its steps in all; 0 where they are not known.

        Raises:
            ConfigError: It asks for no more steps than the parent has done.
        """
        if 0 < total <= self.step:
            asked = " and ".join(f"{key}={value}" for key in LENGTHS if (value := OmegaConf.select(parts.config, key)))
            raise ConfigError(
                f"'{self.directory.path}' has done {self.step:,} steps, and {asked} asks for {total:,}",
                where="resume_from",
                expected=f"more than {self.step:,} steps in all",
                hint=f"trainer.max_epochs={2 * -(-self.step // parts.data.steps_per_epoch())}",
            )
        told = [f"{self.directory.path} at step {self.step:,}", *self.broken]
        if self.directory.best.is_file() and self.best is None:
            told.append("its best checkpoint is damaged: the best is chosen anew")
        parts.notes["resume"] = " · ".join(told)
        parts.lineage = {
            "resume_from": str(self.directory.path),
            "sha256": sha256(self.checkpoint),
            "step": self.step,
            "data_fingerprint": parts.data.fingerprint,
        }

    def own_config(self) -> DictConfig:
        """Config that the parent was trained with."""
        return load_config(self.directory)

    def keep_interval(self, parts: RunParts, log_every: int) -> None:
        """Goes on to log as often as the parent did, whose choice rests on its own length.

        Args:
            parts: Of the new run; ``trainer.log_every_n_steps`` of their config is set.
            log_every: Steps between the parent's values.
        """
        if self.keeps_interval and parts.config.trainer.log_every_n_steps is None:
            parts.config.trainer.log_every_n_steps = log_every

    def hand_over(self, run: RunDirectory, parts: Parts) -> None:
        """Puts the checkpoint, the best one and the curves into the new run's directory, which then goes on by itself.

        Args:
            run: The new run's directory.
            parts: The parts of the new run.
        """
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        put_epoch(state)
        put_callbacks(state, build_callbacks(parts), CheckpointWriter, has_best=self.best is not None)
        put_schedule(state, parts, self.step)
        self.write(run, state)

    def write(self, run: RunDirectory, state: dict[str, Any]) -> None:
        """Writes the checkpoint to go on from, the best one and the curves into a run's directory.

        Args:
            run: The new run's directory.
            state: The checkpoint.
        """
        run.checkpoints.mkdir(exist_ok=True)
        path = run.checkpoints / self.checkpoint.name
        with atomic_path(path) as temporary:
            torch.save(state, temporary)
        entry = {"file": path.name, "sha256": sha256(path), "step": self.step}
        best = self.best
        if best is not None and best["file"] == path.name:
            best = best | entry
        elif best is not None:
            shutil.copyfile(checkpoint_path(self.directory, best), run.checkpoints / best["file"])
        if best is not None:
            write_json(run.best, best)
        write_json(run.last, {**entry, "older": []})
        if self.directory.metrics.is_file():
            shutil.copyfile(self.directory.metrics, run.metrics)
        if any("TensorBoard" in name for _, name in targets_of(self.config.get("logger"))):
            for file in self.directory.events():
                shutil.copyfile(file, run.path / file.name)

    @functools.cached_property
    def best(self) -> dict[str, Any] | None:
        """Pointer to the best checkpoint up to there, if the parent has it still, and whole."""
        score = best_score(self.checkpoint)
        return None if score is None else best_saved(self.directory, score)


def open_parent(config: DictConfig, overrides: Sequence[str]) -> Parent | None:
    """The run that ``resume_from`` names, and the config of the one that goes on from it; None without ``resume_from``.

    Args:
        config: Composed from the overrides.
        overrides: As the user wrote them.

    Raises:
        ConfigError: Something is asked to change that the steps done so far rest on, or cannot be told.
        RunError: There is no such run, or it has no checkpoint to go on from.
    """
    check_lineage(config)
    given = config.get("resume_from")
    if given is None:
        return None
    if not any(key_of(text) == "resume_from" for text in overrides):
        raise ConfigError(
            "resume_from in a composed config does not tell what else was asked for",
            where="resume_from",
            hint="tk.fit(resume_from=…, overrides=[…]), or an override on the command line",
        )
    try:
        directory = RunDirectory.open(given)
        checkpoint, broken = usable_checkpoint(directory)
    except RunError as error:
        error.where = "resume_from"
        raise
    if directory.classical_model.is_file():
        raise RunError(f"'{given}' is a classical model, which has no steps to go on from", where="resume_from")
    if checkpoint is None:
        raise RunError(
            f"'{given}' has no checkpoint yet", where="resume_from", hint=f"trainkit fit run.dir={given} starts it"
        )
    asks_interval = any(key_of(text) == INTERVAL for text in overrides)
    return Parent(directory, resumed_config(directory, config, overrides), checkpoint, broken, not asks_interval)


def resumed_config(directory: RunDirectory, config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """A run's own config with what explicit overrides change of it.

    Of ``trainer.max_epochs`` and ``trainer.max_steps`` the one given replaces both.

    Args:
        directory: The run to go on from.
        config: Composed from the overrides now given.
        overrides: As the user wrote them.

    Raises:
        ConfigError: An override would change what the steps done so far rest on.
    """
    new = copied(load_config(directory))
    put_moved(new, config, overrides)
    before = directory.typed_overrides()
    keys = [key_of(text) for text in overrides if text not in before]
    for key in filter(_may_change, keys):
        OmegaConf.update(new, key, plain(OmegaConf.select(config, key)), merge=False, force_add=True)
    if len(lengths := {key for key in keys if key in LENGTHS}) == 1:
        (other,) = set(LENGTHS) - lengths
        OmegaConf.update(new, other, None, force_add=True)
    name = new.run.name
    new.run, new.init_from = copied(config.run), None
    new.run.name = config.run.name or name
    asked = [text for text in overrides if not _may_change(key_of(text))]
    for text, path, was in disagreements(directory, new, config, asked):
        raise ConfigError(
            f"{text}, but '{directory.path}' has {path}={was}",
            where="resume_from",
            expected="another length, schedule, device, callback or logger only",
            hint="init_from=RUN takes only the weights",
        )
    return new


def _may_change(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in MAY_CHANGE)
