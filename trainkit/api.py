"""The public functions: what the command line does and what a script calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trainkit.config.compose import compose
from trainkit.config.copying import copied, plain
from trainkit.config.messages import from_omegaconf
from trainkit.data import Splits
from trainkit.errors import ConfigError, LaunchError, RunError, TrainkitError, one_of
from trainkit.rundir import RunDirectory, atomic_path
from trainkit.runs.launch import IMPORTING_MAIN
from trainkit.runs.live import check_lists, is_pair, put_objects
from trainkit.runs.load import load_config, load_run
from trainkit.runs.narrate import Narrator, metrics_text
from trainkit.runs.parts import LiveObjects, Parts
from trainkit.runs.pipeline import continue_run, run_pipeline
from trainkit.runs.rescore import predictions_again
from trainkit.runs.result import Result
from trainkit.runs.score import PART_NAMES, score_parts, unseen_cells
from trainkit.types import Predictions

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback
    from lightning.pytorch.loggers.logger import Logger
    from torch import nn
    from torch.utils.data import Dataset

    from trainkit.data import DataModule
    from trainkit.optim import OptimizerFactory, SchedulerFactory
    from trainkit.tasks import Task

__all__ = ["compose", "evaluate", "fit", "load_run", "predict", "run_job"]


def fit(
    cfg: DictConfig | None = None,
    *,
    model: nn.Module | Any = None,
    train: Dataset[Any] | Any = None,
    val: Dataset[Any] | Any = None,
    test: Dataset[Any] | Any = None,
    data: DataModule | str | None = None,
    task: Task | str | Any = None,
    optimizer: OptimizerFactory | str | None = None,
    scheduler: SchedulerFactory | str | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    max_epochs: int | None = None,
    max_steps: int | None = None,
    batch_size: int | None = None,
    devices: int | None = None,
    precision: str | None = None,
    seed: int | None = None,
    name: str | None = None,
    overrides: Sequence[str] = (),
) -> Result:
    """Trains a model, scores it once on the test part with intervals and a baseline, and keeps the run.

    Everything goes into the same config as on the command line. Classes, importable functions and
    ``functools.partial``s become ``_target_``s and reload by themselves; ``load_run(dir, model=Net())`` takes other
    objects again.

    Args:
        cfg: A composed config, from ``compose`` or ``hydra.main``; composed from ``overrides`` by default.
        model: A net (trained in place), a class or partial of one, or the name of a YAML in ``conf/model``.
        train: The user's own map-style ``Dataset`` (or a class or partial of one), or inputs [N, ...] and targets [N]
            as two arrays or tensors.
        val: Likewise for validation; drawn from ``train`` by default. Of a dict of several sets by name, the first
            chooses the best epoch, and the others are scored beside it.
        test: Likewise for the test.
        data: A ``DataModule``, or the name of a YAML in ``conf/data``.
        task: ``classification``, ``regression``, ``auto``, or a ``Task``.
        optimizer: A callable that takes parameter groups, such as ``adamw(lr=3e-4)``, or a name.
        scheduler: A callable that takes an optimizer, such as ``cosine()``, or a name.
        callbacks: Lightning callbacks.
        loggers: Lightning loggers.
        max_epochs: Passes over the training data.
        max_steps: Optimizer steps.
        batch_size: Samples of one optimizer step, over all processes and micro-batches.
        devices: Processes, one per device.
        precision: ``fp32`` or ``bf16-mixed``.
        seed: Training seed.
        name: Name of the run.
        overrides: Any other Hydra overrides.

    Returns:
        What the run came to. Inside a Hydra multirun a user's mistake gives a failed result instead of an error.

    Raises:
        TrainkitError: A mistake of the user's; inside a single Hydra job it is printed and the process exits with 2.
    """
    _refuse_unguarded()
    named = {"data": data, "model": model, "task": task, "optimizer": optimizer, "scheduler": scheduler}
    datasets = {part: given for part, given in (("train", train), ("val", val), ("test", test)) if given is not None}
    values = {
        "trainer.max_epochs": max_epochs,
        "trainer.max_steps": max_steps,
        "trainer.devices": devices,
        "trainer.precision": precision,
        "data.batch_size": batch_size,
        "seed": seed,
        "run.name": name,
    }

    def start() -> Result:
        choices = [f"{group}={choice}" for group, choice in named.items() if isinstance(choice, str)]
        if datasets and cfg is None:
            choices.append("data=arrays" if is_pair(train) else "data=dataset")
        given = [*choices, *overrides]
        if cfg is not None and given:
            raise ConfigError(f"{given[0]} beside a composed config", where="fit", hint=f"tk.compose(['{given[0]}'])")
        config = compose(given) if cfg is None else copied(cfg)
        if cfg is not None and HydraConfig.initialized():
            given += _take_job(config)
        for key, value in values.items():
            if value is not None:
                _set(config, key, value)
                given.append(f"{key}={value}")
        _refuse_ignored(data, bool(datasets), given)
        if max_steps is not None and max_epochs is None:
            config.trainer.max_epochs = None
        objects = {name: None if isinstance(thing, str) else thing for name, thing in named.items()}
        live = put_objects(config, datasets=datasets, **objects)  # type: ignore[arg-type]
        check_lists(callbacks, loggers)
        return _run(config, replace(live, callbacks=callbacks, loggers=loggers), given)

    return _inside_hydra(start)


def _set(config: DictConfig, key: str, value: Any) -> None:
    try:
        OmegaConf.update(config, key, value, force_add=True)
    except OmegaConfBaseException as error:
        raise from_omegaconf(error, config, f"{key}={value}") from error


def _refuse_ignored(data: Any, has_datasets: bool, given: Sequence[str]) -> None:
    """Refuses what a data module given as an object would leave without effect."""
    if data is not None and has_datasets:
        raise ConfigError("data is given beside train, val or test", where="data", expected="one or the other")
    settings = [text for text in given if text.startswith("data.")]
    if data is not None and not isinstance(data, str) and settings:
        what = f"{settings[0]} beside a data module, which has settings of its own"
        raise ConfigError(what, where="data", hint=f"give it to {type(data).__name__}")


def _refuse_unguarded() -> None:
    script = os.environ.get(IMPORTING_MAIN)
    if script:
        raise LaunchError(
            f"'{Path(script).name}' calls fit as soon as it is imported, and the processes have to import it",
            where="trainer.devices",
            hint="put the call under  if __name__ == '__main__':  or give functools.partial(Class, …) of a module",
        )


def _inside_hydra(start: Any) -> Result:
    """Runs a job; a mistake is told as the surroundings want it."""
    if not HydraConfig.initialized():
        result: Result = start()
        return result
    try:
        result = start()
        return result
    except TrainkitError as error:
        print(error, file=sys.stderr)
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return Result("failed", None, error=str(error))
        sys.exit(error.exit_code)


def run_job(cfg: DictConfig) -> Result:
    """One job of ``trainkit fit`` as Hydra composed it; a multirun keeps the error of a failed one in its directory."""
    config = copied(cfg)
    overrides = _take_job(config)
    try:
        return _run(config, LiveObjects(), overrides)
    except TrainkitError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            _keep_error(config, error)
        raise


def _keep_error(config: DictConfig, error: TrainkitError) -> None:
    directory = RunDirectory(Path(config.run.dir))
    if not directory.exists():
        directory.error.write_text(f"{error}\n", encoding="utf-8")


def _take_job(config: DictConfig) -> list[str]:
    """Gives a job of a multirun the directory that Hydra made for it; returns the job's overrides."""
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN and not OmegaConf.select(config, "run.dir"):
        output = Path(hydra.runtime.output_dir)
        short = output.relative_to(Path.cwd()) if output.is_relative_to(Path.cwd()) else output
        OmegaConf.update(config, "run.dir", str(short), force_add=True)
    return list(hydra.overrides.task)


def _run(config: DictConfig, live: LiveObjects, overrides: Sequence[str]) -> Result:
    run_dir = OmegaConf.select(config, "run.dir")
    if run_dir and RunDirectory(Path(run_dir)).exists():
        return continue_run(RunDirectory(Path(run_dir)), config, live, overrides, write_reports)
    return run_pipeline(config, live, overrides, write_reports)


def write_reports(run: RunDirectory, result: Result, parts: Parts, predictions: dict[str, Predictions]) -> None:
    """Writes ``report.html`` and ``MODEL_CARD.md`` of a run."""
    from trainkit.reports import write_model_card, write_report
    from trainkit.training import read_metrics

    config = plain(parts.config)
    history = [tuple(row.values()) for row in read_metrics(run.metrics)] if run.metrics.is_file() else []
    counts = unseen_cells(parts.data)
    notes = [f"{count:,} cells of {column} hold categories that training never saw" for column, count in counts.items()]
    write_report(run.path, result.to_json(), config, history, predictions, notes=notes)
    write_model_card(run.path, result.to_json(), config, parts.data.spec, predictions, notes=notes)


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
    if not len(getattr(Splits.load(directory.splits), parts[split])):
        raise RunError(f"'{run}' has no {split} part", where="split")
    source, made = predictions_again(directory, parts[split], trust)
    narrator = Narrator()
    narrator.say("data", source)
    result = Result.load(directory)
    metrics = score_parts({split: made}, load_config(directory).evaluation)[split]
    narrator.say(split if split == "test" else "val", metrics_text(metrics))
    return replace(result, test=metrics) if split == "test" else replace(result, validation=metrics)


def predict(run: str | Path, file: str | Path, *, output: str | Path, trust: Sequence[str] = ()) -> Path:
    """Predicts the rows of a raw file with a run's model.

    Args:
        run: The run's directory.
        file: A .csv or .parquet as the run was trained on (.npy or .npz for arrays); the target may be missing.
        output: A .csv or .parquet to write: ``row``, ``prediction``, and ``p_<class>`` for classes.
        trust: Packages of yours whose classes the run may name.

    Returns:
        The file written.

    Raises:
        RunError: The directory holds no finished run.
        DataError: The file is not what the model was trained on, or the output has another extension.
    """
    from trainkit.errors import DataError

    target = Path(output)
    if target.suffix not in (".csv", ".parquet"):
        raise DataError(f"cannot write '{output}'", where="OUT", expected="a .csv or a .parquet")
    if not target.absolute().parent.is_dir():
        raise DataError(f"there is no directory '{target.parent}'", where="OUT")
    loaded = load_run(run, trust=trust)
    inputs, unseen = loaded.read(file)
    frame = loaded.predict_inputs(inputs)
    with atomic_path(target) as temporary:
        if target.suffix == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            frame.to_parquet(temporary, index=False)
    narrator = Narrator()
    for column, count in unseen.items():
        narrator.say("unseen", f"{column}: {count:,} rows of categories that training never saw (unknown bucket)")
    narrator.say("file", f"{target} · {len(frame):,} rows")
    return target
