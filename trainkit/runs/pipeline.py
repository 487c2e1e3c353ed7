"""One run from config to result: prepare, check, train, score, compare, report; the result is written last."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from trainkit.config.check import check_config
from trainkit.data import LoaderData, Splits
from trainkit.errors import ConfigError, DataError, LaunchError
from trainkit.rundir import RunDirectory, read_json
from trainkit.runs import narrate
from trainkit.runs.build import build_parts
from trainkit.runs.check import DryBatch, check_batches, check_schedule, dry_batch, monitored
from trainkit.runs.classical import check_classical, preprocessing, train_classical
from trainkit.runs.devices import Devices, find_devices
from trainkit.runs.directory import begin, continued_config
from trainkit.runs.hparams import log_hparams
from trainkit.runs.judging import taken_up
from trainkit.runs.launch import packed, train_in_processes
from trainkit.runs.load import load_best, load_initial
from trainkit.runs.own_module import build_module_parts, has_own_module
from trainkit.runs.own_training import own_callbacks, scores, train_own
from trainkit.runs.own_trial import Look, look
from trainkit.runs.own_trial import describe as describe_module
from trainkit.runs.own_trial import plan as plan_of_module
from trainkit.runs.parts import LiveObjects, ModuleParts, Parts, RunParts
from trainkit.runs.predictors import ClassicalPredictor, NetPredictor, Predictor
from trainkit.runs.provenance import exactness
from trainkit.runs.result import Result, extra_validation
from trainkit.runs.resume import Parent, open_parent
from trainkit.runs.schedule import run_schedule
from trainkit.runs.score import baseline, estimate_json, save_predictions, score_parts, scored_parts
from trainkit.runs.train import TrainOutcome, build_callbacks, train
from trainkit.runs.warm_start import take_weights
from trainkit.training import all_saved, usable_checkpoint
from trainkit.types import Predictions

Reporter = Callable[[RunDirectory, Result, RunParts, dict[str, Predictions]], None]
"""Writes the reports of a finished run."""

LOADED = ("model", "module", "data", "task")
"""Sections whose objects ``load_run`` takes again."""


@dataclass
class Run:
    """A run under way."""

    parts: Parts | ModuleParts
    devices: Devices
    report: Reporter
    narrator: narrate.Narrator = field(default_factory=narrate.Narrator)
    checkpoint: Path | None = None
    seen: Look | None = None
    dry: DryBatch | None = None
    started: float = field(default_factory=time.perf_counter)


def run_pipeline(config: DictConfig, live: LiveObjects, overrides: Sequence[str], report: Reporter) -> Result:
    """A new run.

    Args:
        config: Composed.
        live: Objects of a script that stand in for sections of it.
        overrides: As the user wrote them, to be kept with the run.
        report: Writes the reports.

    Raises:
        TrainkitError: A mistake of the user's, found before anything is written.
    """
    parent = open_parent(config, [*overrides, *live.named])
    if parent is not None:
        config = taken_up(parent.directory, parent.config, config, live, "resume_from")
    run = prepare(config, live, report, parent.directory if parent else None, parent)
    directory = begin(run.parts, run.devices, overrides, parent.hand_over if parent else None)
    run.checkpoint, _ = usable_checkpoint(directory)
    run.narrator.say("run", narrate.run_line(run.parts, directory))
    if run.dry is not None and run.dry.explodes:
        run.narrator.say("note", "the first loss is far above chance: trainkit check looks for the reason")
    given = ", ".join(f"{name}=…" for name in LOADED if name in live.sections())
    if given:
        run.narrator.say("note", f"given as objects, which load_run({str(directory.path)!r}, {given}) takes again")
    return finish(run, directory)


def continue_run(
    directory: RunDirectory, config: DictConfig, live: LiveObjects, overrides: Sequence[str], report: Reporter
) -> Result:
    """Goes on with a run begun earlier; a finished one is left as it is.

    Raises:
        ConfigError: An override differs from the run's own config, or the config names code that is not trusted.
        DataError: The data has changed since.
        RunError: Every checkpoint is broken.
    """
    directory = RunDirectory.open(directory.path)
    narrator = narrate.Narrator()
    stored = continued_config(directory, config, [*overrides, *live.named])
    if directory.status() == "completed":
        result = Result.load(directory)
        narrator.say("run", f"{directory.path} is finished; nothing to do")
        narrator.say("test", narrate.metrics_text(result.test))
        return result
    stored = taken_up(directory, stored, config, live, "run.dir")
    checkpoint, broken = usable_checkpoint(directory)
    run = prepare(stored, live, report, directory)
    for sentence in broken:
        narrator.say("broken", f"{sentence}; the one before it is used")
    run.checkpoint = checkpoint
    at = f"from {checkpoint.name}" if checkpoint else "from the start: no checkpoint was written yet"
    narrator.say("run", f"{directory.path} continues {at}")
    return finish(run, directory)


def prepare(
    config: DictConfig,
    live: LiveObjects,
    report: Reporter,
    begun: RunDirectory | None = None,
    parent: Parent | None = None,
) -> Run:
    """Checks the config, builds everything, and tries one batch; writes nothing.

    Args:
        config: Composed, or that of a run begun earlier.
        live: Objects that stand in for sections of it.
        report: Writes the reports.
        begun: A run that goes on; its parts of the data are used.
        parent: Given where it goes on in a new directory.
    """
    splits = Splits.load(begun.splits) if begun else None
    checked = check_config(config, live.sections())
    is_own = has_own_module(checked)
    parts = build_module_parts(checked, live, splits) if is_own else build_parts(checked, live, splits)
    if begun and parts.data.fingerprint != read_json(begun.environment)["data_fingerprint"]:
        raise DataError("the data has changed since this run began", where=str(begun.path), hint="start a new run")
    _inherit(parts, begun, parent)
    devices = find_devices(parts.config)
    narrator = narrate.Narrator()
    run = Run(parts, devices, report, narrator)
    if isinstance(parts, ModuleParts):
        run.seen = look(parts, devices)
        own_callbacks(parts, run.seen)
        _say_module(run, parts, run.seen)
        return run
    if parts.network is None:
        check_classical(parts)
        _say_head(run, parts)
        narrator.say("note", "the sections optimizer, scheduler, trainer and checkpoint do not apply to this model")
        return run
    if devices.count > 1:
        packed(parts.live)
    callbacks = build_callbacks(parts)
    check_batches(parts)
    schedule = run_schedule(parts)
    check_schedule(parts, schedule, callbacks)
    run.dry = dry_batch(parts, devices.torch_device)
    _say_head(run, parts)
    narrator.say("plan", narrate.plan_line(parts, schedule, devices))
    if schedule.notice:
        narrator.say("note", schedule.notice)
    narrator.say("check", narrate.check_line(run.dry))
    return run


def _inherit(parts: Parts | ModuleParts, begun: RunDirectory | None, parent: Parent | None) -> None:
    """Puts into fresh parts what they take from an earlier run."""
    if isinstance(parts, ModuleParts):
        key = "resume_from" if parent is not None else "init_from"
        if parts.config.get(key) is not None and (parent is not None or begun is None):
            what = f"{key} is for nets that trainkit trains, and this is a LightningModule of your own"
            raise ConfigError(what, where=key, hint="run.dir=RUN goes on with a run that was stopped")
        if begun is not None and parts.live.module is not None:
            load_initial(begun, parts.live.module)
    elif parent is not None:
        parent.take_over(parts)
    elif begun is None and parts.config.init_from is not None:
        take_weights(parts)
    elif begun is not None and parts.network is not None:
        load_initial(begun, parts.network.net)


def _say_head(run: Run, parts: Parts) -> None:
    run.narrator.say("data", parts.data.describe())
    run.narrator.say("split", narrate.split_line(parts))
    run.narrator.say("task", narrate.task_line(parts))
    run.narrator.say("model", narrate.model_line(parts))
    for label in ("resume", "init"):
        if label in parts.notes:
            run.narrator.say(label, parts.notes[label])


def _say_module(run: Run, parts: ModuleParts, seen: Look) -> None:
    run.narrator.say("data", parts.data.describe())
    if not isinstance(parts.data, LoaderData):
        run.narrator.say("split", narrate.split_line(parts))
    run.narrator.say("module", describe_module(parts, seen))
    run.narrator.say("plan", plan_of_module(parts, run.devices))
    run.narrator.say("check", seen.notice or f"dry batch ok · logs {', '.join(seen.names) or 'nothing'}")


def finish(run: Run, directory: RunDirectory) -> Result:
    """Trains, scores, compares and reports; a failure is recorded before it is raised."""
    try:
        outcome = _train(run, directory)
        if outcome.interrupted:
            _record(run, directory, outcome, "interrupted").save()
            again = narrate.continue_command(run.parts, directory)
            run.narrator.say("stop", f"saved at step {outcome.steps:,} · {again} continues")
            _stop(outcome.interrupted)
        return _score(run, directory, outcome)
    except Exception as error:
        if isinstance(error, LaunchError) and not all_saved(directory):
            shutil.rmtree(directory.path)  # refused before it trained: nothing to keep
            raise
        facts = {"seed": run.parts.config.seed, "split_seed": run.parts.data.split_seed}
        directory.error.write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
        Result("failed", directory.path, facts=facts, error=f"{type(error).__name__}: {error}").save()
        raise


def _stop(signum: int) -> None:
    if signum == 2:
        raise KeyboardInterrupt
    sys.exit(128 + signum)


def _train(run: Run, directory: RunDirectory) -> TrainOutcome:
    parts = run.parts
    if isinstance(parts, ModuleParts):
        assert run.seen is not None
        outcome = train_own(parts, run.seen, directory, run.devices, run.checkpoint)
    elif parts.network is None:
        outcome = train_classical(parts, directory)
    elif run.devices.count > 1:
        outcome = train_in_processes(parts, directory, run.devices)
    else:
        outcome = train(parts, directory, run.devices, run.checkpoint)
    if not outcome.interrupted:
        run.narrator.say("train", outcome.line)
        if "fit" in parts.notes:
            run.narrator.say("note", parts.notes["fit"])
    return outcome


def _predictor(run: Run, parts: Parts, directory: RunDirectory) -> Predictor:
    size = parts.data.eval_batch_size
    if parts.network is None:
        return ClassicalPredictor(preprocessing(parts.data), parts.estimator, parts.data.spec, size)
    load_best(directory, parts.network, parts.task)
    return NetPredictor(parts.network, parts.task, parts.data.spec, size, run.devices.torch_device)


def _score(run: Run, directory: RunDirectory, outcome: TrainOutcome) -> Result:
    if isinstance(run.parts, ModuleParts):
        result = _record(run, directory, outcome, "completed", scores(run.parts, run.devices))
        told = (
            "no test part" if not result.test else f"{narrate.metrics_text(result.test)} (its own, without intervals)"
        )
        run.narrator.say("test", told)
        return _close(run, directory, result, {})
    parts, data = run.parts, run.parts.data
    threads = torch.get_num_threads()
    predictor = _predictor(run, parts, directory)
    made = {name: predictor.predict_part(data, part) for name, part in scored_parts(data).items()}
    save_predictions(directory, made)
    metrics = score_parts(made, parts.config.evaluation)
    result = _record(run, directory, outcome, "completed", metrics)
    if result.extra_validation:
        run.narrator.say("val", narrate.extra_text(result.extra_validation))
    run.narrator.say("test", narrate.metrics_text(result.test))
    if parts.config.evaluation.baseline and "test" in made:
        name, bar, difference = baseline(parts, made["test"])
        scored = score_parts({"bar": bar}, parts.config.evaluation)["bar"]
        comparison = {"metric": difference.metric, **estimate_json(difference.difference)}
        comparison |= {"better": difference.better, "text": str(difference)}
        plain = {metric: estimate_json(value) for metric, value in scored.items()}
        result = replace(result, baseline={"name": name, "metrics": plain, "comparison": comparison})
        run.narrator.say("bar", narrate.baseline_text(result))
    torch.set_num_threads(threads)
    return _close(run, directory, result, made)


def _close(run: Run, directory: RunDirectory, result: Result, made: dict[str, Predictions]) -> Result:
    """Writes what people read, and last of all the result."""
    parts = run.parts
    log_hparams(parts, directory, result)
    run.report(directory, result, parts, made)
    directory.error.unlink(missing_ok=True)
    result.save()
    run.narrator.say("next", narrate.next_line(parts, directory))
    return result


def _record(
    run: Run, directory: RunDirectory, outcome: TrainOutcome, status: str, metrics: dict[str, Any] | None = None
) -> Result:
    parts, metrics = run.parts, metrics or {}
    has_steps = isinstance(parts, ModuleParts) or parts.network is not None
    name, mode, value = _objective(run, outcome, metrics)
    best = outcome.best
    facts = {
        "steps": outcome.steps if has_steps else None,
        "epochs": outcome.epochs if has_steps else None,
        "seconds": {"train": outcome.seconds, "total": time.perf_counter() - run.started},
        "samples_per_second": outcome.samples_per_second,
        "peak_memory_bytes": outcome.peak_memory_bytes,
        "seed": parts.config.seed,
        "split_seed": None if isinstance(parts.data, LoaderData) else parts.data.split_seed,
        "data_fingerprint": parts.data.fingerprint,
        **exactness(parts, run.devices),
        "best_checkpoint": f"checkpoints/step-{best['step']}.ckpt" if best else None,
    }
    return Result(
        status=status,
        run_dir=directory.path,
        test=metrics.get("test", {}),
        validation=metrics.get("validation", {}),
        extra_validation=extra_validation(metrics),
        objective_name=name,
        objective_mode=mode if name else None,
        objective=value,
        facts=facts,
    )


def _objective(run: Run, outcome: TrainOutcome, metrics: dict[str, Any]) -> tuple[str | None, str, float | None]:
    """Name, direction and value of what chose the best epoch."""
    value = outcome.best["value"] if outcome.best else None
    if run.seen is not None:
        return run.seen.monitor, run.seen.mode, value
    assert isinstance(run.parts, Parts)
    if run.parts.network is not None:
        return *monitored(run.parts), value
    name, mode = _headline(metrics)
    return name, mode, metrics["validation"][name.rpartition("/")[2]].value if name else None


def _headline(metrics: dict[str, Any]) -> tuple[str | None, str]:
    validation = metrics.get("validation", {})
    if not validation:
        return None, "max"
    name = next(iter(validation))
    return f"val/{name}", "min" if name == "rmse" else "max"
