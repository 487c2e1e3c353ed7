"""A run of a ``LightningModule`` of the user's own: trained as it is, by Lightning's loop, a batch at a time.

Called by ``pipeline`` in place of what it does with a net and a task. What the module logs is all that is known of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities.model_helpers import is_overridden
from omegaconf import DictConfig
from torch import nn

from trainkit.config.copying import copied
from trainkit.data import DataModule, LoaderData, Splits
from trainkit.data.replay import Follower, PlainEvaluation, PlainLoader, replayed
from trainkit.errors import ConfigError, LaunchError
from trainkit.runs.build import build, fill, seed_everything
from trainkit.runs.computing import OWN_SETTINGS, PRECISIONS
from trainkit.runs.devices import Devices
from trainkit.runs.parts import LiveObjects, ModuleParts

_NEEDED = (
    ("training_step", "training_step", "a LightningModule that trains"),
    ("configure_optimizers", "optimizer", "a configure_optimizers that gives one or several"),
)

UNRECORDED: dict[str, Any] = {"logger": DummyLogger(), "enable_checkpointing": False}
"""Options of a Trainer that leaves nothing behind, under a module that asks for ``self.logger.experiment``."""


def has_own_module(config: DictConfig) -> bool:
    """Whether a config is of a ``LightningModule`` of the user's own."""
    return config.get("module") is not None


def build_module_parts(config: DictConfig, live: LiveObjects, splits: Splits | None = None) -> ModuleParts:
    """Builds the module and its data; the module's own loaders where no data is asked for.

    Args:
        config: Checked; it is not changed.
        live: Objects that stand in for sections of the config.
        splits: Parts drawn by an earlier process of the same run; drawn afresh by default.

    Raises:
        ConfigError: A part cannot be built.
        DataError: The data cannot be used, or there is none.
    """
    config, module = copied(config), live.module
    if live.data is None and config.data is None and module is None:
        seed_everything(config.seed)
        module = build(config.module, "module", L.LightningModule)
    data = live.data or build_data(config, module)
    data.given_splits = None if isinstance(data, LoaderData) else splits
    data.setup()
    for key, is_given in (("weight", data.roles["weight"] is not None), ("extra_val", bool(data.extra_val))):
        if is_given:
            what = f"data.{key} has no effect on a LightningModule of your own"
            raise ConfigError(what, where=f"data.{key}", hint=f"leave out data.{key}")
    fill(config, data, ("module",))
    seed_everything(config.seed)
    if module is None:
        module = build(config.module, "module", L.LightningModule)
    for hook, lacks, expected in _NEEDED:
        if not is_overridden(hook, module):
            raise ConfigError(f"{type(module).__name__} has no {lacks}", where="module", expected=expected)
    return ModuleParts(config, data, module, live=live)


def build_data(config: DictConfig, module: L.LightningModule | None) -> DataModule:
    """The data of a config, trainkit's or a ``LightningDataModule`` of the user's own, not yet set up.

    Args:
        config: Of the run.
        module: Brings loaders of its own where the config has no data.

    Raises:
        ConfigError: It cannot be built, or is something else.
        DataError: There is none.
    """
    if config.data is None:
        assert module is not None
        return LoaderData.of_module(module)
    data = build(config.data, "data", L.LightningDataModule)
    if not isinstance(data, DataModule):
        data = LoaderData.of(data)
    built: DataModule = data
    return built


def train_loaders(parts: ModuleParts, follower: Follower) -> Any:
    """Training batches as the module takes them, from where the follower stands."""
    data = parts.data
    if isinstance(data, LoaderData):
        return replayed(data.loaders["train"], parts.config.seed, follower)
    return PlainLoader(_preprocessing(parts), follower, data.source, **data.training_options(), seed=parts.config.seed)


def evaluation_loaders(parts: ModuleParts, part: str) -> Any:
    """Batches of validation or test; None without any."""
    data = parts.data
    if isinstance(data, LoaderData):
        return data.loaders[part]
    rows = data.rows(part)
    if not len(rows):
        return None
    return PlainEvaluation(_preprocessing(parts), data.source, rows, batch_size=data.eval_batch_size)


def _preprocessing(parts: ModuleParts) -> nn.Module:
    return parts.data.input_module(parts.module) or nn.Identity()


def validation_loaders(parts: ModuleParts) -> Any:
    """Batches of the validation; None where there are none, or the module has no step for them."""
    return evaluation_loaders(parts, "val") if has_part(parts, "val") else None


def has_part(parts: ModuleParts, part: str) -> bool:
    """Whether the module can be evaluated on a part: there are batches, and a step for them."""
    step = {"val": "validation_step", "test": "test_step"}[part]
    return is_overridden(step, parts.module) and evaluation_loaders(parts, part) is not None


def run_on(
    method: Callable[..., Any], module: L.LightningModule, parts: ModuleParts, loaders: dict[str, Any], **options: Any
) -> Any:
    """Calls ``fit``, ``validate`` or ``test`` of a Trainer, through the user's own ``data module if there is one.

    Its hooks then move and change batches as he wrote them. It has been prepared and set up, and is not again.

    Args:
        method: Of the Trainer.
        module: What it runs.
        parts: The data.
        loaders: By part; None for a part that the module does not see.
        options: Further keywords of the method.
    """
    datamodule = parts.data.datamodule if isinstance(parts.data, LoaderData) else None
    given = {part: loader for part, loader in loaders.items() if loader is not None}
    if datamodule is None:
        keywords = {f"{part}_dataloaders" if "train" in loaders else "dataloaders": given[part] for part in given}
        return method(module, **keywords, **options)
    own = {f"{part}_dataloader": _giving(loader) for part, loader in given.items()}
    own |= {"prepare_data": _giving(None), "setup": _giving(None)}
    vars(datamodule).update(own)
    try:
        return method(module, datamodule=datamodule, **options)
    finally:
        for name in own:
            del vars(datamodule)[name]


def _giving(value: Any) -> Callable[..., Any]:
    return lambda *args, **keywords: value


def trainer_options(parts: ModuleParts, devices: Devices) -> dict[str, Any]:
    """What every Trainer of a run has in common.

    Raises:
        LaunchError: Several processes are asked for.
        ConfigError: Something is asked for that the module does itself.
    """
    trainer = parts.config.trainer
    if devices.count > 1:
        raise LaunchError(
            "a LightningModule of your own trains in one process",
            where="trainer.devices",
            expected="trainer.devices=1",
            hint="a net with model=custom trains in several",
        )
    if trainer.steps_per_execution not in ("auto", 1):
        what = f"a LightningModule takes single batches, not {trainer.steps_per_execution} steps at once"
        raise ConfigError(what, where="trainer.steps_per_execution", expected="auto or 1")
    for key in OWN_SETTINGS:
        if trainer[key]:
            what = f"trainer.{key} does not reach into a LightningModule of your own"
            raise ConfigError(what, where=f"trainer.{key}", expected="null or false", hint="see to it in the module")
    if trainer.on_nonfinite != "stop":
        what = f"trainer.on_nonfinite={trainer.on_nonfinite} does not reach into a LightningModule of your own"
        raise ConfigError(what, where="trainer.on_nonfinite", expected="stop")
    if not parts.module.automatic_optimization:
        _refuse_by_hand(parts)
    if trainer.clip_norm is not None and trainer.clip_value is not None:
        raise ConfigError("both clip_norm and clip_value", where="trainer", expected="one of them with a module")
    return {
        "accelerator": devices.accelerator,
        "devices": 1,
        "precision": PRECISIONS[trainer.precision],
        "accumulate_grad_batches": trainer.accumulate,
        "gradient_clip_val": trainer.clip_norm if trainer.clip_norm is not None else trainer.clip_value,
        "gradient_clip_algorithm": "value" if trainer.clip_value is not None else None,
        "deterministic": trainer.deterministic or None,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
    }


def _refuse_by_hand(parts: ModuleParts) -> None:
    trainer = parts.config.trainer
    asked = [name for name in ("clip_norm", "clip_value") if trainer[name] is not None]
    asked += ["accumulate"] * (trainer.accumulate > 1)
    if asked:
        raise ConfigError(
            f"{type(parts.module).__name__} optimizes by hand, and trainer.{asked[0]} would have no effect",
            where=f"trainer.{asked[0]}",
            expected="1" if asked[0] == "accumulate" else "null",
            hint="do it in training_step",
        )


def total_steps(parts: ModuleParts) -> int:
    """Batches of the run; 0 where they are not known beforehand.

    Raises:
        ConfigError: Nothing ends the training.
    """
    trainer, per_epoch = parts.config.trainer, parts.data.steps_per_epoch()
    if per_epoch < 0:
        return trainer.max_steps or 0
    limits = [trainer.max_epochs * per_epoch] if trainer.max_epochs else []
    return int(min(limits + ([trainer.max_steps] if trainer.max_steps else [])))
