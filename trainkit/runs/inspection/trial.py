"""A copy of the net learns one batch by heart: what its outputs, gradients and loss did is judged in ``net_rules``.

The idea is Karpathy's (*A Recipe for Training Neural Networks*, 2019): a net that cannot overfit one batch is broken.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainkit.data.sources import map_inputs, seeded
from trainkit.models import Network
from trainkit.optim import build_optimizer
from trainkit.runs.inspection.eval_facts import eval_facts, has_dropout, layer_facts, silence_dropout
from trainkit.runs.parts import Parts
from trainkit.tasks import Task, step_output
from trainkit.types import Batch, Inputs

SECONDS = 2.5
"""For learning one batch by heart."""

MOST_STEPS, FEWEST_STEPS = 150, 3
"""Optimizer steps; the fewest are made whatever they take."""

RAMP = 10
"""First steps in which the learning rate rises to its peak, as in a run with warm-up."""

LEARNED = 0.02
"""Share of the first loss at which the batch counts as learned and the trial ends."""

LARGEST_BATCH, SMALLEST_BATCH = 256, 8
"""Samples of the batch; a slow net gets fewer than a step of the run has, so that some 20 steps fit into the time."""

STEPS_WANTED = 20


@dataclass(frozen=True)
class Trial:
    """What one batch showed.

    Attributes:
        first_loss: Mean loss of the untrained net.
        last_loss: Mean loss after the last step, not finite where it diverged.
        chance: Loss of a net that knows nothing; None where the task does not know it.
        highest_loss: Largest mean loss on the way.
        num_samples: Samples of the batch.
        num_steps: Optimizer steps made.
        peak: Learning rate of the first parameter group.
        never_moved: Parameters that never got a gradient other than 0.
        bad_gradients: Parameters whose gradient was not finite at the first step.
        norms: float64 [steps], norm of the whole gradient before clipping.
        clip_norm: Largest norm that the run allows; None for any.
        spread: Largest standard deviation of an output over the samples, before and after.
        lowest, highest: Of the outputs, before and after.
        row_sums: Smallest and largest sum of a sample's outputs, before and after; empty for fewer than 2 outputs.
        input_mean: Largest absolute mean of an input as it reaches the net; 0 for integers.
        input_std: Largest standard deviation of an input as it reaches the net.
        input_spread: Standard deviation over all inputs together; nan where there are only integers.
        is_class: Whether classes are learned.
        has_dropout: Whether dropout was left out.
        weight_decay: Largest of the optimizer's.
        strong_dropouts: Layers that leave out nearly all, with the share.
        still_norms: Layers whose running statistics never move.
        eval_noise: Largest relative difference of two equal forward passes in eval mode; 0 below rounding.
        eval_dependence: Likewise of a sample's outputs in eval mode when half the batch is missing; infinite where the
            net does not take half a batch.
        failure: How a step failed on the way, of a module of the user's own; empty where none did.
        is_steady: Whether the loss is one that has to fall; it need not with several optimizers, as of a GAN.
        is_own: Whether a ``LightningModule`` of the user's own learned.
    """

    first_loss: float
    last_loss: float
    chance: float | None
    highest_loss: float = 0.0
    num_samples: int = 0
    num_steps: int = 0
    peak: float = 0.0
    never_moved: tuple[str, ...] = ()
    bad_gradients: tuple[str, ...] = ()
    norms: np.ndarray = field(default_factory=lambda: np.zeros(0))
    clip_norm: float | None = None
    spread: tuple[float, float] = (1.0, 1.0)
    lowest: tuple[float, float] = (-1.0, -1.0)
    highest: tuple[float, float] = (2.0, 2.0)
    row_sums: tuple[float, ...] = ()
    input_mean: float = 0.0
    input_std: float = 1.0
    input_spread: float = math.nan
    is_class: bool = True
    has_dropout: bool = False
    weight_decay: float = 0.0
    strong_dropouts: tuple[str, ...] = ()
    still_norms: tuple[str, ...] = ()
    eval_noise: float = 0.0
    eval_dependence: float = 0.0
    failure: str = ""
    is_steady: bool = True
    is_own: bool = False


class Learner:
    """A copy of a net and its task on a device, with the run's own optimizer, precision and clipping.

    Args:
        parts: Of a net, which stays as it is.
        device: Where to learn.
        precision: ``fp32`` or ``bf16-mixed``.
    """

    def __init__(self, parts: Parts, device: torch.device, precision: str) -> None:
        assert parts.network is not None
        self.network: Network = copy.deepcopy(parts.network).to(device).train()
        self.task: Task = copy.deepcopy(parts.task).to(device).train()
        self.device, self.trainer = device, parts.config.trainer
        self.is_mixed = precision == "bf16-mixed"
        silence_dropout(self.network)

    def outputs(self, inputs: Inputs) -> Tensor:
        """Outputs [B, ...] in the run's precision."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.is_mixed):
            outputs: Tensor = self.network(inputs)
        return outputs

    def backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean loss and outputs of a batch; gradients are left in the parameters."""
        inputs, target = batch
        outputs = self.outputs(inputs)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.is_mixed):
            loss_sum, weight, outputs, _ = step_output(self.task, self.network, outputs, target)
        loss = loss_sum / weight
        if loss.requires_grad:
            torch.autograd.backward(loss)
        return loss.detach(), outputs.detach().float()

    def gradients(self) -> dict[str, Tensor]:
        """Gradients by parameter name, as the net's owner knows it."""
        named = self.network.net.named_parameters()
        return {name: p.grad for name, p in named if p.requires_grad and p.grad is not None}

    def clip(self) -> float:
        """Clips as the run does; gives the norm before."""
        params = [p for p in self.network.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in params if p.grad is not None])
        if self.trainer.clip_value is not None:
            nn.utils.clip_grad_value_(params, self.trainer.clip_value)
        if self.trainer.clip_norm is not None:
            nn.utils.clip_grad_norm_(params, self.trainer.clip_norm)
        return float(norm)


def training_batch(parts: Parts, device: torch.device, most: int = LARGEST_BATCH) -> Batch:
    """The first samples of training, in its order: one micro-batch, or ``most`` of it."""
    trainer, data = parts.config.trainer, parts.data
    size = max(1, min(data.batch_size // (trainer.devices * trainer.accumulate), most))
    rows = data.train_loader(seed=parts.config.seed).order(0)[:size]
    inputs, target = data.source.fetch(rows, 0)[:2]
    return map_inputs(inputs, lambda tensor: tensor.to(device)), target.to(device)


def try_one_batch(parts: Parts, device: torch.device, peaks: tuple[float, ...] = (), seconds: float = SECONDS) -> Trial:
    """Learns one batch by heart on a copy; nets, tasks and random generators stay as they are.

    Args:
        parts: Of a net.
        device: Where to learn.
        peaks: Largest learning rate of each parameter group; the optimizer's own by default.
        seconds: After which it ends, once the fewest steps were made.
    """
    devices = list(range(torch.cuda.device_count()))
    with seeded(parts.config.seed), torch.random.fork_rng(devices=devices):
        learner = Learner(parts, device, parts.config.trainer.precision)
        batch = training_batch(parts, device, _affordable(parts, device, seconds))
        optimizer = build_optimizer(parts.optimizer, nn.ModuleList([learner.network, learner.task]))  # type: ignore[arg-type]
        trial = replace(
            _inputs_of(learner, batch),
            weight_decay=heaviest_decay(optimizer),
            **layer_facts(learner.network.net),
            **eval_facts(copy.deepcopy(learner.network), batch[0]),
        )
        return _learn(learner, batch, optimizer, peaks, seconds, trial)


def heaviest_decay(optimizer: Optimizer) -> float:
    """Largest weight decay of an optimizer's groups; 0 where it knows none."""
    return max(float(group.get("weight_decay") or 0.0) for group in optimizer.param_groups)


def _affordable(parts: Parts, device: torch.device, seconds: float) -> int:
    """Samples of a batch of which the wanted steps fit into the time, judged by a small one; 8 to 256."""
    learner, small = (
        Learner(parts, device, parts.config.trainer.precision),
        training_batch(parts, device, SMALLEST_BATCH),
    )
    started = time.perf_counter()
    float(learner.backward(small)[0])  # waits for the device
    per_sample = (time.perf_counter() - started) / len(small[1])
    return int(min(max(seconds / STEPS_WANTED / per_sample, SMALLEST_BATCH), LARGEST_BATCH))


def _learn(
    learner: Learner, batch: Batch, optimizer: Optimizer, peaks: tuple[float, ...], seconds: float, trial: Trial
) -> Trial:
    peaks = peaks or tuple(float(group["lr"]) for group in optimizer.param_groups)
    trial = replace(trial, peak=peaks[0], clip_norm=learner.trainer.clip_norm)
    still = {name for name, p in learner.network.net.named_parameters() if p.requires_grad}
    losses, norms, deadline = [], [], time.perf_counter() + seconds
    first = last = torch.zeros(0)
    for step in range(MOST_STEPS):
        optimizer.zero_grad(set_to_none=True)
        loss, last = learner.backward(batch)
        losses.append(float(loss))
        gradients = learner.gradients()
        if step == 0:
            first, trial = last, replace(trial, bad_gradients=_not_finite(gradients))
        still -= {name for name in still & gradients.keys() if bool(gradients[name].any())}
        if _is_over(losses, deadline) or not gradients:
            break
        norms.append(learner.clip())
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * min(1.0, (step + 1) / RAMP)
        optimizer.step()
    return replace(
        trial,
        first_loss=losses[0],
        last_loss=losses[-1],
        highest_loss=max(losses),
        num_steps=len(norms),
        never_moved=tuple(name for name, _ in learner.network.net.named_parameters() if name in still),
        norms=np.asarray(norms),
        **_outputs_of(first, last),
    )


def _not_finite(gradients: dict[str, Tensor]) -> tuple[str, ...]:
    return tuple(name for name, gradient in gradients.items() if not bool(gradient.isfinite().all()))


def _is_over(losses: list[float], deadline: float) -> bool:
    if not math.isfinite(losses[-1]) or losses[-1] <= LEARNED * losses[0]:
        return True
    return len(losses) > FEWEST_STEPS and time.perf_counter() > deadline


def _outputs_of(first: Tensor, last: Tensor) -> dict[str, Any]:
    both = [outputs.reshape(len(outputs), -1) for outputs in (first, last)]
    sums = [outputs.sum(dim=1) for outputs in both if outputs.shape[1] > 1]
    return {
        "spread": tuple(float(outputs.std(dim=0, correction=0).max()) for outputs in both),
        "lowest": tuple(float(outputs.min()) for outputs in both),
        "highest": tuple(float(outputs.max()) for outputs in both),
        "row_sums": tuple(float(bound) for total in sums for bound in (total.min(), total.max())),
    }


def _inputs_of(learner: Learner, batch: Batch) -> Trial:
    """A trial that knows the inputs as they reach the net, and nothing else yet."""
    inputs, target = batch
    with torch.no_grad():
        prepared = learner.network.inputs(inputs)
    trial = Trial(
        math.nan,
        math.nan,
        learner.task.chance(),
        num_samples=len(target),
        is_class=not target.is_floating_point(),
        has_dropout=has_dropout(learner.network),
    )
    return inputs_of(trial, prepared)


def inputs_of(trial: Trial, inputs: Inputs) -> Trial:
    """A trial that knows how large inputs are.

    Args:
        trial: Knows nothing of them yet.
        inputs: As they reach the net; of integers nothing is said.
    """
    tensors = inputs.values() if isinstance(inputs, dict) else [inputs]
    with torch.no_grad():
        flat = [t.float().reshape(len(t), -1) for t in tensors if t.is_floating_point() and t.numel()]
    if not flat:
        return trial
    return replace(
        trial,
        input_mean=max(float(t.mean(dim=0).abs().max()) for t in flat),
        input_std=max(float(t.std(dim=0, correction=0).max()) for t in flat),
        input_spread=max(float(t.std(correction=0)) for t in flat),
    )
