"""Loss and metrics of one evaluated part, accumulated batch by batch; held by ``TrainModule``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainkit.tasks import MeanLoss, Task
from trainkit.types import StepOutput


class PartMeter(nn.Module):
    """Loss, weighted as in training, and metrics, which count every row once, of one part.

    Args:
        task: Gives the metrics, and predictions from outputs.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.loss, self.metrics = MeanLoss(), task.metrics()

    def update(self, outputs: Sequence[StepOutput], task: Task) -> dict[str, Tensor] | None:
        """Adds batches without their padding; gives ``predictions``, [B, K] or [B], and ``target``, [B], of a lone one.

        Args:
            outputs: Of each batch.
            task: Gives what the metrics take.
        """
        for output in outputs:
            self.loss.update(output.loss_sum, output.weight)
        if len(outputs) > 1:
            together = torch.cat([output.outputs for output in outputs])
            self.metrics.update(task.metric_inputs(together), torch.cat([output.target for output in outputs]))
            return None
        predictions = task.predictions(outputs[0].outputs)
        self.metrics.update(predictions, outputs[0].target)
        return {"predictions": predictions, "target": outputs[0].target}

    def close(self, part: str) -> dict[str, Tensor]:
        """Values over all processes by name, ``<part>/loss`` first; starts afresh."""
        values = {f"{part}/loss": self.loss.compute()}
        values |= {f"{part}/{name}": value for name, value in self.metrics.compute().items()}
        self.loss.reset()
        self.metrics.reset()
        return values
