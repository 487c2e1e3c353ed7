"""The public functions: what the command line does and what a script calls."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from trainkit.config.compose import compose
from trainkit.config.copying import copied
from trainkit.data import Splits
from trainkit.errors import DataError, RunError, TrainkitError, one_of, told
from trainkit.rundir import RunDirectory, atomic_path
from trainkit.runs.arguments import FitArguments, gathered, take_job
from trainkit.runs.launch import refuse_unguarded
from trainkit.runs.load import load_run
from trainkit.runs.narrate import Narrator, metrics_text
from trainkit.runs.own_module import has_own_module
from trainkit.runs.own_training import score_again
from trainkit.runs.parts import LiveObjects
from trainkit.runs.rescore import predictions_again
from trainkit.runs.result import Result
from trainkit.runs.score import PART_NAMES, score_parts
from trainkit.runs.stored import load_config
from trainkit.runs.telling import run_told

if TYPE_CHECKING:
    from lightning import LightningDataModule, LightningModule
    from lightning.pytorch.callbacks import Callback
    from lightning.pytorch.loggers.logger import Logger
    from torch import nn
    from torch.utils.data import Dataset

    from trainkit.optim import OptimizerFactory, SchedulerFactory
    from trainkit.runs.inspection import CheckResult
    from trainkit.tasks import Task

__all__ = ["check", "compose", "evaluate", "fit", "load_run", "predict", "run_job"]


def fit(
    cfg: DictConfig | None = None,
    *,
    model: nn.Module | Any = None,
    module: LightningModule | Any = None,
    train: Dataset[Any] | Any = None,
    val: Dataset[Any] | Any = None,
    test: Dataset[Any] | Any = None,
    data: LightningDataModule | str | None = None,
    task: Task | str | Any = None,
    optimizer: OptimizerFactory | str | None = None,
    scheduler: SchedulerFactory | str | None = None,
    augment: str | Sequence[str] | None = None,
    finetune: str | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    max_epochs: int | None = None,
    max_steps: int | None = None,
    batch_size: int | None = None,
    devices: int | None = None,
    precision: str | None = None,
    seed: int | None = None,
    name: str | None = None,
    resume_from: str | Path | None = None,
    init_from: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> Result:
    """Trains a model, scores it once on the test part with intervals and a baseline, and keeps the run.

    Everything goes into the same config as on the command line. Classes, importable functions and
    ``functools.partial``s become ``_target_``s and reload by themselves; ``load_run(dir, model=Net())`` takes other
    objects again.

    Args:
        cfg: A composed config, from ``compose`` or ``hydra.main``; composed from ``overrides`` by default.
        model: A net (trained in place), a class or partial of one, the name of a YAML in ``conf/model``, or a
            scikit-learn estimator (a new one with its settings is fitted).
        module: A ``LightningModule`` of your own (trained in place), or a class or partial of one, trained as it is:
            loss, optimizers and what is logged are its own. Stands in for model, task, optimizer and scheduler.
        train: The user's own map-style ``Dataset`` (or a class or partial of one), or inputs [N, ...] and targets [N]
            (several: [N, T]) as two arrays or tensors, or as a dict ``{"x": x, "y": y, "patient": patient}``, of which
            ``data.group``, ``data.time`` and ``data.weight`` name keys; with ``module`` also a ``DataLoader``, or a
            list or dict of them.
        val: Likewise for validation; drawn from ``train`` by default. Of a dict of several sets by name, the first
            chooses the best epoch, and the others are scored beside it.
        test: Likewise for the test.
        data: A ``DataModule``, with ``module`` any ``LightningDataModule``, or the name of a YAML in ``conf/data``.
        task: ``auto``, ``classification``, ``multilabel``, ``regression``, ``quantile``, or a ``Task``.
        optimizer: A callable that takes parameter groups, such as ``adamw(lr=3e-4)``, or a name.
        scheduler: A callable that takes an optimizer, such as ``cosine()``, or a name.
        augment: Names of YAMLs in ``conf/augment``, such as ``standard`` or ``["digits", "mixup"]``.
        finetune: ``linear_probe``, ``full`` or ``gradual``, for a net that begins with weights from elsewhere.
        callbacks: Lightning callbacks.
        loggers: Lightning loggers.
        max_epochs: Passes over the training data.
        max_steps: Optimizer steps.
        batch_size: Samples of one optimizer step, over all processes and micro-batches.
        devices: Processes, one per device.
        precision: ``fp32``, ``bf16-mixed``, ``bf16-true``, or on a GPU ``fp16-mixed``.
        seed: Training seed.
        name: Name of the run.
        resume_from: A run to go on from in a new directory, with its own config; ``max_epochs`` or ``max_steps`` says
            how far in all.
        init_from: A run, or its ``model.safetensors``, whose weights a new training starts from.
        overrides: Any other Hydra overrides.

    Returns:
        What the run came to. Inside a Hydra multirun a user's mistake gives a failed result instead of an error.

    Raises:
        TrainkitError: A mistake of the user's; inside a single Hydra job it is printed and the process exits with 2.
    """
    refuse_unguarded()
    given = FitArguments(
        model=model,
        module=module,
        train=train,
        val=val,
        test=test,
        data=data,
        task=task,
        optimizer=optimizer,
        scheduler=scheduler,
        augment=augment,
        finetune=finetune,
        callbacks=callbacks,
        loggers=loggers,
        max_epochs=max_epochs,
        max_steps=max_steps,
        batch_size=batch_size,
        devices=devices,
        precision=precision,
        seed=seed,
        name=name,
        resume_from=resume_from,
        init_from=init_from,
        overrides=overrides,
    )
    return _inside_hydra(lambda: run_told(*gathered(cfg, given), _report))


def check(
    cfg: DictConfig | None = None,
    *,
    profile: str | Path | None = None,
    resume: bool = False,
    batch: bool = False,
    **given: Unpack[FitArguments],
) -> CheckResult:
    """Looks at a configuration before the run: what works here, and what is wrong with it.

    A copy of the net learns one batch by heart, loader and net are timed, the data is searched for rows that parts
    share and features that give the target away. Nothing that was given is changed, nothing is written.

    Args:
        cfg: A composed config; composed from ``overrides`` by default.
        profile: A .json(.gz) for a trace; a copy is trained for some seconds to see where the time goes. None for none.
        resume: Whether a short version is trained whole, and again with kills, to see whether both end the same.
        batch: Whether the largest batch that fits into memory is looked for.
        given: The keyword arguments of ``fit``, objects of the script among them.

    Returns:
        Findings, each with severity, what, where and hint, and the facts that were measured.

    Raises:
        TrainkitError: A mistake of the user's for which ``fit`` would not start either.
        TypeError: ``fit`` has no such argument.
    """
    from trainkit.runs.inspection import Further, inspect_run

    if unknown := sorted(given.keys() - FitArguments.__annotations__.keys()):
        raise TypeError(f"check() got an unexpected keyword argument '{unknown[0]}'")
    further = Further(None if profile is None else Path(profile), resume, batch)
    return inspect_run(*gathered(cfg, given), further)


def check_job(cfg: DictConfig, further: Mapping[str, Any]) -> CheckResult:
    """``trainkit check`` of a config as Hydra composed it."""
    from trainkit.runs.inspection import Further, inspect_run

    return inspect_run(copied(cfg), LiveObjects(), list(HydraConfig.get().overrides.task), Further(**further))


def _inside_hydra(start: Any) -> Result:
    """Runs a job; a mistake is told as the surroundings want it."""
    try:
        result: Result = start()
        return result
    except TrainkitError as error:
        if not HydraConfig.initialized():
            raise
        print(told(error), file=sys.stderr)
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return Result("failed", None, error=str(error))
        sys.exit(error.exit_code)


def run_job(cfg: DictConfig) -> Result:
    """One job of ``trainkit fit`` as Hydra composed it; a multirun keeps the error of a failed one in its directory."""
    config = copied(cfg)
    overrides = take_job(config)
    try:
        return run_told(config, LiveObjects(), overrides, _report)
    except TrainkitError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            _keep_error(config, error)
        raise


def _report(*made: Any) -> None:
    from trainkit.reports.writing import write_reports

    write_reports(*made)


def _keep_error(config: DictConfig, error: TrainkitError) -> None:
    directory = RunDirectory(Path(config.run.dir))
    if not directory.exists():
        directory.error.write_text(f"{error}\n", encoding="utf-8")


def evaluate(run: str | Path, *, split: str = "test", trust: Sequence[str] = ()) -> Result:
    """Scores a run again: on the data if it is still there and unchanged, else from the saved predictions.

    Args:
        run: The run's directory.
        split: ``test`` or ``validation``.
        trust: Packages of yours whose classes the run may name.

    Returns:
        The run's result with the metrics of this split computed anew.

    Raises:
        RunError: The directory holds no finished run, or no such split.
    """
    directory = RunDirectory.open(run)
    parts = {name: part for part, name in PART_NAMES.items()}
    if split not in parts:
        raise RunError(f"there is no split '{split}'", where="split", expected=one_of(parts))
    config = load_config(directory)
    if has_own_module(config):
        source, metrics = "the run's own data, unchanged", score_again(directory, split, trust)
    elif not len(getattr(Splits.load(directory.splits), parts[split])):
        raise RunError(f"'{run}' has no {split} part", where="split")
    else:
        source, made = predictions_again(directory, parts[split], trust)
        metrics = score_parts({split: made}, config.evaluation)[split]
    narrator, result = Narrator(), Result.load(directory)
    narrator.say("data", source)
    narrator.say(split if split == "test" else "val", metrics_text(metrics))
    return replace(result, test=metrics) if split == "test" else replace(result, validation=metrics)


def predict(run: str | Path, file: str | Path, *, output: str | Path, trust: Sequence[str] = ()) -> Path:
    """Predicts the rows of a raw file with a run's model.

    Args:
        run: The run's directory.
        file: A .csv or .parquet as the run was trained on (.npy or .npz for arrays, an image or a folder for images);
            the target may be missing.
        output: A .csv or .parquet to write: ``row``, ``file`` (images), ``prediction``, and ``p_<class>`` for classes.
        trust: Packages of yours whose classes the run may name.

    Returns:
        The file written.

    Raises:
        RunError: The directory holds no finished run.
        DataError: The file is not what the model was trained on, or the output has another extension.
    """
    target = Path(output)
    if target.suffix not in (".csv", ".parquet"):
        raise DataError(f"cannot write '{output}'", where="OUT", expected="a .csv or a .parquet")
    if not target.absolute().parent.is_dir():
        raise DataError(f"there is no directory '{target.parent}'", where="OUT")
    loaded = load_run(run, trust=trust)
    samples = loaded.samples(file)
    frame = loaded.predict_samples(samples)
    with atomic_path(target) as temporary:
        if target.suffix == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            frame.to_parquet(temporary, index=False)
    narrator = Narrator()
    for column, count in samples.unseen.items():
        narrator.say("unseen", f"{column}: {count:,} rows of categories that training never saw (unknown bucket)")
    if samples.skipped:
        narrator.say("skipped", f"{len(samples.skipped):,} unreadable: {'; '.join(samples.skipped[:5])}")
    narrator.say("file", f"{target} · {len(frame):,} rows")
    return target
