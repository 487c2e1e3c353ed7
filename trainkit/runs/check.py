"""Checks that are made once the parts are built and before anything is trained or written."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from trainkit.data.augment import Augment, samples_of
from trainkit.data.sources import batch_of, map_inputs
from trainkit.errors import ConfigError, DataError, TrainkitError, did_you_mean, first_line, one_of, place_of
from trainkit.models import Network
from trainkit.optim import build_optimizer, build_scheduler
from trainkit.runs.parts import Parts
from trainkit.runs.schedule import RunSchedule
from trainkit.tasks import Task, merged_outputs, step_output
from trainkit.types import Batch, Inputs

EXPLODING = 3.0
"""First loss over chance that is far too much; a fresh net is near 1 (Karpathy, *A Recipe for Training Neural
Networks*, 2019: verify loss at init)."""


@dataclass(frozen=True)
class DryBatch:
    """What one batch showed.

    Attributes:
        loss: Mean loss of the untrained net.
        chance: Loss of a net that knows nothing; None where the task does not know it.
    """

    loss: float
    chance: float | None

    @property
    def explodes(self) -> bool:
        """Whether the loss is far above chance."""
        return self.chance is not None and self.loss > EXPLODING * self.chance


def monitored(parts: Parts) -> tuple[str | None, str]:
    """Name and direction of the value that chooses the best epoch; no name where there is no validation part.

    Raises:
        ConfigError: Nobody logs a value of that name.
    """
    trainer, names = parts.config.trainer, logged_names(parts)
    name = trainer.monitor or f"val/{parts.task.monitor}"
    if not len(parts.data.splits.val):
        if trainer.monitor is None:
            return None, parts.task.mode
        what = f"there is no validation part in which to watch '{name}'"
        raise ConfigError(what, where="trainer.monitor", expected="null", hint="data.val_share=0.15 draws one")
    if name not in names:
        raise ConfigError(
            f"nobody logs '{name}'", where="trainer.monitor", expected=one_of(names), hint=did_you_mean(name, names)
        )
    return name, str(trainer.mode) if trainer.mode else parts.task.mode_of(name)


def logged_names(parts: Parts) -> list[str]:
    """Names of what the task logs, on every validation set."""
    names = parts.task.metric_names()
    of_val = [name.removeprefix("val/") for name in names if name.startswith("val/")]
    return names + [f"val/{extra}/{name}" for extra in parts.data.extra_val for name in of_val]


def check_schedule(parts: Parts, schedule: RunSchedule, callbacks: list[L.Callback]) -> None:
    """Raises ConfigError where a watched value comes too late, or the optimizer or its schedule cannot be built.

    Args:
        parts: The parts of the run.
        schedule: Its steps and intervals.
        callbacks: Some of them watch a value.
    """
    plan = schedule.plan
    by_epoch = plan.val_every_n_epochs * schedule.steps_per_epoch if plan.val_every_n_epochs else schedule.total_steps
    first = min(plan.val_every_n_steps or by_epoch, schedule.total_steps)
    watched = {"trainer.monitor": monitored(parts)[0]}
    watched |= {f"callbacks, {type(c).__name__}.monitor": getattr(c, "monitor", None) for c in callbacks}
    for where, name in watched.items():
        if isinstance(name, str) and not name.startswith("val/") and schedule.log_every > first:
            raise ConfigError(
                f"'{name}' is logged every {schedule.log_every} steps, and looked at after {first}",
                where=where,
                expected="a value of the validation, or one logged before",
                hint=f"trainer.log_every_n_steps={first}",
            )
    assert parts.network is not None
    section, (monitor, mode) = "optimizer", monitored(parts)
    try:
        optimizer = build_optimizer(parts.optimizer, parts.network)  # type: ignore[arg-type]
        section = "scheduler"
        scheduler = build_scheduler(parts.scheduler, optimizer, schedule.total_steps, mode)
    except TrainkitError:
        raise
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        target = (parts.config.get(section) or {}).get("_target_") or f"the {section}"
        raise ConfigError(f"{target} cannot be built: {error}".splitlines()[0], where=section) from error
    if isinstance(scheduler, ReduceLROnPlateau) and not (monitor or "").startswith("val/"):
        found = "there is no validation part" if monitor is None else f"trainer.monitor is '{monitor}'"
        raise ConfigError(
            f"{found}, and the schedule waits for a plateau in the validation",
            where="scheduler",
            expected="a validation part, and a monitored value of it",
            hint="scheduler=cosine needs none",
        )


def check_batches(parts: Parts) -> None:
    """Raises for rows whose weights the loss does not take, BatchNorm over one sample, or a process without a row.

    Raises:
        ConfigError: Rows have weights, and the task's loss takes none.
        DataError: BatchNorm would get a single sample, or a process no row of the validation.
    """
    data, trainer = parts.data, parts.config.trainer
    _check_weighing(parts)
    last = len(data.splits.train) % data.batch_size
    smallest = (last if last and not data.drop_last else data.batch_size) // (trainer.devices * trainer.accumulate)
    if not data.steps_per_epoch():
        raise DataError(
            f"{len(data.splits.train)} training samples make no whole batch of {data.batch_size}",
            where="data.batch_size",
        )
    for rows in (data.splits.val, *data.splits.extra.values()):
        if 0 < len(rows) < trainer.devices:
            what = f"a validation part of {len(rows)} cannot be shared by {trainer.devices} processes"
            raise DataError(what, where="trainer.devices")
    batch_norm = nn.modules.batchnorm._BatchNorm
    if smallest <= 1 and any(isinstance(m, batch_norm) for m in parts.network.modules() if parts.network):  # type: ignore[union-attr]
        raise DataError(
            "BatchNorm would get a micro-batch of one sample",
            where="data.batch_size",
            expected="larger micro-batches",
            hint="data.drop_last=true, or another data.batch_size",
        )


def _check_weighing(parts: Parts) -> None:
    """Raises ConfigError where rows have weights that the task's loss does not take."""
    if not parts.data.is_weighted:
        return
    try:
        inspect.signature(parts.task.loss).bind(None, None, None)
    except TypeError as error:
        what = f"the loss of {type(parts.task).__name__} takes no weight"
        expected, hint = "loss(outputs, target, weight=None)", "data.weight=null to count every row once"
        raise ConfigError(what, where="task", expected=expected, hint=hint) from error


def dry_batch(parts: Parts, device: torch.device) -> DryBatch:
    """Sends one training batch through a copy of the net, forward and backward; random generators stay as they are.

    Raises:
        ConfigError: The net does not take the inputs, or its outputs do not fit the target.
    """
    assert parts.network is not None
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        network = copy.deepcopy(parts.network).to(device).train()
        rows = parts.data.rows("train")[: min(parts.data.batch_size, 256)]
        weight: list[Tensor]
        inputs, target, *weight = parts.data.source.fetch(rows, 0)
        inputs, target = map_inputs(inputs, lambda tensor: tensor.to(device)), target.to(device)
        task = copy.deepcopy(parts.task).to(device)
        prepared = network.inputs(inputs)
        try:
            outputs = network(inputs)
        except TrainkitError:
            raise
        except Exception as error:
            raise _forward_error(parts, prepared, error) from error
        if not isinstance(outputs, Tensor):
            raise ConfigError(f"the model gives a {type(outputs).__name__}", where="model", expected="one tensor")
        if not outputs.is_floating_point():
            kind = str(outputs.dtype).removeprefix("torch.")
            raise ConfigError(f"the model gives {kind}", where="model", expected="floating-point numbers")
        task.check(merged_outputs(task, network, outputs), target)
        weight = [tensor.to(device) for tensor in weight]
        if parts.augment is None:
            loss_sum, total, *_ = step_output(task, network, outputs, target, *weight)
        else:
            parts.augment.check(parts.data.spec, inputs, getattr(task, "num_classes", None) is not None)
            loss_sum, total = _augmented_loss(
                parts.augment, network, task, rows, batch_of(inputs, target, weight[0] if weight else None)
            )
        if loss_sum.requires_grad:
            torch.autograd.backward(loss_sum)
        elif any(parameter.requires_grad for parameter in network.parameters()):
            what = "the loss does not depend on the weights"
            raise ConfigError(what, where="model, task", expected="outputs that are not detached")
        loss = float(loss_sum.detach() / (total or 1.0))
        if loss != loss:
            raise ConfigError("the first loss is nan", where="model")
        _check_evaluation(parts, network.eval(), inputs)
    return DryBatch(loss, parts.task.chance())


def _check_evaluation(parts: Parts, network: Network, inputs: Inputs) -> None:
    """Raises ConfigError for a net that trains, and fails or gives no numbers in evaluation."""
    try:
        with torch.no_grad():
            outputs = network(inputs)
    except Exception as error:
        raise _forward_error(parts, network.inputs(inputs), error) from error
    if bool(outputs.isnan().any()):
        raise ConfigError("the model gives nan in evaluation", where="model", expected="numbers, as in training")


def _augmented_loss(
    augment: Augment, network: Network, task: Task, rows: Tensor, batch: Batch
) -> tuple[Tensor, Tensor | float]:
    """Loss and weight of an augmented batch.

    Raises:
        ConfigError: The augmentations, or the loss and the metrics with what these make of targets, fail.
    """
    try:
        inputs, target, weight = augment(samples_of(batch), rows, 0, getattr(task, "num_classes", None))[:3]
        outputs = network(inputs)
        loss_sum, total, outputs, target = step_output(
            task, network, outputs, target, *([] if weight is None else [weight])
        )
        task.train_metrics().to(outputs.device).update(task.predictions(outputs.detach()), task.plain_target(target))
    except TrainkitError:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {first_line(error)}"
        raise ConfigError(
            f"an augmented batch does not train ({augment.describe()}): {cause}",
            where=f"augment{place_of(error)}",
            expected="a loss of shares of the classes, float [batch, classes]" if augment.mixes else None,
            hint="augment=null" + (", or a criterion that takes them" if augment.mixes else ""),
        ) from error
    return loss_sum, total


def _forward_error(parts: Parts, inputs: Inputs, error: Exception) -> ConfigError:
    assert parts.network is not None
    named = inputs if isinstance(inputs, dict) else {"inputs": inputs}
    shapes = ", ".join(f"{name} {str(t.dtype).removeprefix('torch.')} {list(t.shape)}" for name, t in named.items())
    return ConfigError(
        f"{type(parts.network.net).__name__} does not take a batch: {type(error).__name__}: {first_line(error)}",
        where=f"model{place_of(error)}",
        expected=f"a net for {shapes}",
    )
