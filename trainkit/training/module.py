"""The LightningModule that carries the training loop: one or many optimizer steps per Lightning batch."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from trainkit.data.augment import Augment
from trainkit.data.loader import Execution, Step, single_step
from trainkit.errors import ConfigError
from trainkit.optim import OptimizerFactory, SchedulerFactory, adamw, build_optimizer, build_scheduler
from trainkit.tasks import Task
from trainkit.tasks.base import or_one
from trainkit.training.average import WeightAverage
from trainkit.training.gradients import divide_by_weight, params_with_grad, unscale
from trainkit.training.lean import LeanSteps
from trainkit.training.listeners import can_be_lean
from trainkit.training.parts import micro_batches
from trainkit.training.random_state import get_random_state, set_random_state
from trainkit.training.watched import WatchedSteps
from trainkit.training.window import LogWindow
from trainkit.types import StepOutput


class TrainModule(WatchedSteps):
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
        ema: Decay per optimizer step of an exponential moving average of the weights, which is then what is validated
            and kept; None for none. See ``WeightAverage``.
        augment: What is done to training samples on the device; None for nothing.

    Raises:
        ConfigError: ``accumulate`` is below 1, or ``ema`` not between 0 and 1.

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
        ema: float | None = None,
        augment: Augment | None = None,
    ) -> None:
        super().__init__(model, task, None if ema is None else WeightAverage(ema))
        if accumulate < 1:
            raise ConfigError(f"accumulate is {accumulate}", where="trainer.accumulate", expected="an integer ≥ 1")
        self.automatic_optimization = False
        self.optimizer_factory, self.scheduler_factory = optimizer or adamw(), scheduler
        self.accumulate, self.clip_norm, self.clip_value = accumulate, clip_norm, clip_value
        self.augment = augment
        self.total_steps: int | None = None
        self.before_step: Callable[[int], None] | None = None
        self.monitor: tuple[str, str] = f"val/{task.monitor}", task.mode
        self.window = LogWindow(task)
        self._grad_norm: Tensor | None = None
        self._norm_wanted, self._lr = False, 0.0
        self._random_state: dict[str, Any] | None = None
        self.wants_lean, self.wants_flat, self._lacks_gradients = False, False, False
        self.lean: LeanSteps | None = None

    def configure_optimizers(self) -> Any:
        """The optimizer, and the scheduler built for the run's total of optimizer steps."""
        optimizer = build_optimizer(self.optimizer_factory, self)
        total_steps = self.total_steps or self._estimated_steps()
        scheduler = build_scheduler(self.scheduler_factory, optimizer, total_steps, self.monitor[1])
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
        if self.lean is not None:
            self.lean.begin()
        left_out = self.left_out
        done = [self._optimizer_step(execution or batch, step, step is steps[-1]) for step in steps]
        for place in self.lean.norm.left_out() if self.lean is not None else ():
            self.leave_out(execution or batch, steps[place], done[place], len(steps) - 1 - place)
            done[place] = []
        step_now = self.trainer.global_step
        if execution is not None and execution.state.step != step_now:
            raise RuntimeError(f"the loader stands at step {execution.state.step}, the trainer at {step_now}")
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = step_now - 1
        if self.lean is not None:
            self._lr, self._grad_norm = self.lean.lr, self.lean.norm.value
        num_samples, num_made = sum(s.num_samples for s in steps), len(steps) - (self.left_out - left_out)
        self.window.update([output for outputs in done for output in outputs], self.task, num_samples, num_made)
        log_every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if log_every and step_now % log_every == 0:
            self._log_window()

    def _optimizer_step(self, batch: Any, step: Step, is_last: bool) -> list[StepOutput]:
        if self.before_step is not None:
            self.before_step(self.trainer.global_step)
        if self.lean is not None:
            return self.lean.step(batch, step, is_last)
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        self.keep_buffers()
        step, (outputs, weights, nominal) = self.within_memory(
            partial(self._backward_of, batch), step, partial(self._raw_optimizer().zero_grad, set_to_none=True)
        )
        grads = [p.grad for p in params_with_grad(self._raw_optimizer()) if p.grad is not None]
        self._divide(grads, weights, nominal)
        self._norm_wanted = is_last
        self._lr = optimizer.param_groups[0]["lr"]
        if self.is_finite(grads):
            optimizer.step()
            if self.average is not None:
                self.average.update()
            if is_last:
                self.see_gradients()
        else:
            self.leave_out(batch, step, outputs)
            self.put_back_buffers()
            optimizer._on_before_step()
            optimizer._on_after_step()
            outputs = []
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            callback.on_before_zero_grad(self.trainer, self, self._raw_optimizer())  # Lightning does so for automatic
        self.on_before_zero_grad(self._raw_optimizer())  # optimization only
        optimizer.zero_grad(set_to_none=True)
        scheduler = self.lr_schedulers()
        if scheduler is not None and not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()  # type: ignore[union-attr]
        return outputs

    def _backward_of(self, batch: Any, step: Step) -> tuple[list[StepOutput], list[Any], float | None]:
        """Gradients of one step: of its sum over ``nominal`` samples, or None where they are of its mean already.

        Returns:
            Outputs and weights of the micro-batches (none of a ghost), and ``nominal``.
        """
        parts = micro_batches(batch, step, self.augment, getattr(self.task, "num_classes", None), self.trainer)
        is_whole = len(parts) == 1 and self.trainer.world_size == 1
        nominal = step.num_samples / self.trainer.world_size if isinstance(batch, Execution) else 1.0
        backward = self.manual_backward if self.lean is None else torch.autograd.backward
        outputs = []
        for part in parts:
            with nullcontext() if part is parts[-1] else self._unsynced():
                output = self.loss(part)
                if is_whole:
                    backward(output.loss_sum / or_one(output.weight))
                else:
                    backward(output.loss_sum * (0.0 if step.is_ghost else 1.0) / nominal)
            outputs.append(output._replace(loss_sum=output.loss_sum.detach(), outputs=output.outputs.detach()))
        if step.is_ghost:
            outputs = []
        return outputs, [output.weight for output in outputs], None if is_whole else nominal

    def _divide(self, grads: Sequence[Tensor], weights: Sequence[Any], nominal: float | None) -> None:
        """Makes gradients of a sum over ``nominal`` samples those of the sum over the weight; None leaves them."""
        if nominal is not None:
            divide_by_weight(grads, weights, nominal, self.trainer.world_size)

    def _unsynced(self) -> AbstractContextManager[Any]:
        block = getattr(self.trainer.strategy, "block_backward_sync", nullcontext)
        context: AbstractContextManager[Any] = block()
        return context

    def _raw_optimizer(self) -> Optimizer:
        return self.trainer.optimizers[0]

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips the whole gradient; its norm before clipping is what is logged."""
        unscale(optimizer, getattr(self.trainer.precision_plugin, "scaler", None))
        params = params_with_grad(optimizer)
        if self.clip_value is not None:
            nn.utils.clip_grad_value_(params, self.clip_value)
        if self.clip_norm is not None:
            self._grad_norm = nn.utils.clip_grad_norm_(params, self.clip_norm)
        elif self._norm_wanted:
            self._grad_norm = nn.utils.get_total_norm([p.grad for p in params if p.grad is not None])

    def _log_window(self) -> None:
        values = self.watched(self.window.close())
        values["lr"] = torch.tensor(self._lr)
        if self._grad_norm is not None:
            values["grad_norm"] = self._grad_norm.detach()
        if self.lean is None:
            self.log_dict(values, on_step=True, on_epoch=False, batch_size=1, logger=False)
        else:  # what that comes to, without a millisecond for each value
            self.trainer.callback_metrics.update(values)
        # Written here and not by Lightning, which does so after the batch's callbacks: a checkpoint of this step would
        # be ahead of its own curves.
        plain = {name: float(value) for name, value in values.items()} | {"epoch": self.current_epoch}
        for logger in self.trainer.loggers:
            logger.log_metrics(plain, step=self.trainer.global_step - 1)

    def validated(self, values: dict[str, Tensor]) -> None:
        """Tells a plateau schedule the monitored value; here, and so before the checkpoint of this validation."""
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(float(values[self.monitor[0]]))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Tells Lightning whether a validation is due, where the execution plan decides."""
        if isinstance(batch, Execution) and batch.validate is not None:
            self.trainer.val_check_batch = batch_idx + 1 if batch.validate else sys.maxsize

    def on_train_start(self) -> None:
        """Puts the random generators back where a resumed run left them."""
        self.window.start_clock()
        if self.average is not None:
            self.average.begin(self)
        if self.wants_lean and can_be_lean(self, TrainModule):
            is_flat = self.wants_flat and not self._lacks_gradients and self.compiled is None
            self.lean = LeanSteps(self, is_flat)
        if self._random_state is not None:
            set_random_state(self._random_state)
            self._random_state = None

    def on_train_end(self) -> None:
        """Gives the parameters memory of their own again."""
        self.release()

    def release(self) -> None:
        """As ``on_train_end``; for a training that ended by an error too."""
        if self.lean is not None:
            self.lean.release()
            self.lean = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds each process's random generators and unfinished log window, and the average of the weights."""
        mine = {"random": get_random_state(), "window": self.window.state()}
        everyone: list[Any] = [mine]
        if self.trainer.world_size > 1:
            everyone = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(everyone, mine)
        checkpoint["trainkit"] = {"processes": everyone}
        checkpoint["trainkit"] |= self.watched_state()
        if self._lacks_gradients or (self.lean is not None and self.lean.lacks_gradients):
            checkpoint["trainkit"]["lacks_gradients"] = True
        if self.average is not None:
            checkpoint["trainkit"]["average"] = self.average.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes back this process's random generators and log window; a changed number of processes starts afresh."""
        saved = checkpoint.get("trainkit", {})
        everyone = saved.get("processes", [])
        self._lacks_gradients = bool(saved.get("lacks_gradients"))
        self.load_watched(saved)
        if self.average is not None and "average" in saved:
            self.average.load(saved["average"])
        if len(everyone) == self.trainer.world_size:
            mine = everyone[self.trainer.global_rank]
            self._random_state = mine["random"]
            self.window.load(mine["window"])
