"""What a run says of itself: one short line per stage."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

import numpy as np
from omegaconf import DictConfig

from trainkit.config.targets import PACKAGES, targets_of
from trainkit.rundir import RunDirectory
from trainkit.runs.check import DryBatch, monitored
from trainkit.runs.devices import Devices
from trainkit.runs.estimators import of_one_target
from trainkit.runs.parts import Parts, RunParts
from trainkit.runs.result import Result
from trainkit.runs.schedule import RunSchedule
from trainkit.types import Estimate, decimals_for

ARROWS = {"max": "↑", "min": "↓"}
METRICS_SHOWN = 3


class Narrator:
    """Prints lines of a label and a text.

    Args:
        stream: Where to; standard output by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout

    def say(self, label: str, text: str) -> None:
        """Prints one line."""
        print(f"{label:<6} {text}", file=self.stream, flush=True)


def split_line(parts: RunParts) -> str:
    """Sizes of the parts and how they were drawn."""
    data = parts.data
    sizes = " · ".join(f"{name} {len(rows):,}" for name, rows in data.splits.parts().items())
    return f"{sizes} · {data.describe_splits()}"


def task_line(parts: Parts) -> str:
    """The task, what is rare, and what is watched."""
    spec, target = parts.data.spec, parts.data.targets("train")
    auto = " (auto)" if parts.notes.get("task") else ""
    if spec.target_kind == "multilabel":
        shares = np.nanmean(target, axis=0)
        rare = int(np.argmin(shares))
        each = f"{np.nansum(target, axis=1).mean():.2g} a sample"
        about = f"{spec.num_classes} labels{auto} · {each} · rarest {spec.class_names[rare]} {100 * shares[rare]:.1f} %"
        about += _missing(target)
    elif spec.target_names:
        about = f"regression{auto} · {len(spec.target_names)} targets: {_listed(spec.target_names)}{_missing(target)}"
    elif spec.target_kind == "number":
        about = f"regression{auto} · {spec.target_name} {target.mean():.4g} ± {target.std():.4g}"
    elif spec.num_classes == 2:
        share = np.mean(target == 1)
        about = f"binary{auto} · {100 * share:.1f} % {spec.class_names[1]}"
    else:
        counts = np.bincount(target, minlength=spec.num_classes)
        rare = int(counts.argmin())
        share = counts[rare] / counts.sum()
        about = f"{spec.num_classes} classes{auto} · rarest {spec.class_names[rare]} {100 * share:.1f} %"
    if parts.network is None:
        return about
    name, mode = monitored(parts)
    return f"{about} · " + (f"monitor {name} {ARROWS[mode]}" if name else "no validation part")


def _listed(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _missing(target: np.ndarray) -> str:
    count = int(np.isnan(target).sum())
    return f" · {count:,} missing" if count else ""


def model_line(parts: Parts) -> str:
    """The model, why it was chosen, and its size."""
    if parts.network is None:
        one = of_one_target(parts.estimator)
        return f"{type(one).__name__}{' for each target' * (one is not parts.estimator)} (scikit-learn)"
    total = sum(p.numel() for p in parts.network.net.parameters())
    count = sum(p.numel() for p in parts.network.net.parameters() if p.requires_grad)
    named = getattr(parts.network.net, "model_name", None)
    name = parts.notes.get("model") or named or type(parts.network.net).__name__
    if count == total:
        return f"{name} · {count:,} parameters"
    return f"{name} · {count:,} of {total:,} parameters train" + ", the others stay random" * _is_random(parts)


def _is_random(parts: Parts) -> bool:
    """Whether a net of ours begins without weights from anywhere; one of the user's own may bring them itself."""
    config = parts.config
    is_ours = parts.live.model is None and str(config.model.get("_target_")).startswith("trainkit.models.")
    return is_ours and not any((config.model.get("weights"), config.get("init_from"), config.get("resume_from")))


def plan_line(parts: Parts, schedule: RunSchedule, devices: Devices) -> str:
    """Steps, how a batch is split, optimizer and schedule, precision and devices."""
    trainer, size = parts.config.trainer, parts.data.batch_size
    whole = schedule.epochs == int(schedule.epochs)
    epochs = f"{int(schedule.epochs) if whole else round(schedule.epochs, 2)} epoch" + "s" * (schedule.epochs != 1)
    pieces = [f"{devices.count} processes"] * (devices.count > 1) + [f"{trainer.accumulate} micro-batches"] * (
        trainer.accumulate > 1
    )
    split = f" ({size} = {' × '.join([*pieces, f'{size / devices.count / trainer.accumulate:g}'])})" if pieces else ""
    steps = f"{epochs} = {schedule.total_steps:,} steps × {size}{split}"
    extras = [f"ema {trainer.ema:g}"] if trainer.ema else []
    extras += [f"augment {parts.augment.describe()}"] if parts.augment is not None else []
    computing = [trainer.precision] + ["compiled"] * bool(trainer.compile)
    computing += ["activations computed anew"] * bool(trainer.activation_checkpointing)
    return " · ".join([steps, _optimization(parts), *extras, *computing, devices.describe()])


def _optimization(parts: Parts) -> str:
    config = parts.config
    optimizer = config.optimizer if "_target_" in config.optimizer else {}
    target = str(optimizer.get("_target_", "")).rpartition(".")[2] or "own optimizer"
    text = target.lower() + (f" {optimizer['lr']:g}" if isinstance(optimizer.get("lr"), (int, float)) else "")
    scheduler = config.get("scheduler") or {}
    if parts.scheduler is not None:
        text += " " + (str(scheduler.get("_target_", "")).rpartition(".")[2] or "own schedule")
        warmup = scheduler.get("warmup")
        if warmup:
            steps = run_warmup(warmup, parts)
            text += f", warm-up {steps:,}"
    return text


def run_warmup(warmup: float, parts: Parts) -> int:
    """Warm-up in optimizer steps."""
    from trainkit.runs.schedule import run_schedule

    return round(warmup * run_schedule(parts).total_steps) if isinstance(warmup, float) else int(warmup)


def check_line(dry: DryBatch, is_fresh: bool = True) -> str:
    """What the dry batch showed; the loss only where the net that was tried is the one that training begins with."""
    if not is_fresh:
        return "dry batch ok"
    chance = "" if dry.chance is None else f" (chance {dry.chance:.2f})"
    return f"dry batch ok · first loss {dry.loss:.2f}{chance}"


def metrics_text(metrics: Mapping[str, Estimate]) -> str:
    """The first few metrics with intervals, and the rows they come from."""
    if not metrics:
        return "no test part"
    shown = [f"{name.replace('_', ' ')} {estimate}" for name, estimate in list(metrics.items())[:METRICS_SHOWN]]
    rows = next(iter(metrics.values())).n
    return " · ".join([*shown, *([f"n {rows:,}"] if rows else [])])


def extra_text(metrics: Mapping[str, Mapping[str, Estimate]]) -> str:
    """The first metric of each further validation set with its interval."""
    texts = []
    for name, values in metrics.items():
        metric, estimate = next(iter(values.items()))
        texts.append(f"{name} {metric.replace('_', ' ')} {estimate} n {estimate.n:,}")
    return " · ".join(texts)


def baseline_text(result: Result) -> str:
    """The baseline's headline, and how the model compares."""
    bar = result.baseline
    comparison = bar["comparison"]
    value = bar["metrics"][comparison["metric"]]["value"]
    value = math.nan if value is None else value  # undefined on this part
    return f"{bar['name']} {value:,.{decimals_for(value)}f}: {comparison['text']}"


def foreign_packages(parts: RunParts) -> list[str]:
    """The user's own packages that the config names, which loading the run has to be told to trust."""
    named = {name.partition(".")[0] for _, name in targets_of(parts.config) if name != "???"}
    return sorted(named - set(PACKAGES))


def continue_command(parts: RunParts, directory: RunDirectory) -> str:
    """What goes on with a run: a command, quoted, as shells read brackets as patterns, or a script with its objects."""
    if any(isinstance(node, DictConfig) and "live" in node for node in map(parts.config.get, parts.config)):
        return f"the script with overrides=['run.dir={directory.path}']"
    trust = foreign_packages(parts)
    return f"trainkit fit run.dir={directory.path}" + (f" 'run.trust=[{','.join(trust)}]'" if trust else "")


def run_line(parts: RunParts, directory: RunDirectory) -> str:
    """Where the run is kept, and how it is continued."""
    if isinstance(parts, Parts) and parts.network is None:
        return str(directory.path)
    again = continue_command(parts, directory).removeprefix("trainkit fit ")
    return f"{directory.path}  (Ctrl-C saves; {again} continues)"


def next_line(parts: RunParts, directory: RunDirectory) -> str:
    """What to type next: only what works for this run."""
    splits, commands = parts.data.splits, []
    if len(splits.test) or len(splits.val):
        split = "" if len(splits.test) else " --split validation"
        trust = "".join(f" --trust {name}" for name in foreign_packages(parts))
        commands.append(f"trainkit evaluate {directory.path}{split}{trust}")
    if any(directory.path.glob("events.out.tfevents.*")):
        commands.append(f"tensorboard --logdir {directory.path.parent}")
    return " · ".join([*commands, str(directory.report)])
