"""Ranges and choices of the values that trainkit itself reads: what a type alone does not say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from trainkit.errors import ConfigError, did_you_mean, one_of

PRECISIONS = ("fp32", "bf16-mixed", "bf16-true", "fp16-mixed")
"""The names of the precisions."""

VIEWS = ("flip", "five_crop")
"""Named choices of ``evaluation.tta``."""

_ALIASES = {"32": "fp32", "32-true": "fp32", "bf16": "bf16-mixed", "16-mixed": "fp16-mixed"}
_ON_NONFINITE = ("stop", "skip", "rollback")
_ON_ERROR = ("stop", "warn")
_ACCELERATORS = ("auto", "cpu", "gpu")
_LARGEST_SEED = 2**32 - 1
_LONGEST_NAME = 200
_LARGEST_INTEGER = 2**31 - 1
_COMPILE = ("mode", "backend", "fullgraph", "dynamic", "options")
_COMPILE_MODES = ("default", "lite", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
"""What ``torch.compile`` takes."""

_SEEDS = ("seed", "data.split_seed")
_AT_MOST = {
    "data.eval_batch_size": 2**20,
    "data.num_workers": 1_024,
    "trainer.threads": 4_096,
    "evaluation.resamples": 1_000_000,
}
"""What would take all the memory, or more threads than the system has: each such batch is filled up to its size."""

_AT_LEAST: tuple[tuple[str, float], ...] = (
    ("seed", 0),
    ("data.batch_size", 1),
    ("data.eval_batch_size", 1),
    ("data.num_workers", 0),
    ("data.split_seed", 0),
    ("trainer.max_epochs", 1),
    ("trainer.max_steps", 1),
    ("trainer.devices", 1),
    ("trainer.accumulate", 1),
    ("trainer.val_every_n_epochs", 1),
    ("trainer.val_every_n_steps", 1),
    ("trainer.log_every_n_steps", 1),
    ("trainer.threads", 1),
    ("checkpoint.every_n_steps", 1),
    ("checkpoint.every_n_epochs", 1),
    ("checkpoint.keep", 2),
    ("launch.timeout_seconds", 1),
    ("launch.max_restarts", 0),
    ("evaluation.resamples", 1),
)


def check_ranges(cfg: DictConfig) -> None:
    """Checks the values of a config with typed sections; ``trainer.precision`` is set to its one spelling.

    Args:
        cfg: Config with the schema merged in.

    Raises:
        ConfigError: The first value out of range.
    """
    for key, least in _AT_LEAST:
        value = _number(cfg, key)
        if value is not None and value < least:
            raise ConfigError(f"{key} is {value}", where=key, expected=f"at least {least}")
        most = _AT_MOST.get(key, _LARGEST_INTEGER)
        if value is not None and key not in _SEEDS and value > most:
            raise ConfigError(f"{key} is {value}", where=key, expected=f"at most {most:,}")
    for key in _SEEDS:
        if (_number(cfg, key) or 0) > _LARGEST_SEED:
            raise ConfigError(f"{key} is {_number(cfg, key)}", where=key, expected=f"at most {_LARGEST_SEED}")
    _check_finite(cfg)
    check_lineage(cfg)
    _check_shares(cfg)
    _check_run(cfg)
    _check_trainer(cfg)
    _check_split_of_batch(cfg)
    _check_checkpoints(cfg.checkpoint)
    confidence = cfg.evaluation.confidence
    if not 0 < confidence < 1:
        where = "evaluation.confidence"
        raise ConfigError(f"{where} is {confidence}", where=where, expected="between 0 and 1, both excluded")
    _check_views(cfg.evaluation.tta)


def _check_checkpoints(checkpoint: DictConfig) -> None:
    minutes, where = checkpoint.every_n_minutes, "checkpoint.every_n_minutes"
    if minutes is not None and not minutes > 0:
        raise ConfigError(f"{where} is {minutes}", where=where, expected="above 0, or null for none")
    _check_choice("checkpoint.on_error", checkpoint.on_error, _ON_ERROR)


def _check_finite(cfg: DictConfig) -> None:
    """Refuses what no rate or factor can be; a gradient alone may be clipped at infinity, which is never."""
    for section in ("trainer", "optimizer", "scheduler", "finetune"):
        node = cfg.get(section)
        if isinstance(node, DictConfig):
            for key, number in _numbers(OmegaConf.to_container(node), section):
                if not math.isfinite(number) and not (key.startswith("trainer.clip_") and number > 0):
                    raise ConfigError(f"{key} is {number}", where=key, expected="a finite number")


def _numbers(tree: Any, key: str) -> Iterator[tuple[str, float]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _numbers(value, f"{key}.{name}")
    elif isinstance(tree, list):
        for value in tree:
            yield from _numbers(value, key)
    elif isinstance(tree, float):
        yield key, tree


def _check_views(tta: Any) -> None:
    is_number = isinstance(tta, int) and not isinstance(tta, bool)
    if tta is None or tta in VIEWS or (is_number and tta >= 2):
        return
    where = "evaluation.tta"
    near = did_you_mean(str(tta), VIEWS)
    expected = f"null, {', '.join(VIEWS)}, or a number of at least 2"
    raise ConfigError(f"{where} is {tta!r}", where=where, expected=expected, hint=near)


def _number(cfg: DictConfig, key: str) -> int | float | None:
    value = OmegaConf.select(cfg, key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _check_shares(cfg: DictConfig) -> None:
    shares = {key: _number(cfg, key) or 0 for key in ("data.val_share", "data.test_share")}
    for key, share in shares.items():
        if not 0 <= share < 1:
            raise ConfigError(f"{key} is {share}", where=key, expected="a share of the rows, from 0 to below 1")
    if sum(shares.values()) >= 1:
        what = "data.val_share and data.test_share leave no rows to train on"
        raise ConfigError(what, where="data", expected=f"a sum below 1, not {sum(shares.values()):g}")


def _check_run(cfg: DictConfig) -> None:
    name = cfg.run.name
    if name is not None and len(name.encode()) > _LONGEST_NAME:
        what = f"run.name has {len(name.encode())} bytes"
        raise ConfigError(what, where="run.name", expected=f"at most {_LONGEST_NAME}")
    for key in ("root", "dir"):
        if cfg.run[key] == "":
            raise ConfigError(f"run.{key} is ''", where=f"run.{key}", expected="a directory")
    if name is not None and (name in ("", ".", "..") or "/" in name or "\\" in name):
        raise ConfigError(f"run.name is '{name}'", where="run.name", expected="a name without slashes (see run.root)")


def check_lineage(cfg: DictConfig) -> None:
    """Raises ConfigError where a run would both go on from another one and start from another one's weights."""
    if cfg.get("resume_from") is not None and cfg.get("init_from") is not None:
        raise ConfigError(
            "resume_from and init_from are both given",
            where="resume_from, init_from",
            expected="resume_from to go on with a run, or init_from to start from its weights",
        )


def _check_trainer(cfg: DictConfig) -> None:
    trainer = cfg.trainer
    if trainer.max_epochs is None and trainer.max_steps is None:
        raise ConfigError("nothing ends the training", where="trainer", expected="max_epochs, max_steps, or both")
    _check_validation(trainer)
    for key in ("clip_norm", "clip_value"):
        if trainer[key] is not None and not trainer[key] > 0:
            where = f"trainer.{key}"
            raise ConfigError(f"{where} is {trainer[key]}", where=where, expected="above 0, or null for none")
    if trainer.ema is not None and not 0 < trainer.ema < 1:
        expected = "a number between 0 and 1, such as 0.999, or null for none"
        raise ConfigError(f"trainer.ema is {trainer.ema}", where="trainer.ema", expected=expected)
    steps = trainer.steps_per_execution
    if steps != "auto" and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 1):
        where = "trainer.steps_per_execution"
        raise ConfigError(f"{where} is {steps!r}", where=where, expected="auto, or an integer of at least 1")
    trainer.precision = precision_name(trainer.precision)
    _check_flag(trainer, "channels_last", "true, false or auto", ("auto",))
    _check_flag(trainer, "flat_parameters", "true, false or auto", ("auto",))
    if isinstance(trainer.compile, DictConfig):
        _check_compile(trainer.compile)
    else:
        _check_flag(trainer, "compile", "true, false, or settings of torch.compile such as {mode: max-autotune}")
    _check_choice("trainer.accelerator", trainer.accelerator, _ACCELERATORS)
    _check_choice("trainer.on_nonfinite", trainer.on_nonfinite, _ON_NONFINITE)
    if trainer.mode is not None:
        _check_choice("trainer.mode", trainer.mode, ("min", "max"))


def _check_compile(settings: DictConfig) -> None:
    for key in map(str, settings):
        if key not in _COMPILE:
            where = f"trainer.compile.{key}"
            raise ConfigError(
                f"unknown key '{where}'", where=where, expected=one_of(_COMPILE), hint=did_you_mean(key, _COMPILE)
            )
    if settings.get("mode") is not None:
        _check_choice("trainer.compile.mode", str(settings.mode), _COMPILE_MODES)


def _check_flag(trainer: DictConfig, key: str, expected: str, also: Sequence[str] = ()) -> None:
    value = trainer[key]
    if not isinstance(value, bool) and value not in also:
        raise ConfigError(f"trainer.{key} is {value!r}", where=f"trainer.{key}", expected=expected)


def _check_validation(trainer: DictConfig) -> None:
    given = [key for key in ("val_every_n_epochs", "val_every_n_steps") if trainer[key] is not None]
    if len(given) == 2:
        what = "trainer.val_every_n_epochs and trainer.val_every_n_steps exclude each other"
        raise ConfigError(what, where="trainer", hint="trainer.val_every_n_epochs=null to count in steps")
    if not given:
        what = "without validation no epoch can be chosen as the best"
        raise ConfigError(what, where="trainer", expected="val_every_n_epochs or val_every_n_steps")


def precision_name(name: Any) -> str:
    """The one spelling of a precision: ``fp32`` for 32 and 32-true, ``bf16-mixed`` for bf16.

    Args:
        name: A name or an alias.

    Raises:
        ConfigError: There is no precision of that name.
    """
    spelled = _ALIASES.get(str(name), str(name))
    _check_choice("trainer.precision", spelled, PRECISIONS, also=tuple(_ALIASES))
    return spelled


def _check_choice(key: str, value: str, choices: Sequence[str], also: Sequence[str] = ()) -> None:
    if value not in choices:
        near = did_you_mean(value, [*choices, *also])
        raise ConfigError(f"{key} is '{value}'", where=key, expected=one_of(choices), hint=near)


def _check_split_of_batch(cfg: DictConfig) -> None:
    batch_size, parts = _number(cfg, "data.batch_size"), cfg.trainer.devices * cfg.trainer.accumulate
    if batch_size is not None and batch_size < parts:
        what = f"data.batch_size {batch_size} cannot be split"
        expected = f"at least {parts}: {cfg.trainer.devices} devices × {cfg.trainer.accumulate} micro-batches"
        raise ConfigError(what, where="data.batch_size", expected=expected)
