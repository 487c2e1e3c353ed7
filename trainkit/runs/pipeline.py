"""One run from config to result: prepared and checked here, then trained, scored and reported by ``completion``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from trainkit.config.check import check_config
from trainkit.data import LoaderData, Splits
from trainkit.data.augment import make_views
from trainkit.errors import DataError
from trainkit.rundir import RunDirectory, read_json
from trainkit.runs import narrate, own_resume
from trainkit.runs.build import build_parts
from trainkit.runs.check import check_batches, check_schedule, dry_batch
from trainkit.runs.classical import check_classical, is_idle
from trainkit.runs.completion import Reporter, Run, finish
from trainkit.runs.computing import check_computing
from trainkit.runs.devices import find_devices
from trainkit.runs.directory import begin, check_place, keep_moved
from trainkit.runs.features import probed_head
from trainkit.runs.job import Job, asked_job, say_finished
from trainkit.runs.launch import packed
from trainkit.runs.load import load_initial
from trainkit.runs.lock import locked
from trainkit.runs.observers import build_callbacks
from trainkit.runs.own_module import build_module_parts, has_own_module
from trainkit.runs.own_training import own_callbacks
from trainkit.runs.own_trial import Look, look
from trainkit.runs.own_trial import describe as describe_module
from trainkit.runs.own_trial import plan as plan_of_module
from trainkit.runs.parts import LiveObjects, ModuleParts, Parts, RunParts, trained_net
from trainkit.runs.result import Result
from trainkit.runs.resume import Parent
from trainkit.runs.schedule import run_schedule
from trainkit.runs.slurm import SlurmRun
from trainkit.runs.warm_start import take_weights
from trainkit.runs.workers import settle_workers
from trainkit.training import best_saved, best_score, heeded, usable_checkpoint

LOADED = ("model", "module", "data", "task")
"""Sections whose objects ``load_run`` takes again."""


def run_pipeline(config: DictConfig, live: LiveObjects, overrides: Sequence[str], report: Reporter) -> Result:
    """A new run, or one begun earlier that goes on; a finished one is left as it is.

    Args:
        config: Composed.
        live: Objects of a script that stand in for sections of it.
        overrides: As the user wrote them, to be kept with the run.
        report: Writes the reports.

    Raises:
        TrainkitError: A mistake of the user's, found before anything is written.
    """
    slurm = SlurmRun(config)
    if config.run.dir is None and (earlier := slurm.earlier()) is not None:
        config.run.dir = str(earlier)
    with heeded(), ExitStack() as stack:
        if config.run.dir and RunDirectory(Path(config.run.dir)).exists():
            stack.enter_context(locked(RunDirectory.open(config.run.dir)))
        job = asked_job(config, live, overrides)
        if job.is_finished and job.begun is not None:
            return say_finished(job.begun, narrate.Narrator())
        run = prepare(job, live, report)
        if not job.is_new and job.begun is not None:
            return _continue(run, job, job.begun)
        directory = begin(run.parts, run.devices, overrides, _hand_over(run, job.parent))
        stack.enter_context(locked(directory))
        slurm.remember(directory)
        return _begin(run, job, directory, live)


def _begin(run: Run, job: Job, directory: RunDirectory, live: LiveObjects) -> Result:
    if job.parent is not None:
        run.checkpoint, _ = usable_checkpoint(directory)
    run.narrator.say("run", narrate.run_line(run.parts, directory))
    if job.checkpoint is None and run.dry is not None and run.dry.explodes:
        run.narrator.say("note", "the first loss is far above chance: trainkit check looks for the reason")
    given = ", ".join(f"{name}=…" for name in LOADED if name in live.sections())
    if given:
        run.narrator.say("note", f"given as objects, which load_run({str(directory.path)!r}, {given}) takes again")
    return finish(run, directory)


def _continue(run: Run, job: Job, directory: RunDirectory) -> Result:
    for sentence in job.broken:
        run.narrator.say("broken", f"{sentence}; the newest whole checkpoint is used")
    score = best_score(job.checkpoint) if job.checkpoint is not None else None
    if score is not None and best_saved(directory, score) is None:
        run.narrator.say("broken", "the best checkpoint is damaged or missing; the best is chosen anew")
    keep_moved(directory, run.parts.config)
    run.checkpoint = job.checkpoint
    at = f"from {job.checkpoint.name}" if job.checkpoint else "from the start: no checkpoint was written yet"
    run.narrator.say("run", f"{directory.path} continues {at}")
    return finish(run, directory)


def prepare(job: Job, live: LiveObjects, report: Reporter) -> Run:
    """Checks the config, builds everything, and tries one batch; writes nothing.

    Args:
        job: The run that is asked for.
        live: Objects that stand in for sections of its config.
        report: Writes the reports.

    Raises:
        ConfigError: Something in the config is wrong.
        DataError: The data cannot be used, or has changed since the run began.
        RunError: The checkpoint does not fit the net, or there can be no directory where it is to be.
    """
    begun, fitting = job.begun, job.fitting
    splits = Splits.load(begun.splits) if begun else None
    checked = check_config(job.config, live.sections())
    is_own = has_own_module(checked)
    parts = build_module_parts(checked, live, splits) if is_own else build_parts(checked, live, splits)
    if begun and parts.data.fingerprint != read_json(begun.environment)["data_fingerprint"]:
        raise DataError("the data has changed since this run began", where=str(begun.path), hint="start a new run")
    if job.is_new:
        check_place(parts.config, parts.data.name)
    if fitting is not None:
        fitting.check_tensors(parts)
    _inherit(parts, job)
    devices = find_devices(parts.config)
    narrator = narrate.Narrator()
    run = Run(parts, devices, report, narrator)
    if isinstance(parts, ModuleParts):
        run.seen = look(parts, devices)
        own_callbacks(parts, run.seen)
        if fitting is not None:
            fitting.check_optimizers(parts, run.seen)
        _say_module(run, parts, run.seen)
        return run
    if parts.network is None:
        check_classical(parts)
        _say_head(run, parts)
        idle = "augment, optimizer, scheduler, trainer, checkpoint, callbacks and logger"
        narrator.say("note", f"the sections {idle} do not apply to this model")
        without_effect = [text for text in job.overrides if is_idle(text)]
        if without_effect:
            narrator.say("note", f"without effect here: {' '.join(without_effect)}")
        return run
    if devices.count > 1:
        packed(parts.live)
    callbacks = build_callbacks(parts)
    check_batches(parts)
    check_computing(parts.network, parts.config.trainer, devices.accelerator == "cuda")
    probed_head(parts)  # which says what cannot be cached
    make_views(parts.config.evaluation.tta, parts.data.spec, parts.augment)
    schedule = run_schedule(parts)
    settle_workers(parts, schedule.total_steps)
    check_schedule(parts, schedule, callbacks)
    if fitting is not None:
        fitting.check_optimizers(parts, None)
    run.dry = dry_batch(parts, devices.torch_device)
    _say_head(run, parts)
    narrator.say("plan", narrate.plan_line(parts, schedule, devices))
    for notice in (schedule.notice, parts.notes.get("workers")):
        if notice:
            narrator.say("note", notice)
    narrator.say("check", narrate.check_line(run.dry, is_fresh=fitting is None))
    return run


def _hand_over(run: Run, parent: Parent | None) -> Callable[[RunDirectory, Any], None] | None:
    if parent is None or run.seen is None:
        return None if parent is None else parent.hand_over
    return functools.partial(own_resume.hand_over, parent, run.seen)


def _inherit(parts: Parts | ModuleParts, job: Job) -> None:
    """Puts into fresh parts what they take from an earlier run."""
    if job.parent is not None and isinstance(parts, ModuleParts):
        own_resume.take_over(job.parent, parts)
    elif job.parent is not None and isinstance(parts, Parts):
        job.parent.take_over(parts)
    elif job.begun is None and parts.config.init_from is not None:
        take_weights(parts)
    elif job.begun is not None and (net := trained_net(parts)) is not None:
        load_initial(job.begun, net)


def _say_data(run: Run, parts: RunParts) -> None:
    run.narrator.say("data", parts.data.describe())
    if isinstance(parts.data, LoaderData):
        return
    run.narrator.say("split", narrate.split_line(parts))
    for text in parts.data.notes():
        run.narrator.say("note", text)


def _say_head(run: Run, parts: Parts) -> None:
    _say_data(run, parts)
    run.narrator.say("task", narrate.task_line(parts))
    run.narrator.say("model", narrate.model_line(parts))
    _say_lineage(run, parts)


def _say_lineage(run: Run, parts: RunParts) -> None:
    for label in ("resume", "weights", "init"):
        if label in parts.notes:
            run.narrator.say(label, parts.notes[label])


def _say_module(run: Run, parts: ModuleParts, seen: Look) -> None:
    _say_data(run, parts)
    run.narrator.say("module", describe_module(parts, seen))
    _say_lineage(run, parts)
    run.narrator.say("plan", plan_of_module(parts, run.devices))
    run.narrator.say("check", seen.notice or f"dry batch ok · logs {', '.join(seen.names) or 'nothing'}")
