"""Optimizer steps without Lightning's wrappers about them, on flat parameters where these suit; called by TrainModule.

Lightning's own calls of backward and step cost more than the arithmetic of a small net. They are left out where they
would do nothing: without a loss scale, and where nobody listens to them. Processes on CPUs put their gradients together
by one all-reduce.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.precision import Precision
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from trainkit.data.loader import Execution, Step
from trainkit.data.sources import batch_of, slice_batch
from trainkit.optim.flat import FlatParameters, can_flatten
from trainkit.tasks.base import or_one
from trainkit.training.chain import Chain, chain_of, signature
from trainkit.training.evaluation_steps import EvaluationSteps
from trainkit.training.gradient_norm import GradientNorm
from trainkit.training.gradients import params_with_grad
from trainkit.training.group import lacks_anywhere, reduce_flat, reduce_own
from trainkit.training.listeners import moves_weights, overrides
from trainkit.types import StepOutput


class LeanSteps:
    """Carries out the optimizer steps of a TrainModule.

    Args:
        module: The TrainModule, whose training begins.
        wants_flat: Whether parameters are to be flat where that suits.

    Attributes:
        lr: Learning rate of the last step.
        norm: Of the last step's gradient.
        flat: The flat parameters; None where the optimizer steps itself.
        lacks_gradients: Whether flat parameters were given up because a parameter had no gradient.
    """

    def __init__(self, module: Any, wants_flat: bool) -> None:
        self.module, self.task, self.trainer = module, module.task, module.trainer
        self.world_size = self.trainer.world_size
        self.optimizer: Any = module.optimizers()
        self.raw = self.trainer.optimizers[0]
        scheduler: Any = module.lr_schedulers()
        self.scheduler = None if isinstance(scheduler, ReduceLROnPlateau) else scheduler
        self.lr = 0.0
        self.norm = GradientNorm(self.module)
        self.progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total
        self.lacks_gradients = False
        self._shares: dict[float, Tensor] = {}  # of a whole step and of an epoch's last
        callbacks: Sequence[L.Callback] = self.trainer.callbacks
        self.before_step = [c for c in callbacks if overrides(c, ("on_before_optimizer_step",))]
        self.before_zero = [c for c in callbacks if overrides(c, ("on_before_zero_grad",))]
        self.wants_flat = wants_flat and not any(moves_weights(callback) for callback in callbacks)
        self.flat: FlatParameters | None = None
        self.chain: Chain | None = None
        self._signature: list[Any] = []
        self._set_up()

    def _set_up(self) -> None:
        self.flat = FlatParameters(self.raw) if self.wants_flat and can_flatten(self.raw) else None
        if self.flat is not None:
            self.flat.attach()
        self._place_average()
        self._look_for_chain()

    def _place_average(self) -> None:
        if self.module.average is not None:
            self.module.average.follow(self.flat)

    def _look_for_chain(self) -> None:
        """Before an execution: the net may have been changed since."""
        found = signature(self.module) if self.flat is not None else []
        if found != self._signature:
            self.chain, self._signature = self._chain() if found else None, found
        self.uses_chain = self.chain is not None and self.chain.suits()

    def _chain(self) -> Chain | None:
        """The net as a chain of layers, where it is one and nothing but its own loss follows."""
        module = self.module
        is_plain = type(module).loss is EvaluationSteps.loss and type(module).forward is EvaluationSteps.forward
        is_alone = self.world_size == 1 and type(self.trainer.precision_plugin) is Precision
        if not is_plain or not is_alone or module.compiled is not None:
            return None
        chain = chain_of(module)
        trained = {id(p) for group in self.raw.param_groups for p in group["params"]}
        return chain if chain is not None and {id(p) for p in chain.params} == trained else None

    def begin(self) -> None:
        """Before an execution: takes note of what others have done since the last one."""
        self._keep_current()
        if self.flat is not None:
            self.flat.attach_lost()
        self._look_for_chain()

    def _keep_current(self) -> None:
        if self.flat is not None and not self.flat.is_current():
            self.flat.release()
            self._set_up()

    @torch.no_grad()
    def step(self, batch: Any, step: Step, is_last: bool) -> list[StepOutput]:
        """One optimizer step; the outputs of its micro-batches."""
        if self.module.before_step is not None:
            self._keep_current()  # it may have more parameters train
        self.module.keep_buffers()
        flat = self.flat
        looks = flat is not None and flat.looks_at(self.progress.completed)
        if flat is not None and looks:
            flat.begin_look()
        outputs: list[StepOutput]
        step, (outputs, weights, nominal) = self.module.within_memory(
            partial(self._gradients, batch, looks), step, partial(self._drop_gradients, looks)
        )
        if flat is not None and looks and not self._ends_look(flat):
            self._give_up(flat)
        self._put_together(weights, nominal)
        grads = self.grads()
        for callback in self.before_step:
            callback.on_before_optimizer_step(self.trainer, self.module, self.raw)
        is_finite = self.norm.clip(grads, is_last, self.flat is not None)
        self.lr = self.raw.param_groups[0]["lr"]
        if not is_finite:
            self.module.leave_out(batch, step, outputs)
            self.module.put_back_buffers()
            outputs = []
        elif self.norm.flag is not None:
            self.module.put_back_buffers(self.norm.flag)
        self.optimizer._on_before_step()
        if is_finite:
            self._update()
        self.optimizer._on_after_step()
        if is_finite:
            self._after_update(is_last)
        if self.flat is not None:
            self.flat.zero_grad()
        else:
            self.raw.zero_grad(set_to_none=True)
        if self.scheduler is not None:
            self.scheduler.step()
        return outputs

    def _gradients(self, batch: Any, looks: bool, step: Step) -> tuple[list[StepOutput], list[Any], float | None]:
        """As ``_backward_of``, by the shortest way there is."""
        chained = self._chained(batch, step) if self.uses_chain and not looks else None
        if chained is not None:
            return chained, [], None
        with torch.enable_grad():
            found: tuple[list[StepOutput], list[Any], float | None]
            found = self._whole(batch, step) or self.module._backward_of(batch, step)
        return found

    def _drop_gradients(self, looks: bool) -> None:
        """After a backward pass that was not finished."""
        if self.flat is None:
            self.raw.zero_grad(set_to_none=True)
            return
        self.flat.zero_grad()
        if looks:
            self.flat.begin_look()

    def _update(self) -> None:
        if self.flat is not None:
            self.flat.step(self.norm.flag)
        elif self.norm.flag is None:
            self.raw.step()
        else:
            self.raw.grad_scale, self.raw.found_inf = None, self.norm.flag
            self.raw.step()

    def _after_update(self, is_last: bool) -> None:
        module = self.module
        if module.average is not None:
            module.average.update()
        if is_last:
            module.see_gradients()
        for callback in self.before_zero:
            callback.on_before_zero_grad(self.trainer, module, self.raw)

    def _whole(self, batch: Any, step: Step) -> tuple[list[StepOutput], list[Any], None] | None:
        """What ``_backward_of`` gives of a step in one piece; None of another."""
        module = self.module
        if not self._is_whole(step):
            return None
        batch = self._part(batch, step)
        output = module.loss(batch)
        torch.autograd.backward(output.loss_sum, self._share(output.loss_sum, output.weight))
        plain = StepOutput(output.loss_sum.detach(), output.weight, output.outputs.detach(), output.target)
        return [plain], [], None

    def _is_whole(self, step: Step) -> bool:
        return self.world_size == 1 and len(step.micro_batches) == 1 and self.module.augment is None

    @staticmethod
    def _part(batch: Any, step: Step) -> Any:
        """The samples of a step that is whole."""
        if not isinstance(batch, Execution):
            return batch
        start, stop = step.micro_batches[0]
        if batch.weight is None and isinstance(batch.inputs, Tensor):
            return batch.inputs[start:stop], batch.target[start:stop]
        return slice_batch(batch_of(batch.inputs, batch.target, batch.weight), start, stop)

    def _chained(self, batch: Any, step: Step) -> list[StepOutput] | None:
        """A step's gradients by the chain; None where the step or its batch is not for it."""
        chain = self.chain
        assert chain is not None
        if not self._is_whole(step):
            return None
        inputs, target, *weight = self._part(batch, step)
        values = chain.prepare(inputs)
        if values is None:
            return None
        outputs = chain.forward(values)
        loss_sum, total, gradient = self.task.loss_and_gradient(outputs, target, *weight)
        chain.backward(gradient)
        return [StepOutput(loss_sum, total, outputs, target)]

    def _share(self, loss_sum: Tensor, weight: Tensor | float) -> Tensor:
        """What a sum counts in the mean, as its gradient: that of ``loss_sum / weight``, without that operation."""
        if isinstance(weight, Tensor):
            return torch.ones_like(loss_sum) / or_one(weight)
        if weight not in self._shares:
            self._shares[weight] = torch.ones_like(loss_sum) / or_one(weight)
        return self._shares[weight]

    def grads(self) -> list[Tensor]:
        """Gradients of the last backward pass."""
        if self.flat is not None:
            return self.flat.grads
        return [p.grad for p in params_with_grad(self.raw) if p.grad is not None]

    def _ends_look(self, flat: FlatParameters) -> bool:
        """Whether every parameter has a gradient, in all processes."""
        if self.world_size == 1:
            return flat.end_look()
        if lacks_anywhere(not flat.has_all(), self.module.device):
            return False
        return flat.end_look()

    def _put_together(self, weights: list[Any], nominal: float | None) -> None:
        """Gradients of all micro-batches and processes as those of the one big batch."""
        if nominal is None:
            return
        if self.world_size == 1:
            self.module._divide(self.grads(), weights, nominal)
        elif self.flat is not None:
            reduce_flat(self.flat, weights, nominal)
        else:
            params = [p for group in self.raw.param_groups for p in group["params"] if p.requires_grad]
            reduce_own(params, weights, nominal)

    def _give_up(self, flat: FlatParameters) -> None:
        """Leaves the step to the optimizer, which leaves parameters without a gradient alone."""
        found = [[p.grad for p in bucket.params] for bucket in flat.buckets]
        params = [bucket.params for bucket in flat.buckets]
        flat.release()
        for group, grads in zip(params, found, strict=True):
            for p, grad in zip(group, grads, strict=True):
                p.grad = grad
        self.flat, self.wants_flat, self.lacks_gradients = None, False, True
        self.chain, self.uses_chain = None, False
        self._place_average()

    def take_up(self) -> None:
        """Goes on after ``release``, with weights and state as they are now."""
        self._set_up()

    def release(self) -> None:
        """Gives the parameters memory of their own again."""
        if self.flat is not None:
            self.flat.release()
            self.flat, self.chain, self.uses_chain, self._signature = None, None, False, []
            self._place_average()
