"""What a LightningModule does to score batches: loss, metrics and predictions, by averaged weights if it has any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor, nn

from trainkit.data.evaluation_loader import EvaluationBatch
from trainkit.tasks import Task, merged_outputs, step_output
from trainkit.training.average import WeightAverage
from trainkit.training.meter import PartMeter
from trainkit.types import Batch, Inputs, StepOutput


class EvaluationSteps(L.LightningModule):
    """The part of ``TrainModule`` that validates, tests and predicts.

    Args:
        model: The net.
        task: Loss, metrics and predictions.
        average: Average of the weights, which is what is evaluated; None for the weights themselves.

    Attributes:
        compiled: The forward pass of ``model`` as ``torch.compile`` made it; None runs the model itself.
    """

    def __init__(self, model: nn.Module, task: Task, average: WeightAverage | None = None) -> None:
        super().__init__()
        self.model, self.task, self.average = model, task, average
        self.compiled: Callable[..., Any] | None = None
        self.meters, self.extra_val = nn.ModuleList([PartMeter(task)]), tuple[str, ...]()

    def forward(self, inputs: Inputs) -> Tensor:
        """Outputs [B, ...] of the net; in training [B, M, ...] where it has M members."""
        outputs: Tensor = (self.compiled or self.model)(inputs)
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

    def _swap_average(self, is_used: bool) -> None:
        if self.average is not None:
            self.average.swap(is_used)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor] | None:
        """Adds a batch, or several as one, to the metrics of its validation set; padding does not count.

        Returns:
            What callbacks get as ``outputs``, on the device: ``predictions``, float64 probabilities [B, K] or values
            [B], and ``target`` [B]. None for several batches, which come where nobody looks at them.
        """
        pieces = batch.pieces() if isinstance(batch, EvaluationBatch) else (batch,)
        return self._meter(dataloader_idx).update([self._evaluated(piece) for piece in pieces], self.task)

    def _meter(self, dataloader_idx: int) -> PartMeter:
        while len(self.meters) <= dataloader_idx:
            self.meters.append(PartMeter(self.task).to(self.device))
        return cast(PartMeter, self.meters[dataloader_idx])

    def _evaluated(self, batch: Any) -> StepOutput:
        if not isinstance(batch, EvaluationBatch):
            return self.loss(batch)
        if type(self).loss is not EvaluationSteps.loss:
            return self.loss(batch.real())
        weight: list[Tensor]
        _, target, *weight = batch.real()
        outputs = self(batch.inputs)[: batch.num_real]
        return step_output(self.task, self.model, outputs, target, *weight)

    def on_validation_start(self) -> None:
        """Gives every process the buffers of the first, as a forward pass in training does, and averaged weights."""
        if self.trainer.world_size > 1:
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, 0)
        self._swap_average(True)

    def on_validation_epoch_end(self) -> None:
        """Logs loss and metrics, computed over all processes: ``val/…``, and ``val/<name>/…`` of further sets."""
        given = self.extra_val or tuple(getattr(getattr(self.trainer, "datamodule", None), "extra_val", ()))
        count = len(self.trainer.num_val_batches)
        names = (*given, *map(str, range(len(given) + 1, count)))
        values = self._log_evaluation(["val", *(f"val/{name}" for name in names)][:count])
        self._swap_average(False)
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self.validated(values)

    def validated(self, values: dict[str, Tensor]) -> None:
        """Told the logged values of a validation amid training, before its checkpoint is written."""

    def on_test_start(self) -> None:
        """Takes the averaged weights."""
        self._swap_average(True)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor] | None:
        """As ``validation_step``."""
        return self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Logs the test loss and metrics."""
        self._log_evaluation(["test"])
        self._swap_average(False)

    def _log_evaluation(self, parts: Sequence[str]) -> dict[str, Tensor]:
        values = dict[str, Tensor]()
        for idx, part in enumerate(parts):
            of_part = self._meter(idx).close(part)
            self.log_dict(of_part, sync_dist=self.trainer.world_size > 1)
            values |= of_part
        return values

    def on_predict_start(self) -> None:
        """Takes the averaged weights."""
        self._swap_average(True)

    def on_predict_end(self) -> None:
        """Takes the trained weights back."""
        self._swap_average(False)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Predictions of a batch: float64 probabilities [B, K], or values [B]."""
        if isinstance(batch, EvaluationBatch):
            outputs = torch.cat([self(piece.inputs) for piece in batch.pieces()])
            return self.task.predictions(outputs[: batch.num_real])
        return self.task.predictions(self(batch[0] if isinstance(batch, (tuple, list)) else batch))
