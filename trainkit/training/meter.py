"""Loss and metrics of one evaluated part, accumulated batch by batch; held by ``TrainModule``."""

from __future__ import annotations

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

    def update(self, output: StepOutput, task: Task) -> Tensor:
        """Adds a batch without its padding; gives its predictions, [B, K] or [B]."""
        predictions = task.predictions(output.outputs)
        self.loss.update(output.loss_sum, output.weight)
        self.metrics.update(predictions, output.target)
        return predictions

    def close(self, part: str) -> dict[str, Tensor]:
        """Values over all processes by name, ``<part>/loss`` first; starts afresh."""
        values = {f"{part}/loss": self.loss.compute()}
        values |= {f"{part}/{name}": value for name, value in self.metrics.compute().items()}
        self.loss.reset()
        self.metrics.reset()
        return values
