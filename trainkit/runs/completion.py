"""From a prepared run to its result: train, score, compare, report; the result is written last."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.model_helpers import is_overridden

from trainkit.data import LoaderData
from trainkit.data.augment import make_views
from trainkit.errors import LaunchError, RunError
from trainkit.rundir import RunDirectory
from trainkit.runs import narrate
from trainkit.runs.check import DryBatch, monitored
from trainkit.runs.classical import preprocessing, train_classical
from trainkit.runs.devices import Devices
from trainkit.runs.hparams import log_hparams
from trainkit.runs.launch import train_in_processes
from trainkit.runs.load import load_best
from trainkit.runs.own_module import evaluation_loaders
from trainkit.runs.own_training import scores, train_own
from trainkit.runs.own_trial import Look
from trainkit.runs.parts import ModuleParts, Parts, RunParts
from trainkit.runs.predictors import ClassicalPredictor, NetPredictor, Predictor
from trainkit.runs.provenance import exactness
from trainkit.runs.result import Result, extra_validation
from trainkit.runs.score import baseline, estimate_json, save_predictions, score_parts, scored_parts
from trainkit.runs.slurm import requeue
from trainkit.runs.train import TrainOutcome, train
from trainkit.training import all_saved, step_of, usable_checkpoint
from trainkit.types import Predictions

Reporter = Callable[[RunDirectory, Result, RunParts, dict[str, Predictions]], None]
"""Writes the reports of a finished run."""


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


def finish(run: Run, directory: RunDirectory) -> Result:
    """Trains, scores, compares and reports; a failure is recorded before it is raised."""
    try:
        outcome = _train(run, directory)
        if outcome.interrupted:
            _record(run, directory, outcome, "interrupted").save()
            again = narrate.continue_command(run.parts, directory)
            run.narrator.say("stop", f"saved at step {outcome.steps:,} · {again} continues")
            if outcome.interrupted == signal.SIGTERM and run.parts.config.launch.requeue:
                told = requeue()
                if told is not None:
                    run.narrator.say("slurm", told)
            _stop(outcome.interrupted)
        return _score(run, directory, outcome)
    except Exception as error:
        if isinstance(error, LaunchError) and not all_saved(directory):
            shutil.rmtree(directory.path)  # refused before it trained: nothing to keep
            raise
        facts = {"seed": run.parts.config.seed, "split_seed": run.parts.data.split_seed}
        directory.error.write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
        Result("failed", directory.path, facts=facts, error=f"{type(error).__name__}: {error}").save()
        if not isinstance(error, (RunError, LaunchError)):  # a loss that is no number would be none again
            _note_what_is_kept(run, directory, error)
        raise


def _note_what_is_kept(run: Run, directory: RunDirectory, error: Exception) -> None:
    """Puts below an error's traceback what goes on with the run, where it kept a checkpoint."""
    try:
        checkpoint, _ = usable_checkpoint(directory)
    except RunError:  # every one is broken: the error that is under way says more
        return
    if checkpoint is not None:
        again = narrate.continue_command(run.parts, directory)
        error.add_note(f"the run is kept up to step {step_of(checkpoint):,}: {again} continues")


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
    views = make_views(parts.config.evaluation.tta, parts.data.spec, parts.augment)
    return NetPredictor(parts.network, parts.task, parts.data.spec, size, run.devices.torch_device, views)


def _score(run: Run, directory: RunDirectory, outcome: TrainOutcome) -> Result:
    if isinstance(run.parts, ModuleParts):
        result = _record(run, directory, outcome, "completed", scores(run.parts, run.devices))
        told = f"{narrate.metrics_text(result.test)} (its own, without intervals)"
        if not result.test:
            told = "no test part"
            if evaluation_loaders(run.parts, "test") is not None:
                has_step = is_overridden("test_step", run.parts.module)
                told = "test_step logs nothing" if has_step else "the module has no test_step"
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
    views = (
        f" · means over {len(predictor.views)} views" if isinstance(predictor, NetPredictor) and predictor.views else ""
    )
    run.narrator.say("test", narrate.metrics_text(result.test) + views)
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
