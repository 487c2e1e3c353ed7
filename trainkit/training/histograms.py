"""Histograms of weights, gradients and activations at each validation, and the share of units that give nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from trainkit.data.evaluation_loader import EvaluationBatch
from trainkit.data.loader import Execution
from trainkit.errors import ConfigError
from trainkit.models import Network
from trainkit.training.pictures import Pictures, writers

MAX_VALUES = 100_000
"""Values behind one histogram; of a larger tensor an even choice is taken."""
RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.Threshold)
"""Modules of whose units it is told how many give nothing."""


class Histograms(Pictures):
    """Histograms under TensorBoard's Histograms and Distributions.

    ``watch/weights/…`` and ``watch/gradients/…`` of each parameter: the gradient is that of the last step before the
    validation, whole and unclipped. ``watch/activations/…`` of each leaf module of the net on the first validation
    batch, which is the same each time, and as curves ``watch/dead_units/…``: the share of a rectifier's units (or
    channels) that are zero for every sample of it. ``watch`` puts them behind the curves.

    Args:
        every_n_validations: Validations from one histogram to the next; None for about ten in a run.
        weights: Whether weights are shown.
        gradients: Whether gradients are shown.
        activations: Whether activations are shown.

    Raises:
        ConfigError: ``every_n_validations`` is below 1, or nothing is to be shown.
    """

    needs_writer = True

    def __init__(
        self,
        every_n_validations: int | None = None,
        weights: bool = True,
        gradients: bool = True,
        activations: bool = True,
    ) -> None:
        super().__init__(every_n_validations)
        if not (weights or gradients or activations):
            raise ConfigError("weights, gradients and activations are all off", where="callbacks", hint="leave it out")
        self.weights, self.gradients, self.activations = weights, gradients, activations
        self._wanted_step = 0
        self._grads: dict[str, Tensor] = {}
        self._found: dict[str, Tensor] = {}
        self._dead: dict[str, Tensor] = {}
        self._hooks: list[Any] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Notes the step whose gradients will be shown: the last before a validation that is due."""
        self._wanted_step = 0
        if self.gradients and _validates_after(trainer, batch, batch_idx):
            last = batch.state.step if isinstance(batch, Execution) else trainer.global_step + 1
            if self.is_shown(trainer, self._num_validations + 1, last):
                self._wanted_step = last

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Keeps the gradients of that step."""
        if self._wanted_step and trainer.global_step + 1 == self._wanted_step and trainer.is_global_zero:
            named = _net(pl_module).named_parameters()
            self._grads |= {name: _thinned(p.grad).clone() for name, p in named if p.grad is not None}

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Listens to the modules for one batch."""
        if self._is_due and self.activations and trainer.is_global_zero and batch_idx == dataloader_idx == 0:
            num_real = batch.num_real if isinstance(batch, EvaluationBatch) else None
            for name, module in _net(pl_module).named_modules():
                if name and not any(module.children()):
                    self._hooks.append(module.register_forward_hook(self._listener(name, num_real)))

    def _listener(self, name: str, num_real: int | None) -> Callable[..., None]:
        def listen(module: nn.Module, inputs: Any, outputs: Any) -> None:
            if isinstance(outputs, Tensor) and outputs.is_floating_point() and outputs.ndim:
                real = outputs.detach()[:num_real]
                self._found[name] = _thinned(real).clone()
                if isinstance(module, RECTIFIERS) and real.ndim > 1:
                    over = [axis for axis in range(real.ndim) if axis != 1]
                    self._dead[name] = (real == 0).all(dim=over[0]) if len(over) == 1 else _all(real == 0, over)

        return listen

    def collect(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stops listening."""
        while self._hooks:
            self._hooks.pop().remove()

    def draw(self, trainer: L.Trainer, pl_module: L.LightningModule, step: int) -> None:
        """Writes the histograms."""
        grads, found, dead = self._grads, self._found, self._dead
        self._grads, self._found, self._dead = {}, {}, {}
        if not trainer.is_global_zero:
            return
        weights = dict(_net(pl_module).named_parameters()) if self.weights else {}
        kinds: dict[str, Mapping[str, Tensor]] = {"weights": weights, "gradients": grads, "activations": found}
        for writer in writers(trainer):
            for kind, tensors in kinds.items():
                for name, tensor in tensors.items():
                    values = _plain(tensor)
                    if len(values):
                        writer.add_histogram(f"watch/{kind}/{name}", values, step)
            for name, units in dead.items():
                writer.add_scalar(f"watch/dead_units/{name}", float(units.double().mean()), step)


def _net(module: L.LightningModule) -> nn.Module:
    """The net inside a ``TrainModule``, without tasks and metrics; any other module as it is."""
    model = getattr(module, "model", module)
    net = model.net if isinstance(model, Network) else model
    return net if isinstance(net, nn.Module) else module


def _validates_after(trainer: L.Trainer, batch: Any, batch_idx: int) -> bool:
    """Whether a validation follows a batch: by the plan of a run, or as the user's own Trainer has it."""
    if isinstance(batch, Execution) and batch.validate is not None:
        return batch.validate
    every = trainer.val_check_batch
    return trainer.is_last_batch or (isinstance(every, int) and (batch_idx + 1) % every == 0)


def _all(mask: Tensor, axes: list[int]) -> Tensor:
    for axis in sorted(axes, reverse=True):
        mask = mask.all(dim=axis)
    return mask


def _thinned(tensor: Tensor) -> Tensor:
    flat = tensor.detach().reshape(-1)
    return flat[:: -(-len(flat) // MAX_VALUES) or 1]


def _plain(tensor: Tensor) -> np.ndarray:
    """Finite values of a tensor, float32 [at most MAX_VALUES]."""
    values: np.ndarray = _thinned(tensor).float().cpu().numpy()
    finite: np.ndarray = values[np.isfinite(values)]
    return finite
