"""The LightningModule that carries the training loop: one or many optimizer steps per Lightning batch."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from trainkit.data.augment import Augment
from trainkit.data.evaluation_loader import EvaluationBatch
from trainkit.data.loader import Execution, Step, single_step
from trainkit.errors import ConfigError
from trainkit.optim import OptimizerFactory, SchedulerFactory, adamw, build_optimizer, build_scheduler
from trainkit.tasks import Task, merged_outputs, step_output
from trainkit.training.meter import PartMeter
from trainkit.training.parts import micro_batches
from trainkit.training.random_state import get_random_state, set_random_state
from trainkit.training.window import LogWindow
from trainkit.types import Batch, Inputs, StepOutput


class TrainModule(L.LightningModule):
    """Trains a net on a task.

    A subclass overrides ``loss(batch)`` and little else. The gradient of a step is that of the losses of all its
    micro-batches and processes summed, divided by their weights summed: exactly that of the one big batch. Under
    ``trainkit.fit`` a Lightning batch carries several optimizer steps; under the user's own ``lightning.Trainer`` and
    DataLoader it is one.

    Args:
        model: The net; gets inputs [B, ...], or a dict of tensors by name.
        task: Loss, metrics and predictions.
        optimizer: Takes parameter groups, gives an optimizer; ``adamw()`` by default.
        scheduler: Takes the optimizer (and ``total_steps``), gives a scheduler stepped per optimizer step; or None.
        accumulate: Micro-batches that a batch of the user's own DataLoader is cut into.
        clip_norm: Largest norm of the whole gradient; None for no clipping.
        clip_value: Largest absolute value of each gradient element; None for no clipping.
        augment: What is done to training samples on the device; None for nothing.

    Raises:
        ConfigError: ``accumulate`` is below 1.

    Example:
        >>> import trainkit as tk
        >>> from torch import nn
        >>> module = tk.TrainModule(nn.Linear(8, 3), tk.Classification(3), tk.adamw(lr=3e-4))
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        optimizer: OptimizerFactory | None = None,
        scheduler: SchedulerFactory | None = None,
        *,
        accumulate: int = 1,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        augment: Augment | None = None,
    ) -> None:
        super().__init__()
        if accumulate < 1:
            raise ConfigError(f"accumulate is {accumulate}", where="trainer.accumulate", expected="an integer ≥ 1")
        self.automatic_optimization = False
        self.model, self.task = model, task
        self.optimizer_factory, self.scheduler_factory = optimizer or adamw(), scheduler
        self.accumulate, self.clip_norm, self.clip_value = accumulate, clip_norm, clip_value
        self.augment = augment
        self.total_steps: int | None = None
        self.window = LogWindow(task)
        self.meters, self.extra_val = nn.ModuleList([PartMeter(task)]), tuple[str, ...]()
        self._grad_norm: Tensor | None = None
        self._norm_wanted, self._lr = False, 0.0
        self._random_state: dict[str, Any] | None = None

    def forward(self, inputs: Inputs) -> Tensor:
        """Outputs [B, ...] of the net; in training [B, M, ...] where it has M members."""
        outputs: Tensor = self.model(inputs)
        return outputs if self.model.training else merged_outputs(self.task, self.model, outputs)

    def loss(self, batch: Batch) -> StepOutput:
        """Loss of one (micro-)batch; the one method most subclasses override.

        Args:
            batch: ``(inputs, target)``, ``(inputs, target, weight)`` where the rows have weights, or whatever the
                user's own DataLoader yields.

        Returns:
            Loss summed over samples, the weight to divide it by, and outputs and targets for the metrics.
        """
        weight: list[Tensor]
        inputs, target, *weight = batch
        outputs = self(inputs)
        return step_output(self.task, self.model, outputs, target, *weight)

    def configure_optimizers(self) -> Any:
        """The optimizer, and the scheduler built for the run's total of optimizer steps."""
        optimizer = build_optimizer(self.optimizer_factory, self)
        scheduler = build_scheduler(self.scheduler_factory, optimizer, self.total_steps or self._estimated_steps())
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _estimated_steps(self) -> int | None:
        """Optimizer steps that the user's own Trainer will make; None where Lightning gives -1 or infinity."""
        steps = self.trainer.estimated_stepping_batches
        return int(steps) if 0 < steps < math.inf else None

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Carries out every optimizer step of an execution, or the one of a plain batch."""
        execution = batch if isinstance(batch, Execution) else None
        steps = execution.steps if execution else (single_step(batch, self.accumulate),)
        done = [self._optimizer_step(execution or batch, step, step is steps[-1]) for step in steps]
        step_now = self.trainer.global_step
        if execution is not None and execution.state.step != step_now:
            raise RuntimeError(f"the loader stands at step {execution.state.step}, the trainer at {step_now}")
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = step_now - 1
        self.window.update(
            [output for outputs in done for output in outputs], self.task, sum(s.num_samples for s in steps)
        )
        log_every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if log_every and step_now % log_every == 0:
            self._log_window()

    def _optimizer_step(self, batch: Any, step: Step, is_last: bool) -> list[StepOutput]:
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        outputs = self._backward(batch, step)
        self._norm_wanted = is_last
        self._lr = optimizer.param_groups[0]["lr"]
        optimizer.step()
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            callback.on_before_zero_grad(self.trainer, self, self._raw_optimizer())  # Lightning does so for automatic
        self.on_before_zero_grad(self._raw_optimizer())  # optimization only
        optimizer.zero_grad(set_to_none=True)
        scheduler = self.lr_schedulers()
        if scheduler is not None:
            scheduler.step()  # type: ignore[union-attr]
        return outputs

    def _backward(self, batch: Any, step: Step) -> list[StepOutput]:
        parts = micro_batches(batch, step, self.augment, getattr(self.task, "num_classes", None), self.trainer)
        is_whole = len(parts) == 1 and self.trainer.world_size == 1
        nominal = step.num_samples / self.trainer.world_size if isinstance(batch, Execution) else 1.0
        outputs = []
        for part in parts:
            with nullcontext() if part is parts[-1] else self._unsynced():
                output = self.loss(part)
                if is_whole:
                    self.manual_backward(output.loss_sum / _or_one(output.weight))
                else:
                    self.manual_backward(output.loss_sum * (0.0 if step.is_ghost else 1.0) / nominal)
            outputs.append(output._replace(loss_sum=output.loss_sum.detach(), outputs=output.outputs.detach()))
        if step.is_ghost:
            outputs = []
        if not is_whole:
            self._divide_by_weight([output.weight for output in outputs], nominal)
        return outputs

    def _unsynced(self) -> AbstractContextManager[Any]:
        block = getattr(self.trainer.strategy, "block_backward_sync", nullcontext)
        context: AbstractContextManager[Any] = block()
        return context

    def _divide_by_weight(self, weights: list[Tensor | float], nominal: float) -> None:
        """Turns gradients of sums over ``nominal`` samples into gradients of the sum over the summed weight."""
        world = self.trainer.world_size
        if world == 1 and not any(isinstance(weight, Tensor) for weight in weights) and sum(weights) == nominal:
            return
        total = torch.as_tensor(sum(weights), dtype=torch.float64, device=self.device)
        if world > 1:
            torch.distributed.all_reduce(total)
        factor = nominal * world / torch.where(total > 0, total, 1.0)
        grads = [p.grad for group in self._raw_optimizer().param_groups for p in group["params"] if p.grad is not None]
        torch._foreach_mul_(grads, factor.to(grads[0].dtype))

    def _raw_optimizer(self) -> Optimizer:
        return self.trainer.optimizers[0]

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips the whole gradient; its norm before clipping is what is logged."""
        params = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self.clip_value is not None:
            nn.utils.clip_grad_value_(params, self.clip_value)
        if self.clip_norm is not None:
            self._grad_norm = nn.utils.clip_grad_norm_(params, self.clip_norm)
        elif self._norm_wanted:
            self._grad_norm = nn.utils.get_total_norm([p.grad for p in params if p.grad is not None])

    def _log_window(self) -> None:
        values = self.window.close()
        values["lr"] = torch.tensor(self._lr)
        if self._grad_norm is not None:
            values["grad_norm"] = self._grad_norm.detach()
        self.log_dict(values, on_step=True, on_epoch=False, batch_size=1, logger=False)
        # Written here and not by Lightning, which does so after the batch's callbacks: a checkpoint of this step would
        # be ahead of its own curves.
        plain = {name: float(value) for name, value in values.items()} | {"epoch": self.current_epoch}
        for logger in self.trainer.loggers:
            logger.log_metrics(plain, step=self.trainer.global_step - 1)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Tells Lightning whether a validation is due, where the execution plan decides."""
        if isinstance(batch, Execution) and batch.validate is not None:
            self.trainer.val_check_batch = batch_idx + 1 if batch.validate else sys.maxsize

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Adds a batch to the metrics of its validation set; padding does not count.

        Returns:
            What callbacks get as ``outputs``, on the device: ``predictions``, float64 probabilities [B, K] or values
            [B], and ``target`` [B].
        """
        output = self._evaluated(batch)
        predictions = self._meter(dataloader_idx).update(output, self.task)
        return {"predictions": predictions, "target": output.target}

    def _meter(self, dataloader_idx: int) -> PartMeter:
        while len(self.meters) <= dataloader_idx:
            self.meters.append(PartMeter(self.task).to(self.device))
        return cast(PartMeter, self.meters[dataloader_idx])

    def _evaluated(self, batch: Any) -> StepOutput:
        if not isinstance(batch, EvaluationBatch):
            return self.loss(batch)
        if type(self).loss is not TrainModule.loss:
            return self.loss(batch.real())
        weight: list[Tensor]
        _, target, *weight = batch.real()
        outputs = self(batch.inputs)[: batch.num_real]
        return step_output(self.task, self.model, outputs, target, *weight)

    def on_validation_start(self) -> None:
        """Gives every process the buffers of the first, as a forward pass in training does."""
        if self.trainer.world_size > 1:
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, 0)

    def on_validation_epoch_end(self) -> None:
        """Logs loss and metrics, computed over all processes: ``val/…``, and ``val/<name>/…`` of further sets."""
        given = self.extra_val or tuple(getattr(getattr(self.trainer, "datamodule", None), "extra_val", ()))
        count = len(self.trainer.num_val_batches)
        names = (*given, *map(str, range(len(given) + 1, count)))
        self._log_evaluation(["val", *(f"val/{name}" for name in names)][:count])

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """As ``validation_step``."""
        return self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Logs the test loss and metrics."""
        self._log_evaluation(["test"])

    def _log_evaluation(self, parts: Sequence[str]) -> None:
        for idx, part in enumerate(parts):
            self.log_dict(self._meter(idx).close(part), sync_dist=self.trainer.world_size > 1)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Predictions of a batch: float64 probabilities [B, K], or values [B]."""
        if isinstance(batch, EvaluationBatch):
            return self.task.predictions(self(batch.inputs)[: batch.num_real])
        return self.task.predictions(self(batch[0] if isinstance(batch, (tuple, list)) else batch))

    def on_train_start(self) -> None:
        """Puts the random generators back where a resumed run left them."""
        self.window.start_clock()
        if self._random_state is not None:
            set_random_state(self._random_state)
            self._random_state = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds each process's random generators and unfinished log window."""
        mine = {"random": get_random_state(), "window": self.window.state()}
        everyone: list[Any] = [mine]
        if self.trainer.world_size > 1:
            everyone = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(everyone, mine)
        checkpoint["trainkit"] = {"processes": everyone}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes back this process's random generators and log window; a changed number of processes starts afresh."""
        everyone = checkpoint.get("trainkit", {}).get("processes", [])
        if len(everyone) == self.trainer.world_size:
            mine = everyone[self.trainer.global_rank]
            self._random_state = mine["random"]
            self.window.load(mine["window"])


def _or_one(weight: Tensor | float) -> Tensor | float:
    """The weight to divide by; 1 for a batch of classes that weigh nothing, whose gradient is 0 and not 0 / 0."""
    return torch.where(weight > 0, weight, torch.ones_like(weight)) if isinstance(weight, Tensor) else weight or 1.0
