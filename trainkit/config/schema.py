"""The sections of a config that trainkit owns, as dataclasses: Hydra checks names and types against them.

The other sections (``data``, ``model``, ``task``, ``optimizer``, …) hold a ``_target_`` each and are checked against
its signature by ``trainkit.config.check``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import IntegerNode, StringNode

SCHEMA_NAME = "fit_schema"
"""Name in Hydra's ConfigStore, and first entry of the defaults list of ``conf/fit.yaml``."""


@dataclass
class RunConfig:
    """Where a run is kept, and whose code it may name.

    Attributes:
        name: Name of the run, a directory under ``root``; None takes the data's name. Default None.
        root: Directory that holds all runs. Default ``runs``.
        dir: Directory of this run; an existing one is continued. None makes ``root/name/date_time``. Default None.
        trust: The user's own top-level packages that a run directory may name in a ``_target_``. Default none.
    """

    name: str | None = None
    root: str = "runs"
    dir: str | None = None
    trust: list[str] = field(default_factory=list)


@dataclass
class TrainerConfig:
    """How long, on what, and at which intervals a run trains; all intervals in optimizer steps or epochs.

    Attributes:
        max_epochs: Passes over the training data, or None where ``max_steps`` is given. Default 30.
        max_steps: Optimizer steps, or None where ``max_epochs`` is given; the first reached ends. Default None.
        devices: Number of processes, one per device. Default 1.
        accelerator: ``auto``, ``cpu`` or ``gpu``. Default ``auto``.
        precision: ``fp32``, ``bf16-mixed``, ``bf16-true``, or on a GPU ``fp16-mixed``. Default ``fp32``.
        accumulate: Number of micro-batches per optimizer step. Default 1.
        clip_norm: Largest 2-norm of the whole gradient, or None. Default 1.0.
        clip_value: Largest absolute value of an element of the gradient, or None. Default None.
        ema: Decay per optimizer step of an average of the weights, or None. Default None.
        compile: Whether ``torch.compile`` compiles the net, or its settings, ``{mode: max-autotune}``. Default False.
        channels_last: Whether images and kernels have their channels last in memory; ``auto`` for nets with
            convolutions on images. Default False, as runs before 0.4.0 had it.
        flat_parameters: Whether parameters, gradients and moments are laid out in one buffer each where the optimizer
            and the run allow: ``auto``. Default False, as runs before 0.5.0 had it.
        activation_checkpointing: Names of modules, with wildcards, whose activations are computed anew in the backward
            pass instead of kept; or None. Default None.
        steps_per_execution: Optimizer steps run between callbacks, or ``auto``. Default ``auto``.
        val_every_n_epochs: Epochs between validations, or None with ``val_every_n_steps``. Default 1.
        val_every_n_steps: Optimizer steps between validations, or None with ``val_every_n_epochs``. Default None.
        log_every_n_steps: Optimizer steps between logged values; None chooses by the length of the run. Default None.
        on_nonfinite: What comes of a step whose gradient is not finite: ``stop`` ends the run, ``skip`` leaves the step
            out, ``rollback`` takes weights and optimizer of the last checkpoint and leaves the batch out. Default stop.
        monitor: Metric that chooses the best checkpoint; None takes the task's. Default None.
        mode: Better direction of ``monitor``, ``min`` or ``max``; None takes the task's. Default None.
        deterministic: Whether only deterministic kernels are used. Default False.
        threads: CPU threads of each process; None shares the cores among the processes. Default None.
    """

    max_epochs: int | None = 30
    max_steps: int | None = None
    devices: int = 1
    accelerator: str = "auto"
    precision: str = "fp32"
    accumulate: int = 1
    clip_norm: float | None = 1.0
    clip_value: float | None = None
    ema: float | None = None
    compile: Any = False
    channels_last: Any = False
    flat_parameters: Any = False
    activation_checkpointing: list[str] | None = None
    steps_per_execution: Any = "auto"
    val_every_n_epochs: int | None = 1
    val_every_n_steps: int | None = None
    log_every_n_steps: int | None = None
    on_nonfinite: str = "stop"
    monitor: str | None = None
    mode: str | None = None
    deterministic: bool = False
    threads: int | None = None


@dataclass
class CheckpointConfig:
    """When checkpoints are written, and how many stay.

    Attributes:
        every_n_steps: Optimizer steps between checkpoints, or None. Default None.
        every_n_epochs: Epochs between checkpoints, or None. Default 1.
        every_n_minutes: Minutes between checkpoints, or None. Default None.
        keep: Number of newest checkpoints kept, besides the best. Default 2.
        on_error: What comes of a checkpoint that cannot be written: ``stop`` ends the run, ``warn`` goes on without it.
            Default ``stop``.
    """

    every_n_steps: int | None = None
    every_n_epochs: int | None = 1
    every_n_minutes: float | None = None
    keep: int = 2
    on_error: str = "stop"


@dataclass
class LaunchConfig:
    """How the processes of a run on several devices are held together.

    Attributes:
        timeout_seconds: Seconds that processes wait for each other. Default 1800.
        max_restarts: Fresh groups of processes after one died, each from the last checkpoint. Default 3.
        requeue: Whether a Slurm job that is told to stop is put back into the queue. Default True.
    """

    timeout_seconds: int = 1800
    max_restarts: int = 3
    requeue: bool = True


@dataclass
class EvaluationConfig:
    """How the final score is made.

    Attributes:
        resamples: Number of bootstrap resamples behind each interval. Default 2000.
        confidence: Coverage of the intervals, between 0 and 1. Default 0.95.
        baseline: Whether a quick classical baseline is scored on the same split. Default True.
        tta: Views of each sample whose predictions are averaged in the final score, in ``evaluate`` and ``predict``:
            ``flip``, ``five_crop``, a number of random ones, or None. Default None.
    """

    resamples: int = 2000
    confidence: float = 0.95
    baseline: bool = True
    tta: Any = None


@dataclass
class FinetuneConfig:
    """Which weights train, and how fast, in a net that knows something already.

    Attributes:
        freeze: ``backbone`` for all but the head, a number of blocks from the input, names of modules with wildcards,
            or None. Default None.
        unfreeze_every: Optimizer steps, or a share of the run as a float below 1, after which one more block is
            trained, from the head down; None keeps it frozen. Default None.
        layer_decay: Factor of the learning rate from each block to the one before it; None for one rate. Default None.
        head_lr: Peak learning rate of the head; None takes the optimizer's. Default None.
        norm: ``auto``, ``train`` or ``eval``: whether statistics of BatchNorm move. Default ``auto``.
        cache: Whether outputs of a frozen backbone are computed once, or ``auto`` where that is so. Default ``auto``.
    """

    freeze: Any = None
    unfreeze_every: Any = None
    layer_decay: float | None = None
    head_lr: float | None = None
    norm: str = "auto"
    cache: Any = "auto"


SECTIONS: dict[str, type] = {
    "run": RunConfig,
    "trainer": TrainerConfig,
    "checkpoint": CheckpointConfig,
    "launch": LaunchConfig,
    "evaluation": EvaluationConfig,
    "finetune": FinetuneConfig,
}
"""The typed sections, by their key in a config."""


LINEAGE = ("resume_from", "init_from")
"""Keys that name the run a new one comes from; at most one of them is given."""


def schema() -> dict[str, Any]:
    """A fresh config of the typed keys with their defaults: ``seed``, where the run comes from, and the sections."""
    lineage = {name: StringNode(None) for name in LINEAGE}
    sections = {name: section() for name, section in SECTIONS.items()}
    return {"seed": IntegerNode(0, is_optional=False), **lineage, **sections}


def register_schema() -> None:
    """Puts the schema into Hydra's ConfigStore under ``SCHEMA_NAME``; doing so again changes nothing."""
    ConfigStore.instance().store(name=SCHEMA_NAME, node=schema(), provider="trainkit")
